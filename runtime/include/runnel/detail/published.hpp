// published: a value that is written under a lock and may be looked at without it.
//
// Who looks sees, besides the value, all that was written before it: so a look that finds "nothing there" may go on to
// look at more, and each further look is of the same time or a later one. The writers' own reads need no order, for the
// lock is theirs.
#pragma once

#include <atomic>

namespace runnel::detail {

template <class T>
class published {
public:
    published() noexcept = default;
    published(T value) noexcept : value_(value) {}
    published& operator=(T value) noexcept {
        value_.store(value, std::memory_order_release);  // release: pairs with the acquire in look()
        return *this;
    }
    /// With the lock.
    operator T() const noexcept { return value_.load(std::memory_order_relaxed); }  // relaxed: see the head
    /// Without it.
    T look() const noexcept {
        return value_.load(std::memory_order_acquire);  // acquire: pairs with the release of the assignment
    }

private:
    static_assert(std::atomic<T>::is_always_lock_free);
    std::atomic<T> value_{T()};
};
}
