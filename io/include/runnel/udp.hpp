// udp: datagrams.
//
//   rn::task<> answer(rn::udp_socket socket) {
//     while (auto question = co_await socket.recv())               // leased: a waiting socket holds no buffer
//       co_await socket.send_to(question->bytes, question->from);
//   }
//   auto socket = rn::udp_socket::bind("0.0.0.0:5353").value();
//
// Nothing transient is an error, so every error ends such a loop. What the network reports of datagrams that were
// sent earlier (ICMP: nobody at that port, no way to that host, too big for a link) is counted by icmp_errors() and
// is no answer of a later call: a receive goes on, a send is tried once more.
//
// A receive
//   1  takes what is there by a plain call; one that the network's report answers is made again;
//   2  nothing there: waits until there is something, looking at the first datagram without taking it, so a report
//      does not end the wait;
//   3  takes it, by a plain call.
// A send
//   1  is a plain call; answered by a report, it is made once more: what comes twice is meant for this one;
//   2  no room in the socket's buffer: a request sends the first datagram when there is some, a plain call the rest.
//
//   U1  one task receives and one sends at a time, and they may be two: check();
//   U2  no buffer is the kernel's while a receive waits, and a cancelled one has taken nothing;
//   U3  a datagram without bytes is one. It ends nothing.
//
// A system that has no buffer to send from (ENOBUFS) has lost the datagram: it counts as sent, as Linux itself does
// it for a full queue of the device, and in lost_sends(). Not taken: a pause, which would make every later datagram
// late for the sake of one that the peer must be ready to miss anyway.
//
// Many at once: send_many() and recv_many() move them in one system call. Where the kernel can, datagrams of equal
// size that follow one another to one address go to it as one (UDP_SEGMENT), and with udp_options::coalesce those
// that arrive come as one (UDP_GRO). Found out by trial: where it cannot, they go one by one.
#pragma once

#include <cstddef>
#include <source_location>
#include <span>
#include <string_view>

#include <runnel/result.hpp>

#include "address.hpp"
#include "chunk.hpp"
#include "detail/datagrams.hpp"
#include "detail/descriptor.hpp"
#include "detail/io_operation.hpp"

namespace runnel {

/// How to make a UDP socket.
class udp_options {
public:
    /// An address that another socket has can be bound too; on Linux the newest gets what is sent to it, and all of
    /// them what is sent to a group that they have joined (SO_REUSEADDR). Default off.
    udp_options& reuse_address(bool on) noexcept { return reuse_address_ = on, *this; }
    /// Sockets that all ask for it share an address; the kernel spreads the peers over them (SO_REUSEPORT).
    udp_options& reuse_port(bool on) noexcept { return reuse_port_ = on, *this; }
    /// Sends to broadcast addresses are allowed; else permission_denied (SO_BROADCAST).
    udp_options& broadcast(bool on) noexcept { return broadcast_ = on, *this; }
    /// An IPv6 socket at [::] takes no IPv4 datagrams (IPV6_V6ONLY).
    udp_options& v6only(bool on) noexcept { return v6only_ = on, *this; }
    /// What the socket may hold; the system has limits of its own (net.core.wmem_max, rmem_max). 0: its default.
    udp_options& send_buffer(int bytes) noexcept { return send_buffer_ = bytes, *this; }
    udp_options& receive_buffer(int bytes) noexcept { return receive_buffer_ = bytes, *this; }
    /// How many routers a datagram may pass: the TTL of IPv4, the hop limit of IPv6. 0: the system's default.
    udp_options& hop_limit(int hops) noexcept { return hop_limit_ = hops, *this; }
    /// send_many() gives equal sizes to the kernel as one (UDP_SEGMENT). Default on.
    udp_options& segment(bool on) noexcept { return segment_ = on, *this; }
    /// The kernel may hand over what arrives in one piece (UDP_GRO), which the receives take apart again: cheaper
    /// for floods, a copy more for the rest. Default off.
    udp_options& coalesce(bool on) noexcept { return coalesce_ = on, *this; }

    bool reuse_address() const noexcept { return reuse_address_; }
    bool reuse_port() const noexcept { return reuse_port_; }
    bool broadcast() const noexcept { return broadcast_; }
    bool v6only() const noexcept { return v6only_; }
    int send_buffer() const noexcept { return send_buffer_; }
    int receive_buffer() const noexcept { return receive_buffer_; }
    int hop_limit() const noexcept { return hop_limit_; }
    bool segment() const noexcept { return segment_; }
    bool coalesce() const noexcept { return coalesce_; }

private:
    int send_buffer_ = 0;
    int receive_buffer_ = 0;
    int hop_limit_ = 0;
    bool reuse_address_ = false;
    bool reuse_port_ = false;
    bool broadcast_ = false;
    bool v6only_ = false;
    bool segment_ = true;
    bool coalesce_ = false;
};

/// What recv_from() says of a datagram.
struct received {
    std::size_t bytes = 0;   // in the buffer now
    std::size_t length = 0;  // that it had
    address from;
    bool truncated = false;  // it did not fit: the rest of it is gone
};

/// What recv() gives.
class [[nodiscard]] datagram {
public:
    datagram(chunk&& all, const address& sender) noexcept : bytes(std::move(all)), from(sender) {}

