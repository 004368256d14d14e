// simulated_network: the back end of a simulation: sockets whose other side is in the same program.
//
// It has the seam of every back end (detail/io_backend.hpp), so the operations above it are those that run on
// io_uring, and the one of a simulation's world (detail/simulated_world.hpp).
//
// An operation
//   1  is tried at once, and else waits at its socket until something has changed there;
//   2  each change tries those that wait, by chance which first where several may (accept);
//   3  one that is taken back ends in an event of its own: what arrives at the same time may come first.
//
// Connecting
//   1  a latency after the call the wish is at the listener: nobody there, refused; a backlog that is full or a
//      cut drops it, and it is sent again after 1, 2, 4, … seconds, as on Linux until 127 seconds are over;
//   2  else the connection stands in the backlog, and a latency later the one who connects knows. Whoever
//      accepts may be faster: what he sends comes after that;
//   3  who has given up meanwhile closes his end, which resets the other.
//
// A pipe is a connection that was there from the beginning, of which each side uses one direction.
//
//   M1  a socket is not closed while an operation waits at it (F1 of detail/descriptor.hpp);
//   M2  events remember a request with its serial number: it may have ended, and be another's by then.
#pragma once

#include <deque>
#include <vector>

#include <runnel/detail/io_backend.hpp>
#include <runnel/detail/simulated_world.hpp>

#include "simulated_datagrams.hpp"
#include "simulated_files.hpp"
#include "simulated_hosts.hpp"
#include "simulated_medium.hpp"
#include "simulated_names.hpp"
#include "simulated_sockets.hpp"
#include "simulated_stream.hpp"

namespace runnel::detail {

class simulated_network final : public simulated_world, public io_backend, private simulated_medium {
public:
    simulated_network(const testing::network& how, simulator& by, driver& owner);
    ~simulated_network() override;

    // The world.
    io_backend& io() noexcept override { return *this; }
    nanoseconds_t next_event() const noexcept override { return simulated_medium::next_event(); }
    void happen() noexcept override { simulated_medium::happen(); }
    void cancel(io_request& request) noexcept override;
    std::size_t in_flight() const noexcept override { return in_flight_; }

    // The back end.
    io_request* prepare(io_action& action, task_block& task) noexcept override;
    io_request* prepare(standing_action& action) noexcept override;
    void discard(io_request& request) noexcept override;
    void start(io_request& request) noexcept override;

    // Calls.
    int open(socket_kind kind, socket_family family) noexcept override;
    int set(int fd, socket_option which, int value) noexcept override;
    int get(int fd, socket_option which, int& value) noexcept override;
    int bind(int fd, native_address to) noexcept override;
    int connect_now(int fd, native_address to) noexcept override;
    int listen(int fd, int backlog) noexcept override;
    int local(int fd, native_address_room& out) noexcept override;
    int peer(int fd, native_address_room& out) noexcept override;
    int open_pair(socket_kind kind, int (&both)[2]) noexcept override;
    int credentials(int fd, peer_credentials& out) noexcept override;
    int shut_down(int fd, int how) noexcept override;
    int set_membership(int fd, native_address group, unsigned interface, bool joined) noexcept override;
    int close(int fd) noexcept override;
    long receive_now(int fd, void* to, std::size_t bytes) noexcept override;
    long send_now(int fd, const void* from, std::size_t bytes) noexcept override;
    bool readable_now(int fd) noexcept override;
    int datagram_now(int fd) noexcept override;
    int accept_now(int fd) noexcept override;
    long receive_message_now(int fd, msghdr& into, bool full_length) noexcept override;
    long send_message_now(int fd, const msghdr& what) noexcept override;
    long receive_messages_now(int fd, mmsghdr* into, unsigned most) noexcept override;
    long send_messages_now(int fd, mmsghdr* what, unsigned count) noexcept override;

    int find_file(native_address at, file_id& out) noexcept override;
    int look_for_socket(native_address at) noexcept override;
    int set_file_mode(native_address at, unsigned mode) noexcept override;
    int remove_file(native_address at) noexcept override;

    // Files.
    bool has_position(int) noexcept override { return true; }
    long read_file_now(int, const file_action&) noexcept override;
    simulated_files& files() noexcept { return files_; }
    int make_pipe(int (&ends)[2]) noexcept override;
    long read_now(int fd, void* to, std::size_t bytes, bool at_once) noexcept override;
    long write_now(int fd, const void* from, std::size_t bytes, bool at_once) noexcept override;

    // What testing_network.hpp offers.
    void cut(const address& at);
    void heal(const address& at);
    void reset_all(const address& at);
    void vanish(const address& at);
    simulated_hosts& hosts() noexcept { return hosts_; }

private:
    /// A connect under way.
    struct wish {
        simulated_request* request;
        std::uint64_t serial;
        address from, to;
        nanoseconds_t pause;  // before it is sent again
        bool over() const noexcept { return request->serial != serial; }
    };

    void changed(stream_end& end) override;
    void changed(simulated_socket& socket) override { try_waiting(socket); }
    bool is_cut(const address& a, const address& b) const noexcept override;
    simulated_socket* for_datagrams(int fd) const noexcept;
    void try_waiting(simulated_socket& at);
    void try_each(std::deque<simulated_request*>& waiting, int fd);
    bool is_open(int fd) const noexcept { return sockets_.find(fd) != nullptr; }
    bool attempt(simulated_request& request);
    int accept_at(simulated_socket& listener);
    bool attempt_send(simulated_request& request);
    void end(simulated_request& request, int error = 0);
    void tell(simulated_request& request, standing_action::event event);
    simulated_request& take_request(io_action& action);
    void give_back(simulated_request& unused);
    void start_file(simulated_request& request);

    int begin_connect(simulated_request& request, simulated_socket& socket);
    void send_wish(const wish& one);
    void wish_arrives(const wish& one);
    void send_wish_again(wish one);
    void answer(const wish& one, int error);
    void queue(const wish& one, simulated_socket& listener);
    void connect_ends(const wish& one, int error);
    void refuse_queued(simulated_socket& listener);

    // Of Unix sockets: simulated_unix.cpp.
    int bind_local(simulated_socket& socket, native_address to);
    int begin_local_connect(simulated_request& request, simulated_socket& socket);
    simulated_connection& connect_at_once(simulated_socket& one, simulated_socket& other);
    std::string text_of(const address& a) const override;
    int give(native_address_room& out, const address& a) const noexcept;
    template <class Act>
    void for_connections(const address& at, const char* done, Act act);

    driver& owner_;
    simulated_sockets sockets_;
    simulated_names names_;
    simulated_datagrams datagrams_{*this, sockets_};
    simulated_files files_;
    std::deque<simulated_connection> connections_;  // all there were: events refer to them
    std::deque<simulated_request> requests_;        // never freed: a canceller may look at one
    std::vector<simulated_request*> free_;
    std::vector<address> cuts_;
    simulated_hosts hosts_;
    std::size_t in_flight_ = 0;
};
}
