// injector: the queue of a whole runtime: work from plain threads, and what a worker has too much of.
//
// An unrolled list under a lock: chunks of pointers. A worker takes its share, not all of it; the length is an
// atomic so that it looks without the lock.
//
//   J1  the tasks themselves are not touched: there may be a million, all in cold memory;
//   J2  a push never fails: when there is no memory for a chunk the tasks are linked through queue_next.
//
// Not taken: only the links, as in Go. Following them is one cache miss after the other; it was a third of the
// time of a million tasks that are spawned at once.
#pragma once

#include <cstdint>
#include <new>
#include <utility>

#include <runnel/detail/atomic.hpp>
#include <runnel/detail/wait.hpp>

namespace runnel::detail {

class injector {
public:
    injector() = default;
    injector(const injector&) = delete;
    injector& operator=(const injector&) = delete;
    ~injector() {
        for (chunk** list : {&head_, &spare_})
            while (*list != nullptr) delete std::exchange(*list, (*list)->next);
    }

    /// Any thread. The push is ordered before the caller's next loads (idle.hpp).
    void push(task_block& task) noexcept {
        task_block* one = &task;
        push(&one, 1);
    }
    void push(task_block* const* tasks, std::uint32_t count) noexcept {
        lock_.lock();
        for (std::uint32_t i = 0; i < count; ++i) put(*tasks[i]);
        size_.fetch_add(count);  // seq_cst: the StoreLoad edge of idle.hpp
        lock_.unlock();
    }

    /// Any worker: up to `most` tasks, oldest first, to out[0], out[1], …; how many. Cost: a load when empty.
    std::uint32_t pop(task_block** out, std::uint32_t most) noexcept {
        if (size() == 0) return 0;
        lock_.lock();
        std::uint32_t count = 0;
        while (count < most && (out[count] = take()) != nullptr) ++count;
        size_.fetch_sub(count, std::memory_order_relaxed);  // relaxed: under the lock; a hint outside
        lock_.unlock();
        return count;
    }

    std::uint32_t size() const noexcept { return size_.load(); }  // seq_cst: see push()

private:
    struct chunk {
        static constexpr std::uint32_t room = 126;  // 1 KiB in all
        chunk* next = nullptr;
        std::uint32_t first = 0;
        std::uint32_t last = 0;
        task_block* tasks[room];
    };
    static constexpr std::uint32_t spares_max = 64;

    void put(task_block& task) noexcept {
        if ((tail_ == nullptr || tail_->last == chunk::room) && !add_chunk()) [[unlikely]] {
            task.queue_next = std::exchange(linked_, &task);  // J2
            return;
        }
        tail_->tasks[tail_->last++] = &task;
    }

    task_block* take() noexcept {
        if (head_ == nullptr) {
            task_block* const task = linked_;
            if (task != nullptr) linked_ = task->queue_next;
            return task;
        }
        task_block* const task = head_->tasks[head_->first++];
        if (head_->first == head_->last) drop_head();
        return task;
    }

    bool add_chunk() noexcept {
        chunk* fresh = spare_;
        if (fresh != nullptr) {
            spare_ = fresh->next;
            --spares_;
        } else if (fresh = new (std::nothrow) chunk; fresh == nullptr) {
            return false;
        }
        fresh->next = nullptr;
        fresh->first = fresh->last = 0;
        (tail_ != nullptr ? tail_->next : head_) = fresh;
        tail_ = fresh;
        return true;
    }

    void drop_head() noexcept {
        chunk* const empty = std::exchange(head_, head_->next);
        if (head_ == nullptr) tail_ = nullptr;
        if (spares_ == spares_max) {
            delete empty;
            return;
        }
        empty->next = std::exchange(spare_, empty);
        ++spares_;
    }

    spin_lock lock_;  // guards all but size_
    chunk* head_ = nullptr;
    chunk* tail_ = nullptr;
    chunk* spare_ = nullptr;
    std::uint32_t spares_ = 0;
    task_block* linked_ = nullptr;
    atomic<std::uint32_t> size_{0};
};
}
