// The system's socket calls; see runnel/detail/socket_calls.hpp.
#include <runnel/detail/socket_calls.hpp>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <runnel/address.hpp>
#include <runnel/detail/check.hpp>
#include <runnel/detail/io_backend.hpp>
#include <runnel/detail/wait.hpp>
#include <runnel/detail/worker_local.hpp>

#include "drivers/byte_calls.hpp"
#include "drivers/looks.hpp"
#include "drivers/uninterrupted.hpp"

namespace runnel::detail {

namespace {

/// What a call returned, or -errno.
template <class Status>
Status or_error(Status status) noexcept {
    return status < 0 ? static_cast<Status>(-errno) : status;
}

const sockaddr* pointer(native_address a) noexcept { return static_cast<const sockaddr*>(a.data); }
socklen_t length(native_address a) noexcept { return static_cast<socklen_t>(a.bytes); }

using name_call = int (*)(int, sockaddr*, socklen_t*);

int ask_name(name_call call, int fd, native_address_room& out) noexcept {
    static_assert(sizeof out.data >= sizeof(sockaddr_storage));
    socklen_t bytes = sizeof out.data;
    const int status = or_error(call(fd, reinterpret_cast<sockaddr*>(out.data), &bytes));
    out.bytes = status >= 0 ? bytes : 0;
    return status;
}

int number_of(socket_kind kind) noexcept { return kind == socket_kind::stream ? SOCK_STREAM : SOCK_DGRAM; }

int number_of(socket_family family) noexcept {
    switch (family) {
        case socket_family::ipv4:
            return AF_INET;
        case socket_family::ipv6:
            return AF_INET6;
        case socket_family::local:
            return AF_UNIX;
    }
    return AF_UNSPEC;
}

struct option_name {
    int level, name;
};

option_name datagram_option(socket_option which, bool is_ipv6) noexcept {
    switch (which) {
        case socket_option::broadcast:
            return {SOL_SOCKET, SO_BROADCAST};
        case socket_option::v6only:
            return {IPPROTO_IPV6, IPV6_V6ONLY};
        case socket_option::segment:
            return {SOL_UDP, UDP_SEGMENT};
        case socket_option::coalesce:
            return {SOL_UDP, UDP_GRO};
        case socket_option::hop_limit:
            return is_ipv6 ? option_name{IPPROTO_IPV6, IPV6_UNICAST_HOPS} : option_name{IPPROTO_IP, IP_TTL};
        case socket_option::multicast_loop:
            return is_ipv6 ? option_name{IPPROTO_IPV6, IPV6_MULTICAST_LOOP}
                           : option_name{IPPROTO_IP, IP_MULTICAST_LOOP};
        case socket_option::multicast_hops:
            return is_ipv6 ? option_name{IPPROTO_IPV6, IPV6_MULTICAST_HOPS}
                           : option_name{IPPROTO_IP, IP_MULTICAST_TTL};
        case socket_option::multicast_all:
            return is_ipv6 ? option_name{IPPROTO_IPV6, IPV6_MULTICAST_ALL}
                           : option_name{IPPROTO_IP, IP_MULTICAST_ALL};
        case socket_option::multicast_interface:
            return is_ipv6 ? option_name{IPPROTO_IPV6, IPV6_MULTICAST_IF}
                           : option_name{IPPROTO_IP, IP_MULTICAST_IF};
        default:
            return {-1, -1};
    }
}

bool is_ipv6(int fd) noexcept {
    int family = 0;
    socklen_t bytes = sizeof family;
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &bytes) == 0 && family == AF_INET6;
}

/// Those that are one number, on or off too.
option_name name_of(socket_option which, int fd) noexcept {
    switch (which) {
        case socket_option::nodelay:
            return {IPPROTO_TCP, TCP_NODELAY};
        case socket_option::reuse_address:
            return {SOL_SOCKET, SO_REUSEADDR};
        case socket_option::reuse_port:
            return {SOL_SOCKET, SO_REUSEPORT};
        case socket_option::keep_alive:
            return {SOL_SOCKET, SO_KEEPALIVE};
        case socket_option::keep_alive_idle:
            return {IPPROTO_TCP, TCP_KEEPIDLE};
        case socket_option::keep_alive_interval:
            return {IPPROTO_TCP, TCP_KEEPINTVL};
        case socket_option::keep_alive_count:
            return {IPPROTO_TCP, TCP_KEEPCNT};
        case socket_option::send_buffer:
            return {SOL_SOCKET, SO_SNDBUF};
        case socket_option::receive_buffer:
            return {SOL_SOCKET, SO_RCVBUF};
        default:
            return datagram_option(which, is_ipv6(fd));
    }
}

int set_linger(int fd, int seconds) noexcept {
    linger value{};
    value.l_onoff = seconds >= 0 ? 1 : 0;
    value.l_linger = seconds >= 0 ? seconds : 0;
    return or_error(setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof value));
}

