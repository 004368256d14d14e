// spawning: from a callable and its arguments to a running task.
//
//   1  body(): the coroutine that will run. A function that takes everything by value, or as T& what is borrowed,
//      is called at once, its parameters live in its own frame. Anything else (a lambda with captures, parameters
//      that are views, or refer to what the task must keep) gets a frame around it that keeps callable and arguments.
//   2  start(): a task block from the slab, the context of the starter, the place; into the run queue.
//   3  the end: `task_end<T>` is told by the final suspension, and does what the block's kind asks for.
//
//   G1  what was given to the task lives until its body has ended, and dies on the worker it ended on, where its
//       destructors are still the task: they may go(), and leave scopes;
//   G2  a result that somebody may still want is moved out of the frame and kept by the block; so a task that
//       was given the last sender of a channel closes it by ending, whether it is joined or not.
#pragma once

#include <source_location>
#include <system_error>
#include <type_traits>
#include <utility>

#include "../borrow.hpp"
#include "../from.hpp"
#include "../result.hpp"
#include "../task.hpp"
#include "await_hazard.hpp"

namespace runnel::detail {

class runtime_core;
struct context_node;
struct scope_state;

// --- 1: the body -----------------------------------------------------------------------------------

template <class T>
T&& unwrap(T& stored) noexcept {
    return static_cast<T&&>(stored);
}
template <class T>
decltype(auto) unwrap(borrowed<T>& stored) noexcept {
    return stored.get();
}

/// How an argument is kept by what outlives the call: from<T> as a T that is moved out of it now.
template <class Arg>
struct kept {
    using type = std::decay_t<Arg>;
};
template <class T>
struct kept<from<T>> {
    using type = T;
};
template <class Arg>
using kept_t = typename kept<std::remove_cvref_t<Arg>>::type;

template <class Arg>
decltype(auto) to_keep(Arg&& arg) noexcept {
    if constexpr (is_from<std::remove_cvref_t<Arg>>)
        return std::move(arg.get());
    else
        return std::forward<Arg>(arg);
}

/// Of a function whose call is awaited, and which keeps F and Args: await_hazard.hpp.
template <class F, class... Args>
constexpr void refuse_what_dies_twice() noexcept {
    static_assert(
        !dies_twice_as_callable<F> || is_from<std::remove_cvref_t<F>>,
        "g++ 12 destroys a closure with captures in a co_await expression twice: capture by reference, or "
        "name it on the line before and pass rn::from(it)");
    static_assert(
        (!dies_twice_as_value<Args> && ...),
        "g++ 12 destroys a braced aggregate in a co_await expression twice: name it on the line before and "
        "pass rn::from(it)");
}

template <class F, class... Args>
decltype(auto) call(F&& f, Args&&... args) {
    return std::forward<F>(f)(std::forward<Args>(args)...);
}
template <class Function, class Object, class Self, class... Args>
    requires std::is_function_v<Function>
decltype(auto) call(Function Object::* f, Self&& self, Args&&... args) {
    if constexpr (std::is_pointer_v<std::remove_cvref_t<Self>>)
        return (self->*f)(std::forward<Args>(args)...);
    else
        return (std::forward<Self>(self).*f)(std::forward<Args>(args)...);
}

template <class F, class... Args>
using called_type =
    decltype(call(std::declval<std::decay_t<F>&&>(), unwrap(std::declval<std::decay_t<Args>&>())...));

template <class>
struct task_value;
template <class T>
struct task_value<task<T>> {
    using type = T;
};
template <class F, class... Args>
using body_value = typename task_value<called_type<F, Args...>>::type;

template <class Arg>
inline constexpr bool is_borrowed = false;
template <class T>
inline constexpr bool is_borrowed<borrowed<T>> = true;

/// A value that owns what it needs, made of one.
template <class Param, class Arg>
inline constexpr bool lasts = !std::is_reference_v<Param> && !looks_like_a_view<Param> &&
                              !looks_like_a_reference<Param> && !is_borrowed<Arg>;
/// Or a reference to what is borrowed itself: nothing is converted on the way, which would make a temporary.
template <class Param, class T>
    requires(!looks_like_a_view<std::remove_cv_t<T>>)
inline constexpr bool lasts<Param&, borrowed<T>> = std::is_convertible_v<T*, Param*>;

/// A function whose parameters all last as long as its frame.
template <class F, class... Args>
inline constexpr bool keeps_its_arguments = false;
template <class R, class... Params, class... Args>
    requires(sizeof...(Params) == sizeof...(Args))
inline constexpr bool keeps_its_arguments<R (*)(Params...), Args...> = (lasts<Params, Args> && ...);

template <class Arg>
decltype(auto) passed_on(std::remove_reference_t<Arg>& arg) noexcept {
    if constexpr (is_borrowed<std::remove_cvref_t<Arg>>)
        return arg.get();
    else
        return std::forward<Arg>(arg);
}

template <class T, class F, class... Args>
task<T> keep_alive(F f, Args... args) {
    co_return co_await call(std::move(f), unwrap(args)...);
}

template <class F, class... Args>
auto body(F&& f, Args&&... args) {
    static_assert(!is_task<std::remove_cvref_t<F>>,
                  "go/spawn/run: give the function and its arguments, not a task: go(f, x), not go(f(x))");
    static_assert(
        is_task<std::remove_cvref_t<F>> || requires { typename called_type<F, Args...>; },
        "go/spawn: this cannot be called with these arguments (they are moved into the task: a parameter "
        "of type T& takes rn::borrow(x))");
    using called = called_type<F, Args...>;
    static_assert(is_task<called>, "go/spawn: the function must be a coroutine that returns rn::task<…>");
    static_assert(
        (!may_dangle<Args> && ...),
        "go/spawn: an argument is a view, a reference_wrapper or an array: the task may outlive what it "
        "refers to. Pass an owning value, or rn::borrow(x) if x outlives the task");
    using value = typename task_value<called>::type;
    if constexpr (keeps_its_arguments<std::decay_t<F>, std::decay_t<Args>...> &&
                  (std::is_same_v<std::decay_t<Args>, std::remove_cvref_t<Args>> && ...) &&
                  requires { f(passed_on<Args>(args)...); })
        return f(passed_on<Args>(args)...);
    else
        return keep_alive<value, std::decay_t<F>, std::decay_t<Args>...>(std::forward<F>(f),
                                                                         std::forward<Args>(args)...);
}

/// What is given as rn::from(x) is moved out of x now.
template <class F, class... Args>
    requires(is_from<std::remove_cvref_t<F>> || (is_from<std::remove_cvref_t<Args>> || ...))
auto body(F&& f, Args&&... args) {
    return body(to_keep(std::forward<F>(f)), to_keep(std::forward<Args>(args))...);
}

// --- 3: the end ------------------------------------------------------------------------------------

/// Stops the program, because nobody can receive this exception. In a simulation it fails the run, and returns.
void unhandled(const task_block& of, std::exception_ptr what) noexcept;

struct task_end_base;

/// What is kept of a task that was joined late, or is yet to be: an outcome<T> follows.
struct kept_base {
    explicit kept_base(const task_end_base& of) noexcept : end(of) {}
    const task_end_base& end;
};
template <class T>
struct kept_outcome final : kept_base {
    kept_outcome(const task_end_base& of, outcome<T>&& from) noexcept : kept_base(of), out(std::move(from)) {}
    outcome<T> out;
};

/// The typed half of a task's end: what its promise holds.
struct task_end_base : completion {
    std::coroutine_handle<> done(std::coroutine_handle<> ended, promise_base& promise) noexcept final;
    virtual bool failed(const promise_base& promise) const noexcept = 0;
    virtual std::exception_ptr take_exception(promise_base& promise) const noexcept = 0;
    /// Moves value or exception out of the frame (G2).
    virtual kept_base* keep(promise_base& promise) const noexcept = 0;
    /// Frees what keep() gave. An exception in it that nobody has received stops the program.
    virtual void discard(kept_base& kept, const task_block& of) const noexcept = 0;
    /// The error in its value, if that is a failure.
    virtual std::error_code error(const promise_base& promise) const noexcept = 0;

protected:
    ~task_end_base() = default;
};

/// What a task ended with, for who joins it. In place: an error that is the task's value is a value.
template <class T>
result_of<T> take_result(outcome<T>& from) {
    if constexpr (std::is_void_v<T>) {
        from.take();
        return {};
    } else if constexpr (is_result<T>) {
        return from.take();
    } else {
        return result_of<T>(std::in_place, from.take());
    }
}

template <class T>
struct task_end final : task_end_base {
    constexpr task_end() noexcept = default;
    static promise_result<T>& typed(promise_base& p) noexcept { return static_cast<promise_result<T>&>(p); }
    static const promise_result<T>& typed(const promise_base& p) noexcept {
        return static_cast<const promise_result<T>&>(p);
    }
    bool failed(const promise_base& p) const noexcept override { return typed(p).out.failed(); }
    std::exception_ptr take_exception(promise_base& p) const noexcept override {
        return typed(p).out.take_exception();
    }
    kept_base* keep(promise_base& p) const noexcept override {
        void* room = allocate_frame(sizeof(kept_outcome<T>));
        return ::new (room) kept_outcome<T>(*this, std::move(typed(p).out));
    }
    void discard(kept_base& kept, const task_block& of) const noexcept override {
        auto& whole = static_cast<kept_outcome<T>&>(kept);
        if (whole.out.failed())
            if (std::exception_ptr what = whole.out.take_exception(); what != nullptr)
                unhandled(of, std::move(what));
        whole.~kept_outcome<T>();
        free_frame(&whole, sizeof(kept_outcome<T>));
    }
    std::error_code error(const promise_base& p) const noexcept override {
        if constexpr (holds_error<T>) {
            if (const T* value = typed(p).out.peek(); value != nullptr) return error_in(*value);
        }
        (void)p;
        return {};
    }
};
template <class T>
inline constinit task_end<T> end_of_task{};

// --- 2: the start ----------------------------------------------------------------------------------

struct start_request {
    std::coroutine_handle<> frame;
    promise_base* promise;
    task_end_base* end;
    task_kind kind;
    void* owner;
    std::source_location at;
    bool handle;
};

/// Starts a task in the runtime of the running one, under its context. Null: refused, the runtime is
/// stopping (and the kind is not a scope's child).
task_block* start_here(const start_request& what);
task_block* start_in(runtime_core& core, context_node* under, const start_request& what);

template <class T>
start_request request_for(std::coroutine_handle<task_promise<T>> frame, task_kind kind, void* owner,
                          std::source_location at, bool handle) noexcept {
    frame.promise().on_done = &end_of_task<T>;
    return {frame, &frame.promise(), &end_of_task<T>, kind, owner, at, handle};
}

/// False, for who must not be called.
template <class>
inline constexpr bool too_many = false;

template <class Given>
inline constexpr bool awaited_in_its_expression = false;
template <operation Op>
inline constexpr bool awaited_in_its_expression<Op> = true;

/// spawn() for classes that start tasks: `Self::start(task<T>, std::source_location)` does it, and gives nothing, a
/// handle, an operation that is to be awaited, or an answer. One function per number of arguments, because a default
/// argument (the caller's place) cannot follow a pack.
template <class Self>
class spawner {
public:
    template <class F>
    auto spawn(F&& f, std::source_location at = std::source_location::current()) {
        return spawn_body<F>(body(std::forward<F>(f)), at);
    }
    template <class F, class A>
    auto spawn(F&& f, A&& a, std::source_location at = std::source_location::current()) {
        return spawn_body<F, A>(body(std::forward<F>(f), std::forward<A>(a)), at);
    }
    template <class F, class A, class B>
    auto spawn(F&& f, A&& a, B&& b, std::source_location at = std::source_location::current()) {
        return spawn_body<F, A, B>(body(std::forward<F>(f), std::forward<A>(a), std::forward<B>(b)), at);
    }
    template <class F, class A, class B, class C>
    auto spawn(F&& f, A&& a, B&& b, C&& c, std::source_location at = std::source_location::current()) {
        return spawn_body<F, A, B, C>(
            body(std::forward<F>(f), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c)), at);
    }
    template <class F, class A, class B, class C, class D>
    auto spawn(F&& f, A&& a, B&& b, C&& c, D&& d, std::source_location at = std::source_location::current()) {
        return spawn_body<F, A, B, C, D>(body(std::forward<F>(f), std::forward<A>(a), std::forward<B>(b),
                                              std::forward<C>(c), std::forward<D>(d)),
                                         at);
    }
    /// More than those.
    template <class F, class A, class B, class C, class D, class E, class... More>
    void spawn(F&&, A&&, B&&, C&&, D&&, E&&, More&&...) {
        static_assert(too_many<F>, "spawn: of four arguments at most: put more into a struct");
    }

private:
    template <class F, class... Args, class T>
    auto spawn_body(task<T> body, std::source_location at) {
        Self& self = static_cast<Self&>(*this);
        using given = decltype(self.start(std::move(body), at));
        if constexpr (awaited_as_lvalue<given>) {  // a handle
            return named_if_need_be<F, Args...>(self.start(std::move(body), at));
        } else {
            if constexpr (awaited_in_its_expression<given>) refuse_what_dies_twice<F, Args...>();
            return self.start(std::move(body), at);
        }
    }
};
}
