// task: a lazy coroutine with one awaiter.
//
// A task<T> does nothing until it is awaited (or given to go(), a scope, run()). Awaiting it runs the
// body on the caller's own thread of control by a transfer, and the end of the body transfers back;
// no queue and no lock is involved. It is move-only, awaited once, and dropped unawaited it destroys
// what it holds without running it.
//
//   P1  the promise begins with {continuation, await_at} in every task, whatever its T: a debugger
//       and the task dump walk from a parked frame to its awaiters without knowing their types;
//   P2  everything that the compiler calls around the body is noexcept (g++ 12 destroys the frame
//       twice otherwise); the body's exception is kept and thrown at the co_await;
//   P3  co_await in a task takes what this library can wait for, and nothing else: a foreign
//       awaitable could resume the coroutine on a thread of its own;
//   P4  a frame that the compiler has misplaced is found out before it runs, and named.
#pragma once

#include <coroutine>
#include <exception>
#include <new>
#include <source_location>
#include <type_traits>
#include <utility>

#include "detail/await_hazard.hpp"
#include "detail/check.hpp"
#include "detail/worker_local.hpp"

namespace runnel {

template <class T = void>
class task;

namespace detail {

struct promise_base;

/// What happens at the end of an outermost coroutine: a spawned task, a branch of when_all.
struct completion {
    /// Returns what to run next. The frame of `ended` may be destroyed by it.
    virtual std::coroutine_handle<> done(std::coroutine_handle<> ended, promise_base& promise) noexcept = 0;

protected:
    ~completion() = default;
};

/// An operation of this library: made by recv(), sleep_for(), accept(), …; awaited as an rvalue.
/// `awaiter()` gives the object with await_ready, await_suspend and await_resume, by value.
template <class Op>
concept operation = requires(std::remove_cvref_t<Op>& op) {
    typename std::remove_cvref_t<Op>::result_type;
    op.awaiter();
};

template <class Op>
concept awaited_as_lvalue = requires { requires std::remove_cvref_t<Op>::awaited_as_lvalue; };

template <class>
inline constexpr bool is_task = false;
template <class T>
inline constexpr bool is_task<task<T>> = true;

struct promise_base {
    std::coroutine_handle<> continuation;  // P1
    std::source_location await_at;         // P1
    completion* on_done = nullptr;

    explicit promise_base(std::source_location coroutine) noexcept : await_at(coroutine) {}

    static void* operator new(std::size_t bytes) { return allocate_frame(bytes); }
    static void operator delete(void* frame, std::size_t bytes) noexcept { free_frame(frame, bytes); }

    struct final_awaiter {
        bool await_ready() const noexcept { return false; }
        template <class Promise>
        std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> ended) const noexcept {
            promise_base& promise = ended.promise();
            if (promise.on_done == nullptr) [[likely]]
                return transfer(promise.continuation);
            return promise.on_done->done(ended, promise);
        }
        void await_resume() const noexcept {}
    };

    /// g++ 12 gives the frame of a coroutine with an awaiting condition and no local variable around it an
    /// address of which its promise does not know (GCC bug 106188). Resumed, it would run wild: P4.
    class initial_awaiter {
    public:
        explicit initial_awaiter(promise_base& of) noexcept : of_(of) {}
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> frame) const noexcept {
            check(frame.address() == std::coroutine_handle<promise_base>::from_promise(of_).address(),
                  "g++ 12 has misplaced this coroutine's frame: declare a local variable around its awaiting "
                  "conditions, as in `auto sent = co_await out.send(x); if (!sent) …` (docs/compilers.md)",
                  of_.await_at);
        }
        void await_resume() const noexcept {}

    private:
        promise_base& of_;
    };
    initial_awaiter initial_suspend() noexcept { return initial_awaiter(*this); }
    final_awaiter final_suspend() const noexcept { return {}; }

    template <class Op>
    auto await_transform(Op&& op, std::source_location where = std::source_location::current()) {
        if constexpr (is_task<std::remove_cvref_t<Op>>) {
            static_assert(!std::is_lvalue_reference_v<Op>,
                          "a task is awaited once, and consumed by it: co_await std::move(t)");
            await_at = where;
            return std::move(op).awaiter();
        } else if constexpr (operation<Op>) {
            static_assert(!std::is_lvalue_reference_v<Op> || awaited_as_lvalue<Op>,
                          "an operation refers to its arguments: await it in the expression that makes it");
            static_assert(
                std::is_lvalue_reference_v<Op> || !awaited_by_name_only<Op>,
                "g++ 12 would destroy what this closure captured twice: name the handle on the line "
                "before, auto end = go(…); then co_await end");
            await_at = where;
            return op.awaiter();
        } else {
            static_assert(operation<Op>, "a runnel task awaits tasks and runnel's operations only: a foreign "
                                         "awaitable would resume it outside its worker");
        }
    }
};

/// Where a body's value or exception waits for the awaiter.
template <class T>
class outcome {
    using stored = std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*, T>;

public:
    outcome() noexcept {}
    ~outcome() {
        if (state_ == has_value)
            value_.~stored();
        else if (state_ == has_exception)
            error_.~exception_ptr();
    }
    /// A value whose move throws becomes that exception.
    outcome(outcome&& other) noexcept {
        if (other.state_ == has_exception) {
            set_exception(std::move(other.error_));
        } else if (other.state_ == has_value) {
            try {
                ::new (static_cast<void*>(&value_)) stored(std::move(other.value_));
                state_ = has_value;
            } catch (...) {
                set_exception(std::current_exception());
            }
        }
    }
    outcome& operator=(outcome&&) = delete;

