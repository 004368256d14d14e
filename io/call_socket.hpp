// call_socket: a call on a socket that another task may close meanwhile, and its errors in our words.
#pragma once

#include <cerrno>
#include <string>
#include <system_error>

#include <runnel/address.hpp>
#include <runnel/detail/descriptor.hpp>
#include <runnel/detail/socket_calls.hpp>
#include <runnel/result.hpp>

namespace runnel::detail {

inline std::error_code system_error(int status) noexcept { return {-status, std::system_category()}; }

/// Calls `what(socket_calls, fd)` unless the socket is closed. Returns its status, or -EBADF.
template <class Call>
auto call(descriptor& on, Call what) noexcept -> decltype(what(current_sockets(), 0)) {
    if (!on.enter(lane::call, false)) return -EBADF;
    const auto status = what(current_sockets(), on.fd());
    on.leave(lane::call);
    return status;
}

inline std::error_code call_error(int status) noexcept {
    return status == -EBADF ? make_error_code(errc::closed) : system_error(status);
}

inline result<> done_or_error(int status) noexcept {
    if (status < 0) return call_error(status);
    return {};
}

inline result<> set_option(descriptor& on, socket_option which, int value) noexcept {
    return done_or_error(call(on, [&](socket_calls& calls, int fd) { return calls.set(fd, which, value); }));
}

/// An Address of what the system has written; of either kind.
template <class Address>
Address to_address(const native_address_room& written) noexcept {
    Address made;
    made.assign(written.data, written.bytes);
    return made;
}

template <class Address>
result<Address> local_address_of(descriptor& on) noexcept {
    native_address_room found;
    const int status = call(on, [&](socket_calls& calls, int fd) { return calls.local(fd, found); });
    if (status < 0) return call_error(status);
    return to_address<Address>(found);
}

template <class Address>
result<Address> peer_address_of(descriptor& on) noexcept {
    native_address_room found;
    const int status = call(on, [&](socket_calls& calls, int fd) { return calls.peer(fd, found); });
    if (status < 0) return call_error(status);
    return to_address<Address>(found);
}
}
