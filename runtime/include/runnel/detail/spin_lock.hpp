// spin_lock: one byte that guards a few dozen instructions.
//
// Wait objects are locked for the time of a queue operation and one nothrow move, never over a
// suspension or user code, so a waiter spins briefly. When the holder has lost its processor, it
// gives way: yields, then sleeps for some microseconds (a spinning waiter of higher real-time
// priority would otherwise wait for ever).
#pragma once

#include "atomic.hpp"

namespace runnel::detail {

class spin_lock {
public:
    void lock() noexcept {
        // acquire: pairs with the release in unlock(); what the last holder wrote is seen.
        if (taken_.exchange(true, std::memory_order_acquire)) [[unlikely]]
            lock_slow();
    }
    bool try_lock() noexcept {
        // relaxed: a look only; the exchange decides. acquire: pairs with the release in unlock().
        return !taken_.load(std::memory_order_relaxed) && !taken_.exchange(true, std::memory_order_acquire);
    }
    // release: pairs with the acquire in lock() and try_lock().
    void unlock() noexcept { taken_.store(false, std::memory_order_release); }

private:
    void lock_slow() noexcept;
    atomic<bool> taken_{false};
};
}
