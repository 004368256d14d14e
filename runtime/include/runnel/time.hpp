// time: the clock, sleeping, and a time limit for any operation.
//
//   co_await rn::sleep_for(10ms);
//   auto reply = co_await rn::with_timeout(1s, replies.recv());   // errc::timed_out when it takes longer
//   while (auto won = co_await rn::select(jobs.recv(), rn::after(5s))) …   // ends when cancelled: no index() then
//
// Deadlines stand in the timers of the worker that waits, so that a deadline is one more case of a wait:
// nothing is started, cancelled or joined for it. timer.hpp has what ticks.
//
//   D1  a duration counts from the co_await, not from the call that made the operation;
//   D2  the clock is read only when the task really parks: an operation that is ready pays nothing;
//   D3  zero and negative durations are ready at once; durations too long to count never end.
#pragma once

#include <chrono>
#include <cstdint>

#include "detail/operation.hpp"
#include "detail/timer_node.hpp"
#include "result.hpp"
#include "task.hpp"

namespace runnel {

/// The monotonic clock of the runtime, in nanoseconds. Simulation steers it.
struct clock {
    using rep = std::int64_t;
    using period = std::nano;
    using duration = std::chrono::nanoseconds;
    using time_point = std::chrono::time_point<clock>;
    static constexpr bool is_steady = true;

    /// Threads: any; outside a runtime the system's monotonic clock.
    static time_point now() noexcept;
};

namespace detail {

inline constexpr std::int64_t never = INT64_MAX;

/// The duration in nanoseconds, rounded up; 0 when it is not positive, `never` when it is too long.
template <class Rep, class Period>
constexpr std::int64_t saturated_nanoseconds(std::chrono::duration<Rep, Period> d) noexcept {
    const double estimate = std::chrono::duration<double, std::nano>(d).count();
    if (!(estimate > 0)) return 0;  // a NaN too
    if (estimate >= static_cast<double>(never)) return never;
    return std::chrono::ceil<std::chrono::nanoseconds>(d).count();
}

constexpr std::int64_t saturated_sum(std::int64_t now, std::int64_t by) noexcept {
    return by < never - now ? now + by : never;
}

/// A case that happens at a point in time.
class deadline_case : public wait_case {
public:
    enum class origin : unsigned char { wait, clock };  // `time` counts from the wait, or is absolute

    deadline_case(std::int64_t time, origin from) noexcept : time_(time), from_(from) {}
    deadline_case(deadline_case&&) noexcept = default;
    deadline_case& operator=(deadline_case&&) = delete;

    wait_object* object() noexcept final;
    bool try_now(late_wake&) noexcept override;
    void enlist(task_block& task, std::uint64_t ticket) noexcept override;
    bool delist() noexcept override;
    wait_subject subject() const noexcept final { return {"for a deadline", nullptr, 0, node_.when}; }
    /// It has passed, and may be waited for again, in the timers of whoever does.
    void again() noexcept { node_.heap = nullptr; }

protected:
    ~deadline_case() = default;

    /// For who learns the time only when it queues up.
    void set_time(std::int64_t time) noexcept { time_ = time; }

private:
    std::int64_t time_;
    origin from_;
    timer_node node_;
};

class [[nodiscard]] sleep_operation final : public single_case<sleep_operation, result<>, deadline_case> {
public:
    sleep_operation(std::int64_t time, origin from) noexcept : single_case(time, from) {}
    sleep_operation(sleep_operation&&) noexcept = default;
    sleep_operation& operator=(sleep_operation&& other) noexcept {
        return made_anew(*this, std::move(other));
    }
};

/// The limit of a with_timeout(): never ready at once, so that an operation that is ready always wins.
class limit_case final : public deadline_case {
public:
    using deadline_case::deadline_case;
    bool try_now(late_wake&) noexcept override { return false; }
};

template <class Op>
constexpr choice order_of() noexcept {
    if constexpr (requires { Op::order; })
        return Op::order;
    else
        return choice::fair;
}

/// What with_timeout() gives: the cases of `Op`, and the limit as the last.
template <class Op>
class [[nodiscard]] timed_operation {
public:
    using result_type = typename Op::result_type;
    static constexpr std::size_t case_count = sum_of_counts(Op::case_count, 1);
    // The limit is never ready, so with one other case there is nothing to choose, and no luck to ask.
    static constexpr choice order = Op::case_count == 1 ? choice::in_order : order_of<Op>();

    timed_operation(std::int64_t limit, Op&& op,
                    deadline_case::origin from = deadline_case::origin::wait) noexcept
        : op_(std::move(op)), limit_(limit, from) {}
    timed_operation(timed_operation&&) noexcept = default;

