// timer: one tick at a time that can be moved; ticker: ticks at a fixed period.
//
//   rn::timer idle(30s);
//   for (;;) {
//       auto won = co_await rn::select(in.recv(), idle.fired());
//       if (!won || won.index() == 1) break;       // cancelled, or nothing came for 30 seconds
//       use(won.take<0>());
//       idle.reset(30s);                           // never leaves a stale tick behind
//   }
//
//   rn::ticker every(1s);
//   while (auto due = co_await every.tick()) flush(*due);
//
// Both are a *tick source*: a deadline in the timers of the worker that made it, and a queue of waiters.
//
//   K1  one lock, that of those timers, guards the deadline, the ticks that nobody has taken yet, and the
//       queue; a due tick is handed over under it. So stop(), reset(), firing and destruction cannot
//       overlap, and no state has to outlive the object;
//   K2  nobody waits while a tick is there to be taken;
//   K3  at most one tick is kept (Go's rule), except by missed_ticks::burst, which counts them.
//
// Not taken: a channel of capacity one per timer (Go before 1.23: a tick could be in it after stop()).
#pragma once

#include <chrono>
#include <cstdint>
#include <source_location>

#include "detail/counted.hpp"
#include "detail/operation.hpp"
#include "detail/timer_node.hpp"
#include "label.hpp"
#include "result.hpp"
#include "stopping.hpp"
#include "time.hpp"

namespace runnel {

/// What a ticker does about ticks that came due while nobody took them.
enum class missed_ticks : unsigned char {
    skip,   // drops them (one is kept), and stays in phase: ticks are due at start + n * period
    burst,  // keeps them all: they are taken one after the other, without a pause
    delay,  // drops them, and counts the next period from the moment the late tick was taken
};

namespace detail {

class tick_source final : public timer_callback {
public:
    /// Bound to the timers of the worker it is made on. check()s that there is one.
    tick_source(missed_ticks policy, counted_kind what, std::source_location at) noexcept;
    tick_source(const tick_source&) = delete;
    tick_source& operator=(const tick_source&) = delete;
    /// check()s that nobody waits.
    ~tick_source();

    /// First tick after `in` nanoseconds, then one per `period` (0: no more). Returns what stop() does.
    bool start(std::int64_t in, std::int64_t period) noexcept;
    /// Returns whether a tick was to come, or was there and not taken.
    bool stop() noexcept;
    std::uint64_t missed() const noexcept;

    bool tick(std::int64_t now, late_wake& wake) noexcept override;
    bool hold() noexcept override { return false; }
    void run() noexcept override {}

    origin made;

private:
    friend class tick_operation;

    bool clear() noexcept;
    bool hand_over(std::int64_t due, late_wake& wake) noexcept;
    void keep(std::int64_t due, std::int64_t now) noexcept;
    std::int64_t next_due(std::int64_t due, std::int64_t now, bool taken) const noexcept;
    void rest_is_over() noexcept;

    timer_heap& heap_;  // its lock guards all below (K1)
    timer_node node_;
    wait_list waiters_;
    std::uint64_t kept_ = 0;   // ticks that nobody has taken yet
    std::int64_t oldest_ = 0;  // when the first of them was due
    std::int64_t period_ = 0;  // 0: a timer
    std::uint64_t missed_ = 0;
    const missed_ticks policy_;
    bool resting_ = false;  // delay: the next tick is set when the kept one has been taken
    const counted counts_;
};

class [[nodiscard]] tick_operation final : public single_case<tick_operation, result<clock::time_point>> {
public:
    explicit tick_operation(tick_source& of) noexcept : of_(&of) {}
    tick_operation(tick_operation&&) noexcept = default;
    result_type complete(unsigned) noexcept;

    wait_object* object() noexcept override;
    bool try_now(late_wake&) noexcept override;
    void enlist(task_block& task, std::uint64_t ticket) noexcept override;
    wait_subject subject() const noexcept override { return {"for a tick", &of_->made}; }
    bool delist() noexcept override;

private:
    tick_source* of_;
    wait_node node_;
    std::int64_t due_ = 0;
};

/// A tick of a ticker, which ends with the runtime: the second case is that it begins to stop.
class [[nodiscard]] ticker_operation final {
public:
    using result_type = result<clock::time_point>;
    static constexpr std::size_t case_count = 2;
    static constexpr choice order = choice::in_order;

