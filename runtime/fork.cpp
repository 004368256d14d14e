// See fork.hpp; its steps and invariants are named here.
#include <runnel/fork.hpp>

#include "runtime_core.hpp"
#include "task_life.hpp"

namespace runnel::detail {

namespace {
/// Step 4, one branch: true for the last. acq_rel: what each branch wrote is seen by who goes on.
bool arrive(fork_join& join) noexcept { return __atomic_sub_fetch(&join.left, 1, __ATOMIC_ACQ_REL) == 0; }
}

std::coroutine_handle<> fork_join::begin(std::coroutine_handle<> awaiter) noexcept {
    if (count == 0) return transfer(awaiter);
    worker& here = *current_worker();
    waiting = awaiter;
    task = here.running;
    ctx = task->ctx.load(std::memory_order_relaxed);  // relaxed: our own (T1)
    left = count;                                     // before any branch can be stolen
    const std::coroutine_handle<> first = branches[0].frame;
    for (std::size_t i = count - 1; i > 0; --i)  // so that the next in order is the newest
        if (!here.push_fork(branches[i])) here.push_ready(*start_fork(branches[i], here));
    return transfer(first);
}

task_block* start_fork(fork_branch& branch, worker& here) noexcept {
    const task_block& waiting = *branch.join->task;
    task_block& task = begin_block(here.core, *branch.join->ctx, task_kind::fork);
    task.frame = task.leaf = branch.frame;
    task.owner = &branch;
    task.spawned_at = waiting.spawned_at.get();
    return &task;
}

std::coroutine_handle<> fork_branch::done(std::coroutine_handle<>, promise_base&) noexcept {
    worker& here = *current_worker();
    task_block& current = *here.running;
    fork_join& meeting = *join;
    fork_branch* sibling = this + 1;
    if (current.kind == task_kind::fork && current.owner == this) {
        if (!drop_own_hold(current)) {
            here.running = nullptr;
            return std::noop_coroutine();  // S4: arrive_late() follows
        }
        end_block(current);
        free_ended(current);
        here.running = nullptr;
    } else if (sibling != meeting.branches + meeting.count && here.forks.newest_is(*sibling) &&
               here.forks.pop() != nullptr) {
        arrive(meeting);  // not the last: the sibling is not
        return transfer(sibling->frame);
    }
    task_block* waiting_task = meeting.task;
    const std::coroutine_handle<> waiting = meeting.waiting;
    if (!arrive(meeting)) {
        here.running = nullptr;
        return std::noop_coroutine();
    }
    here.running = waiting_task;
    return transfer(waiting);
}

void arrive_late(task_block& branch_task) noexcept {
    fork_join& meeting = *static_cast<fork_branch*>(branch_task.owner)->join;
    task_block* waiting_task = meeting.task;
    const std::coroutine_handle<> waiting = meeting.waiting;
    end_block(branch_task);
    free_ended(branch_task);
    if (!arrive(meeting)) return;
    waiting_task->leaf = waiting;
    end_unparked(*waiting_task);
    schedule(*waiting_task);
}
}
