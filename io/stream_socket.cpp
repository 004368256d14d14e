// See runnel/stream_socket.hpp.
#include <runnel/stream_socket.hpp>

#include <sys/socket.h>

#include <algorithm>
#include <climits>

#include "call_socket.hpp"

namespace runnel {

using detail::socket_calls;
using detail::socket_option;

namespace {

int to_option(std::size_t bytes) noexcept {
    return static_cast<int>(std::min<std::size_t>(bytes, INT_MAX / 2));  // it is doubled
}

result<std::size_t> size_of(detail::descriptor& on, socket_option which) noexcept {
    int bytes = 0;
    const int status =
        detail::call(on, [&](socket_calls& calls, int fd) { return calls.get(fd, which, bytes); });
    if (status < 0) return detail::call_error(status);
    return static_cast<std::size_t>(bytes);
}
}

result<> stream_socket::shutdown_write() noexcept {
    return detail::done_or_error(
        detail::call(socket_, [](socket_calls& calls, int fd) { return calls.shut_down(fd, SHUT_WR); }));
}

result<> stream_socket::set_send_buffer(std::size_t bytes) noexcept {
    return detail::set_option(socket_, socket_option::send_buffer, to_option(bytes));
}

result<> stream_socket::set_receive_buffer(std::size_t bytes) noexcept {
    return detail::set_option(socket_, socket_option::receive_buffer, to_option(bytes));
}

result<std::size_t> stream_socket::send_buffer() noexcept {
    return size_of(socket_, socket_option::send_buffer);
}

result<std::size_t> stream_socket::receive_buffer() noexcept {
    return size_of(socket_, socket_option::receive_buffer);
}
}
