// simulated_datagrams: UDP in a simulated network.
//
//   send ──▶ lost? twice? ──▶ on its way, a latency ──▶ cut? nobody? no room? ──▶ arrived ──▶ receive
//
//   1  what one socket sends arrives in its order, but for the datagrams that are reordered (testing::network): these
//      take up to one more latency, and others overtake them;
//   2  at its time it goes to the socket that is bound there: one that is connected to the sender before others, one
//      at this host before one at every host, by chance which of several. What goes to a group goes to each member,
//      a broadcast to each at every host;
//   3  nobody is there: a latency later a sender that is connected there gets ECONNREFUSED, with its next call;
//   4  a socket holds as many bytes as testing::network::buffer says, what comes on top is lost.
//
//   P1  a datagram arrives as a whole, any number of times that the settings allow, and lies in a queue until it is
//       received or its socket closes;
//   P2  what is under way outlives the socket that has sent it: `datagram_box` is shared with the events.
//
// Not played: interfaces (a group has its members at all of them), hop limits, fragments, several as one (UDP_SEGMENT),
// a socket without room to send: it is as if the line were endless.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include <runnel/address.hpp>
#include <runnel/detail/io_action.hpp>
#include <runnel/detail/socket_calls.hpp>

#include "simulated_medium.hpp"
#include "simulated_sockets.hpp"

namespace runnel::detail {

struct parcel {
    address from, to;
    std::vector<std::byte> bytes;
};

/// What a socket has because it is one for datagrams.
struct datagram_box {
    explicit datagram_box(simulated_socket& socket) noexcept : holder(&socket) {}

    simulated_socket* holder;  // null once it is closed
    std::optional<address> peer;
    std::vector<address> groups;  // with port 0
    bool broadcasts = false;
    bool loops = true;
    bool v6only = false;
    int report = 0;  // of step 3
    std::deque<parcel> arrived;
    std::size_t bytes = 0;                                   // of those
    std::deque<std::pair<nanoseconds_t, parcel>> under_way;  // in order, with the time of arrival
    nanoseconds_t last_arrival = 0;
};

class simulated_datagrams {
public:
    simulated_datagrams(simulated_medium& in, simulated_sockets& all) noexcept : medium_(in), sockets_(all) {}

    void open(simulated_socket& socket) const;
    void close(simulated_socket& socket) noexcept;

    // As the system's calls.
    int set(simulated_socket& socket, socket_option which, int value) noexcept;
    int set_membership(simulated_socket& socket, const address& group, bool joined);
    int connect(simulated_socket& socket, const address& to);
    long send(simulated_socket& socket, const msghdr& what);
    long receive(simulated_socket& socket, msghdr& into, bool full_length) noexcept;
    int look(simulated_socket& socket) noexcept;
    bool readable(const simulated_socket& socket) const noexcept;

    /// An operation that waits. False: it has to wait on.
    bool attempt(simulated_socket& socket, io_action& action);

private:
    using shared_box = std::shared_ptr<datagram_box>;

    int destination_of(const simulated_socket& socket, const msghdr& what, address& to) const noexcept;
    address source_for(const simulated_socket& socket, const address& to) const noexcept;
    void launch(const shared_box& sender, parcel what);
    void carry(const shared_box& sender, parcel what);
    void arrive(const shared_box& sender, const parcel& what);
    void report_refused(const shared_box& sender, const address& to);
    std::vector<simulated_socket*> takers(const parcel& what);
    void deliver(simulated_socket& to, const parcel& what);
    void drop(const parcel& what, const char* why);

    simulated_medium& medium_;
    simulated_sockets& sockets_;
};
}
