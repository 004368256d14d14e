// context: how a tree of tasks is told to stop, by when, and with which values.
//
// Go's context, carried: every task runs under one, inherits it from who started it, and each of its
// waits ends when that context is cancelled. So no function needs a ctx parameter; the functions here
// make new contexts, and with_context()/with_timeout()/shielded() run something under another one.
//
//   auto [ctx, cancel] = rn::with_cancel(rn::current_context());
//   auto reply = co_await rn::with_context(ctx, ask(server));   // cancel() from anywhere ends it
//
//   C1  cancelled is for ever, and level-triggered: it is checked before each wait;
//   C2  the parent is cancelled before its children; a child of a cancelled parent is born cancelled;
//   C3  a wait that already has its value keeps it: cancelling never loses one;
//   C4  cancelling runs no user code and holds no locks of two contexts at a time, so it may be called anywhere;
//   C5  a context removes itself from its parents when it is cancelled, or its last handle goes: no growth.
//
// Not taken: a token parameter on every operation (Asio, libunifex): forgotten once, a wait cannot be
// ended. Cancelling by an exception out of co_await (Trio, Kotlin): here an error ends the loop.
#pragma once

#include <chrono>
#include <optional>
#include <source_location>
#include <system_error>

#include "detail/operation.hpp"
#include "result.hpp"
#include "task.hpp"
#include "time.hpp"

namespace runnel {

class context;
class cancel_function;

namespace detail {
struct context_node;
struct context_access;
}

/// The key of a value in contexts: an object with static storage; its address is the key.
///   inline constexpr rn::context_key<std::string> user;
template <class T>
struct context_key {
    constexpr context_key() = default;
    context_key(const context_key&) = delete;
    context_key& operator=(const context_key&) = delete;
    char distinct = 0;
};

/// `co_await ctx.done()`: ends when the context is cancelled, with true; or when the waiting task's own is.
class [[nodiscard]] done_operation final : public detail::single_case<done_operation, result<>> {
public:
    explicit done_operation(detail::context_node* of) noexcept : of_(of) {}
    done_operation(done_operation&&) noexcept = default;

