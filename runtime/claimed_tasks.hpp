// claimed_tasks: waiters that one act has claimed, any number, to be woken when its lock is released.
//
// They are linked through their blocks: nobody else uses the link of a task that is claimed and not yet in a run
// queue (T2 of detail/wait.hpp). So no allocation, and all of a queue are claimed under one hold of its lock:
// between two holds, those left could be cancelled and the object destroyed.
#pragma once

#include <utility>

#include <runnel/detail/wait.hpp>

namespace runnel::detail {

class claimed_tasks {
public:
    void add(const late_wake& wake) noexcept {
        task_block*& last = wake.held ? last_held_ : last_;
        task_block*& first = wake.held ? first_held_ : first_;
        wake.task->queue_next = nullptr;
        (last != nullptr ? last->queue_next : first) = wake.task;
        last = wake.task;
    }
    /// The node is popped; false: its wait is over already.
    bool claim_popped(const wait_node& node) noexcept {
        late_wake wake;
        if (!claim(node, wake)) return false;
        add(wake);
        return true;
    }
    void claim_all(wait_list& waiting) noexcept {
        while (const wait_node* node = waiting.pop_front()) claim_popped(*node);
    }
    /// They go on in the order in which they were claimed. Without a lock.
    void finish_all() noexcept {
        if (first_ != nullptr && first_ == last_)
            finish(*first_, claimed::won);  // alone: next to run
        else
            finish_chain(first_, claimed::won);
        finish_chain(first_held_, claimed::won_held);
    }

private:
    static void finish_chain(task_block* task, claimed how) noexcept {
        while (task != nullptr) finish_in_turn(*std::exchange(task, task->queue_next), how);
    }

    task_block* first_ = nullptr;
    task_block* last_ = nullptr;
    task_block* first_held_ = nullptr;
    task_block* last_held_ = nullptr;
};
}
