// tcp_listener; see runnel/tcp.hpp.
#include <runnel/tcp.hpp>

#include "call_socket.hpp"
#include "tcp_settings.hpp"

namespace runnel {

namespace {

int make_listener(detail::socket_calls& calls, int fd, const address& on, const tcp_options& how) noexcept {
    using detail::socket_option;
    int status = calls.set(fd, socket_option::reuse_address, how.reuse_address());
    if (status >= 0 && how.reuse_port()) status = calls.set(fd, socket_option::reuse_port, true);
    if (status >= 0) status = calls.bind(fd, detail::native(on));
    if (status >= 0) status = detail::apply(how, calls, fd);  // inherited by accept
    if (status >= 0) status = calls.listen(fd, how.backlog());
    return status;
}
}

result<tcp_listener> tcp_listener::bind(const address& on, const tcp_options& how, std::source_location at) {
    detail::socket_calls& calls = detail::current_sockets();
    const int fd = calls.open(detail::socket_kind::stream, detail::family_of(on));
    if (fd < 0) return detail::system_error(fd);
    detail::descriptor socket(fd, detail::counted_kind::listener, at);
    if (const int status = make_listener(calls, fd, on, how); status < 0) return detail::system_error(status);
    detail::native_address_room local;
    if (const int status = calls.local(fd, local); status < 0) return detail::system_error(status);
    return tcp_listener(std::move(socket), detail::to_address<address>(local), at);
}

result<tcp_listener> tcp_listener::bind(std::string_view on, const tcp_options& how,
                                        std::source_location at) {
    const result<address> parsed = address::parse(on);
    if (!parsed) return parsed.error();
    return bind(*parsed, how, at);
}
}
