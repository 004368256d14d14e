// udp_socket: how it is made, its settings, and what its operations give; see runnel/udp.hpp.
#include <atomic>
#include <cerrno>

#include <runnel/detail/io_backend.hpp>
#include <runnel/udp.hpp>

#include "call_socket.hpp"

namespace runnel {

using detail::socket_calls;
using detail::socket_option;

namespace {

/// One setting after the other, until one fails.
class settings {
public:
    settings(socket_calls& calls, int fd) noexcept : calls_(calls), fd_(fd) {}
    void set(socket_option which, int value, bool wanted) noexcept {
        if (wanted && status_ >= 0) status_ = calls_.set(fd_, which, value);
    }
    int status() const noexcept { return status_; }

private:
    socket_calls& calls_;
    const int fd_;
    int status_ = 0;
};

int apply(socket_calls& calls, int fd, const udp_options& how, const address& on) noexcept {
    settings those(calls, fd);
    those.set(socket_option::reuse_address, 1, how.reuse_address());
    those.set(socket_option::reuse_port, 1, how.reuse_port());
    those.set(socket_option::broadcast, 1, how.broadcast());
    those.set(socket_option::v6only, how.v6only() ? 1 : 0, on.is_ipv6());
    those.set(socket_option::send_buffer, how.send_buffer(), how.send_buffer() != 0);
    those.set(socket_option::receive_buffer, how.receive_buffer(), how.receive_buffer() != 0);
    those.set(socket_option::hop_limit, how.hop_limit(), how.hop_limit() != 0);
    // On its own Linux gives a socket at every host what is sent to a group that any other has joined. IPv6 of old
    // kernels does not know how not to.
    if (on.with_port(0) == (on.is_ipv4() ? address::any_ipv4(0) : address::any_ipv6(0)))
        (void)calls.set(fd, socket_option::multicast_all, 0);
    return those.status();
}

/// Where the kernel cannot, datagrams go one by one.
udp_options what_can_be(socket_calls& calls, int fd, udp_options how) noexcept {
    int bytes = 0;
    if (how.segment()) how.segment(calls.get(fd, socket_option::segment, bytes) >= 0);
    if (how.coalesce()) how.coalesce(calls.set(fd, socket_option::coalesce, 1) >= 0);
    return how;
}

std::size_t read(const std::size_t& figure) noexcept {
    // relaxed: a figure for people.
    return std::atomic_ref<std::size_t>(const_cast<std::size_t&>(figure)).load(std::memory_order_relaxed);
}
}

// --- What the operations give ------------------------------------------------------------------------

result<received> datagram_receive::complete(transfer done) noexcept {
    if (const std::error_code why = work_.finish(done)) return why;
    return one_.what;
}

result<std::size_t> datagrams_receive::complete(transfer done) noexcept {
    if (const std::error_code why = work_.finish(done)) return why;
    return work_.filled();
}

result<datagram> datagram_lease::complete(transfer done) noexcept {
    if (const std::error_code why = work_.finish(done)) return why;
    return datagram(std::move(work_.leased()), work_.from());
}

// --- The socket --------------------------------------------------------------------------------------

result<udp_socket> udp_socket::bind(const address& on, const udp_options& how, std::source_location at) {
    socket_calls& calls = detail::current_sockets();
    const int fd = calls.open(detail::socket_kind::datagram, detail::family_of(on));
    if (fd < 0) return detail::system_error(fd);
    detail::descriptor socket(fd, detail::counted_kind::socket, at);
    int status = apply(calls, fd, how, on);
    if (status >= 0) status = calls.bind(fd, detail::native(on));
    if (status < 0) return detail::system_error(status);
    return udp_socket(std::move(socket), what_can_be(calls, fd, how));
}

result<udp_socket> udp_socket::bind(std::string_view on, const udp_options& how, std::source_location at) {
    const result<address> parsed = address::parse(on);
    if (!parsed) return parsed.error();
    return bind(*parsed, how, at);
}

result<> udp_socket::connect(const address& peer) noexcept {
    return detail::done_or_error(detail::call(state_.socket, [&](socket_calls& calls, int fd) {
        return calls.connect_now(fd, detail::native(peer));
    }));
}

namespace {
result<> set_membership(detail::descriptor& on, const address& group, unsigned interface,
                        bool joined) noexcept {
    return detail::done_or_error(detail::call(on, [&](socket_calls& calls, int fd) {
        return calls.set_membership(fd, detail::native(group), interface, joined);
    }));
}
}

result<> udp_socket::join(const address& group, unsigned interface) noexcept {
    return set_membership(state_.socket, group, interface, true);
}

result<> udp_socket::leave(const address& group, unsigned interface) noexcept {
    return set_membership(state_.socket, group, interface, false);
}

result<> udp_socket::set_multicast_loop(bool on) noexcept {
    return detail::set_option(state_.socket, socket_option::multicast_loop, on ? 1 : 0);
}

result<> udp_socket::set_multicast_hops(int hops) noexcept {
    return detail::set_option(state_.socket, socket_option::multicast_hops, hops);
}

result<> udp_socket::set_multicast_interface(unsigned interface) noexcept {
    return detail::set_option(state_.socket, socket_option::multicast_interface, static_cast<int>(interface));
}

result<address> udp_socket::local_address() noexcept {
    return detail::local_address_of<address>(state_.socket);
}
result<address> udp_socket::peer_address() noexcept {
    return detail::peer_address_of<address>(state_.socket);
}

std::size_t udp_socket::icmp_errors() const noexcept { return read(state_.reports); }
std::size_t udp_socket::lost_sends() const noexcept { return read(state_.lost); }
}
