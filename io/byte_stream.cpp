// Reading and writing; see runnel/byte_stream.hpp.
#include <runnel/byte_stream.hpp>

namespace runnel {

using detail::io_action;
using detail::io_kind;
using detail::lane;
using detail::make_action;

namespace {

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

io_action make_gather(std::size_t bytes) noexcept {
    io_action action = make_action(io_kind::send_pieces);
    action.bytes = bytes;
    action.whole = true;
    return action;
}
}

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
    return detail::make_chunk::of(static_cast<std::byte*>(action_.data) - action_.moved, action_.moved);
}

write_operation::write_operation(detail::descriptor& on, std::span<const std::byte> from, bool whole) noexcept
    : io_operation_of(on, lane::out, make_send(from, whole)) {
    try_first_ = true;
}

gather_operation::gather_operation(detail::descriptor& on, detail::pieces&& what) noexcept
    : io_operation_of(on, lane::out, make_gather(what.bytes())), what_(std::move(what)) {
    try_first_ = true;
}

void gather_operation::prepare() noexcept {
    what_.begin();
    action_.data = &what_;
}
}
