// end_pointer: what a move-only end has: a pointer to what it stands for. Nil when default-made or reset; its use is
// found out when it was moved from.
#pragma once

#include <source_location>
#include <utility>

#include <runnel/detail/check.hpp>

namespace runnel::detail {

template <class To>
class end_pointer {
public:
    end_pointer() noexcept = default;
    explicit end_pointer(To* to) noexcept : to_(to) {}
    end_pointer(end_pointer&& other) noexcept
        : to_(std::exchange(other.to_, nullptr)), moved_from_(std::exchange(other.moved_from_, true)) {}
    end_pointer& operator=(end_pointer&&) = delete;
    void swap(end_pointer& other) noexcept {
        std::swap(to_, other.to_);
        std::swap(moved_from_, other.moved_from_);
    }

    /// Null when nil, or moved from.
    To* get() const noexcept { return to_; }
    /// Null when nil; aborts with `if_moved` when moved from.
    To* checked(const char* if_moved, std::source_location at) const noexcept {
        check(!moved_from_, if_moved, at);
        return to_;
    }
    /// Nil from now on, for who gives up what it stood for.
    To* release() noexcept { return std::exchange(to_, nullptr); }
    /// As if default-made: it has been released, and may have been moved from.
    void renew() noexcept { moved_from_ = false; }

private:
    To* to_ = nullptr;
    bool moved_from_ = false;
};
}
