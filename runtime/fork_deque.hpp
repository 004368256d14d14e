// fork_deque: branches of when_all that nobody has started, last in first out for their worker.
//
// The owner pushes and pops at the bottom, so that it runs a tree of forks depth first, in the memory of
// one path; thieves take one at the top, the oldest, which is the largest piece of work. Chase and Lev
// (SPAA 2005) on a ring of fixed size, with the orders of Lê et al. (PPoPP 2013) but without their
// stand-alone fences: seq_cst accesses to bottom and top instead, which cost the same and which
// ThreadSanitizer understands. When it is full the branch runs as a task of its own.
//
//   F1  top only grows, by CAS;  F2  only the owner writes bottom and slots;
//   F3  the last element is decided by a CAS of top between owner and thieves.
#pragma once

#include <cstdint>

#include <runnel/detail/atomic.hpp>

namespace runnel::detail {

struct fork_branch;

class fork_deque {
public:
    static constexpr std::int64_t capacity = 1024;

    /// Owner. False: full.
    bool push(fork_branch& branch) noexcept {
        const std::int64_t bottom = bottom_.load(std::memory_order_relaxed);  // relaxed: our own
        // acquire: pairs with the thief's CAS; it has read the slot that we write again.
        if (bottom - top_.load(std::memory_order_acquire) >= capacity) return false;
        slot(bottom).store(&branch, std::memory_order_relaxed);  // relaxed: published by the next line
        bottom_.store(bottom + 1, std::memory_order_release);    // release: pairs with the load in steal()
        return true;
    }

    /// Owner: the newest, or null.
    fork_branch* pop() noexcept {
        const std::int64_t bottom = bottom_.load(std::memory_order_relaxed) - 1;  // relaxed: our own
        // relaxed: top only grows, so this can only say "empty" too seldom.
        if (top_.load(std::memory_order_relaxed) > bottom) return nullptr;
        bottom_.store(bottom);           // seq_cst, before the next load: thieves see that we take it
        std::int64_t top = top_.load();  // seq_cst: or we see that they took it
        fork_branch* branch = nullptr;
        if (top <= bottom) {
            branch = slot(bottom).load(std::memory_order_relaxed);  // relaxed: written by us
            if (top == bottom && !top_.compare_exchange_strong(top, top + 1))
                branch = nullptr;  // F3: a thief was first
            if (top < bottom) return branch;
        }
        bottom_.store(bottom + 1, std::memory_order_relaxed);  // relaxed: empty; nobody reads a slot for it
        return branch;
    }

    /// Owner: would pop() give this one (unless a thief is faster)?
    bool newest_is(const fork_branch& branch) const noexcept {
        const std::int64_t bottom = bottom_.load(std::memory_order_relaxed);  // relaxed: our own
        return bottom > top_.load(std::memory_order_relaxed) &&               // relaxed: a hint
               slots_[(bottom - 1) % capacity].load(std::memory_order_relaxed) ==
                   &branch;  // relaxed: our own
    }

    /// Thief: the oldest, or null when there is none or another was faster.
    fork_branch* steal() noexcept {
        std::int64_t top = top_.load();  // seq_cst, before the load of bottom: see pop()
        if (top >= bottom_.load()) return nullptr;
        // relaxed: the CAS decides whether what we read was ours; bottom's load has acquired the slot.
        fork_branch* branch = slot(top).load(std::memory_order_relaxed);
        return top_.compare_exchange_strong(top, top + 1) ? branch : nullptr;
    }

    /// Any thread: a hint.
    bool empty() const noexcept {
        // relaxed: who must not miss anything announces itself first (idle.hpp).
        return bottom_.load(std::memory_order_relaxed) <= top_.load(std::memory_order_relaxed);
    }

    /// Any thread: a hint.
    std::size_t size() const noexcept {
        // relaxed: a figure for people.
        const std::int64_t count =
            bottom_.load(std::memory_order_relaxed) - top_.load(std::memory_order_relaxed);
        return count > 0 ? static_cast<std::size_t>(count) : 0;
    }

private:
    atomic<fork_branch*>& slot(std::int64_t index) noexcept { return slots_[index % capacity]; }

    alignas(64) atomic<std::int64_t> top_{0};
    alignas(64) atomic<std::int64_t> bottom_{0};
    atomic<fork_branch*> slots_[capacity] = {};
};
}
