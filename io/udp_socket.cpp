// udp_socket: how it is made, its settings, and what its operations give; see runnel/udp.hpp.
#include <atomic>
#include <cerrno>

#include <runnel/detail/io_backend.hpp>
#include <runnel/udp.hpp>

namespace runnel {

using detail::lane;
using detail::socket_calls;
using detail::socket_option;

namespace {

std::error_code system_error(int status) noexcept { return {-status, std::system_category()}; }

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

/// Calls `what(socket_calls, fd)` unless the socket is closed.
template <class Call>
result<> call(detail::descriptor& on, Call what) noexcept {
    if (!on.enter(lane::call, false)) return errc::closed;
    const int status = what(detail::current_sockets(), on.fd());
    on.leave(lane::call);
    if (status < 0) return system_error(status);
    return {};
}

result<> set(detail::datagrams& of, socket_option which, int value) noexcept {
    return call(of.socket, [&](socket_calls& calls, int fd) { return calls.set(fd, which, value); });
}

using name_call = int (socket_calls::*)(int, detail::native_address_room&);

result<address> ask(detail::datagrams& of, name_call which) noexcept {
    detail::native_address_room found;
    const result<> asked =
        call(of.socket, [&](socket_calls& calls, int fd) { return (calls.*which)(fd, found); });
    if (!asked) return asked.error();
    address made;
    made.assign(found.data, found.bytes);
    return made;
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
    if (fd < 0) return system_error(fd);
    detail::descriptor socket(fd, detail::counted_kind::socket, at);
    int status = apply(calls, fd, how, on);
    if (status >= 0) status = calls.bind(fd, detail::native(on));
    if (status < 0) return system_error(status);
    return udp_socket(std::move(socket), what_can_be(calls, fd, how));
}

result<udp_socket> udp_socket::bind(std::string_view on, const udp_options& how, std::source_location at) {
    const result<address> parsed = address::parse(on);
    if (!parsed) return parsed.error();
    return bind(*parsed, how, at);
}

result<> udp_socket::connect(const address& peer) noexcept {
    return call(state_.socket,
                [&](socket_calls& calls, int fd) { return calls.connect_now(fd, detail::native(peer)); });
}

result<> udp_socket::join(const address& group, unsigned interface) noexcept {
    return call(state_.socket, [&](socket_calls& calls, int fd) {
        return calls.set_membership(fd, detail::native(group), interface, true);
    });
}

result<> udp_socket::leave(const address& group, unsigned interface) noexcept {
    return call(state_.socket, [&](socket_calls& calls, int fd) {
        return calls.set_membership(fd, detail::native(group), interface, false);
    });
}

result<> udp_socket::set_multicast_loop(bool on) noexcept {
    return set(state_, socket_option::multicast_loop, on ? 1 : 0);
}

result<> udp_socket::set_multicast_hops(int hops) noexcept {
    return set(state_, socket_option::multicast_hops, hops);
}

result<> udp_socket::set_multicast_interface(unsigned interface) noexcept {
    return set(state_, socket_option::multicast_interface, static_cast<int>(interface));
}

result<address> udp_socket::local_address() noexcept { return ask(state_, &socket_calls::local); }
result<address> udp_socket::peer_address() noexcept { return ask(state_, &socket_calls::peer); }

std::size_t udp_socket::icmp_errors() const noexcept { return read(state_.reports); }
std::size_t udp_socket::lost_sends() const noexcept { return read(state_.lost); }
}
