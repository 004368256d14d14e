// after_func: starts a task later: when some time has passed, or when a context is cancelled.
//
//   auto reminder = rn::after_func(5s, remind, user);
//   auto closing = rn::after_func(rn::current_context(), close_down, std::move(connection));
//   …
//   if (!reminder.stop()) …                        // too late: remind has been started
//
// It is a task that waits for its moment, or for stop(), and then runs the function. So it stands in a dump with the
// line that made it. What else ends the wait:
//
//   of time       the end of its starter's context, under which it waits and runs; the runtime, when it begins to stop;
//   of a context  the runtime, when it cancels its root: it waits and runs under that, since the starter's context is
//                 mostly the one that is cancelled. What is below the root is cancelled in the same breath, and brings
//                 the moment of the functions there; only those of contexts apart are called off.
//
//   F1  `phase` is left once, by whoever comes first: the moment, or stop(). That decides what stop() says;
//   F2  of a context the moment is its cancel, not the turn of our task that sees it: once the context is cancelled
//       stop() refuses, and nobody but the task leaves the phase.
//   F3  who waits for a context that nobody may ever cancel is no reason for a runtime not to end: idle_function.
//
// Not taken: a bare deadline, or a node in the context, whose callback starts a task: who would free it when the
// runtime stops?
#pragma once

#include <atomic>
#include <source_location>
#include <tuple>

#include "context.hpp"
#include "go.hpp"
#include "stopping.hpp"
#include "sync.hpp"
#include "time.hpp"

namespace runnel {

namespace detail {

/// What the waiting task and the handle share.
class later_state {
public:
    later_state() = default;
    explicit later_state(const context& cancelled) noexcept : when(cancelled) {}

    /// Returns whether this call has ended it: it will not run.
    bool stop() noexcept;
    bool begin() noexcept;
    void ref() noexcept;
    void unref() noexcept;

    const context when;  // of time: the background, which never is cancelled
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

/// Waits for the last of its cases; false when another came first.
template <class... Cases>
class [[nodiscard]] due_operation final {
public:
    using result_type = bool;
    static constexpr std::size_t case_count = sizeof...(Cases);
    static constexpr choice order = choice::in_order;

    explicit due_operation(Cases&&... cases) noexcept : cases_(std::move(cases)...) {}
    due_operation(due_operation&&) noexcept = default;

    await_many<due_operation> awaiter() noexcept { return await_many<due_operation>(*this); }
    void gather(wait_case** out) noexcept {
        std::apply([&out](Cases&... each) { ((*out++ = &each), ...); }, cases_);
    }
    bool complete(unsigned index) noexcept { return index == case_count - 1; }
    bool fail(std::error_code) noexcept { return false; }

private:
    std::tuple<Cases...> cases_;
};

template <class T>
task<> run_when_due(later_ref self, std::int64_t when, task<T> work) {
    auto first =
        due_operation(self->stopped.wait(), stopping(), sleep_operation(when, deadline_case::origin::clock));
    const bool due = co_await std::move(first);  // named: g++ 12 needs a local here (docs/compilers.md)
    if (self->begin() && due) (void)co_await std::move(work);  // not due: nobody else calls it off any more
}

/// F3. While it lives the running task is not counted among those that a runtime which stops waits for.
class idle_function {
public:
    idle_function() noexcept;
    idle_function(const idle_function&) = delete;
    idle_function& operator=(const idle_function&) = delete;
    ~idle_function();
};

template <class T>
task<> run_when_cancelled(later_ref self, task<T> work) {
    {
        const idle_function waits;
        auto first = due_operation(self->stopped.wait(), self->when.done());
        (void)co_await std::move(first);
    }
    if (!self->begin() || !self->when.cancelled()) co_return;
    auto under_root = with_context(without_cancel(self->when), std::move(work));
    (void)co_await std::move(under_root);
}
}

/// What after_func() gives. Dropped, the function is run all the same. Threads: an object of one at a time.
class later {
public:
    explicit later(detail::later_ref of) noexcept : state_(std::move(of)) {}