    explicit ticker_operation(tick_source& of) noexcept : tick_(of) {}
    ticker_operation(ticker_operation&&) noexcept = default;

    await_many<ticker_operation> awaiter() noexcept { return await_many<ticker_operation>(*this); }
    void gather(wait_case** out) noexcept {
        out[0] = &stopping_;
        out[1] = &tick_;
    }
    result_type complete(unsigned index) noexcept {
        return index == 0 ? fail(errc::stopping) : tick_.complete(0);
    }
    result_type fail(std::error_code error) noexcept { return error; }

private:
    stopping_operation stopping_;
    tick_operation tick_;
};
}

/// One tick, which can be moved or called off. Made inside a runtime, and must end before that does; stays where it was
/// made (not movable), and must not end while somebody waits for it: check()ed.
/// Threads: reset(), stop() and fired() from any task or thread, at once.
class timer {
public:
    /// Stopped: it never fires until reset().
    explicit timer(std::source_location at = std::source_location::current()) noexcept
        : source_(missed_ticks::skip, detail::counted_kind::timer, at) {}
    /// Started.
    template <class Rep, class Period>
    explicit timer(std::chrono::duration<Rep, Period> d,
                   std::source_location at = std::source_location::current()) noexcept
        : timer(at) {
        reset(d);
    }

    /// Starts again: fires once, `d` from now. Whatever was to come before does not come any more.
    /// Returns whether it was active: a tick was to come, or was there and not taken.
    template <class Rep, class Period>
    bool reset(std::chrono::duration<Rep, Period> d) noexcept {
        return source_.start(detail::saturated_nanoseconds(d), 0);
    }

    /// Calls the tick off; who waits for it goes on waiting. Returns whether it was active.
    bool stop() noexcept { return source_.stop(); }

    /// Receives the tick. A select case.
    /// Returns       when it was due; clock::now() minus that is how late it was taken.
    /// Cancellation  a cancel point on every call; a tick that was not received stays.
    /// Order         one tick ends one wait: the oldest.
    detail::tick_operation fired() noexcept { return detail::tick_operation(source_); }

    /// Its name in dumps and traces. Threads: any.
    void label(literal text) noexcept { source_.made.set_label(text); }

private:
    detail::tick_source source_;
};

/// A tick per period, the first after one period. As a timer it stays where it was made.
class ticker {
public:
    /// `period` must be positive.
    template <class Rep, class Period>
    explicit ticker(std::chrono::duration<Rep, Period> period, missed_ticks policy = missed_ticks::skip,
                    std::source_location at = std::source_location::current()) noexcept
        : source_(policy, detail::counted_kind::ticker, at) {
        reset(period);
    }

    /// Starts anew with another period; ticks that were not taken are gone.
    template <class Rep, class Period>
    void reset(std::chrono::duration<Rep, Period> period) noexcept {
        const std::int64_t every = detail::saturated_nanoseconds(period);
        detail::check(every > 0, "ticker: the period must be positive");
        source_.start(every, every);
    }

    /// No more ticks; who waits for one goes on waiting.
    void stop() noexcept { source_.stop(); }

    /// Receives the next tick. A select case.
    /// Returns       when it was due; errc::stopping once the runtime begins to stop, so that loops end.
    /// Cancellation  a cancel point on every call; a tick that was not received stays.
    /// Order         one tick ends one wait: the oldest.
    detail::ticker_operation tick() noexcept { return detail::ticker_operation(source_); }

    /// How many ticks were dropped because nobody took them in time. Threads: any.
    std::uint64_t missed() const noexcept { return source_.missed(); }

    /// Its name in dumps and traces. Threads: any.
    void label(literal text) noexcept { source_.made.set_label(text); }

private:
    detail::tick_source source_;
};
}