int get_linger(int fd, int& seconds) noexcept {
    linger value{};
    socklen_t bytes = sizeof value;
    const int status = or_error(getsockopt(fd, SOL_SOCKET, SO_LINGER, &value, &bytes));
    if (status >= 0) seconds = value.l_onoff != 0 ? value.l_linger : -1;
    return status;
}

int set_multicast_interface(int fd, int number) noexcept {
    if (is_ipv6(fd)) return or_error(setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &number, sizeof number));
    ip_mreqn value{};
    value.imr_ifindex = number;
    return or_error(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &value, sizeof value));
}

int set_non_blocking(int fd, bool on) noexcept {
    const int flags = or_error(fcntl(fd, F_GETFL));
    if (flags < 0) return flags;
    return or_error(fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}
}

native_address native(const address& a) noexcept { return {a.native(), a.native_bytes()}; }

socket_family family_of(const address& a) noexcept {
    return a.is_ipv4() ? socket_family::ipv4 : socket_family::ipv6;
}

socket_family family_of(const native_address_room& written) noexcept {
    sa_family_t family = AF_UNSPEC;
    std::memcpy(&family, written.data, sizeof family);
    if (family == AF_UNIX) return socket_family::local;
    return family == AF_INET ? socket_family::ipv4 : socket_family::ipv6;
}

int socket_calls::open(socket_kind kind, socket_family family) noexcept {
    return or_error(socket(number_of(family), number_of(kind) | SOCK_CLOEXEC, 0));
}

int socket_calls::set(int fd, socket_option which, int value) noexcept {
    if (which == socket_option::linger) return set_linger(fd, value);
    if (which == socket_option::non_blocking) return set_non_blocking(fd, value != 0);
    if (which == socket_option::multicast_interface) return set_multicast_interface(fd, value);
    const option_name option = name_of(which, fd);
    return or_error(setsockopt(fd, option.level, option.name, &value, sizeof value));
}

int socket_calls::get(int fd, socket_option which, int& value) noexcept {
    if (which == socket_option::linger) return get_linger(fd, value);
    if (which == socket_option::non_blocking) {
        const int flags = or_error(fcntl(fd, F_GETFL));
        if (flags >= 0) value = (flags & O_NONBLOCK) != 0 ? 1 : 0;
        return flags;
    }
    const option_name option = name_of(which, fd);
    socklen_t bytes = sizeof value;
    return or_error(getsockopt(fd, option.level, option.name, &value, &bytes));
}

int socket_calls::bind(int fd, native_address to) noexcept {
    return or_error(::bind(fd, pointer(to), length(to)));
}

int socket_calls::connect_now(int fd, native_address to) noexcept {
    return or_error(::connect(fd, pointer(to), length(to)));
}

int socket_calls::listen(int fd, int backlog) noexcept {
    const int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return -errno;
    return or_error(::listen(fd, backlog));
}

int socket_calls::local(int fd, native_address_room& out) noexcept { return ask_name(getsockname, fd, out); }

int socket_calls::peer(int fd, native_address_room& out) noexcept { return ask_name(getpeername, fd, out); }

int socket_calls::shut_down(int fd, int how) noexcept { return or_error(shutdown(fd, how)); }

