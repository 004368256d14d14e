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
        // seq_cst: as looks_free() says. It acquires, too: pairs with the release in unlock(); what the last holder
        // wrote is seen.
        if (taken_.exchange(true, std::memory_order_seq_cst)) [[unlikely]]
            lock_slow();
    }
    bool try_lock() noexcept {
        // relaxed: a look only; the exchange decides. seq_cst: as in lock().
        return !taken_.load(std::memory_order_relaxed) && !taken_.exchange(true, std::memory_order_seq_cst);
    }
    /// A look at what it guards, without it, begins so. True: all that was written under it before is seen; and who
    /// takes it later does so later in the one order of all seq_cst accesses, so what that thread looks at then, by a
    /// lock, a seq_cst load or a look like this one, has what this one wrote in such a way before.
    // seq_cst, with lock(): and pairs with the release in unlock().
    bool looks_free() const noexcept { return !taken_.load(std::memory_order_seq_cst); }
    // release: pairs with the acquire in lock() and try_lock().
    void unlock() noexcept { taken_.store(false, std::memory_order_release); }

private:
    void lock_slow() noexcept;
    atomic<bool> taken_{false};
};
}
