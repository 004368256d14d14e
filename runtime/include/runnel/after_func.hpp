// after_func: starts a task later.
//
//   auto reminder = rn::after_func(5s, remind, user);
//   …
//   if (!reminder.stop()) …                        // too late: remind has been started
//
// It is a task that waits for its time, or for stop(), or for the runtime to begin to stop, and then runs
// the function. So it has a context (its starter's: cancelled, the function does not run), and stands in a
// dump with the line that made it.
//
//   F1  `phase` is left once, by whoever comes first: the time, or stop(). That decides what stop() says.
//
// Not taken: a bare deadline whose callback starts a task: who would free it when the runtime stops?
#pragma once

#include <atomic>
#include <source_location>

#include "go.hpp"
#include "stopping.hpp"
#include "sync.hpp"
#include "time.hpp"

namespace runnel {

namespace detail {

/// What the waiting task and the handle share.
class later_state {
public:
    /// Returns whether this call has ended it: it will not run.
    bool stop() noexcept;
    bool begin() noexcept;
    void ref() noexcept;
    void unref() noexcept;

    event stopped;

private:
    enum phase : unsigned char { waiting, begun, called_off };
    std::atomic<phase> phase_{waiting};
    std::atomic<int> refs_{1};
};

class later_ref {
public:
    explicit later_ref(later_state* adopted) noexcept : state_(adopted) {}
    later_ref(const later_ref& other) noexcept : state_(other.state_) {
        if (state_ != nullptr) state_->ref();
    }
    later_ref(later_ref&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
    later_ref& operator=(later_ref other) noexcept {
        std::swap(state_, other.state_);
        return *this;
    }
    ~later_ref() {
        if (state_ != nullptr) state_->unref();
    }
    later_state* operator->() const noexcept { return state_; }
    explicit operator bool() const noexcept { return state_ != nullptr; }

private:
    later_state* state_;
};

/// Waits until it is time; false when something else came first.
class [[nodiscard]] due_operation final {
public:
    using result_type = bool;
    static constexpr std::size_t case_count = 3;
    static constexpr choice order = choice::in_order;

    due_operation(const later_ref& of, std::int64_t when) noexcept
        : stopped_(of->stopped), time_(when, deadline_case::origin::clock) {}
    due_operation(due_operation&&) noexcept = default;

    await_many<due_operation> awaiter() noexcept { return await_many<due_operation>(*this); }
    void gather(wait_case** out) noexcept {
        out[0] = &stopped_;
        out[1] = &stopping_;
        out[2] = &time_;
    }
    bool complete(unsigned index) noexcept { return index == 2; }
    bool fail(std::error_code) noexcept { return false; }

private:
    event_operation stopped_;
    stopping_operation stopping_;
    sleep_operation time_;
};

template <class T>
task<> run_when_due(later_ref self, std::int64_t when, task<T> work) {
    const bool due =
        co_await due_operation(self, when);  // named: g++ 12 needs a local here (docs/compilers.md)
    if (due && self->begin()) (void)co_await std::move(work);
}

std::int64_t due_in(std::int64_t nanoseconds) noexcept;
}

/// What after_func() gives. Dropped, the function is run all the same. Threads: an object of one at a time.
class later {
public:
    explicit later(detail::later_ref of) noexcept : state_(std::move(of)) {}

    /// Calls it off. Returns whether this call did it: false when the function has been started, or was
    /// called off before. Threads: any.
    bool stop() noexcept { return state_ && state_->stop(); }

private:
    detail::later_ref state_;
};

namespace detail {
template <class T>
later start_later(std::int64_t in, task<T> work, std::source_location at) {
    later_ref state(new later_state);
    later handle(state);
    go_task(run_when_due<T>(std::move(state), due_in(in), std::move(work)), at).detach();
    return handle;
}
}

/// Starts f(args…) as a task `d` from now, as go() would now: callable and arguments are moved into it, and
/// an exception that leaves it ends the program.
/// Returns       a handle that can call it off.
/// Cancellation  when the starter's context is cancelled, or the runtime begins to stop, before the time has
///               come, f does not run.
/// Threads       inside a runtime only.
/// Cost          that of go(), and one allocation more.
template <class Rep, class Period, class F>
later after_func(std::chrono::duration<Rep, Period> d, F&& f,
                 std::source_location at = std::source_location::current()) {
    return detail::start_later(detail::saturated_nanoseconds(d), detail::body(std::forward<F>(f)), at);
}
template <class Rep, class Period, class F, class A>
later after_func(std::chrono::duration<Rep, Period> d, F&& f, A&& a,
                 std::source_location at = std::source_location::current()) {
    return detail::start_later(detail::saturated_nanoseconds(d),
                               detail::body(std::forward<F>(f), std::forward<A>(a)), at);
}
template <class Rep, class Period, class F, class A, class B>
later after_func(std::chrono::duration<Rep, Period> d, F&& f, A&& a, B&& b,
                 std::source_location at = std::source_location::current()) {
    return detail::start_later(detail::saturated_nanoseconds(d),
                               detail::body(std::forward<F>(f), std::forward<A>(a), std::forward<B>(b)), at);
}
template <class Rep, class Period, class F, class A, class B, class C>
later after_func(std::chrono::duration<Rep, Period> d, F&& f, A&& a, B&& b, C&& c,
                 std::source_location at = std::source_location::current()) {
    return detail::start_later(
        detail::saturated_nanoseconds(d),
        detail::body(std::forward<F>(f), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c)), at);
}
}
