// run_queue: the tasks that one worker will run, first in first out, and from which others steal.
//
// A ring of 256 with one owner, who pushes at the tail and pops at the head, and any number of thieves,
// who take the older half in one go. After the queue of Tokio's multi-thread scheduler.
//
//   head = {steal:32, real:32}   real: the next to pop. steal: up to here slots may be written again;
//                                behind real only while one thief copies.
//   1  a thief claims the half by moving real (CAS), 2 copies the slots, 3 moves steal up to real.
//   The owner pops by moving both, or real alone while a thief copies.
//
//   Q1  only the owner writes tail and slots;  Q2  one thief at a time is between 1 and 3;
//   Q3  tail - steal <= 256: no slot is written that a thief may still read.
#pragma once

#include <cstdint>

#include <runnel/detail/atomic.hpp>
#include <runnel/detail/wait.hpp>

#include "task_slab.hpp"

namespace runnel::detail {

class run_queue {
public:
    static constexpr std::uint32_t capacity = 256;

    /// Owner. False: full (or a thief is copying and it looks full).
    bool push(task_block& task) noexcept {
        // acquire: pairs with the thief's CAS in step 3; the slots it read are free now.
        const std::uint64_t head = head_.load(std::memory_order_acquire);
        const std::uint32_t tail = tail_.load(std::memory_order_relaxed);  // relaxed: our own
        if (tail - steal_of(head) >= capacity) return false;
        slot(tail).store(&task, std::memory_order_relaxed);  // relaxed: published by the next line
        tail_.store(tail + 1, std::memory_order_release);    // release: pairs with the thief's load of tail
        return true;
    }

    /// Owner. Null: empty.
    task_block* pop() noexcept {
        std::uint64_t head = head_.load(std::memory_order_acquire);  // acquire: see push()
        for (;;) {
            const std::uint32_t real = real_of(head);
            if (real == tail_.load(std::memory_order_relaxed))  // relaxed: our own
                return nullptr;
            const std::uint32_t steal = steal_of(head);
            const std::uint64_t next = pack(steal == real ? real + 1 : steal, real + 1);
            // acq_rel: pairs with the thief's CAS, which must not hand out the same slot.
            if (head_.compare_exchange_weak(head, next, std::memory_order_acq_rel,
                                            std::memory_order_acquire)) {
                // Of many that were made ready together each is in cold memory: fetch those whose turn is near.
                // relaxed: a hint; the slot may be empty, or its task elsewhere by now.
                prefetch_block(slot(real + 8).load(std::memory_order_relaxed));
                return slot(real).load(std::memory_order_relaxed);  // relaxed: written by us
            }
        }
    }

    /// Owner. Takes the older half out, to out[0], out[1], …; how many: none while a thief copies.
    std::uint32_t pop_half(task_block** out) noexcept {
        std::uint64_t head = head_.load(std::memory_order_acquire);  // acquire: see push()
        const std::uint32_t real = real_of(head);
        const std::uint32_t count = (tail_.load(std::memory_order_relaxed) - real) / 2;  // relaxed: our own
        // acq_rel: as in pop(). relaxed on failure: nothing is read then.
        if (steal_of(head) != real ||
            !head_.compare_exchange_strong(head, pack(real + count, real + count), std::memory_order_acq_rel,
                                           std::memory_order_relaxed))
            return 0;
        for (std::uint32_t i = 0; i < count; ++i)
            out[i] = slot(real + i).load(std::memory_order_relaxed);  // relaxed: written by us
        return count;
    }

    /// Thief. Moves the older half to the end of `mine` (the thief's own) and returns how many; none when
    /// `mine` may not have the room.
    std::uint32_t steal_into(run_queue& mine) noexcept {
        const std::uint32_t tail = mine.tail_.load(std::memory_order_relaxed);  // relaxed: our own
        // acquire: as in push().
        if (tail - steal_of(mine.head_.load(std::memory_order_acquire)) > capacity / 2) return 0;
        std::uint64_t head =
            head_.load(std::memory_order_acquire);  // acquire: pairs with the owner's CAS in pop()
        std::uint32_t first = 0;
        std::uint32_t count = 0;
        for (;;) {
            first = real_of(head);
            // acquire: pairs with push(); the slots up to tail are written, and what the tasks need too.
            const std::uint32_t size = tail_.load(std::memory_order_acquire) - first;
            count = size - size / 2;
            if (steal_of(head) != first || count == 0 || count > capacity / 2)
                return 0;  // Q2: another thief copies; or nothing; or head was old
            // acq_rel: 1, the claim; pairs with the owner's pop and other thieves.
            if (head_.compare_exchange_weak(head, pack(first, first + count), std::memory_order_acq_rel,
                                            std::memory_order_acquire))
                break;
        }
        for (std::uint32_t i = 0; i < count; ++i)  // 2; relaxed: ordered by head_ and tail_ as said
            mine.slot(tail + i).store(slot(first + i).load(std::memory_order_relaxed),
                                      std::memory_order_relaxed);
        mine.tail_.store(tail + count, std::memory_order_release);  // release: for thieves of ours
        head = head_.load(std::memory_order_acquire);  // acquire: the owner may have popped since
        // acq_rel: 3; release pairs with push(), which may now write the slots.
        while (!head_.compare_exchange_weak(head, pack(real_of(head), real_of(head)),
                                            std::memory_order_acq_rel, std::memory_order_acquire)) {}
        return count;
    }

    /// Any thread: a hint, exact for the owner.
    std::uint32_t size() const noexcept {
        // relaxed: who must not miss anything announces itself by a seq_cst operation first (idle.hpp).
        const std::uint64_t head = head_.load(std::memory_order_relaxed);
        return tail_.load(std::memory_order_relaxed) - real_of(head);
    }

private:
    static constexpr std::uint32_t steal_of(std::uint64_t head) noexcept {
        return static_cast<std::uint32_t>(head >> 32);
    }
    static constexpr std::uint32_t real_of(std::uint64_t head) noexcept {
        return static_cast<std::uint32_t>(head);
    }
    static constexpr std::uint64_t pack(std::uint32_t steal, std::uint32_t real) noexcept {
        return std::uint64_t{steal} << 32 | real;
    }
    atomic<task_block*>& slot(std::uint32_t index) noexcept { return slots_[index % capacity]; }

    alignas(64) atomic<std::uint64_t> head_{0};
    alignas(64) atomic<std::uint32_t> tail_{0};
    atomic<task_block*> slots_[capacity] = {};
};
}