    detail::wait_object* object() noexcept override;
    bool try_now(detail::late_wake&) noexcept override;
    void enlist(detail::task_block& task, std::uint64_t ticket) noexcept override;
    bool delist() noexcept override;
    detail::wait_subject subject() const noexcept override { return {"for the end of a context"}; }

private:
    detail::context_node* of_;
    detail::wait_node node_;
};

/// A handle of a context: copyable, cheap, usable from any thread, may outlive the runtime.
/// Default-made it is the background context, which is never cancelled and has no values.
class context {
public:
    context() noexcept = default;
    context(const context& other) noexcept;
    context(context&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
    context& operator=(context other) noexcept {
        std::swap(node_, other.node_);
        return *this;
    }
    ~context();

    bool cancelled() const noexcept;
    /// Why: errc::cancelled, deadline_exceeded or stopping; a false error while it is not cancelled.
    std::error_code err() const noexcept;
    /// What was given to cancel(), or err(): of this context or of the ancestor that was cancelled; of who came first.
    std::error_code cause() const noexcept;
    /// The earliest deadline of this context and its ancestors.
    std::optional<clock::time_point> deadline() const noexcept;
    /// Waits for the end of this context. A select case.
    /// Returns       success when it is cancelled; an error when the wait was refused or ended. So of the waiting
    ///               task's own context, whose end ends every wait, it is an error, and in a select no case: a select
    ///               that was cancelled is false, whatever its cases. Of the background: never ready.
    /// Cancellation  a cancel point on every call.
    /// Threads       a task's; a plain thread, by block_on(). This handle, or another of the context, must outlive the
    ///               wait.
    /// Cost          one short lock; no allocation.
    done_operation done() const noexcept { return done_operation(node_); }

    /// The value that the nearest with_value() set for this key, or nullptr. It is there as long as a handle of this
    /// context, and never changes. Cost: O(depth); where a context has two parents (merged(), with_context()), that for
    /// each of them. Throws std::bad_alloc, only there.
    template <class T>
    const T* value(const context_key<T>& key) const {
        return static_cast<const T*>(find(&key));
    }

    friend bool operator==(const context& a, const context& b) noexcept { return a.node_ == b.node_; }

private:
    friend struct detail::context_access;
    explicit context(detail::context_node* adopted) noexcept : node_(adopted) {}
    const void* find(const void* key) const;

    detail::context_node* node_ = nullptr;
};

/// Cancels the context that it was made with. Copyable; dropping it cancels nothing.
class cancel_function {
public:
    /// Returns whether this call did it. A cause that is no error stands for errc::cancelled.
    /// Threads: any. Cost: O(waiting tasks + descendants).
    bool operator()() const noexcept { return (*this)(make_error_code(errc::cancelled)); }
    bool operator()(std::error_code cause) const noexcept;

private:
    friend struct detail::context_access;
    explicit cancel_function(context of) noexcept : of_(std::move(of)) {}
    context of_;
};

/// A context and its cancel_function, for `auto [ctx, cancel] = …`.
struct cancellable {
    cancellable(context c, cancel_function f) noexcept : ctx(std::move(c)), cancel(std::move(f)) {}
    context ctx;
    cancel_function cancel;
};

/// The context of the task that asks; outside of one the background context.
context current_context() noexcept;
context background() noexcept;

// `at`, here and below, is what a report of leaks tells of the context (leak_report() of the options).

/// A child of `parent` that can be cancelled alone: Go's WithCancel, and WithCancelCause, for cancel() takes a cause.
/// Returns  it, and how to cancel it. Under a cancelled parent it is born cancelled, with the parent's cause.
/// Throws   std::bad_alloc.
/// Threads  any, also outside a runtime.
/// Cost     one allocation, one lock.
cancellable with_cancel(const context& parent, std::source_location at = std::source_location::current());
/// A child that cancels itself with errc::deadline_exceeded (its cause: `cause`, when given): Go's WithDeadline and
/// WithDeadlineCause, WithTimeout and WithTimeoutCause. What is cancelled earlier takes its deadline out of the timers.
/// Throws   std::bad_alloc.
/// Threads  inside a runtime, whose timers have the deadline; check()ed. (What has passed already, or comes after a
///          deadline of `parent`, needs none.) The context itself may go anywhere.
cancellable with_deadline(const context& parent, clock::time_point when, std::error_code cause = {},
                          std::source_location at = std::source_location::current());
template <class Rep, class Period>
cancellable with_timeout(const context& parent, std::chrono::duration<Rep, Period> in,
                         std::error_code cause = {},
                         std::source_location at = std::source_location::current());
/// A context that is cancelled as soon as `a` or `b` is, with the cause of the first, or by its own cancel(). Its
/// deadline is the earlier of theirs; its values are those of `a`, and then those of `b`.
/// Order    it is cancelled after the one that cancels it (C2).
/// Threads  any, also outside a runtime.
/// Cost     one allocation, two locks. Cancelled, or dropped, it leaves both: whichever lives on keeps nothing of it.
cancellable merged(const context& a, const context& b,
                   std::source_location at = std::source_location::current());

/// The values of `parent`, without its cancellation and deadline.
context without_cancel(const context& parent, std::source_location at = std::source_location::current());

namespace detail {
/// In the clock's unit; a duration too long to count never ends.
template <class Rep, class Period>
constexpr clock::duration saturated(std::chrono::duration<Rep, Period> in) noexcept {
    return clock::duration(saturated_nanoseconds(in));
}
/// The one that all tasks of the runtime that runs this descend from; it ends with the runtime.
context root_context() noexcept;
cancellable with_timeout_of(const context& parent, clock::duration in, std::error_code cause,
                            std::source_location at);

struct context_value {
    virtual const void* get() const noexcept = 0;
    virtual ~context_value() = default;
};
template <class T>
struct context_value_of final : context_value {
    template <class U>
    explicit context_value_of(U&& from) : value(std::forward<U>(from)) {}
    const void* get() const noexcept override { return &value; }
    T value;
};
/// Takes over `value`, also when it throws.
context make_value_context(const context& parent, const void* key, context_value* value,
                           std::source_location at);

/// child: what runs in it may cancel it, and ends nobody else.
enum class swap_kind : unsigned char { add, shield, deadline, child };

/// Runs something under another context: makes it and swaps it in when that starts, so that what is around it
/// is already in force, and swaps it out at the end.
class context_swap {
public:
    context_swap(swap_kind kind, context with, clock::duration in) noexcept
        : to_(std::move(with)), in_(in), kind_(kind) {}
    void enter(std::coroutine_handle<> awaiter);  // whose promise has the place; throws std::bad_alloc
    void leave() noexcept;
    /// Is `error` what this deadline does to a wait, and not that of a context around it?
    bool timed_out(std::error_code error) const noexcept;

private:
    context to_;  // before enter(): the one to add
    clock::duration in_;
    swap_kind kind_;
    context_node* before_ = nullptr;
};

/// `failed` with errc::timed_out in the place of its error, if it can have that.
template <holds_error Result>
Result timed_out_instead(Result failed) {
    if constexpr (requires { failed.with_error(make_error_code(errc::timed_out)); })
        return failed.with_error(make_error_code(errc::timed_out));
    else if constexpr (requires { failed.error = make_error_code(errc::timed_out); })
        failed.error = make_error_code(errc::timed_out);
    else if constexpr (std::is_constructible_v<Result, std::error_code>)
        return Result(make_error_code(errc::timed_out));
    return failed;
}

/// Awaits `inner` under a context of its own.
template <class Inner, class Result>
class swapped_awaiter {
public:
    template <class Op>
    swapped_awaiter(Op&& op, swap_kind kind, context with, clock::duration in)
        : swap_(kind, std::move(with), in), inner_(std::forward<Op>(op).awaiter()) {}
    swapped_awaiter(const swapped_awaiter&) = delete;
    swapped_awaiter& operator=(const swapped_awaiter&) = delete;