    chunk bytes;  // all of it; may be empty (U3)
    address from;
};

/// A place for one datagram of recv_many().
struct incoming {
    incoming() noexcept {}
    explicit incoming(std::span<std::byte> place) noexcept : to(place) {}
    /// What has arrived.
    std::span<std::byte> bytes() const noexcept { return to.first(what.bytes); }

    std::span<std::byte> to;
    received what;
};

/// One datagram for send_many(). It refers to the bytes.
struct outgoing {
    outgoing(std::span<const std::byte> what, const address& where) noexcept
        : bytes(what), to(where), has_address(true) {}
    /// To the one that the socket is connected to.
    explicit outgoing(std::span<const std::byte> what) noexcept : bytes(what) {}

    std::span<const std::byte> bytes;
    address to;
    bool has_address = false;
};

/// How many were sent, and what was wrong with the next. True without an error.
class [[nodiscard]] sent_many {
public:
    sent_many(std::size_t sent, std::error_code why_not_more) noexcept : count(sent), error(why_not_more) {}
    explicit operator bool() const noexcept { return !error; }

    std::size_t count;
    std::error_code error;
};

class [[nodiscard]] datagram_send final : public detail::datagram_sender<datagram_send> {
public:
    using result_type = result<>;
    datagram_send(detail::datagrams& on, const outgoing& what) noexcept : datagram_sender(on), one_(what) {}
    datagram_send(datagram_send&&) noexcept = default;
    void prepare() noexcept { work_.set(&one_, 1, action_); }
    result_type complete(transfer done) noexcept { return work_.finish(done, action_); }

private:
    outgoing one_;
};

class [[nodiscard]] datagrams_send final : public detail::datagram_sender<datagrams_send> {
public:
    using result_type = sent_many;
    datagrams_send(detail::datagrams& on, std::span<const outgoing> all) noexcept
        : datagram_sender(on), all_(all) {}
    void prepare() noexcept { work_.set(all_.data(), all_.size(), action_); }
    result_type complete(transfer done) noexcept {
        const std::error_code why = work_.finish(done, action_);
        return {work_.sent(), why};
    }

private:
    std::span<const outgoing> all_;
};

class [[nodiscard]] datagram_receive final : public detail::datagram_receiver<datagram_receive> {
public:
    using result_type = result<received>;
    datagram_receive(detail::datagrams& on, std::span<std::byte> to) noexcept
        : datagram_receiver(on), one_(to) {}
    datagram_receive(datagram_receive&&) noexcept = default;
    void prepare() noexcept { work_.set(&one_, 1, action_); }
    result_type complete(transfer done) noexcept;
    datagram_receive anew() const noexcept { return {work_.of(), one_.to}; }

private:
    incoming one_;
};

class [[nodiscard]] datagrams_receive final : public detail::datagram_receiver<datagrams_receive> {
public:
    using result_type = result<std::size_t>;
    datagrams_receive(detail::datagrams& on, std::span<incoming> to) noexcept
        : datagram_receiver(on), to_(to) {}
    datagrams_receive(datagrams_receive&&) noexcept = default;
    void prepare() noexcept { work_.set(to_.data(), to_.size(), action_); }
    result_type complete(transfer done) noexcept;
    datagrams_receive anew() const noexcept { return {work_.of(), to_}; }

private:
    std::span<incoming> to_;
};

class [[nodiscard]] datagram_lease final : public detail::datagram_receiver<datagram_lease> {
public:
    using result_type = result<datagram>;
    explicit datagram_lease(detail::datagrams& on) noexcept : datagram_receiver(on) {}
    datagram_lease(datagram_lease&&) noexcept = default;
    void prepare() noexcept { work_.set(action_); }
    result_type complete(transfer done) noexcept;
    datagram_lease anew() const noexcept { return datagram_lease(work_.of()); }
};

/// A UDP socket; move-only. The destructor closes it.
/// Threads  used by one receiving and one sending task at a time (U1); not moved or destroyed while they wait:
///          check(). close(), connect() and the settings may come from any task.
class udp_socket {
public:
    /// What a datagram may have at most, over IPv4; over IPv6 it is 20 more.
    static constexpr std::size_t bytes_max = 65'507;