    await_many<timed_operation, suspend_limited> awaiter() noexcept {
        return await_many<timed_operation, suspend_limited>(*this);
    }
    std::size_t count() const noexcept { return count_of(op_) + 1; }
    void gather(wait_case** out) noexcept {
        op_.gather(out);
        out[count_of(op_)] = &limit_;
    }
    result_type complete(unsigned index) {
        return index == count_of(op_) ? op_.fail(errc::timed_out) : op_.complete(index);
    }
    result_type fail(std::error_code error) { return op_.fail(error); }
    void again() noexcept {
        make_ready_again(op_);
        limit_.again();
    }
    void renew() noexcept
        requires requires(Op& op) { op.renew(); }
    {
        op_.renew();
    }

private:
    Op op_;
    limit_case limit_;
};

/// An operation that is no select case, but takes a limit itself: `op.with_limit(nanoseconds)` gives the
/// operation that ends after them with errc::timed_out. For what the kernel does.
template <class Op>
concept takes_limit =
    !selectable<Op> && requires(Op&& op) { std::forward<Op>(op).with_limit(std::int64_t{}); };

class yield_operation;
}

/// Sleeps for `d`, counted from the co_await. A select case, as all here.
/// Returns       success once slept; an error when the wait was refused or ended.
/// Cancellation  a cancel point on every call, also when `d` is not positive.
/// Order         equal deadlines of a worker end in the order in which they began to wait.
/// Threads       a task's. Ends on whatever worker is free.
/// Cost          O(log n) in the worker's sleepers; no allocation.
template <class Rep, class Period>
detail::sleep_operation sleep_for(std::chrono::duration<Rep, Period> d) noexcept {
    return {detail::saturated_nanoseconds(d), detail::deadline_case::origin::wait};
}

/// The same under the name that reads better in a select: `select(jobs.recv(), after(5s))`.
template <class Rep, class Period>
detail::sleep_operation after(std::chrono::duration<Rep, Period> d) noexcept {
    return sleep_for(d);
}

/// The same until a point in time; at once when that has passed.
template <class Duration>
detail::sleep_operation sleep_until(std::chrono::time_point<clock, Duration> when) noexcept {
    return {detail::saturated_nanoseconds(when.time_since_epoch()), detail::deadline_case::origin::clock};
}
/// Of another clock, which simulated time knows nothing of.
template <class Clock, class Duration>
detail::sleep_operation sleep_until(std::chrono::time_point<Clock, Duration>) noexcept {
    static_assert(std::is_same_v<Clock, clock>, "sleep_until: a time of rn::clock: rn::clock::now() + 1s");
    return {0, detail::deadline_case::origin::clock};
}

/// Limits an operation: it fails with errc::timed_out when it has not happened `d` after the co_await.
/// The result is an operation of the same kind: inside a select it limits one case, around one it limits
/// the whole, and limits may be nested. Tasks and operations of the kernel: see context.hpp.
/// Returns       what the operation gives, or its failure with errc::timed_out.
/// Cancellation  that of the operation.
/// Order         an operation that is ready wins, also over a limit that has passed already.
/// Cost          one more case: O(log n) when the operation has to wait, nothing when it is ready.
template <class Rep, class Period, class Op>
    requires detail::selectable<detail::meant_t<Op>>
detail::timed_operation<detail::meant_t<Op>> with_timeout(std::chrono::duration<Rep, Period> d,
                                                          Op&& op) noexcept {
    static_assert(
        !std::is_lvalue_reference_v<Op> || detail::awaited_as_lvalue<Op>,
        "an operation refers to its arguments: give it to with_timeout() in the expression that makes it");
    return {detail::saturated_nanoseconds(d), detail::meant_by<Op>(op)};
}

template <class Rep, class Period, class Op>
    requires detail::takes_limit<Op>
auto with_timeout(std::chrono::duration<Rep, Period> d, Op&& op) noexcept {
    return std::forward<Op>(op).with_limit(detail::saturated_nanoseconds(d));
}

/// The same until a point in time: for several operations that share one. Of a task, or an operation of the kernel,
/// what is left until then is counted from this call.
template <class Duration, class Op>
auto with_deadline(std::chrono::time_point<clock, Duration> when,
                   Op&& op) noexcept(detail::selectable<detail::meant_t<Op>>) {
    if constexpr (detail::selectable<detail::meant_t<Op>>) {
        static_assert(!std::is_lvalue_reference_v<Op> || detail::awaited_as_lvalue<Op>,
                      "an operation refers to its arguments: give it to with_deadline() in the expression "
                      "that makes it");
        return detail::timed_operation<detail::meant_t<Op>>(
            detail::saturated_nanoseconds(when.time_since_epoch()), detail::meant_by<Op>(op),
            detail::deadline_case::origin::clock);
    } else {
        const auto now = clock::now();
        return with_timeout(when > now ? when - now : decltype(when - now){}, std::forward<Op>(op));
    }
}

/// Gives way: the task goes to the back of its worker's queue.
/// Returns       success; an error, and no pause, when the context is cancelled.
/// Cancellation  a cancel point on every call.
/// Order         every task that was in the queue runs first.
/// Cost          one turn through the queue.
detail::yield_operation yield() noexcept;

namespace detail {

/// Not a select case: it is always ready.
class [[nodiscard]] yield_operation {
public:
    using result_type = result<>;

    class yield_awaiter {
    public:
        yield_awaiter() noexcept {}
        yield_awaiter(const yield_awaiter&) = delete;
        yield_awaiter& operator=(const yield_awaiter&) = delete;
        bool await_ready() const noexcept { return false; }
        bool await_suspend(std::coroutine_handle<> awaiter) noexcept;
        result<> await_resume() const;

    private:
        bool refused_ = false;
    };

    yield_operation() noexcept {}
    yield_awaiter awaiter() const noexcept { return yield_awaiter(); }
};
}

inline detail::yield_operation yield() noexcept { return detail::yield_operation(); }
}
