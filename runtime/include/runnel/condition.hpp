// condition: waits for a change of what a mutex guards.
//
//   auto held = co_await lock.lock();
//   if (!held) co_return;
//   while (queue.empty())
//       if (!co_await filled.wait(*held)) co_return;   // cancelled: it is locked again all the same
//   use(queue.front());
//
// A channel, an event or a semaphore says most things more simply. This one is for a state of several variables.
//
//   O1  the waiter stands in the queue before it unlocks, so a change made under the lock is never missed;
//   O2  notify_one() reaches one waiter whose wait is not over. One that is cancelled passes nothing on, and swallows
//       nothing: whoever was notified returns success, also when it is cancelled at that moment;
//   O3  wait() locks again, whatever ended it, and only then returns.
//
// Not taken: a wait that takes a predicate (g++ 12 destroys closures in awaited expressions twice); spurious wake-ups
// (there are none, but between notify and the lock another task may have changed the state: look again).
#pragma once

#include <cstdint>
#include <exception>

#include "context.hpp"
#include "sync.hpp"
#include "task.hpp"

namespace runnel {

class condition;

namespace detail {
class claimed_tasks;

/// Stands in the queue from its construction on (O1).
class notified_operation final : public single_case<notified_operation, result<>, queue_case> {
public:
    explicit notified_operation(condition& of) noexcept;
    notified_operation(const notified_operation&) = delete;
    ~notified_operation();
    result<> fail(std::error_code error) noexcept;

    /// The waits refused in a row. The wait's own, which locking again must not make the brake forget.
    static std::uint16_t refused() noexcept;
    static void set_refused(std::uint16_t count) noexcept;

    bool try_now(late_wake&) noexcept override;
    void enlist(task_block& task, std::uint64_t ticket) noexcept override;
    bool delist() noexcept override;
    wait_subject subject() const noexcept override;

private:
    friend class runnel::condition;
    bool leave() noexcept;

    bool parked_ = false;    // under the lock: claim it; else it has not got that far, or is past it
    bool notified_ = false;  // under the lock: O2
};
}

class condition : detail::wait_queue {
public:
    condition(std::source_location made_at = std::source_location::current()) noexcept
        : wait_queue(made_at) {}
    ~condition() { detail::check(waiting.empty(), "condition: ends while it is waited for"); }

    /// Unlocks `held`, waits for a notification, and locks again (O3): `held` must hold its mutex, check()ed.
    /// Returns       success when notified; else how the wait was refused or ended. Locked in any case.
    /// Throws        cancellation_ignored, locked, in a loop that waits on although it is cancelled.
    /// Cancellation  a cancel point on every call. Locking again is shielded: it may take as long as others hold it.
    /// Order         first come, first served.
    /// Threads       a task's. All who wait at the same time use the same mutex.
    /// Cost          a frame of about 400 bytes from the worker's list; two short spin locks.
    task<result<>> wait(guard& held) {
        detail::check(static_cast<bool>(held), "condition: wait() with a guard that holds nothing");
        return unlock_and_wait(held);
    }

    /// Wakes the one that has waited longest, if any; says whether there was one. Best called under the mutex.
    /// Threads: any, also outside a runtime. Cost: one short lock.
    bool notify_one() noexcept;
    /// Wakes all; says how many. Threads: any, also outside a runtime. Cost: O(waiters), under one short lock.
    std::size_t notify_all() noexcept;

    /// Its name in dumps and traces. Threads: any.
    void label(literal text) noexcept { made.set_label(text); }

private:
    friend class detail::notified_operation;
    bool notify_first(detail::claimed_tasks& woken) noexcept;
    task<result<>> unlock_and_wait(guard& held);
};

inline task<result<>> condition::unlock_and_wait(guard& held) {
    mutex& of = *held.of_;
    detail::notified_operation notified(*this);
    held.unlock();
    result<> how;
    std::exception_ptr ignored;
    try {
        how = co_await std::move(notified);
    } catch (const cancellation_ignored&) {
        how = notified.fail(make_error_code(errc::cancelled));
        if (!how) ignored = std::current_exception();
    }
    const std::uint16_t refused = detail::notified_operation::refused();
    auto again = co_await shielded(of.lock());
    held = *std::move(again);
    if (!how) detail::notified_operation::set_refused(refused);
    if (ignored != nullptr) std::rethrow_exception(std::move(ignored));
    co_return how;
}
}
