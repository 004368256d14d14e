// go: starts a task, as Go's statement does; and the handle of a started one.
//
//   rn::go(producer, std::move(out));               // a statement: runs on its own
//   auto answer = rn::go(compute, 6);               // or: somebody wants its end
//   if (auto n = co_await answer) use(*n);
//
//   H1  a handle dropped detaches its task; the task runs on;
//   H2  an exception goes to who joins. If nobody can any more (the handle is gone), the program
//       stops with a report: a failure is never silent;
//   H3  the end is joined once.
#pragma once

#include "detail/operation.hpp"
#include "detail/spawning.hpp"

namespace runnel {

namespace detail {
/// The untyped half of joining: a wait for the end of a block.
class join_case : public wait_case {
public:
    explicit join_case(task_block* of) noexcept : of_(of) {}
    wait_object* object() noexcept override;
    bool try_now(late_wake&) noexcept override;
    void enlist(task_block& task, std::uint64_t ticket) noexcept override;
    bool delist() noexcept override;
    wait_subject subject() const noexcept override;

protected:
    /// From now on it is never ready.
    void spend() noexcept { spent_ = true; }

private:
    task_block* of_;
    wait_node node_;
    bool spent_ = false;
};

/// Gives up the handle's part of a block, and frees all if the task has ended: else its end does that.
void drop_handle(task_block& of) noexcept;
/// Waits on a plain thread; false: given up. check()s that it is one.
bool join_on_thread(join_case& end, task_block& of);
/// Of a block that has ended.
kept_base& outcome_kept_by(const task_block& of) noexcept;
}

template <class T = void>
class join_handle;

/// The end of a task as an operation: made by join_handle::join(). A select case.
template <class T>
class [[nodiscard]] join_operation final
    : public detail::single_case<join_operation<T>, detail::result_of<T>, detail::join_case> {
public:
    explicit join_operation(join_handle<T>& of) noexcept
        : join_operation::single_case(of.block_), handle_(&of) {}
    join_operation(join_operation&&) noexcept = default;
    join_operation& operator=(join_operation&& other) noexcept {
        return detail::made_anew(*this, std::move(other));
    }
    detail::result_of<T> complete(unsigned) { return handle_->take(); }
    void again() noexcept {
        if (!handle_->joinable()) this->spend();  // H3
    }

private:
    join_handle<T>* handle_;
};

/// The right to the result of a started task. Move-only; dropped, it detaches (H1).
/// An object of one thread at a time.
template <class T>
class join_handle : public detail::named_awaitable<join_handle<T>, join_operation<T>> {
public:
    using value_type = T;

    join_handle() noexcept = default;
    join_handle(join_handle&& other) noexcept { swap(other); }
    join_handle& operator=(join_handle&& other) noexcept {
        join_handle(std::move(other)).swap(*this);
        return *this;
    }
    ~join_handle() {
        if (block_ != nullptr) detail::drop_handle(*block_);
    }
    void swap(join_handle& other) noexcept {
        std::swap(block_, other.block_);
        std::swap(taken_, other.taken_);
        std::swap(refused_, other.refused_);
    }

    /// Waits for the end of the task; `co_await handle` is the same, and so is `handle` in a select or a
    /// with_timeout().
    /// Returns       its value; errc::stopping if it was refused because the runtime stops.
    /// Throws        what it threw.
    /// Cancellation  ends this wait, not the task; join again to learn how it ended.
    join_operation<T> join() noexcept {
        detail::check(!taken_, "join_handle: joined twice");
        detail::check(block_ != nullptr || refused_, "join_handle: empty (default-made or moved from)");
        return join_operation<T>(*this);
    }
    join_operation<T> operation() noexcept { return join(); }
    /// The same for a plain thread. Misuse on a worker is check()ed.
    /// Returns       as above; errc::stopping also when the runtime gave up a task that did not stop.
    detail::result_of<T> wait() {
        join_operation<T> end = join();
        if (block_ != nullptr && !detail::join_on_thread(end, *block_)) return errc::stopping;
        return take();
    }

