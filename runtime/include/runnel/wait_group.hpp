// wait_group: waits until all of some tasks are done. latch: the same, once, for a number known before.
//
//   rn::wait_group pending;
//   pending.add();                               // before the task is started, not in it
//   rn::go(fetch, url, rn::borrow(pending));     // … pending.done();
//   co_await pending.wait();
//
// A scope or a task_set is nearly always the better tool: it counts by itself, and brings the failures home. This one
// is for what is no task of ours: requests in flight, callbacks of a C library, messages on their way.
//
//   G1  wait() ends when the count is zero, and looks at nothing else;
//   G2  all who wait when it becomes zero go on, even if it rises again before they have run.
#pragma once

#include <cstdint>

#include "detail/check.hpp"
#include "detail/operation.hpp"
#include "detail/wait_queue.hpp"
#include "result.hpp"

namespace runnel {

namespace detail {

/// A count, and those who wait until it is zero.
class countdown : public wait_queue {
public:
    countdown(std::uint64_t count, std::source_location made_at) noexcept
        : wait_queue(made_at), count_(count) {}

    void raise(std::uint64_t by) noexcept;
    /// False: it has not that many. Wakes who waits when that was all.
    bool lower(std::uint64_t by) noexcept;
    /// Threads: any.
    std::uint64_t count() noexcept;

private:
    friend class zero_operation;
    std::uint64_t count_;
};

class [[nodiscard]] zero_operation final : public single_case<zero_operation, result<>, queue_case> {
public:
    zero_operation(countdown& of, const char* what) noexcept : single_case(of), what_(what) {}
    zero_operation(zero_operation&&) noexcept = default;

    bool try_now(late_wake&) noexcept override;
    wait_subject subject() const noexcept override;

private:
    const char* what_;
};
}

class wait_group : detail::countdown, public detail::named_awaitable<wait_group, detail::zero_operation> {
public:
    wait_group(std::source_location made_at = std::source_location::current()) noexcept
        : countdown(0, made_at) {}
    ~wait_group() { detail::check(waiting.empty(), "wait_group: ends while it is waited for"); }

    /// `count` more to wait for. More than 2^64 in all is misuse: check()ed. Threads: any.
    void add(std::uint64_t count = 1) noexcept { raise(count); }
    /// One of them is done; more often than there are is misuse: check()ed.
    /// Threads: any, also outside a runtime. Cost: one short lock; the last, O(waiters).
    void done(std::source_location at = std::source_location::current()) noexcept {
        detail::check(lower(1), "wait_group: done() more often than add()", at);
    }
    /// How many there are. A hint, unless the caller knows. Threads: any.
    std::uint64_t count() noexcept { return countdown::count(); }

    /// Waits until none is left; `co_await group` is the same, and so is `group` in a select or a with_timeout().
    /// Returns       success; an error when the wait was refused or ended.
    /// Cancellation  a cancel point on every call, also when none is left.
    /// Order         waiters go on in the order in which they came (G2).
    /// Threads       a task's. What was written before each done() is seen.
    /// Cost          one short spin lock; no allocation.
    detail::zero_operation wait() noexcept { return {*this, "for a wait_group"}; }
    detail::zero_operation operation() noexcept { return wait(); }

    /// Its name in dumps and traces. Threads: any.
    void label(literal text) noexcept { made.set_label(text); }
};

/// Counts down from a number to zero, and stays there.
class latch : detail::countdown, public detail::named_awaitable<latch, detail::zero_operation> {
public:
    explicit latch(std::uint64_t count,
                   std::source_location made_at = std::source_location::current()) noexcept
        : countdown(count, made_at) {}
    ~latch() { detail::check(waiting.empty(), "latch: ends while it is waited for"); }

    /// `by` fewer; more than there are is misuse: check()ed. Threads: any, also outside a runtime.
    void count_down(std::uint64_t by = 1,
                    std::source_location at = std::source_location::current()) noexcept {
        detail::check(lower(by), "latch: counted down below zero", at);
    }
    /// Is it at zero? Threads: any. True: what was written before each count_down() is seen.
    bool is_open() noexcept { return countdown::count() == 0; }

    /// As wait_group::wait(). To arrive and wait: count_down(), then co_await it.
    detail::zero_operation wait() noexcept { return {*this, "for a latch"}; }
    detail::zero_operation operation() noexcept { return wait(); }

    /// Its name in dumps and traces. Threads: any.
    void label(literal text) noexcept { made.set_label(text); }
};
}
