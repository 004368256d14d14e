// unix_datagram; see runnel/unix_datagram.hpp.
#include <runnel/unix_datagram.hpp>

#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include <algorithm>
#include <new>

#include <runnel/time.hpp>

#include "call_socket.hpp"

namespace runnel {

using namespace std::chrono_literals;
using detail::io_kind;
using detail::lane;
using detail::make_action;

namespace detail {

msghdr* datagram_message::fill(void* bytes, std::size_t size, const native_address& to) noexcept {
    static_assert(sizeof(msghdr) == sizeof message_ && sizeof(iovec) == sizeof place_ &&
                  sizeof(sockaddr_un) <= sizeof name_);
    auto* place = ::new (static_cast<void*>(place_)) iovec{bytes, size};
    auto* message = ::new (static_cast<void*>(message_)) msghdr{};
    message->msg_iov = place;
    message->msg_iovlen = 1;
    message->msg_name = const_cast<void*>(to.data);  // only read, when it is somebody's
    message->msg_namelen = static_cast<socklen_t>(to.bytes);
    return message;
}

msghdr* datagram_message::make_room(std::span<std::byte> to) noexcept {
    return fill(to.data(), to.size(), {name_, sizeof(sockaddr_un)});
}

unix_address datagram_message::name() const noexcept {
    unix_address made;
    made.assign(name_, std::launder(reinterpret_cast<const msghdr*>(message_))->msg_namelen);
    return made;
}
}

// --- Operations ------------------------------------------------------------------------------------

datagram_receive_operation::datagram_receive_operation(detail::descriptor& on,
                                                       std::span<std::byte> to) noexcept
    : io_operation_of(on, lane::in, make_action(io_kind::receive_message)), to_(to) {
    action_.full_length = true;
    try_first_ = true;
}

result<received_datagram> datagram_receive_operation::complete(transfer done) noexcept {
    if (done.error) return done.error;
    received_datagram came;
    came.length = done.bytes;
    came.bytes = std::min(done.bytes, to_.size());
    came.from = message_.name();
    return came;
}

long datagram_receive_operation::take(detail::socket_calls& calls, int fd) noexcept {
    return calls.receive_message_now(fd, *static_cast<msghdr*>(action_.data), true);
}

datagram_send_operation::datagram_send_operation(detail::descriptor& on,
                                                 std::span<const std::byte> from) noexcept
    : io_operation_of(on, lane::out, make_action(io_kind::send_message)), from_(from) {
    try_first_ = true;
}

datagram_send_operation::datagram_send_operation(detail::descriptor& on, std::span<const std::byte> from,
                                                 const unix_address& to) noexcept
    : datagram_send_operation(on, from) {
    to_ = &to;
    may_wait_ = false;
}

void datagram_send_operation::prepare() noexcept {
    const detail::native_address to = to_ != nullptr ? detail::native(*to_) : detail::native_address();
    action_.data = message_.fill(const_cast<std::byte*>(from_.data()), from_.size(), to);
}

result<> datagram_send_operation::complete(transfer done) noexcept {
    if (done.error) return done.error;
    return {};
}

// --- The socket ------------------------------------------------------------------------------------

namespace {

result<detail::descriptor> open_datagram(std::source_location at) noexcept {
    const int fd =
        detail::current_sockets().open(detail::socket_kind::datagram, detail::socket_family::local);
    if (fd < 0) return detail::system_error(fd);
    return detail::descriptor(fd, detail::counted_kind::socket, at);
}
}

result<unix_datagram> unix_datagram::bind(const unix_address& on, const unix_options& how,
                                          std::source_location at) {
    result<detail::descriptor> socket = open_datagram(at);
    if (!socket) return socket.error();
    detail::socket_file file;
    const int status = file.bind(detail::current_sockets(), socket->fd(), on, how);
    if (status < 0) return detail::system_error(status);
    return unix_datagram(std::move(*socket), std::move(file));
}

result<unix_datagram> unix_datagram::bind(std::string_view on, const unix_options& how,
                                          std::source_location at) {
    const result<unix_address> parsed = unix_address::parse(on);
    if (!parsed) return parsed.error();
    return bind(*parsed, how, at);
}

result<unix_datagram> unix_datagram::open(std::source_location at) {
    result<detail::descriptor> socket = open_datagram(at);
    if (!socket) return socket.error();
    return unix_datagram(std::move(*socket), detail::socket_file());
}

result<std::pair<unix_datagram, unix_datagram>> unix_datagram::pair(std::source_location at) {
    int both[2];
    const int status = detail::current_sockets().open_pair(detail::socket_kind::datagram, both);
    if (status < 0) return detail::system_error(status);
    const auto make = [&](int fd) {
        return unix_datagram(detail::descriptor(fd, detail::counted_kind::socket, at), detail::socket_file());
    };
    unix_datagram first = make(both[0]);
    return std::pair(std::move(first), make(both[1]));
}

result<> unix_datagram::connect(const unix_address& to) noexcept {
    return detail::done_or_error(detail::call(socket_, [&](detail::socket_calls& calls, int fd) {
        return calls.connect_now(fd, detail::native(to));
    }));
}

result<> unix_datagram::connect(std::string_view to) {
    const result<unix_address> parsed = unix_address::parse(to);
    if (!parsed) return parsed.error();
    return connect(*parsed);
}

task<result<>> unix_datagram::send_to(std::span<const std::byte> bytes, unix_address to) {
    for (std::chrono::milliseconds pause = 1ms;; pause = std::min(pause * 2, 50ms)) {
        const result<> sent = co_await datagram_send_operation(socket_, bytes, to);
        if (sent || sent.error() != std::errc::resource_unavailable_try_again) co_return sent;
        const auto slept = co_await sleep_for(pause);
        if (!slept) co_return slept.error();
    }
}

task<result<>> unix_datagram::send_to(std::string_view text, unix_address to) {
    return send_to(std::as_bytes(std::span(text)), to);
}

result<unix_address> unix_datagram::local_address() noexcept {
    return detail::local_address_of<unix_address>(socket_);
}
}
