// tcp_stream; see runnel/tcp.hpp.
#include <runnel/detail/socket_calls.hpp>
#include <runnel/tcp.hpp>

#include "call_socket.hpp"
#include "tcp_settings.hpp"

namespace runnel {

using detail::io_kind;
using detail::lane;

// --- Connecting ------------------------------------------------------------------------------------

connect_operation::connect_operation(result<address> to, const tcp_options& how,
                                     std::source_location at) noexcept
    : io_operation_of(socket_, lane::out, detail::make_action(io_kind::connect)),
      to_(std::move(to)),
      how_(how),
      at_(at) {}

void connect_operation::prepare() noexcept {
    on_ = &socket_;
    if (!to_) return;
    detail::socket_calls& calls = detail::current_sockets();
    const int fd = calls.open(detail::socket_kind::stream, detail::family_of(*to_));
    if (fd < 0) {
        to_ = detail::system_error(fd);
        return;
    }
    socket_ = detail::descriptor(fd, detail::counted_kind::socket, at_);
    if (const int status = detail::apply(how_, calls, fd); status < 0) {
        socket_.close();
        to_ = detail::system_error(status);
        return;
    }
    action_.data = const_cast<void*>(to_->native());
    action_.bytes = to_->native_bytes();
}

result<tcp_stream> connect_operation::complete(transfer done) noexcept {
    if (!to_) return to_.error();
    if (done.error) return done.error;
    return tcp_stream(std::move(socket_));
}

connect_operation tcp_stream::connect(const address& to, const tcp_options& how,
                                      std::source_location at) noexcept {
    return connect_operation(to, how, at);
}

connect_operation tcp_stream::connect(std::string_view to, const tcp_options& how, std::source_location at) {
    return connect_operation(address::parse(to), how, at);
}

// --- The rest --------------------------------------------------------------------------------------

result<> tcp_stream::set_nodelay(bool on) noexcept {
    return detail::set_option(socket_, detail::socket_option::nodelay, on);
}

result<> tcp_stream::set_keep_alive(const keep_alive& how) noexcept {
    return detail::done_or_error(detail::call(
        socket_, [&](detail::socket_calls& calls, int fd) { return detail::apply(how, calls, fd); }));
}

result<> tcp_stream::set_reset_on_close(bool on) noexcept {
    return detail::set_option(socket_, detail::socket_option::linger, on ? 0 : -1);
}

result<address> tcp_stream::local_address() noexcept { return detail::local_address_of<address>(socket_); }

result<address> tcp_stream::peer_address() noexcept { return detail::peer_address_of<address>(socket_); }
}
