// Descriptors as control data, and back; see runnel/passing.hpp.
#include <runnel/passing.hpp>

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cstring>
#include <new>

#include <runnel/detail/socket_calls.hpp>

namespace runnel {

using detail::io_kind;
using detail::lane;
using detail::make_action;

namespace detail {

control_data::control_data(control_data&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

control_data::~control_data() { delete[] data_; }

/// Exactly: CMSG_SPACE, which rounds up, would let one more in.
bool control_data::make_room(std::size_t descriptors) noexcept {
    if (descriptors == 0) return true;
    size_ = CMSG_LEN(descriptors * sizeof(int));
    data_ = new (std::nothrow) std::byte[CMSG_SPACE(descriptors * sizeof(int))]();
    return data_ != nullptr;
}

void control_data::put(std::span<const int> descriptors) noexcept {
    if (descriptors.empty()) return;
    cmsghdr head{};
    head.cmsg_level = SOL_SOCKET;
    head.cmsg_type = SCM_RIGHTS;
    head.cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(data_, &head, sizeof head);
    std::memcpy(data_ + CMSG_LEN(0), descriptors.data(), descriptors.size_bytes());
}
}

namespace {

detail::io_action make_pass(std::size_t bytes) noexcept {
    detail::io_action action = make_action(io_kind::send_pieces);
    action.bytes = bytes;
    action.whole = true;
    return action;
}

std::error_code refused(std::size_t bytes, std::size_t descriptors) noexcept {
    if (bytes == 0 || descriptors > detail::control_data::most)
        return std::make_error_code(std::errc::invalid_argument);
    return {};
}

/// Calls `each(int)` for the descriptors in the control data that the system has written.
template <class Each>
void for_descriptors(msghdr& message, Each each) {
    for (cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr; head = CMSG_NXTHDR(&message, head)) {
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
        const std::size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count; ++i) {
            int descriptor = -1;
            std::memcpy(&descriptor, CMSG_DATA(head) + i * sizeof(int), sizeof descriptor);
            each(descriptor);
        }
    }
}
}

// --- Passing ---------------------------------------------------------------------------------------

pass_operation::pass_operation(detail::descriptor& on, std::span<const std::byte> bytes,
                               std::span<const int> descriptors) noexcept
    : io_operation_of(on, lane::out, make_pass(bytes.size())),
      bytes_(bytes),
      wrong_(refused(bytes.size(), descriptors.size())) {
    if (!wrong_ && !control_.make_room(descriptors.size()))
        wrong_ = std::make_error_code(std::errc::not_enough_memory);
    if (wrong_)
        action_.bytes = 0;  // nothing to move, so nothing is done
    else
        control_.put(descriptors);
    try_first_ = true;
}

void pass_operation::prepare() noexcept {
    bytes_.begin();
    if (control_.size() != 0) bytes_.attach(control_.data(), control_.size());
    action_.data = &bytes_;
}

transfer pass_operation::complete(transfer done) noexcept {
    if (wrong_ && !done.error) return {0, wrong_};
    return done;
}

// --- Taking ----------------------------------------------------------------------------------------

take_operation::take_operation(detail::descriptor& on, bool& drained, std::span<std::byte> to,
                               std::size_t most) noexcept
    : io_operation_of(on, lane::in, make_action(io_kind::receive_message)),
      drained_(drained),
      to_(to),
      most_(std::min(most, detail::control_data::most)),
      wrong_(refused(to.size(), 0)) {
    action_.will_wait = drained;
    try_first_ = !drained;
}

void take_operation::prepare() noexcept {
    static_assert(sizeof(msghdr) == sizeof message_ && sizeof(iovec) == sizeof place_);
    if (!wrong_) {
        try {
            got_.descriptors.reserve(most_);  // P1
        } catch (const std::bad_alloc&) {
            wrong_ = std::make_error_code(std::errc::not_enough_memory);
        }
        if (!control_.make_room(most_)) wrong_ = std::make_error_code(std::errc::not_enough_memory);
    }
    if (wrong_) {  // nothing to move, so nothing is done
        action_.kind = io_kind::receive;
        return;
    }
    auto* place = ::new (static_cast<void*>(place_)) iovec{to_.data(), to_.size()};
    auto* message = ::new (static_cast<void*>(message_)) msghdr{};
    message->msg_iov = place;
    message->msg_iovlen = 1;
    message->msg_control = control_.data();
    message->msg_controllen = control_.size();
    action_.data = message;
}

long take_operation::take(detail::socket_calls& calls, int fd) noexcept {
    return wrong_ ? 0 : calls.receive_message_now(fd, *static_cast<msghdr*>(action_.data), false);
}

void take_operation::own_what_came() noexcept {
    auto& message = *static_cast<msghdr*>(action_.data);
    for_descriptors(message, [&](int descriptor) { got_.descriptors.emplace_back(descriptor); });
    got_.truncated = (message.msg_flags & MSG_CTRUNC) != 0;
}

result<received_descriptors> take_operation::complete(transfer done) noexcept {
    if (wrong_) return done.error ? done.error : wrong_;
    own_what_came();
    drained_ = false;  // not known
    if (done.bytes == 0) {
        if (done.error) return done.error;
        return errc::end_of_stream;
    }
    got_.bytes = done.bytes;
    return std::move(got_);
}
}
