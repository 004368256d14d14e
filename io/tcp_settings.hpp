// tcp_settings: what tcp_options asks for, said to the system, for those who connect and those who listen.
#pragma once

#include <algorithm>
#include <climits>

#include <runnel/detail/socket_calls.hpp>
#include <runnel/tcp_options.hpp>

namespace runnel::detail {

/// Returns 0, or the -errno of what could not be had.
inline int apply(const keep_alive& how, socket_calls& calls, int fd) noexcept {
    int status = calls.set(fd, socket_option::keep_alive, how.on());
    const auto set = [&](socket_option which, int value) {
        if (status >= 0 && value != 0) status = calls.set(fd, which, value);
    };
    if (!how.on()) return status;
    set(socket_option::keep_alive_idle, how.idle_seconds());
    set(socket_option::keep_alive_interval, how.interval_seconds());
    set(socket_option::keep_alive_count, how.count());
    return status;
}

/// What a connection has, and a listener hands on. What nobody asked for costs no call.
inline int apply(const tcp_options& how, socket_calls& calls, int fd) noexcept {
    int status = calls.set(fd, socket_option::nodelay, how.nodelay());
    const auto set_buffer = [&](socket_option which, std::size_t bytes) {
        const int value = static_cast<int>(std::min<std::size_t>(bytes, INT_MAX / 2));
        if (status >= 0 && bytes != 0) status = calls.set(fd, which, value);
    };
    set_buffer(socket_option::send_buffer, how.send_buffer());
    set_buffer(socket_option::receive_buffer, how.receive_buffer());
    if (status >= 0 && how.reset_on_close()) status = calls.set(fd, socket_option::linger, 0);
    if (status >= 0 && how.keep_alive().on()) status = apply(how.keep_alive(), calls, fd);
    return status;
}
}
