// claimed_tasks: waiters that one act has claimed, any number, to be woken when its lock is released.
//
// They are linked through their blocks: nobody else uses the link of a task that is claimed and not yet in a run
// queue (T2 of detail/wait.hpp). So no allocation, and all of a queue are claimed under one hold of its lock:
// between two holds, those left could be cancelled and the object destroyed.
//
// The class is light, for operations in public headers that keep one until they are complete; who calls it includes
// detail/wait.hpp, which has its functions.
#pragma once

#include "wait_case.hpp"

namespace runnel::detail {

class claimed_tasks {
public:
    inline void add(const late_wake& wake) noexcept;
    /// The node is popped; false: its wait is over already.
    inline bool claim_popped(const wait_node& node) noexcept;
    inline void claim_all(wait_list& waiting) noexcept;
    /// They go on in the order in which they were claimed. Without a lock.
    inline void finish_all() noexcept;
    bool empty() const noexcept { return first_ == nullptr && first_held_ == nullptr; }

private:
    inline static void finish_chain(task_block* task, bool held) noexcept;

    task_block* first_ = nullptr;
    task_block* last_ = nullptr;
    task_block* first_held_ = nullptr;
    task_block* last_held_ = nullptr;
};
}
