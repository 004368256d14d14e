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
//   F3  it is moved and destroyed only while no operation is in flight: check();
//   F4  a watch (io_watch.hpp), if it has one, is told by the last to leave, and gives the number back itself when the
//       kernel may still look at it. The peer, or the next listener, need not wait for that: it is shut down before;
//   F5  what deadlines (socket_timing.hpp) want to say to an operation stands in the bits of its lane, among those that
//       it looks at anyway: without deadlines it does nothing for them, but that one which waits in the kernel leaves
//       its name (`waiting`), so that a deadline which is set later finds it;
//   F6  what cannot be shut down (a pipe, a terminal) has close() take back who waits, by that name: it is left before
//       its owner looks once more whether it is closed, so one of the two sees the other.
//
// Not taken: reference counts on the heap (a handle could be destroyed while others read it, but each
// connection would cost an allocation), and a lock per socket as in Go, which orders concurrent writers:
// two tasks that write one stream at the same time are a bug in their protocol here.
#pragma once

#include <cstdint>
#include <source_location>

#include <runnel/detail/counted.hpp>

namespace runnel::detail {

class io_watch;

enum class lane : unsigned char { in, out, call };
class socket_timing;
struct task_block;

/// How an operation was let in, or why not.
enum class entry : unsigned char { closed, late, in, watched };

/// What ends the operations in flight: a shutdown of the socket; or close() takes them back, one by one.
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
    bool enter(lane which, bool alone) noexcept { return begin(which, alone) >= entry::in; }
    /// The same of an operation that deadlines concern. `late`: its deadline has passed; it is not in.
    entry begin(lane which, bool alone) noexcept;
    void leave(lane which) noexcept;

    /// Gives the number away. check(): nothing is in flight.
    int release() noexcept;

    /// Has its deadline passed? Threads: any.
    bool late(lane which) const noexcept;

    /// The one in this lane waits in the kernel, as this wait of this task; or does no longer.
    void note_waiting(lane which, const task_block& task, std::uint64_t ticket) noexcept;
    void note_not_waiting(lane which) noexcept;

    /// Ends what is in flight; nothing enters any more. Threads: any, for as long as it lives.
    void close() noexcept;

    /// Null: it has none. Threads: who is in a lane of it.
    io_watch* watch() const noexcept;
    /// Takes it over, unless there is one by now: gives the one that it has.
    io_watch* adopt(io_watch* made) noexcept;
    /// Its deadlines; made when they are first asked for. Threads: any, as long as it lives.
    socket_timing& timing();
    socket_timing* timing_if_any() const noexcept;

private:
    friend class socket_timing;
    void end_what_is_in_flight() noexcept;

    static constexpr std::uint64_t closed_bit = std::uint64_t{1} << 63;

    int fd_ = -1;
    when_closed then_ = when_closed::shut_down;
    std::uint64_t users_ = closed_bit;  // 20 bits for each lane, and whether it is closed; atomic in the .cpp
    io_watch* watch_ = nullptr;         // atomic, as the next two
    socket_timing* timing_ = nullptr;
    std::uint64_t waiting_[2] = {0, 0};
    counted counts_;  // until the number is given back
};
}
