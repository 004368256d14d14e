// rate_limiter: so many per second on the average, and at most so many at once.
//
//   rn::rate_limiter calls(rn::per_second(50), 10);   // 50 a second; 10 at once after a pause
//
//   if (!calls.allow()) co_return too_many;           // now or not at all
//   if (!co_await calls.wait()) co_return;            // when it is its turn; false: cancelled, and nothing taken
//   auto place = calls.reserve();                     // for who waits in his own way: place.delay(), and maybe
//                                                     // calls.cancel(place)
//
// A bucket that holds `burst` tokens at most and is refilled at the rate. Who waits has taken its tokens already: the
// bucket is in debt, and the wait lasts until the debt is paid. So the order is that of the calls, each knows its time
// at once, and nobody has to be woken but by its own timer.
//
//   R1  in any span of time t, at most burst + rate * t tokens are given out;
//   R2  a wait that ends by a cancel gives its tokens back, but for those that later calls have been made to wait for:
//       their times are not changed, and the rate is not exceeded.
//
// After Go's x/time/rate. Not taken: a queue whose head alone has a timer (whoever gives up moves all others forward;
// a lock and a wake-up for each, to win what R2 gives away in a rare case).
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>

#include "detail/operation.hpp"
#include "detail/spin_lock.hpp"
#include "result.hpp"
#include "time.hpp"

namespace runnel {

class rate_limiter;

/// Tokens per second; none at all is 0, no limit is infinity. per_second(50), or every(20ms); every(0s) is no limit.
class rate {
public:
    explicit constexpr rate(double tokens_per_second) noexcept
        : per_ns_(tokens_per_second > 0 ? tokens_per_second / 1e9 : 0) {}
    constexpr double tokens_per_second() const noexcept { return per_ns_ * 1e9; }

private:
    friend class rate_limiter;
    double per_ns_;
};
constexpr rate per_second(double tokens) noexcept { return rate(tokens); }
template <class Rep, class Period>
constexpr rate every(std::chrono::duration<Rep, Period> interval) noexcept {
    const double seconds = std::chrono::duration<double>(interval).count();
    return rate(seconds <= 0 ? std::numeric_limits<double>::infinity() : 1 / seconds);
}

/// Tokens taken ahead of their time.
class [[nodiscard]] rate_reservation {
public:
    /// False: more than the burst, so never; nothing is taken.
    explicit operator bool() const noexcept { return ok_; }
    /// How long to wait, counted from now, before acting. Zero: act now. Threads: any.
    clock::duration delay() const noexcept;
    /// When to act.
    clock::time_point when() const noexcept { return clock::time_point(clock::duration(due_)); }

private:
    friend class rate_limiter;
    friend class rate_operation;
    std::uint64_t tokens_ = 0;
    std::int64_t due_ = 0;
    double owed_before_ = 0;  // of rate_limiter::owed_, the part of those before, and
    double owed_ = 0;         // its own with it
    bool ok_ = false;
};

/// What rate_limiter::wait() gives.
class [[nodiscard]] rate_operation final
    : public detail::single_case<rate_operation, result<>, detail::deadline_case> {
public:
    rate_operation(rate_limiter& of, std::uint64_t tokens) noexcept
        : single_case(0, origin::clock), of_(&of), tokens_(tokens) {}
    rate_operation(rate_operation&&) noexcept = default;
    result<> complete(unsigned) noexcept;
    void again() noexcept {
        deadline_case::again();
        never_ = false;
    }

    bool try_now(detail::late_wake&) noexcept override;
    void enlist(detail::task_block& task, std::uint64_t ticket) noexcept override;
    bool delist() noexcept override;

private:
    rate_limiter* of_;
    std::uint64_t tokens_;
    rate_reservation place_;
    bool never_ = false;
};

class rate_limiter {
public:
    /// The bucket is full at the beginning.
    rate_limiter(rate refill, std::uint64_t burst) noexcept;
    rate_limiter(const rate_limiter&) = delete;
    rate_limiter& operator=(const rate_limiter&) = delete;

    /// Takes `tokens` if they are there now.
    /// Threads: any, also outside a runtime. Cost: a read of the clock and a short spin lock; no allocation.
    bool allow(std::uint64_t tokens = 1) noexcept;

    /// Takes them ahead of their time. Threads and cost: as allow().
    rate_reservation reserve(std::uint64_t tokens = 1) noexcept;
    /// Gives a reservation back that was not acted on, as far as R2 lets. Once.
    void cancel(rate_reservation& place) noexcept;

    /// Waits until it is its turn, and has `tokens` then. A select case.
    /// Returns       success; std::errc::invalid_argument when they are more than the burst; an error when the wait
    ///               was refused or ended, and then it has taken nothing (R2).
    /// Cancellation  a cancel point on every call.
    /// Order         first come, first served. A change of the rate does not touch those that wait already.
    /// Threads       a task's. The limiter must outlive the wait.
    /// Cost          as allow(), and a deadline in the worker's timers when it has to wait.
    rate_operation wait(std::uint64_t tokens = 1) noexcept { return {*this, tokens}; }

    /// From now on. Threads: any.
    void set_rate(rate refill) noexcept;
    void set_burst(std::uint64_t burst) noexcept;

    /// How many are there now; negative while somebody waits. Threads: any.
    double tokens() noexcept;

private:
    friend class rate_operation;
    void refill_until(std::int64_t now) noexcept;
    rate_reservation take(std::uint64_t tokens, bool now_or_never) noexcept;

    detail::spin_lock lock_;  // innermost: taken under the lock of a worker's timers too
    double per_ns_;
    double burst_;
    double tokens_;
    std::int64_t as_of_;  // tokens_ are as of then
    double owed_ = 0;     // tokens that were given out before they came, all together: R2
};
}
