// See runnel/detail/pieces.hpp, whose steps are named here.
#include <runnel/detail/pieces.hpp>

#include <limits.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <new>

#include <runnel/detail/check.hpp>
#include <runnel/detail/io_action.hpp>

namespace runnel::detail {

namespace {
using text_list = const std::string_view*;
using byte_list = const std::span<const std::byte>*;
}

pieces::pieces(std::span<const std::span<const std::byte>> of) noexcept
    : of_(of.data()), count_(of.size()), form_(form::bytes) {
    for (const auto& each : of) bytes_ += each.size();
}

pieces::pieces(std::span<const std::string_view> of) noexcept
    : of_(of.data()), count_(of.size()), form_(form::text) {
    for (const auto& each : of) bytes_ += each.size();
}

pieces::pieces(std::span<const std::byte> one) noexcept
    : of_(one.data()), count_(1), form_(form::single), bytes_(one.size()) {}

pieces::pieces(pieces&& other) noexcept
    : of_(other.of_), count_(other.count_), form_(other.form_), bytes_(other.bytes_) {
    check(other.window_ == nullptr, "socket: an operation was moved after it had begun");
}

pieces::~pieces() {
    if (room_ != few) delete[] window_;
}

iovec pieces::at(std::size_t index) const noexcept {
    if (form_ == form::single) return {const_cast<void*>(of_), bytes_};  // only read
    if (form_ == form::text) {
        const std::string_view piece = static_cast<text_list>(of_)[index];
        return {const_cast<char*>(piece.data()), piece.size()};
    }
    const std::span<const std::byte> piece = static_cast<byte_list>(of_)[index];
    return {const_cast<std::byte*>(piece.data()), piece.size()};
}

msghdr& pieces::message() noexcept { return *std::launder(reinterpret_cast<msghdr*>(message_)); }

void pieces::begin() noexcept {
    static_assert(sizeof(msghdr) == sizeof message_ && alignof(msghdr) <= 8);
    static_assert(sizeof(iovec[few]) == sizeof few_ && alignof(iovec) <= 8);
    window_ = ::new (static_cast<void*>(few_)) iovec[few];
    if (count_ > few) {
        const std::size_t wanted = std::min<std::size_t>(count_, IOV_MAX);
        if (iovec* larger = new (std::nothrow) iovec[wanted]; larger != nullptr) {
            window_ = larger;
            room_ = wanted;
        }
    }
    ::new (static_cast<void*>(message_)) msghdr{};
    fill();
}

void pieces::attach(void* control, std::size_t size) noexcept {
    message().msg_control = control;
    message().msg_controllen = size;
}

bool pieces::has_attached() const noexcept {
    return const_cast<pieces*>(this)->message().msg_control != nullptr;
}

/// Step 3.
void pieces::fill() noexcept {
    std::size_t filled = 0;
    for (; next_ < count_ && filled < room_; ++next_)
        if (const iovec piece = at(next_); piece.iov_len != 0) window_[filled++] = piece;
    message().msg_iov = window_;
    message().msg_iovlen = filled;
}

void pieces::advance(std::size_t by) noexcept {
    if (by == 0) return;
    attach(nullptr, 0);  // V2
    bytes_ -= by;
    msghdr& left = message();
    for (; by > 0 && by >= left.msg_iov->iov_len; --left.msg_iovlen) by -= left.msg_iov++->iov_len;
    if (by > 0) {
        left.msg_iov->iov_base = static_cast<std::byte*>(left.msg_iov->iov_base) + by;
        left.msg_iov->iov_len -= by;
    } else if (left.msg_iovlen == 0) {
        fill();
    }
}

void io_action::advance_pieces(std::size_t by) noexcept {
    bytes -= by;
    static_cast<pieces*>(data)->advance(by);
}
}
