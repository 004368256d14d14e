// sent: what a send gives: it was sent, or why not.
//
// Who overlooks it loses a value without a word. clang warns of that, for it is [[nodiscard]]; g++ 12 does not look
// behind co_await. So it also finds out itself: when it says that a send has failed, and dies before anybody has asked
// it, that is counted among what a leak check tells, with the place of the send. A simulation fails by it.
//
//     out.send(x)                                      (the value is lost: clang warns, and a leak check tells)
//     auto sent = co_await out.send(x); if (!sent) …   looked at
//     (co_await out.send(x)).ignore();                 it may be lost, and one wants it so
#pragma once

#include <runnel/detail/relaxed.hpp>
#include <runnel/result.hpp>
#include <source_location>
#include <system_error>

namespace runnel::detail {

/// Counts a failure that nobody looked at. Threads: any.
void count_overlooked_send(std::source_location at) noexcept;

class [[nodiscard]] sent {
public:
    using value_type = void;

    sent() noexcept = default;  // done
    sent(std::error_code error, std::source_location at) noexcept
        : error_(error), at_(at), overlooked_(static_cast<bool>(error)) {}
    /// Whoever has the copy is the one to look.
    sent(const sent& other) noexcept
        : error_(other.error_), at_(other.at_), overlooked_(other.overlooked_.get()) {
        other.overlooked_ = false;
    }
    sent& operator=(const sent& other) noexcept {
        const sent taken(other);
        if (overlooked_) count_overlooked_send(at_);
        error_ = taken.error_;
        at_ = taken.at_;
        overlooked_ = taken.overlooked_.get();
        taken.overlooked_ = false;
        return *this;
    }
    ~sent() {
        if (overlooked_) [[unlikely]]
            count_overlooked_send(at_);
    }

    bool has_value() const noexcept { return !error(); }
    explicit operator bool() const noexcept { return !error(); }
    void operator*() const noexcept { *result<>(*this); }
    void value() const { result<>(*this).value(); }
    std::error_code error() const noexcept {
        overlooked_ = false;
        return error_;
    }
    operator result<>() const noexcept { return error(); }
    /// Another error of the same send. Both of these are no look.
    sent with_error(std::error_code error) const noexcept {
        sent other(*this);
        other.error_ = error;
        return other;
    }
    std::error_code unseen_error() const noexcept { return error_; }
    /// The value may be lost.
    void ignore() const noexcept { overlooked_ = false; }

private:
    std::error_code error_;
    std::source_location at_;
    mutable relaxed<bool> overlooked_ = false;  // several may look at a const one at once
};
}