    bool await_ready() const noexcept { return false; }
    auto await_suspend(std::coroutine_handle<> awaiter) {
        swap_.enter(awaiter);
        try {
            return inner_.await_suspend(awaiter);
        } catch (...) {  // it has not begun, for want of memory
            swap_.leave();
            throw;
        }
    }
    Result await_resume() {
        const leaver leave{swap_};
        if constexpr (std::is_void_v<Result>) {
            inner_.await_resume();
        } else if constexpr (holds_error<Result>) {
            Result got = inner_.await_resume();
            if (swap_.timed_out(error_in(got))) return timed_out_instead(std::move(got));
            return got;
        } else {
            return inner_.await_resume();
        }
    }

private:
    struct leaver {
        context_swap& swap;
        ~leaver() { swap.leave(); }
    };

    context_swap swap_;
    Inner inner_;
};

template <class Op>
using awaiter_of = decltype(std::declval<Op&&>().awaiter());
template <class Op>
using awaited_type = decltype(std::declval<awaiter_of<Op>&>().await_resume());

/// What with_context, shielded and with_timeout(task) give: to be awaited at once.
template <class Op>
class [[nodiscard]] swapped_operation {
    static_assert(
        !awaited_by_name_only<Op>,
        "g++ 12 would destroy what this closure captured twice: name the handle on the line before");

public:
    using result_type = awaited_type<Op>;
    static constexpr bool under_other_context = true;
    swapped_operation(Op&& op, swap_kind kind, context with, clock::duration in) noexcept
        : op_(std::move(op)), kind_(kind), with_(std::move(with)), in_(in) {}
    swapped_operation(swapped_operation&&) noexcept = default;
    swapped_awaiter<awaiter_of<Op>, result_type> awaiter() {
        return swapped_awaiter<awaiter_of<Op>, result_type>(std::move(op_), kind_, std::move(with_), in_);
    }

private:
    Op op_;
    swap_kind kind_;
    context with_;
    clock::duration in_;
};

/// What shielded() gives: no limit around it would reach what is inside.
template <class Op>
class [[nodiscard]] shielded_operation : public swapped_operation<Op> {
public:
    static constexpr bool takes_no_limit = true;
    using swapped_operation<Op>::swapped_operation;
};
template <class Op>
concept takes_no_limit = requires { requires std::remove_cvref_t<Op>::takes_no_limit; };
}

template <class Rep, class Period>
cancellable with_timeout(const context& parent, std::chrono::duration<Rep, Period> in, std::error_code cause,
                         std::source_location at) {
    return detail::with_timeout_of(parent, detail::saturated(in), cause, at);
}

/// A child of `parent` that knows `value` under `key`. Tasks on any worker may look at it at once, without a lock.
/// Throws   what making a T of `value` throws; std::bad_alloc.
/// Threads  any, also outside a runtime. Cost: two allocations, one lock.
template <class T, class U>
context with_value(const context& parent, const context_key<T>& key, U&& value,
                   std::source_location at = std::source_location::current()) {
    return detail::make_value_context(parent, &key, new detail::context_value_of<T>(std::forward<U>(value)),
                                      at);
}

/// Runs `op` (a task or an operation) so that it ends when `ctx` *or* the task's own context is
/// cancelled; inside, current_context() has the values of `ctx` first.
/// Throws   what `op` throws; std::bad_alloc, here and of the two below, and `op` has not begun.
/// Cost     that of a context.
template <class Op>
detail::swapped_operation<detail::meant_t<Op>> with_context(context ctx, Op&& op) {
    static_assert(!detail::always_shielded<Op>, "a scope's join() listens to no context: cancel() the scope");
    return {detail::meant_by<Op>(op), detail::swap_kind::add, std::move(ctx), {}};
}

/// Runs `op` so that no cancellation reaches it: for what must be done at the end. The only thing that
/// removes a context. The values stay. A limit goes inside: shielded(with_timeout(d, op)).
template <class Op>
detail::shielded_operation<detail::meant_t<Op>> shielded(Op&& op) {
    return {detail::meant_by<Op>(op), detail::swap_kind::shield, {}, {}};
}

/// Runs a task, or an operation that is no select case, under a deadline. When its result can hold an
/// error and it ended because of this deadline, the error is errc::timed_out; a task<T> without
/// errors gives its value, late or not: its waits inside have seen deadline_exceeded.
template <class Rep, class Period, class Op>
    requires(!detail::selectable<detail::meant_t<Op>> && !detail::takes_limit<Op> &&
             detail::operation<std::remove_cvref_t<Op>>)
detail::swapped_operation<std::remove_cvref_t<Op>> with_timeout(std::chrono::duration<Rep, Period> in,
                                                                Op&& op) {
    static_assert(
        !detail::takes_no_limit<Op>,
        "nothing from outside ends what is shielded: put the limit inside, shielded(with_timeout(d, x))");
    static_assert(
        !detail::always_shielded<Op>,
        "a scope's join() waits for all children, whatever happens: put the limit around the scoped(), or "
        "cancel() the scope");
    return {std::forward<Op>(op), detail::swap_kind::deadline, {}, detail::saturated(in)};
}
template <class Rep, class Period, class T>
detail::swapped_operation<task<T>> with_timeout(std::chrono::duration<Rep, Period> in, task<T> op) {
    return {std::move(op), detail::swap_kind::deadline, {}, detail::saturated(in)};
}

/// Thrown by the 256th wait in a row that was refused because the task's context is cancelled: a loop
/// that ignores cancellation would else turn for ever. See "brake" in runtime/README.md.
class cancellation_ignored : public std::exception {
public:
    const char* what() const noexcept override;
};
}
