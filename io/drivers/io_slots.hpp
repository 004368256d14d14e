// io_slots: the operations of one driver: who waits for each, and how far it is.
//
//   spare --prepare--> prepared --start--> in_kernel --completion--> spare
//                          |                 ^    |
//                          |  queue is full  |    |  to be continued, or queue is full
//                          +---> delayed ----+<---+
//   in_kernel --completion, but its cancel message is still on the way--> over --message--> spare
//   in_kernel --answer to a standing action, which stays--> resting --message--> in_kernel
//   prepared --start, of a file, where the driver has no request for it--> in_pool --its call has ended--> spare
//
// On a ring `in_kernel` is what it says; with epoll such a slot stands in line at its descriptor, and none is delayed.
//
//   L1  a slot is never unmapped while the driver lives, so a canceller may look at it at any time;
//   L2  it is spare again only when its last completion and, if one was sent, its message have arrived:
//       so a message always finds the operation that it was meant for;
//   L3  the generation changes whenever a slot becomes spare, and is part of the user_data: a cancel that
//       the kernel sees late finds nothing;
//   L4  everything but the owner's list of spare slots is guarded by the driver's lock.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include <runnel/detail/driver.hpp>
#include <runnel/detail/io_action.hpp>

namespace runnel::detail {

struct alignas(64) io_slot : io_request {
    enum class phase : unsigned char { spare, prepared, delayed, in_kernel, resting, in_pool, over };

    task_block* task = nullptr;   // null: its action is a standing one
    io_action* action = nullptr;  // in the waiting frame: ours until the operation is completed
    io_slot* next = nullptr;      // among the spare, or among the delayed
    std::uint32_t index = 0;
    std::uint32_t generation = 0;
    phase at = phase::spare;
    bool taken_back = false;  // its message has arrived

    std::uint64_t user_data() const noexcept { return std::uint64_t{generation} << 32 | index; }
};
static_assert(sizeof(io_slot) == 64);

class io_slots {
public:
    /// Owner only. Takes the lock (of type Lock) when its own list is empty. nullptr: no memory.
    template <class Lock>
    io_slot* take(driver& owner, Lock& lock) noexcept {
        if (spare_ == nullptr) {
            lock.lock();
            refill(owner);
            lock.unlock();
        }
        io_slot* slot = spare_;
        if (slot != nullptr) spare_ = slot->next;
        return slot;
    }
    /// Owner only: one that was never started.
    void put_back(io_slot& slot) noexcept {
        slot.at = io_slot::phase::spare;
        slot.next = spare_;
        spare_ = &slot;
    }

    /// Under the lock: the operation is over (L2).
    void release(io_slot& slot) noexcept {
        ++slot.generation;
        slot.at = io_slot::phase::spare;
        slot.next = released_;
        released_ = &slot;
    }
    /// Under the lock: nullptr if this is no operation of now.
    io_slot* find(std::uint64_t user_data) noexcept;

    template <class Visit>
    void for_each(Visit visit) {
        for (const auto& chunk : chunks_)
            for (unsigned i = 0; i < chunk_slots; ++i) visit(chunk[i]);
    }

private:
    static constexpr unsigned chunk_slots = 64;
    void refill(driver& owner) noexcept;
    void grow(driver& owner);

    std::vector<std::unique_ptr<io_slot[]>> chunks_;
    io_slot* spare_ = nullptr;     // the owner's
    io_slot* released_ = nullptr;  // under the lock: by whoever has reaped, perhaps a helper
};

/// First in, first out, through `next`, in a circle: one pointer, for each descriptor has two of these.
class io_slot_queue {
public:
    bool empty() const noexcept { return last_ == nullptr; }
    io_slot* last() const noexcept { return last_; }
    /// Not of an empty one.
    io_slot* front() const noexcept { return last_->next; }
    void push(io_slot& slot) noexcept {
        slot.next = last_ != nullptr ? std::exchange(last_->next, &slot) : &slot;
        last_ = &slot;
    }
    void pop() noexcept { remove_after(*last_); }
    /// From anywhere. Cost: O(those before it).
    void remove(io_slot& slot) noexcept {
        io_slot* before = last_;
        while (before->next != &slot) before = before->next;
        remove_after(*before);
    }

private:
    void remove_after(io_slot& before) noexcept {
        io_slot* const gone = before.next;
        before.next = gone->next;
        if (gone == last_) last_ = gone == &before ? nullptr : &before;
    }
    io_slot* last_ = nullptr;
};
}