    template <class U>
    void set_value(U&& value) {
        if constexpr (std::is_reference_v<T>)
            ::new (static_cast<void*>(&value_)) stored(std::addressof(value));
        else
            ::new (static_cast<void*>(&value_)) stored(std::forward<U>(value));
        state_ = has_value;
    }
    void set_exception(std::exception_ptr error) noexcept {
        ::new (static_cast<void*>(&error_)) std::exception_ptr(std::move(error));
        state_ = has_exception;
    }
    bool failed() const noexcept { return state_ == has_exception; }
    /// For a completion that forwards the exception; once.
    std::exception_ptr take_exception() noexcept { return std::move(error_); }
    const stored* peek() const noexcept { return state_ == has_value ? &value_ : nullptr; }

    T take() {
        if (state_ == has_exception) std::rethrow_exception(std::move(error_));
        if constexpr (std::is_reference_v<T>)
            return static_cast<T>(*value_);
        else
            return std::move(value_);
    }

private:
    enum : unsigned char { empty, has_value, has_exception } state_ = empty;
    union {
        stored value_;
        std::exception_ptr error_;
    };
};

template <>
class outcome<void> {
public:
    void set_exception(std::exception_ptr error) noexcept { error_ = std::move(error); }
    bool failed() const noexcept { return error_ != nullptr; }
    std::exception_ptr take_exception() noexcept { return std::move(error_); }
    void take() {
        if (error_) std::rethrow_exception(std::move(error_));
    }

private:
    std::exception_ptr error_;
};

template <class T>
struct promise_result : promise_base {
    using promise_base::promise_base;
    outcome<T> out;
    void unhandled_exception() noexcept { out.set_exception(std::current_exception()); }
    template <class U = T>
        requires std::is_convertible_v<U&&, T>
    void return_value(U&& value) {
        out.set_value(std::forward<U>(value));
    }
};

template <>
struct promise_result<void> : promise_base {
    using promise_base::promise_base;
    outcome<void> out;
    void unhandled_exception() noexcept { out.set_exception(std::current_exception()); }
    void return_void() const noexcept {}
};

template <class T>
struct task_promise final : promise_result<T> {
    explicit task_promise(std::source_location coroutine = std::source_location::current()) noexcept
        : promise_result<T>(coroutine) {}
    task<T> get_return_object() noexcept;
};

/// Owns the frame of a task that was not awaited, or is being awaited.
template <class T>
class task_awaiter {
public:
    explicit task_awaiter(std::coroutine_handle<task_promise<T>> frame) noexcept : frame_(frame) {}
    task_awaiter(const task_awaiter&) = delete;
    task_awaiter& operator=(const task_awaiter&) = delete;

    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiter) noexcept {
        frame_.promise().continuation = awaiter;
        return transfer(frame_);
    }
    T await_resume() { return frame_.promise().out.take(); }

private:
    std::coroutine_handle<task_promise<T>> frame_;  // the task object owns it
};

/// For parts of the library that drive a task themselves (go, scopes, when_all).
struct task_access {
    /// Still the task's. check()s that there is one.
    template <class T>
    static std::coroutine_handle<task_promise<T>> frame_of(
        const task<T>& of, std::source_location at = std::source_location::current()) noexcept {
        check(static_cast<bool>(of), "task: started after it was moved from", at);
        return of.frame_;
    }
    /// Now the caller's.
    template <class T>
    static std::coroutine_handle<task_promise<T>> release(
        task<T>&& from, std::source_location at = std::source_location::current()) noexcept {
        const auto frame = frame_of(from, at);
        from.frame_ = {};
        return frame;
    }
};
}

/// A coroutine that computes a T (a value, a reference or void) when it is awaited.
/// Throws        at the co_await: what the body threw.
/// Cancellation  nothing of its own: the waits inside see the context of the task that awaits it.
/// Threads       an object of one thread; the body may go on on another worker after each suspension.
/// Cost          one frame from the worker's free list; awaiting a body that does not wait is two transfers.
template <class T>
class [[nodiscard]] task {
public:
    using promise_type = detail::task_promise<T>;
    using value_type = T;

    task(task&& other) noexcept : frame_(std::exchange(other.frame_, {})) {}
    task& operator=(task&& other) noexcept {
        task(std::move(other)).swap(*this);
        return *this;
    }
    ~task() {
        if (frame_) frame_.destroy();
    }
    void swap(task& other) noexcept { std::swap(frame_, other.frame_); }

    /// Is there something to await? False after a move.
    explicit operator bool() const noexcept { return static_cast<bool>(frame_); }

    detail::task_awaiter<T> awaiter() && noexcept {
        detail::check(static_cast<bool>(frame_), "task: awaited after it was moved from");
        detail::check(!frame_.promise().continuation,
                      "task: awaited a second time: it is consumed by the first");
        return detail::task_awaiter<T>(frame_);
    }

private:
    friend struct detail::task_promise<T>;
    friend struct detail::task_access;
    explicit task(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame) {}
    std::coroutine_handle<promise_type> frame_;
};

template <class T>
task<T> detail::task_promise<T>::get_return_object() noexcept {
    static_assert(alignof(task_promise) <= 16, "frames are aligned to 16 bytes at most");
    return task<T>(std::coroutine_handle<task_promise>::from_promise(*this));
}
}
