// datagrams: what the operations of a UDP socket share: its state, and how they send and receive.
//
// Above are the types of results (udp.hpp), below the system's calls (socket_calls.hpp); the steps are those of
// udp.hpp. An operation gives io_operation a function for its step 3, which moves as many datagrams as there are.
//
//   G1  what the kernel has handed over in one piece is taken apart by the receiving task alone: `held` is given
//       out before the kernel is asked again;
//   G2  whether the kernel takes several as one is learnt for each socket: the first refusal ends the tries;
//   G3  while an operation waits it is in its lane; what it takes or sends afterwards it does in the lane again,
//       so a close() in between is seen, and the number is not somebody else's.
#pragma once

#include <cstddef>
#include <system_error>
#include <utility>

#include "../address.hpp"
#include "../chunk.hpp"
#include "../transfer.hpp"
#include "descriptor.hpp"
#include "io_operation.hpp"
#include "readiness.hpp"
#include "socket_calls.hpp"

namespace runnel {
struct incoming;
struct outgoing;
}

namespace runnel::detail {

/// Several datagrams in one piece of memory, or none.
struct coalesced {
    chunk all = make_chunk::of(nullptr, 0);
    std::size_t piece = 0;  // bytes of each in it, but the last
    std::size_t given = 0;  // bytes of those that were given out
    bool has_more = false;  // a datagram may have no bytes
    address from;
};

/// The state of a socket.
struct datagrams {
    datagrams(descriptor&& on, bool with_segments, bool with_pieces) noexcept
        : socket(std::move(on)), segments(with_segments), coalesces(with_pieces) {}

    descriptor socket;
    bool segments;  // of the sending task (G2)
    bool coalesces;
    coalesced held;           // of the receiving task (G1)
    std::size_t reports = 0;  // icmp_errors(); atomic in the .cpp files, as the next
    std::size_t lost = 0;
};

/// A message in the system's form. In the frame of who waits, and nothing before set() has been called there.
class message_room {
public:
    void* set(const outgoing& with) noexcept;

private:
    alignas(8) unsigned char bytes_[56 + 16];  // a msghdr and an iovec
};

class datagram_sending {
public:
    explicit datagram_sending(datagrams& on) noexcept : on_(&on) {}
    static io_action action() noexcept;

    /// In its final place.
    void set(const outgoing* all, std::size_t count, io_action& wait) noexcept;
    /// How many are sent, or -errno of the first.
    long now(socket_calls& calls, int fd) noexcept;
    /// After the wait, or without one. Returns what was wrong with the next.
    std::error_code finish(const runnel::transfer& done, const io_action& wait) noexcept;
    std::size_t sent() const noexcept { return sent_; }

private:
    long call(socket_calls& calls, int fd) noexcept;
    bool goes_on_after(int error) noexcept;
    void send_rest() noexcept;

    datagrams* on_;
    const outgoing* all_ = nullptr;
    std::size_t count_ = 0;
    std::size_t sent_ = 0;
    int report_ = 0;  // the answer of the last call, which may not have been meant for it
    int error_ = 0;   // of the one after those that were sent
    message_room first_;
};

class datagram_receiving {
public:
    explicit datagram_receiving(datagrams& on) noexcept : on_(&on) {}
    static io_action action() noexcept;

    /// To lease one, or to fill these places.
    void set(io_action& wait) noexcept;
    void set(incoming* places, std::size_t count, io_action& wait) noexcept;
    /// How many are received, or -errno.
    long now(socket_calls& calls, int fd) noexcept;
    std::error_code finish(const runnel::transfer& done) noexcept;
    /// Of a select: does one wait to be received? Reports are absorbed.
    bool is_there(socket_calls& calls, int fd) noexcept;

    datagrams& of() const noexcept { return *on_; }
    std::size_t filled() const noexcept { return filled_; }
    chunk& leased() noexcept { return leased_; }
    const address& from() const noexcept { return from_; }

private:
    long fill_places(socket_calls& calls, int fd) noexcept;
    long fill_from_held(socket_calls& calls, int fd) noexcept;
    long lease(socket_calls& calls, int fd) noexcept;

    datagrams* on_;
    incoming* places_ = nullptr;
    std::size_t count_ = 0;
    std::size_t filled_ = 0;
    chunk leased_ = make_chunk::of(nullptr, 0);
    address from_;
    bool leases_ = true;
};

template <class Op>
class datagram_sender : public io_operation_of<Op> {
protected:
    explicit datagram_sender(datagrams& on) noexcept
        : io_operation_of<Op>(on.socket, lane::out, datagram_sending::action()), work_(on) {
        this->try_first_ = true;
        this->now_ = [](io_operation& self, socket_calls& calls) noexcept {
            auto& mine = static_cast<datagram_sender&>(self);
            return mine.work_.now(calls, mine.action_.fd);
        };
    }
    datagram_sender(datagram_sender&&) noexcept = default;
    ~datagram_sender() = default;

    datagram_sending work_;
};

template <class Op>
class datagram_receiver : public io_operation_of<Op> {
public:
    // What a case asks: readiness.hpp.
    static constexpr bool counts_itself = true, by_many = false;
    descriptor& where() const noexcept { return work_.of().socket; }
    bool is_there(socket_calls& calls, int fd) noexcept { return work_.is_there(calls, fd); }
    long take(socket_calls& calls, int fd) noexcept { return work_.now(calls, fd); }
    whole_case<Op> as_case() && noexcept { return whole_case<Op>(static_cast<Op&&>(*this)); }

protected:
    explicit datagram_receiver(datagrams& on) noexcept
        : io_operation_of<Op>(on.socket, lane::in, datagram_receiving::action()), work_(on) {
        this->try_first_ = true;
        this->now_ = [](io_operation& self, socket_calls& calls) noexcept {
            auto& mine = static_cast<datagram_receiver&>(self);
            return mine.work_.now(calls, mine.action_.fd);
        };
    }
    datagram_receiver(datagram_receiver&&) noexcept = default;
    ~datagram_receiver() = default;

    datagram_receiving work_;
};
}
