// injector: the queue of a whole runtime: work from plain threads, and what a worker has too much of.
//
// A list under a lock; its length is an atomic so that a worker looks without the lock. A worker takes
// its share, not all of it.
#pragma once

#include <atomic>

#include <runnel/detail/wait.hpp>

namespace runnel::detail {

class injector {
public:
    /// Any thread. The push is ordered before the caller's next loads (idle.hpp).
    void push(task_block& task) noexcept { push_chain(task, task, 1); }
    void push_chain(task_block& first, task_block& last, std::uint32_t count) noexcept {
        last.queue_next = nullptr;
        lock_.lock();
        (tail_ != nullptr ? tail_->queue_next : head_) = &first;
        tail_ = &last;
        size_.fetch_add(count);  // seq_cst: the StoreLoad edge of idle.hpp
        lock_.unlock();
    }

    /// Any worker: up to `most` tasks, oldest first, as a chain through queue_next. Null: empty.
    task_block* pop(std::uint32_t most) noexcept {
        if (size() == 0) return nullptr;
        lock_.lock();
        task_block* first = head_;
        task_block* last = nullptr;
        std::uint32_t count = 0;
        for (; count < most && head_ != nullptr; ++count) {
            last = head_;
            head_ = head_->queue_next;
        }
        if (head_ == nullptr) tail_ = nullptr;
        if (last != nullptr) last->queue_next = nullptr;
        size_.fetch_sub(count, std::memory_order_relaxed);  // relaxed: under the lock; a hint outside
        lock_.unlock();
        return first;
    }

    std::uint32_t size() const noexcept { return size_.load(); }  // seq_cst: see push()

private:
    spin_lock lock_;
    task_block* head_ = nullptr;
    task_block* tail_ = nullptr;
    std::atomic<std::uint32_t> size_{0};
};
}
