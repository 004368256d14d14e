// task_life: the beginning and the end of a task block, for the files that start or end one.
#pragma once

#include <runnel/detail/spawning.hpp>
#include <runnel/detail/wait.hpp>

namespace runnel::detail {

/// The promise of any of our coroutines, without knowing its type (P1 of task.hpp).
inline promise_base& promise_of(std::coroutine_handle<> frame) noexcept {
    return std::coroutine_handle<promise_base>::from_address(frame.address()).promise();
}

/// A block for a new thread of control under `under`, counted as live. Throws std::bad_alloc.
task_block& begin_block(runtime_core& core, context_node& under, task_kind kind);
/// It will not run or wait any more: leaves its context, is not live. The block itself may be kept.
void end_block(task_block& task) noexcept;
/// The two halves of that. After the second the runtime may go, unless its own worker does this.
void leave_context(task_block& task) noexcept;
void count_end(const task_block& task) noexcept;
/// Nobody needs it: back into the slab.
void free_ended(task_block& task) noexcept;

// The end of an outermost coroutine has two halves, because the destructors of what a task was given may do what
// its body may, leave a scope too:
//   complete()   its body has ended, and the children of all scopes that it left: notes how it ended,
//                destroys the frame;
//   conclude()   so have the children of scopes that its destructors left: tells who waits for it.

void complete(task_block& task, const task_end_base& end, promise_base& promise) noexcept;
void conclude(task_block& task) noexcept;
/// Between the halves, and before the first: false when there are such children, the last of which goes on.
inline bool drop_own_hold(task_block& task) noexcept {
    // acq_rel: what the last child of a left scope wrote happens before the completion.
    return !task.left_scopes || task.holds.fetch_sub(1, std::memory_order_acq_rel) == 1;
}
/// That last child's part: a scope that `heir` left has no children any more.
void release_hold(task_block& heir) noexcept;

/// The halves of a scope's child. Implemented in scope.cpp.
void note_end_of_child(task_block& task, const task_end_base& end, promise_base& promise) noexcept;
void end_child(task_block& task) noexcept;
/// After a cancel, a task that ends with such an error has not failed: it only says that it was cancelled, or that
/// another one was.
bool says_cancelled(std::error_code error) noexcept;
/// A branch of when_all has no frame of its own to destroy: its second half. Implemented in fork.cpp.
void arrive_late(task_block& branch_task) noexcept;

/// As unhandled(), which see: of a child of a scope that nobody joins.
void unhandled_in_scope(std::source_location scope, std::exception_ptr what) noexcept;

/// A block for a plain thread that waits, of no runtime: to be given back by free_ended(). Throws std::bad_alloc.
task_block& begin_thread_block(context_node& under);
/// From now on until end_block() it is one of this runtime's, which does not go meanwhile.
void attach_thread_block(runtime_core& core, task_block& task) noexcept;
/// Waits on a plain thread for one of `cases`: its index; or a wait code when the runtime gave up its tasks. `lists`
/// may be null when there is one. `core`: null, or the runtime that has what is waited for. It must be there while that
/// is not ready (looked at under the lock of its object), and is then there until the return.
/// Throws std::bad_alloc. check()s that it is a plain thread.
unsigned wait_on_thread(const several_cases& of, const wait_cases* lists, runtime_core* core);
/// Ends the sleep of a plain thread.
void wake_thread(task_block& task) noexcept;
/// The timers of the plain thread that waits here; null when none does.
timer_heap* timers_of_thread() noexcept;

/// Stands in for a task that was refused: its join is ready at once.
wait_object& refused_object() noexcept;
}
