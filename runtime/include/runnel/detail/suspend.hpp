// suspend: a wait for one case (wait_case.hpp), by the steps that wait.hpp names.
//
// A template, so that a case whose class is known is asked directly and compiled into it: channels do so, for what they
// do most. For all others there is suspend_one(), which is the same of any case.
#pragma once

#include "tracing.hpp"
#include "wait.hpp"

namespace runnel::detail {

/// Aborts with a report.
[[noreturn]] void no_task_runs() noexcept;

/// Who runs the task that waits: what each wait asks first, and asks once, for the pointer is a thread's.
inline worker_local& this_worker() noexcept {
    worker_local* const here = tls_worker;
    if (here == nullptr || here->running == nullptr) [[unlikely]]
        no_task_runs();
    return *here;
}

/// Nothing to wait for: go on, unless the budget of this resumption is used up (W3). A wait of very many cases is as
/// much work as several.
inline bool go_on(worker_local& here, unsigned code, std::coroutine_handle<> awaiter,
                  std::size_t cases = 1) noexcept {
    task_block& task = *here.running;
    end_unparked(task, code);
    task.refused = 0;
    here.budget -= 1 + static_cast<int>(cases / 128);
    if (here.budget > 0) [[likely]]
        return false;
    task.leaf = awaiter;
    schedule_back(task);
    return true;
}

/// For dumps: what it waits at, and since when. Before arming.
inline void note_wait(const worker_local& here, task_block& task, const void* at) noexcept {
    task.waits_at.store(at, std::memory_order_relaxed);  // relaxed: published by the arming
    task.waits_since = coarse_time(here.tick_time);
}

/// The same for a trace, too; not of an operation in the kernel, of which io tells more.
inline void begin_wait(const worker_local& here, task_block& task, const void* at) noexcept {
    note_wait(here, task, at);
    if (here.traced != nullptr) [[unlikely]]
        trace_wait(task);
}

/// For a trace, when a case has happened at once, before the waiter that it ended goes on.
inline void note_done(const worker_local& here, wait_case& done, const late_wake& wake) noexcept {
    if (here.traced != nullptr) [[unlikely]]
        trace_done(done, wake);
}

template <class Case>
bool suspend_at(Case& only, std::coroutine_handle<> awaiter) noexcept {
    worker_local& here = this_worker();
    task_block& task = *here.running;
    if (!may_wait(task)) [[unlikely]]
        return refuse(task, awaiter);
    const std::uint64_t ticket = next_ticket(task);
    wait_object* const object = only.object();
    if (object == nullptr) [[unlikely]] {
        begin_wait(here, task, static_cast<wait_case*>(&only));
        return arm(task, ticket, awaiter) != arming::cancelled;
    }
    object->lock.lock();
    late_wake wake;
    if (only.try_now(wake)) {
        object->lock.unlock();
        note_done(here, only, wake);
        finish(wake);
        return go_on(here, 0, awaiter);
    }
    only.enlist(task, ticket);
    begin_wait(here, task, static_cast<wait_case*>(&only));
    const arming how = arm(task, ticket, awaiter);
    if (how != arming::parked) [[unlikely]]
        only.delist();
    object->lock.unlock();
    return how != arming::cancelled;
}
}
