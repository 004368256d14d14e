// scope: tasks that belong together, and never outlive who started them unseen.
//
//   auto both = co_await rn::scoped([&](rn::scope& s) -> rn::task<> {
//     s.spawn(read_side, rn::borrow(socket));      // children may use the caller's objects:
//     s.spawn(write_side, rn::borrow(socket));     // scoped() returns after they have ended
//     co_return;
//   });
//
// A scope is one fate: the first child that fails (by an exception, or by giving an error: an std::error_code, a
// result or transfer with one, whatever has such an error() or `error`) cancels the others, and its failure comes
// out of join(). A task_set is many: each child fails for itself.
//
//   S1  join() returns only when every child has ended, cancelled or not;
//   S2  the children run under a context of the scope's own, a child of the spawner's: a cancel of the
//       task reaches them, a cancel() of the scope reaches nobody else;
//   S3  a child that has ended is freed at once: a set may live as long as a server;
//   S4  a scope left without join (an exception, an early co_return) neither blocks nor aborts: it cancels,
//       and hands its unfinished children to the enclosing task, which is not complete until they are. It is
//       reported on stderr with the line of the scope. An exception in it, or of a child that ends later, has
//       nobody who could receive it, and stops the program as any such. Its children must not borrow locals of
//       that task, which are gone before they have ended; the arguments that the task was started with are there
//       until then. scoped() cannot be left;
//   S5  a scope whose last owner is a child of it (or a plain thread) is left too, but by nobody who could wait:
//       its children are cancelled, and end by themselves;
//   S6  of a scope every failure is counted and the first are kept. It is none that a child gives errc::cancelled or
//       its like (deadline_exceeded, timed_out, stopping, producer_cancelled) once the scope is cancelled: that is
//       what the first failure, or cancel(), has brought about. Any other error is one then too, and any exception;
//   S7  a child has its place, of those that set_limit() says there are, from when it is started until it has ended
//       and what it was given is gone. The place goes to who waits longest; a cancelled scope has none for anybody.
//
//   s.set_limit(8);
//   for (auto& each : urls) {
//     auto started = co_await s.when_free().spawn(fetch, each);   // at most 8 at once
//     if (!started) break;                                        // one has failed, or we are cancelled
//   }
//
// After Go's x/sync errgroup, Kotlin's coroutineScope and supervisorScope, Trio's nurseries and CapacityLimiter. The
// limit is a number of children, not of permits. Not taken: a semaphore beside the scope: a child that holds a permit
// gives it back before what it was given is gone, and spawn(), which cannot wait, would not count.
#pragma once

#include <source_location>

#include "detail/await_hazard.hpp"
#include "detail/scope_base.hpp"

namespace runnel {

/// Children with one fate. An object of the task that made it; spawn() also from its children.
class scope final : public detail::scope_base, public detail::scope_spawner<scope> {
public:
    explicit scope(std::source_location at = std::source_location::current()) : scope_base(true, at) {}

    // spawn(f, args…), when_free().spawn(f, args…), if_free().spawn(f, args…): see detail::scope_spawner.

    /// Waits until all children have ended (S1), whatever happens to the waiting task meanwhile: a cancel of
    /// it has reached the children by their contexts. More may be spawned while it waits.
    /// Returns  true; or the error of the first child that failed with one; or cancelled when nobody failed
    ///          but the waiting task is cancelled.
    /// Throws   the exception of the first child that failed with one, before any error.
    detail::join_children join() noexcept { return detail::join_children(*this); }
};

/// Independent children: one that fails does not touch the others; the first exception comes out of join().
class task_set final : public detail::scope_base, public detail::scope_spawner<task_set> {
public:
    explicit task_set(std::source_location at = std::source_location::current()) : scope_base(false, at) {}

    /// As scope::join(), but errors of results are the children's own affair, and no failures; the first exception is
    /// thrown when all have ended.
    detail::join_children join() noexcept { return detail::join_children(*this); }

    /// Called instead of keeping an exception, on the worker where the child ended. Set before spawning.
    void on_failure(void (*handler)(std::exception_ptr, void*), void* user) noexcept;
};

namespace detail {
/// A body that fails, by an exception or an error, cancels the children like a child that fails.
template <class T, class F, class... Args>
task<result_of<T>> run_scoped(F f, std::source_location at, Args... args) {
    scope children(at);
    std::exception_ptr failure;
    outcome<T> out;
    try {
        if constexpr (std::is_void_v<T>)
            co_await call(std::move(f), children, unwrap(args)...);
        else
            out.set_value(co_await call(std::move(f), children, unwrap(args)...));
    } catch (...) {
        failure = std::current_exception();
    }
    if (failure) children.cancel();
    bool failed_first = false;
    if constexpr (holds_error<T>)
        if (const T* value = out.peek(); value != nullptr && error_in(*value)) {
            failed_first = children.failures() == 0;
            children.cancel(error_in(*value));
        }
    result<> joined;
    try {
        joined = co_await children.join();
    } catch (...) {
        if (!failure) failure = std::current_exception();
    }
    if (failure) std::rethrow_exception(std::move(failure));
    if (!joined && !failed_first) co_return joined.error();
    co_return take_result(out);
}
}

namespace detail {
template <class F, class... Args>
auto make_scoped(std::source_location at, F&& body, Args&&... args) {
    refuse_what_dies_twice<F, Args...>();
    using called = decltype(call(std::declval<kept_t<F>&&>(), std::declval<scope&>(),
                                 unwrap(std::declval<kept_t<Args>&>())...));
    using value = typename task_value<called>::type;
    return run_scoped<value, kept_t<F>, kept_t<Args>...>(to_keep(std::forward<F>(body)), at,
                                                         to_keep(std::forward<Args>(args))...);
}
}

/// Runs `body(scope, args…)` and then waits for all children that it spawned: the recommended form, in
/// which children may borrow what belongs to the caller, since the caller waits here.
/// Returns  what the body returned; the error of a child that failed before it. Throws the first exception.
template <class F>
auto scoped(F&& body, std::source_location at = std::source_location::current()) {
    return detail::make_scoped(at, std::forward<F>(body));
}
template <class F, class A>
auto scoped(F&& body, A&& a, std::source_location at = std::source_location::current()) {
    return detail::make_scoped(at, std::forward<F>(body), std::forward<A>(a));
}
template <class F, class A, class B>
auto scoped(F&& body, A&& a, B&& b, std::source_location at = std::source_location::current()) {
    return detail::make_scoped(at, std::forward<F>(body), std::forward<A>(a), std::forward<B>(b));
}
template <class F, class A, class B, class C>
auto scoped(F&& body, A&& a, B&& b, C&& c, std::source_location at = std::source_location::current()) {
    return detail::make_scoped(at, std::forward<F>(body), std::forward<A>(a), std::forward<B>(b),
                               std::forward<C>(c));
}
/// More than those.
template <class F, class A, class B, class C, class D, class... More>
void scoped(F&&, A&&, B&&, C&&, D&&, More&&...) {
    static_assert(detail::too_many<F>, "scoped: of three arguments at most: let the body capture the others");
}
}