    /// Calls it off. Returns whether this call did it: false when its moment has come (the time, and the function has
    /// been started; the cancel of the context, and it will be), or it was called off before. Does not wait for the
    /// function. Threads: any.
    bool stop() noexcept { return state_ && state_->stop(); }

private:
    detail::later_ref state_;
};

namespace detail {
/// What after_func() can be told to wait for, as start_later() wants it.
std::int64_t due_in(std::int64_t nanoseconds) noexcept;
/// False: refused, the runtime stops.
bool go_under_root(task<> what, std::source_location at);
template <class Rep, class Period>
std::int64_t moment(std::chrono::duration<Rep, Period> in) noexcept {
    return due_in(saturated_nanoseconds(in));
}
inline const context& moment(const context& cancelled) noexcept { return cancelled; }

template <class T>
later start_later(std::int64_t when, task<T> work, std::source_location at) {
    later_ref state(new later_state);
    later handle(state);
    go_task(run_when_due<T>(std::move(state), when, std::move(work)), at).detach();
    return handle;
}
template <class T>
later start_later(const context& when, task<T> work, std::source_location at) {
    later_ref state(new later_state(when));
    later handle(state);
    if (!go_under_root(run_when_cancelled<T>(std::move(state), std::move(work)), at)) (void)handle.stop();
    return handle;
}
template <class When>
concept starts_later = requires(const When& when) { detail::moment(when); };
}

/// Starts f(args…) as a task `when` a duration from now has passed or a context is cancelled, as go() would now:
/// callable and arguments are moved into it, and an exception that leaves it ends the program.
/// Returns       a handle that can call it off. Until then, or until it has run, callable, arguments and the context
///               are kept, so what will not be needed is stopped.
/// Cancellation  of time: when the starter's context is cancelled, or the runtime begins to stop, before the time has
///               come, f does not run.
///               Of a context: f runs under the root context with the values of the cancelled one, so that it may wait.
///               The runtime, when it stops, cancels what is below its root, and f runs. On a context apart from
///               that it is called off then. While the runtime stops nothing is started any more.
/// Order         of a context: after it has been cancelled, by whoever on whatever thread, who does not wait for f.
///               On a context that is cancelled already f starts at once. Several on one context know nothing of each
///               other, and start in any order.
/// Threads       inside a runtime only.
/// Cost          that of go(), and one allocation more.
template <detail::starts_later When, class F>
later after_func(const When& when, F&& f, std::source_location at = std::source_location::current()) {
    return detail::start_later(detail::moment(when), detail::body(std::forward<F>(f)), at);
}
template <detail::starts_later When, class F, class A>
later after_func(const When& when, F&& f, A&& a, std::source_location at = std::source_location::current()) {
    return detail::start_later(detail::moment(when), detail::body(std::forward<F>(f), std::forward<A>(a)),
                               at);
}
template <detail::starts_later When, class F, class A, class B>
later after_func(const When& when, F&& f, A&& a, B&& b,
                 std::source_location at = std::source_location::current()) {
    return detail::start_later(detail::moment(when),
                               detail::body(std::forward<F>(f), std::forward<A>(a), std::forward<B>(b)), at);
}
template <detail::starts_later When, class F, class A, class B, class C>
later after_func(const When& when, F&& f, A&& a, B&& b, C&& c,
                 std::source_location at = std::source_location::current()) {
    return detail::start_later(
        detail::moment(when),
        detail::body(std::forward<F>(f), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c)), at);
}
/// More than those.
template <detail::starts_later When, class F, class A, class B, class C, class D, class... More>
void after_func(const When&, F&&, A&&, B&&, C&&, D&&, More&&...) {
    static_assert(detail::too_many<F>, "after_func: of three arguments at most: put more into a struct");
}
}
