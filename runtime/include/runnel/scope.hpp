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
//       its children are cancelled, and end by themselves.
#pragma once

#include <source_location>
#include <vector>

#include "context.hpp"
#include "detail/await_hazard.hpp"
#include "detail/spawning.hpp"

namespace runnel {

namespace detail {
struct scope_state;

/// What scope and task_set share: a counted state that children and the object refer to.
class scope_base {
public:
    scope_base(const scope_base&) = delete;
    scope_base& operator=(const scope_base&) = delete;

    /// Cancels the children (and whoever is spawned later). Threads: any.
    void cancel() noexcept;
    void cancel(std::error_code cause) noexcept;
    /// The children's context.
    context ctx() const noexcept;
    /// Children that have not ended. Threads: any; a hint.
    std::size_t size() const noexcept;
    /// Where it was made, as reports say it; of scoped() the caller's place.
    std::source_location place() const noexcept;

protected:
    scope_base(bool one_fate, std::source_location at);
    ~scope_base();
    /// Throws std::bad_alloc; then it has not been started, and the frame is still the task's.
    template <class T>
    void start(task<T> body, std::source_location at) {
        const auto frame = task_access::frame_of(body, at);
        start_child(frame, frame.promise(), end_of_task<T>, at);
        (void)task_access::release(std::move(body));
    }

    scope_state* state_;

private:
    friend class join_children;
    template <class>
    friend class spawner;
    void start_child(std::coroutine_handle<> frame, promise_base& promise, task_end_base& end,
                     std::source_location at);
};

/// The wait of join(): shielded, because S1.
class [[nodiscard]] join_children final : public wait_case {
public:
    using result_type = result<>;
    static constexpr bool always_shielded = true;  // with_timeout() and with_context() refuse it

    explicit join_children(scope_base& of) noexcept : state_(of.state_) {}
    join_children(join_children&&) noexcept = default;

    class awaiter_type {
    public:
        explicit awaiter_type(join_children& of) noexcept : of_(of) {}
        awaiter_type(const awaiter_type&) = delete;
        awaiter_type& operator=(const awaiter_type&) = delete;
        bool await_ready() const noexcept { return false; }
        bool await_suspend(std::coroutine_handle<> awaiter) noexcept;
        result<> await_resume();

    private:
        join_children& of_;
        context_node* before_ = nullptr;
    };
    awaiter_type awaiter() noexcept { return awaiter_type(*this); }

    wait_object* object() noexcept override;
    bool try_now(late_wake&) noexcept override;
    void enlist(task_block& task, std::uint64_t ticket) noexcept override;
    bool delist() noexcept override;
    wait_subject subject() const noexcept override { return {"for the children of a scope"}; }

private:
    scope_state* state_;
    wait_node node_;
};
}

/// Children with one fate. An object of the task that made it; spawn() also from its children.
class scope final : public detail::scope_base, public detail::spawner<scope> {
public:
    explicit scope(std::source_location at = std::source_location::current()) : scope_base(true, at) {}

    // spawn(f, args…): starts a child; see detail::spawner. Nothing is returned: the scope has its end.
    // Allowed while join() waits. Cost: as go().

    /// Waits until all children have ended (S1), whatever happens to the waiting task meanwhile: a cancel of
    /// it has reached the children by their contexts.
    /// Returns  true; or the error of the first child that failed with one; or cancelled when nobody failed
    ///          but the waiting task is cancelled.
    /// Throws   the exception of the first child that failed with one.
    detail::join_children join() noexcept { return detail::join_children(*this); }

    /// The failures after the first, at most 16, in the order of their coming.
    std::vector<std::exception_ptr> take_other_exceptions();
    std::size_t failures() const noexcept;
};

/// Independent children: one that fails does not touch the others; the first exception comes out of join().
class task_set final : public detail::scope_base, public detail::spawner<task_set> {
public:
    explicit task_set(std::source_location at = std::source_location::current()) : scope_base(false, at) {}

    /// As scope::join(), but errors of results are the children's own affair; the first exception is thrown
    /// when all have ended.
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
}
