// descriptor: owns one socket, and knows whether an operation uses it just now.
//
// A socket has two lanes, one for what comes in and one for what goes out, and a third for calls that do
// not wait. An operation enters its lane, and leaves it when the kernel has completed it. close() with an
// operation in flight cannot give the number back (another thread's new socket would get it, and with it
// the bytes meant for this one), so it shuts the connection down, which ends the operation, and the last
// one to leave gives it back.
//
//   F1  after close() nothing enters, so the last to leave is the last ever: it gives the number back;
//   F2  close() is a user of the socket itself until it has shut it down, so it hits the right one;
//   F3  it is moved and destroyed only while no operation is in flight: check().
//
// Not taken: reference counts on the heap (a handle could be destroyed while others read it, but each
// connection would cost an allocation), and a lock per socket as in Go, which orders concurrent writers:
// two tasks that write one stream at the same time are a bug in their protocol here.
#pragma once

#include <cstdint>
#include <source_location>

#include <runnel/detail/counted.hpp>

namespace runnel::detail {

enum class lane : unsigned char { in, out, call };

/// What ends the operations in flight: a shutdown of the socket; or whoever closes it tells them (byte_end.hpp).
enum class when_closed : unsigned char { shut_down, told };

class descriptor {
public:
    descriptor() noexcept = default;
    descriptor(int fd, counted_kind what, std::source_location made_at,
               when_closed then = when_closed::shut_down) noexcept
        : fd_(fd), then_(then), users_(0), counts_(what, made_at) {}
    descriptor(descriptor&& other) noexcept;
    descriptor& operator=(descriptor&& other) noexcept;
    ~descriptor();

    /// -1 when there is none (any more).
    int fd() const noexcept { return fd_; }
    bool closed() const noexcept;

    /// False: it is closed. `alone`: check() that no other operation is in this lane.
    bool enter(lane which, bool alone) noexcept;
    void leave(lane which) noexcept;

    /// Gives the number away. check(): nothing is in flight.
    int release() noexcept;

    /// Ends what is in flight; nothing enters any more. Threads: any, for as long as it lives.
    void close() noexcept;

private:
    static constexpr std::uint64_t closed_bit = std::uint64_t{1} << 63;

    int fd_ = -1;
    when_closed then_ = when_closed::shut_down;
    std::uint64_t users_ = closed_bit;  // 20 bits for each lane, and whether it is closed; atomic in the .cpp
    counted counts_;                    // until the number is given back
};
}