// Not tried again after EINTR: on Linux the number is free by then, and may be somebody else's.
int socket_calls::close(int fd) noexcept { return or_error(::close(fd)); }

long socket_calls::receive_now(int fd, void* to, std::size_t bytes) noexcept {
    return answer_of([&] { return recv(fd, to, bytes, MSG_DONTWAIT); });
}

long socket_calls::send_now(int fd, const void* from, std::size_t bytes) noexcept {
    return answer_of([&] { return send(fd, from, bytes, MSG_DONTWAIT | MSG_NOSIGNAL); });
}

bool socket_calls::readable_now(int fd) noexcept {
    pollfd asked{fd, POLLIN | POLLRDHUP, 0};
    return answer_of([&] { return poll(&asked, 1, 0); }) !=
           0;  // what is wrong with it will be said by who reads
}

int socket_calls::datagram_now(int fd) noexcept { return look_for_datagram(fd); }

int socket_calls::accept_now(int fd) noexcept {
    const int status = or_error(accept4(fd, nullptr, nullptr, SOCK_CLOEXEC));
    return status == -EAGAIN && reads_no_more(fd) ? -EINVAL : status;
}

long socket_calls::receive_message_now(int fd, msghdr& into, bool full_length) noexcept {
    const int flags = MSG_DONTWAIT | MSG_CMSG_CLOEXEC | (full_length ? MSG_TRUNC : 0);
    return answer_of([&] { return recvmsg(fd, &into, flags); });
}

long socket_calls::send_message_now(int fd, const msghdr& what) noexcept {
    return answer_of([&] { return sendmsg(fd, &what, MSG_DONTWAIT | MSG_NOSIGNAL); });
}

long socket_calls::receive_messages_now(int fd, mmsghdr* into, unsigned most) noexcept {
    return answer_of([&] { return recvmmsg(fd, into, most, MSG_DONTWAIT | MSG_TRUNC, nullptr); });
}

long socket_calls::send_messages_now(int fd, mmsghdr* what, unsigned count) noexcept {
    return answer_of([&] { return sendmmsg(fd, what, count, MSG_DONTWAIT | MSG_NOSIGNAL); });
}

int socket_calls::set_membership(int fd, native_address group, unsigned interface, bool joined) noexcept {
    sockaddr_storage to{};
    std::memcpy(&to, group.data, std::min(group.bytes, sizeof to));
    if (to.ss_family == AF_INET) {
        ip_mreqn value{};
        value.imr_multiaddr = reinterpret_cast<const sockaddr_in&>(to).sin_addr;
        value.imr_ifindex = static_cast<int>(interface);
        const int name = joined ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP;
        return or_error(setsockopt(fd, IPPROTO_IP, name, &value, sizeof value));
    }
    ipv6_mreq value{};
    const auto& six = reinterpret_cast<const sockaddr_in6&>(to);
    value.ipv6mr_multiaddr = six.sin6_addr;
    value.ipv6mr_interface = interface != 0 ? interface : six.sin6_scope_id;
    const int name = joined ? IPV6_JOIN_GROUP : IPV6_LEAVE_GROUP;
    return or_error(setsockopt(fd, IPPROTO_IPV6, name, &value, sizeof value));
}

int socket_calls::make_pipe(int (&ends)[2]) noexcept { return or_error(pipe2(ends, O_CLOEXEC)); }

long socket_calls::read_now(int fd, void* to, std::size_t bytes, bool at_once) noexcept {
    return read_bytes_now(fd, to, bytes, at_once);
}

long socket_calls::write_now(int fd, const void* from, std::size_t bytes, bool at_once) noexcept {
    return write_bytes_now(fd, from, bytes, at_once);
}

socket_calls& current_sockets() noexcept {
    class system_calls final : public socket_calls {};
    static constinit system_calls system;
    io_backend* backend = tls_worker != nullptr ? current_driver().io() : nullptr;
    return backend != nullptr ? *backend : static_cast<socket_calls&>(system);
}

io_backend& current_io() noexcept {
    io_backend* backend = current_driver().io();
    check(backend != nullptr, "socket: this runtime was made with a driver that does no I/O");
    return *backend;
}
}
