// tcp_listener; see runnel/tcp.hpp.
#include <runnel/detail/socket_calls.hpp>
#include <runnel/tcp.hpp>

namespace runnel {

namespace {

std::error_code system_error(int status) noexcept { return {-status, std::system_category()}; }

int make_listener(detail::socket_calls& calls, int fd, const address& on, const tcp_options& how) noexcept {
    using detail::socket_option;
    int status = calls.set(fd, socket_option::reuse_address, how.reuse_address());
    if (status >= 0 && how.reuse_port()) status = calls.set(fd, socket_option::reuse_port, true);
    if (status >= 0) status = calls.bind(fd, detail::native(on));
    if (status >= 0) status = calls.set(fd, socket_option::nodelay, how.nodelay());  // inherited by accept
    if (status >= 0) status = calls.listen(fd, how.backlog());
    return status;
}
}

result<tcp_listener> tcp_listener::bind(const address& on, const tcp_options& how, std::source_location at) {
    detail::socket_calls& calls = detail::current_sockets();
    const int fd = calls.open(detail::socket_kind::stream, detail::family_of(on));
    if (fd < 0) return system_error(fd);
    detail::descriptor socket(fd, detail::counted_kind::listener, at);
    if (const int status = make_listener(calls, fd, on, how); status < 0) return system_error(status);
    detail::native_address_room bound;
    if (const int status = calls.local(fd, bound); status < 0) return system_error(status);
    address local;
    local.assign(bound.data, bound.bytes);
    detail::watch_listener(socket, to_string(local), at);
    return tcp_listener(std::move(socket), local);
}

result<tcp_listener> tcp_listener::bind(std::string_view on, const tcp_options& how,
                                        std::source_location at) {
    const result<address> parsed = address::parse(on);
    if (!parsed) return parsed.error();
    return bind(*parsed, how, at);
}

accept_operation tcp_listener::accept(std::source_location at) noexcept {
    return accept_operation(socket_, at);
}

accept_operation::result_type accept_operation::as_stream(result<detail::descriptor> made) noexcept {
    if (!made) return made.error();
    return tcp_stream(std::move(*made));
}
}
