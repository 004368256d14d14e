// tcp_stream and its operations; see runnel/tcp.hpp.
#include <sys/socket.h>

#include <cerrno>

#include <runnel/detail/io_backend.hpp>
#include <runnel/tcp.hpp>

namespace runnel {

using detail::io_action;
using detail::io_kind;
using detail::lane;

namespace {

std::error_code system_error(int status) noexcept { return {-status, std::system_category()}; }

io_action make_action(io_kind kind) noexcept {
    io_action action{};
    action.kind = kind;
    return action;
}

io_action make_receive(std::span<std::byte> to, bool will_wait) noexcept {
    io_action action = make_action(io_kind::receive);
    action.data = to.data();
    action.bytes = to.size();
    action.will_wait = will_wait;
    return action;
}

io_action make_send(std::span<const std::byte> from, bool whole) noexcept {
    io_action action = make_action(io_kind::send);
    action.data = const_cast<std::byte*>(from.data());  // only read: see io_action.hpp
    action.bytes = from.size();
    action.whole = whole;
    return action;
}
}

// --- Connecting ------------------------------------------------------------------------------------

connect_operation::connect_operation(result<address> to, const tcp_options& how,
                                     std::source_location at) noexcept
    : io_operation_of(socket_, lane::out, make_action(io_kind::connect)),
      to_(std::move(to)),
      how_(how),
      at_(at) {}

void connect_operation::prepare() noexcept {
    on_ = &socket_;
    if (!to_) return;
    detail::socket_calls& calls = detail::current_sockets();
    const int fd = calls.open(detail::socket_kind::stream, detail::family_of(*to_));
    if (fd < 0) {
        to_ = system_error(fd);
        return;
    }
    socket_ = detail::descriptor(fd, detail::counted_kind::socket, at_);
    calls.set(fd, detail::socket_option::nodelay, how_.nodelay());  // a wish: it connects all the same
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

// --- Reading and writing ---------------------------------------------------------------------------

// When the last read did not drain the socket, a plain call will find something. When it did, the request
// need not try before it waits.
read_operation::read_operation(detail::descriptor& on, bool& drained, std::span<std::byte> to) noexcept
    : io_operation_of(on, lane::in, make_receive(to, drained)), drained_(drained) {
    try_first_ = !drained;
}

result<std::size_t> read_operation::complete(transfer done) noexcept {
    drained_ = action_.drained();
    const bool asked_for_some = action_.bytes > 0 || done.bytes > 0;
    if (done.bytes > 0) return done.bytes;
    if (done.error) return done.error;
    if (asked_for_some) return errc::end_of_stream;
    return done.bytes;
}

readable_operation::readable_operation(detail::descriptor& on) noexcept
    : io_operation_of(on, lane::in, make_action(io_kind::readability)) {}

receive_operation::receive_operation(detail::descriptor& on, bool& drained) noexcept
    : io_operation_of(on, lane::in, make_action(io_kind::lease)), drained_(drained) {
    try_first_ = !drained;
}

result<chunk> receive_operation::complete(transfer done) noexcept {
    if (done.error && done.bytes == 0) return done.error;
    drained_ = action_.drained();
    if (action_.moved == 0) return errc::end_of_stream;
    return chunk(static_cast<std::byte*>(action_.data) - action_.moved, action_.moved);
}

write_operation::write_operation(detail::descriptor& on, std::span<const std::byte> from, bool whole) noexcept
    : io_operation_of(on, lane::out, make_send(from, whole)) {
    try_first_ = true;
}

// --- The rest --------------------------------------------------------------------------------------

namespace {

/// Calls `what(socket_calls, fd)` unless the socket is closed. Returns its status, or -EBADF.
template <class Call>
int call(detail::descriptor& on, Call what) noexcept {
    if (!on.enter(lane::call, false)) return -EBADF;
    const int status = what(detail::current_sockets(), on.fd());
    on.leave(lane::call);
    return status;
}

std::error_code call_error(int status) noexcept {
    return status == -EBADF ? make_error_code(errc::closed) : system_error(status);
}

result<> done_or_error(int status) noexcept {
    if (status < 0) return call_error(status);
    return {};
}

result<address> address_or_error(int status, const detail::native_address_room& found) noexcept {
    if (status < 0) return call_error(status);
    address made;
    made.assign(found.data, found.bytes);
    return made;
}
}

result<> tcp_stream::shutdown_write() noexcept {
    return done_or_error(call(socket_, [](auto& calls, int fd) { return calls.shut_down(fd, SHUT_WR); }));
}

result<> tcp_stream::set_nodelay(bool on) noexcept {
    return done_or_error(call(
        socket_, [&](auto& calls, int fd) { return calls.set(fd, detail::socket_option::nodelay, on); }));
}

result<address> tcp_stream::local_address() noexcept {
    detail::native_address_room found;
    const int status = call(socket_, [&](auto& calls, int fd) { return calls.local(fd, found); });
    return address_or_error(status, found);
}

result<address> tcp_stream::peer_address() noexcept {
    detail::native_address_room found;
    const int status = call(socket_, [&](auto& calls, int fd) { return calls.peer(fd, found); });
    return address_or_error(status, found);
}
}
