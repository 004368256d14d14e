// timers: the deadlines of one worker, in order.
//
// A 4-ary heap of {when, node}: the keys lie beside the pointers, so a comparison touches the node
// (which lies in some frame, cold) only when two deadlines are equal. Each node knows its place, so that
// a wait which ended otherwise takes its deadline out again in O(log n): most deadlines never fire.
//
// Firing
//   1  nothing is due: one load of the published earliest deadline says so;
//   2  under the lock, unlink up to 64 due nodes, oldest first, and note what each is to do: a wait as
//      {task, ticket}; a callback after hold(); a tick is handed over at once;
//   3  unlock, then do it: claim and finish() the waits, run() the callbacks. Again from 1.
//
// Invariants
//   H1  entries_[node.place].node == &node for each linked node; place is `unlinked` for all others;
//   H2  no entry comes before its parent; equal deadlines are ordered by `sequence`, the order of
//       insertion (a running number of 32 bits, compared by difference: two equal deadlines that are
//       2^31 insertions apart would change places);
//   H3  earliest_ is never later than the first deadline, and equal to it whenever the lock is free: the
//       owner reads it without the lock, and sleeps until then, while another worker may be firing;
//   H4  a node is not touched after the lock of step 2 is released: by then a wait may be over and its
//       frame gone, and a held callback is reached by its own pointer.
//
// The lock is the wait object's: a sleep can be a case of a select, whose objects are locked together.
// Not taken: a hierarchical wheel. It was measured: see the README.
#pragma once

#include <runnel/detail/timer_node.hpp>
#include <runnel/detail/wait.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace runnel::detail {

class timer_heap : public wait_object {
public:
    timer_heap() noexcept = default;
    timer_heap(const timer_heap&) = delete;
    timer_heap& operator=(const timer_heap&) = delete;
    /// Nodes that are still linked forget the heap: a context may outlive its runtime.
    ~timer_heap();

    /// Who is woken when another thread brings an earlier deadline than all before. Nobody, if not called.
    /// Threads: the owner's, before the first deadline.
    void set_owner(driver* owner) noexcept { owner_ = owner; }

    /// Puts a deadline (node.when) in; `no_deadline` is never due and stays out.
    /// Throws std::bad_alloc. Threads: any. Cost: O(log n) and a lock; a system call if it must wake the owner.
    void insert(timer_node& node);

    /// Takes it out. Returns whether it was in: if not, it was never inserted, or it is firing.
    /// Threads: any. Cost: O(log n) and a lock.
    bool remove(timer_node& node) noexcept;

    /// The same two for callers that hold the lock. (A wait case, which must not throw, ends the program when link()
    /// has no memory.) It returns whether `node` is the new earliest:
    /// a caller that is not the owner's worker then calls wake_owner(), after it has unlocked.
    bool link(timer_node& node);
    bool unlink(timer_node& node) noexcept;

    /// Makes the owner look at its deadlines, unless it is the caller's own worker.
    void wake_owner() noexcept;

    /// The first deadline, or no_deadline. Threads: any; to others than the owner it is a hint.
    nanoseconds_t earliest() const noexcept {
        // relaxed: whoever acts on it takes the lock. The owner has made its own changes itself, and
        // is woken through its driver for those of others.
        return earliest_.load(std::memory_order_relaxed);
    }

    /// Fires what is due at `now`. Returns how many deadlines that were.
    /// Threads: any worker's, several at once. Order: by deadline, then by insertion.
    unsigned fire_due(nanoseconds_t now) noexcept;

    /// How many deadlines wait. Threads: any. Cost: a lock.
    std::size_t size() noexcept;

private:
    struct entry {
        nanoseconds_t when;
        timer_node* node;
    };
    struct due_batch;

    static bool before(const entry& a, const entry& b) noexcept;
    void put(entry moved, std::size_t place) noexcept;
    void sift_up(entry moved, std::size_t place) noexcept;
    void sift_down(entry moved, std::size_t place) noexcept;
    std::size_t first_child(std::size_t parent) const noexcept;
    void take_out(timer_node& node) noexcept;
    void take_due(nanoseconds_t now, due_batch& batch) noexcept;
    void publish() noexcept;

    std::vector<entry> entries_;
    std::atomic<nanoseconds_t> earliest_{no_deadline};
    std::uint32_t sequence_ = 0;
    driver* owner_ = nullptr;
};
}
