// block_on: a plain thread waits for what a task would co_await.
//
//   auto job = rn::block_on(jobs.recv());                                       // a thread that is no worker
//   auto sent = rn::block_on(rn::with_timeout(1s, results.send(rn::from(x))));
//   auto won = rn::block_on(rn::select(jobs.recv(), ctx.done(), rn::after(5s)));
//
// For the parts of a program that are not tasks: a thread of a library, an old worker pool, main() before run(). One
// mechanism for all that a select takes: such a thread stands in the queues of channels, locks and events like a
// task, first come first served among tasks and threads.
//
// Not taken: blocking_send() and blocking_recv(), which would need a deadline form each, and no select. A task: start
// it by runtime::spawn(), whose handle has a wait() of its own.
#pragma once

#include <type_traits>

#include "detail/operation.hpp"
#include "task.hpp"

namespace runnel {

namespace detail {
/// See wait_on_thread() in task_life.hpp.
unsigned block_on_cases(const several_cases& of, const wait_cases& lists);

template <class Op>
class thread_wait : wait_cases {
public:
    explicit thread_wait(Op& op) noexcept : wait_cases{list_cases}, op_(op) {}

    typename Op::result_type wait() {
        const several_cases all = room_.gather(op_, block_);
        return op_.complete(block_on_cases(all, *this));
    }

private:
    static std::size_t list_cases(wait_cases& of, wait_case** out, std::size_t space) noexcept {
        auto& self = static_cast<thread_wait&>(of);
        const std::size_t count = count_of(self.op_);
        wait_case** const cases = self.block_.cases() != nullptr ? self.block_.cases() : self.room_.cases;
        for (std::size_t i = 0; i < count && i < space; ++i) out[i] = cases[i];
        return count;
    }
    Op& op_;
    case_room<Op> room_;
    [[no_unique_address]] typename case_room<Op>::block block_;
};
}

/// Waits on a plain thread until `op` has happened: send, recv, reserve, sleep, lock, event, ctx.done(), a future, a
/// join_handle, with_timeout() and select() of them.
/// Returns       what `co_await op` gives.
/// Throws        what that throws; std::bad_alloc.
/// Cancellation  none: the thread has no context. Select on ctx.done() to be told of one's end, put with_timeout()
///               around it for a deadline. stopping() is never ready here: the thread is of no runtime.
/// Order         the thread has its place in the queue of each case, among tasks.
/// Threads       any but workers: there it would stop all tasks of a worker, and is check()ed. It may be a thread of
///               blocking(). A simulation, which a thread of the program would make another every time, check()s
///               the task that wakes one, and the thread that wakes a task.
/// Cost          two system calls when it has to wait, and a look at the clock for a deadline.
/// A runtime does not know of it: it stops without waiting for such threads, and those that wait for what nobody will
/// do then wait for ever. (For the end of a task join_handle::wait() is told when its runtime gives it up.) To a
/// deadlock report the thread is one that could still wake a task, also while it waits, unless it is declared by
/// options::bystander_threads(). The thread that drives a driven_runtime must not wait here for its own tasks: they run
/// in its poll() only, so that would be for ever.
template <class Op>
auto block_on(Op&& op) {
    using meant = detail::meant_t<Op>;
    static_assert(
        detail::selectable<meant>,
        "a plain thread waits for what could be a case of a select: a task is spawn()ed in a runtime, whose "
        "handle has wait()");
    static_assert(!std::is_lvalue_reference_v<Op> || detail::awaited_as_lvalue<std::remove_cvref_t<Op>>,
                  "an operation refers to its arguments: make it in the block_on() that waits for it");
    auto&& operation = detail::meant_by<Op>(op);
    return detail::thread_wait<meant>(operation).wait();
}
}
