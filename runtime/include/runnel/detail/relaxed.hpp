// relaxed: a value with one writer at a time at which anybody may look at any time, and see some value of it.
//
// For what a task dump or a report shows of tasks that run meanwhile. It orders nothing: who acts on more than
// the value itself needs another partner.
#pragma once

#include <atomic>

namespace runnel::detail {

template <class T>
class relaxed {
public:
    relaxed() noexcept = default;
    relaxed(T value) noexcept : value_(value) {}
    relaxed& operator=(T value) noexcept {
        value_.store(value, std::memory_order_relaxed);  // relaxed: see the head
        return *this;
    }
    T get() const noexcept { return value_.load(std::memory_order_relaxed); }  // relaxed: see the head
    operator T() const noexcept { return get(); }

private:
    static_assert(std::atomic<T>::is_always_lock_free);
    std::atomic<T> value_{T()};
};
}
