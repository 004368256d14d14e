// task_life: the beginning and the end of a task block, for the files that start or end one.
#pragma once

#include <runnel/detail/spawning.hpp>
#include <runnel/detail/wait.hpp>

namespace runnel::detail {

/// A block for a new thread of control under `under`, counted as live. Throws std::bad_alloc.
task_block& begin_block(runtime_core& core, context_node& under, task_kind kind);
/// Destroys the frame of a task that has ended, and with it what the task was given: while it still belongs
/// to its context, and so that destructors can tell how it ended.
void destroy_frame(const task_block& task, bool failed) noexcept;
/// It will not run or wait any more: leaves its context, is not live. The block itself may be kept.
void end_block(task_block& task) noexcept;
/// The two halves of that. After the second the runtime may go, unless its own worker does this.
void leave_context(task_block& task) noexcept;
void count_end(const task_block& task) noexcept;
/// Nobody needs it: back into the slab.
void free_ended(task_block& task) noexcept;

/// What the end of an outermost coroutine leads to, once the scopes that it left have ended too.
void complete(task_block& task, const task_end_base& end, promise_base& promise) noexcept;
/// The same for a scope's child. Implemented in scope.cpp.
void end_child(task_block& task, const task_end_base& end, promise_base& promise) noexcept;
/// The same for a branch of when_all. Implemented in fork.cpp.
void arrive_late(task_block& branch_task) noexcept;
/// A left scope of `heir` has no children any more.
void release_hold(task_block& heir) noexcept;

/// Waits for `only` on a plain thread: 0, or a wait code when the runtime gave up its tasks. While `only` is
/// not ready `core` must be there (looked at under the lock of its object); it stays there until the return.
unsigned wait_on_thread(wait_case& only, runtime_core& core);
/// Ends such a thread's sleep.
void wake_thread(task_block& task) noexcept;

/// Stands in for a task that was refused: its join is ready at once.
wait_object& refused_object() noexcept;
}