    /// A socket at `on`, or at what address::parse() makes of the text; port 0 lets the system choose.
    /// Returns  the socket, which already takes datagrams; address_in_use, permission_denied and the like;
    ///          invalid_argument. Never waits. Threads: any, also outside of a runtime.
    static result<udp_socket> bind(const address& on, const udp_options& how = {},
                                   std::source_location at = std::source_location::current());
    static result<udp_socket> bind(std::string_view on, const udp_options& how = {},
                                   std::source_location at = std::source_location::current());

    /// From now on it takes datagrams of this peer alone, and send() goes there. Again: another peer.
    /// Returns  network_unreachable and the like, of the way; whether the peer is there, nobody knows. Never waits.
    result<> connect(const address& peer) noexcept;

    /// Sends one datagram of all these bytes.
    /// Returns       nothing, once the kernel has it; message_size for more than bytes_max, or than a link takes that
    ///               may not split it; network_unreachable, permission_denied, … of this very datagram;
    ///               errc::closed after close().
    /// Cancellation  a cancel point; then it was not sent.
    /// Cost          a plain system call while the socket's buffer has room.
    datagram_send send_to(std::span<const std::byte> bytes, const address& to) noexcept {
        return {state_, outgoing(bytes, to)};
    }
    datagram_send send_to(std::string_view text, const address& to) noexcept {
        return send_to(std::as_bytes(std::span(text)), to);
    }
    /// The same to the peer it is connected to; destination_address_required when there is none.
    datagram_send send(std::span<const std::byte> bytes) noexcept { return {state_, outgoing(bytes)}; }
    datagram_send send(std::string_view text) noexcept { return send(std::as_bytes(std::span(text))); }

    /// Sends from the front as many of them as there is room for, at least one.
    /// Returns       how many the kernel has, and the error of the one that follows, if that is why it has no more.
    /// Cancellation  a cancel point; then none was sent.
    /// Cost          a system call for up to 64 datagrams or sequences of equal size.
    datagrams_send send_many(std::span<const outgoing> all) noexcept { return {state_, all}; }

    /// Receives one datagram into the buffer. What does not fit is lost, and told. A select case, as the next two.
    /// Returns       sender and sizes; errc::closed after close().
    /// Cancellation  a cancel point; then none was taken.
    datagram_receive recv_from(std::span<std::byte> to) noexcept { return {state_, to}; }

    /// The same into leased memory, which is taken only when a datagram is there: never truncated.
    datagram_lease recv() noexcept { return datagram_lease(state_); }

    /// Receives as many as there are, at least one, each into a place of its own. Otherwise as recv_from().
    /// Returns  how many places are filled, from the front.
    /// Cost     a system call for up to 64.
    datagrams_receive recv_many(std::span<incoming> to) noexcept { return {state_, to}; }

    /// Also receives what is sent to this group, at the interface of this number; 0: that of the address's scope, or
    /// one that the system chooses. Groups that it has not joined it does not hear, though others here have.
    /// Returns  address_in_use when it has joined already; no_such_device; invalid_argument. Never waits.
    result<> join(const address& group, unsigned interface = 0) noexcept;
    /// Undoes join(). Returns: address_not_available when it has not joined.
    result<> leave(const address& group, unsigned interface = 0) noexcept;
    /// Do the members on this machine get what we send to a group? At first they do.
    result<> set_multicast_loop(bool on) noexcept;
    /// How many routers it may pass; at first 1, which stays in the local network.
    result<> set_multicast_hops(int hops) noexcept;
    /// The interface through which it goes out; 0: the system chooses.
    result<> set_multicast_interface(unsigned interface) noexcept;

    /// The address it is bound to, with the port that the system chose, and the host once it is connected.
    result<address> local_address() noexcept;
    /// The one it is connected to; not_connected.
    result<address> peer_address() noexcept;

    /// Ends what waits with errc::closed. Threads: any, as long as the socket lives. Never waits.
    void close() noexcept { state_.socket.close(); }
    bool is_open() const noexcept { return !state_.socket.closed(); }

    /// How many reports of the network about earlier datagrams were absorbed. Linux makes them only for a
    /// connected socket. Threads: any.
    std::size_t icmp_errors() const noexcept;
    /// How many datagrams were lost before they left, for want of memory. Threads: any.
    std::size_t lost_sends() const noexcept;

    /// For those who need another system call. It stays the socket's.
    int native_handle() const noexcept { return state_.socket.fd(); }

private:
    udp_socket(detail::descriptor&& socket, const udp_options& how) noexcept
        : state_(std::move(socket), how.segment(), how.coalesce()) {}

    detail::datagrams state_;
};
}
