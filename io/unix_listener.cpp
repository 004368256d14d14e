// unix_listener; see runnel/unix.hpp.
#include <runnel/unix.hpp>

#include "call_socket.hpp"

namespace runnel {

result<unix_listener> unix_listener::bind(const unix_address& on, const unix_options& how,
                                          std::source_location at) {
    detail::socket_calls& calls = detail::current_sockets();
    const int fd = calls.open(detail::socket_kind::stream, detail::socket_family::local);
    if (fd < 0) return detail::system_error(fd);
    detail::descriptor socket(fd, detail::counted_kind::listener, at);
    detail::socket_file file;
    int status = file.bind(calls, fd, on, how);
    if (status >= 0) status = calls.listen(fd, how.backlog());
    detail::native_address_room local;
    if (status >= 0) status = calls.local(fd, local);
    if (status < 0) return detail::system_error(status);
    return unix_listener(std::move(socket), std::move(file), detail::to_address<unix_address>(local), at);
}

result<unix_listener> unix_listener::bind(std::string_view on, const unix_options& how,
                                          std::source_location at) {
    const result<unix_address> parsed = unix_address::parse(on);
    if (!parsed) return parsed.error();
    return bind(*parsed, how, at);
}
}