    /// Lets the task run on alone (H1).
    void detach() noexcept { join_handle().swap(*this); }
    bool joinable() const noexcept { return (block_ != nullptr || refused_) && !taken_; }
    /// The number of the task, as in reports; 0 when there is none.
    std::uint64_t id() const noexcept;

private:
    template <class>
    friend class join_operation;
    friend struct handle_access;

    detail::result_of<T> take() {
        if (refused_) return errc::stopping;
        detail::check(!taken_, "join_handle: joined twice");
        detail::check(block_ != nullptr, "join_handle: moved while a task waited for it");
        taken_ = true;
        return detail::take_result(outcome());
    }

    detail::outcome<T>& outcome() const noexcept {
        return static_cast<detail::kept_outcome<T>&>(detail::outcome_kept_by(*block_)).out;
    }

    detail::task_block* block_ = nullptr;
    bool taken_ = false;
    bool refused_ = false;
};

namespace detail {
std::uint64_t block_id(const task_block& of) noexcept;
}

template <class T>
std::uint64_t join_handle<T>::id() const noexcept {
    return block_ != nullptr ? detail::block_id(*block_) : 0;
}

/// For parts of the library that start tasks and give out handles.
struct handle_access {
    /// `start` is given the frame and gives the block, or null when the task is refused. The frame dies with `what`
    /// if it is not started.
    template <class T, class Start>
    static join_handle<T> start(task<T> what, std::source_location at, Start&& start) {
        join_handle<T> handle;
        handle.block_ = start(detail::task_access::frame_of(what, at));
        handle.refused_ = handle.block_ == nullptr;
        if (!handle.refused_) (void)detail::task_access::release(std::move(what));
        return handle;
    }
};

namespace detail {
/// Starts `what` in the runtime of the running task.
template <class T>
join_handle<T> go_task(task<T> what, std::source_location at) {
    return handle_access::start(std::move(what), at, [&](std::coroutine_handle<task_promise<T>> frame) {
        return start_here(request_for<T>(frame, task_kind::spawned, nullptr, at, true));
    });
}
template <class F, class... Args, class T>
auto go_body(task<T> body, std::source_location at) {
    return named_if_need_be<F, Args...>(go_task(std::move(body), at));
}
}

/// Starts f(args…) as a task of its own, under the context of the running task (not that of a
/// with_timeout() around one statement). Callable and arguments move into the task and live until it ends. There
/// are at most four arguments, as for spawn() (three for scoped()): more go into a struct. What a closure captures
/// by reference must outlive the task, and nothing checks that: unlike Go's closures it keeps nothing alive.
/// Returns       a handle; drop it to detach.
/// Errors        while the runtime stops the task is refused: joining gives errc::stopping.
/// Threads       inside a runtime only; a plain thread uses runtime::spawn().
/// Cost          one frame (two when f has captures, or takes views or references to what is not borrowed), one task
///               block, no lock.
template <class F>
auto go(F&& f, std::source_location at = std::source_location::current()) {
    return detail::go_body<F>(detail::body(std::forward<F>(f)), at);
}
template <class F, class A>
auto go(F&& f, A&& a, std::source_location at = std::source_location::current()) {
    return detail::go_body<F, A>(detail::body(std::forward<F>(f), std::forward<A>(a)), at);
}
template <class F, class A, class B>
auto go(F&& f, A&& a, B&& b, std::source_location at = std::source_location::current()) {
    return detail::go_body<F, A, B>(detail::body(std::forward<F>(f), std::forward<A>(a), std::forward<B>(b)),
                                    at);
}
template <class F, class A, class B, class C>
auto go(F&& f, A&& a, B&& b, C&& c, std::source_location at = std::source_location::current()) {
    return detail::go_body<F, A, B, C>(
        detail::body(std::forward<F>(f), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c)), at);
}
template <class F, class A, class B, class C, class D>
auto go(F&& f, A&& a, B&& b, C&& c, D&& d, std::source_location at = std::source_location::current()) {
    return detail::go_body<F, A, B, C, D>(
        detail::body(std::forward<F>(f), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c),
                     std::forward<D>(d)),
        at);
}
/// More than those.
template <class F, class A, class B, class C, class D, class E, class... More>
void go(F&&, A&&, B&&, C&&, D&&, E&&, More&&...) {
    static_assert(detail::too_many<F>, "go: of four arguments at most: put more into a struct");
}
}
