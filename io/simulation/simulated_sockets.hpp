// simulated_sockets: the descriptors of a simulated process, and the addresses that they have.
//
// A new socket gets the lowest free number, as in a process, so that a number which is closed too early is soon
// somebody else's. Numbers begin at a million: one that gets into a call of the system by mistake means nothing
// there. The network has every address; ports are given out in turn from 32768 on.
//
// May an address be bound, and may it be listened at? As on Linux, but for what lingers after a connection
// (TIME_WAIT), which is not simulated:
//   1  another socket has the port, at the same host or one of the two at every host: both need reuse_port, or
//      both reuse_address while the other does not listen;
//   2  two listen at one address: both need reuse_port; whoever connects gets one of them by chance;
//   3  a listener at [::] is also one at 0.0.0.0, and sees IPv4 addresses as ::ffff:a.b.c.d.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include <runnel/address.hpp>
#include <runnel/detail/driver.hpp>
#include <runnel/detail/io_action.hpp>

#include "simulated_stream.hpp"

namespace runnel::detail {

struct datagram_box;

/// An operation, from prepare() to its completion.
struct simulated_request : io_request {
    io_action* action = nullptr;
    task_block* task = nullptr;
    simulated_socket* on = nullptr;  // while it waits
    std::uint64_t serial = 0;        // another one each time it is used
};

struct simulated_socket {
    enum state : unsigned char { fresh, listening, connecting, connected };

    int fd = -1;
    state is = fresh;
    bool bound = false;
    bool owns_name = false;  // a Unix socket that was bound, rather than accepted where another was
    bool reuse_address = false;
    bool reuse_port = false;
    bool shut = false;  // a listener that takes no more
    address local;
    stream_end* stream = nullptr;             // once it is connecting
    std::size_t backlog = 0;                  // listener: how many may wait in
    std::deque<stream_end*> to_accept;        // these
    std::deque<simulated_request*> in, out;   // operations that wait
    std::shared_ptr<datagram_box> datagrams;  // null: it is one for streams

    bool listens() const noexcept { return is == listening && !shut; }
};

class simulated_sockets {
public:
    static constexpr int first_number = 1'000'000;

    explicit simulated_sockets(std::uint32_t most) noexcept : most_(most) {}

    /// Null when there are too many: EMFILE.
    simulated_socket* open(const address& unbound);
    /// Null when there is none with this number. Aborts when the number is the system's.
    simulated_socket* find(int fd) const noexcept;
    void close(simulated_socket& socket) noexcept;

    // As the system's calls.
    int bind(simulated_socket& socket, const address& to);
    int listen(simulated_socket& socket, std::size_t backlog);
    /// Gives it an address to connect from, if it has none.
    int bind_for(simulated_socket& socket, const address& peer);

    /// Is some socket bound to this name? (It listens, or not yet.)
    bool is_bound(const address& name) const noexcept;
    /// Those that take connections to this address; all or none are at exactly this host.
    std::vector<simulated_socket*> listeners(const address& at) const;
    /// Those that may take datagrams for this address; `of_many`: it is a group's, or everybody's.
    std::vector<simulated_socket*> takers(const address& to, bool of_many) const;

private:
    bool in_the_way(const simulated_socket& other, const simulated_socket& mine,
                    const address& at) const noexcept;
    std::uint16_t free_port(const address& host);

    const std::uint32_t most_;
    std::vector<std::unique_ptr<simulated_socket>> table_;
    std::uint16_t last_port_ = 32767;
};

/// 0.0.0.0 and [::] as a destination are this machine.
address destination(const address& to) noexcept;
/// ::ffff:a.b.c.d, when `by` is IPv6 and `a` is not.
address as_seen_by(const address& by, const address& a) noexcept;
}
