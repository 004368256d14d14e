// The system's socket calls; see runnel/detail/socket_calls.hpp.
#include <runnel/detail/socket_calls.hpp>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include <runnel/address.hpp>
#include <runnel/detail/check.hpp>
#include <runnel/detail/io_backend.hpp>
#include <runnel/detail/wait.hpp>
#include <runnel/detail/worker_local.hpp>

#include "byte_calls.hpp"

namespace runnel::detail {

namespace {

/// What a call returned, or -errno.
template <class Status>
Status or_error(Status status) noexcept {
    return status < 0 ? static_cast<Status>(-errno) : status;
}

const sockaddr* native(const address& a) noexcept { return static_cast<const sockaddr*>(a.native()); }
socklen_t native_bytes(const address& a) noexcept { return static_cast<socklen_t>(a.native_bytes()); }

using name_call = int (*)(int, sockaddr*, socklen_t*);

int ask_name(name_call call, int fd, address& out) noexcept {
    sockaddr_storage name{};
    socklen_t bytes = sizeof name;
    const int status = or_error(call(fd, reinterpret_cast<sockaddr*>(&name), &bytes));
    if (status >= 0) out.assign(&name, bytes);
    return status;
}
}

int socket_calls::open_stream(const address& family_of) noexcept {
    return or_error(socket(family_of.is_ipv4() ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

int socket_calls::set(int fd, socket_option which, bool on) noexcept {
    const int value = on ? 1 : 0;
    const auto put = [&](int level, int name) noexcept {
        return or_error(setsockopt(fd, level, name, &value, sizeof value));
    };
    switch (which) {
        case socket_option::nodelay:
            return put(IPPROTO_TCP, TCP_NODELAY);
        case socket_option::reuse_address:
            return put(SOL_SOCKET, SO_REUSEADDR);
        case socket_option::reuse_port:
            return put(SOL_SOCKET, SO_REUSEPORT);
    }
    return -EINVAL;
}

int socket_calls::bind(int fd, const address& to) noexcept {
    return or_error(::bind(fd, native(to), native_bytes(to)));
}

int socket_calls::listen(int fd, int backlog) noexcept { return or_error(::listen(fd, backlog)); }

int socket_calls::local(int fd, address& out) noexcept { return ask_name(getsockname, fd, out); }

int socket_calls::peer(int fd, address& out) noexcept { return ask_name(getpeername, fd, out); }

int socket_calls::shut_down(int fd, int how) noexcept { return or_error(shutdown(fd, how)); }

// Not tried again after EINTR: on Linux the number is free by then, and may be somebody else's.
int socket_calls::close(int fd) noexcept { return or_error(::close(fd)); }

long socket_calls::receive_now(int fd, void* to, std::size_t bytes) noexcept {
    return or_error(recv(fd, to, bytes, MSG_DONTWAIT));
}

long socket_calls::send_now(int fd, const void* from, std::size_t bytes) noexcept {
    return or_error(send(fd, from, bytes, MSG_DONTWAIT | MSG_NOSIGNAL));
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
