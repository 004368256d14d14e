// fork: several tasks at once, as parts of the one that waits for them.
//
//   auto [a, b] = co_await rn::when_all(fib(n - 1), fib(n - 2));
//
//   1  the branches but the first go onto the worker's fork deque; the first runs at once, by a transfer;
//   2  a branch that ends takes the next of its siblings from the deque, if it is still there, and runs it
//      by a transfer too: on one worker no queue, no task block and no wake-up is involved;
//   3  a branch that another worker steals, or that is left when its sibling parks, gets a task block;
//   4  the last to arrive goes on with the waiting coroutine.
//
//   K1  the deque is last in, first out for its worker: the tree of forks is walked depth first, and the
//       memory in use is that of one path per worker; thieves take the oldest, the largest piece;
//   K2  the records of the branches live in the frame that waits, until the last has arrived;
//   K3  all branches end before when_all returns, also when one has thrown.
//
// Not taken: a task per branch in the FIFO queue: breadth first, gigabytes for a tree of ten million.
// The parent stays stealable in libfork, the children here: it keeps one coroutine per branch.
#pragma once

#include <cstddef>
#include <tuple>
#include <vector>

#include "detail/spawning.hpp"

namespace runnel {

/// Stands for the value of a task<void> among others.
struct nothing {};

namespace detail {

struct fork_join;

struct fork_branch final : completion {
    fork_branch() noexcept = default;
    std::coroutine_handle<> done(std::coroutine_handle<> ended, promise_base& promise) noexcept override;

    std::coroutine_handle<> frame;
    fork_join* join = nullptr;
};

/// Where the branches of one when_all meet. The branches are an array, begun in the order 0, 1, 2, …
struct fork_join {
    fork_branch* branches = nullptr;
    std::size_t count = 0;
    std::size_t left = 0;  // not yet arrived: an atomic, seen through atomic_ref's builtin in fork.cpp
    std::coroutine_handle<> waiting;
    task_block* task = nullptr;  // whose thread of control waits
    context_node* ctx =
        nullptr;  // of that task now: a branch that it runs itself may put others in its place

    /// Steps 1 and 2. `this` must not be touched after.
    std::coroutine_handle<> begin(std::coroutine_handle<> awaiter) noexcept;
};

template <class T>
using fork_value = std::conditional_t<std::is_void_v<T>, nothing, T>;

template <class T>
fork_value<T> take_value(std::coroutine_handle<task_promise<T>> frame) {
    if constexpr (std::is_void_v<T>) {
        frame.promise().out.take();
        return nothing{};
    } else {
        return frame.promise().out.take();
    }
}

template <class... Ts>
class [[nodiscard]] fork_operation {
public:
    using result_type = std::tuple<fork_value<Ts>...>;
    explicit fork_operation(task<Ts>... tasks) noexcept
        : frames_(task_access::release(std::move(tasks))...) {}
    fork_operation(fork_operation&& other) noexcept : frames_(other.frames_) { other.frames_ = {}; }
    ~fork_operation() {
        std::apply([](auto... frame) { ((frame ? frame.destroy() : void()), ...); }, frames_);
    }

    class awaiter_type {
    public:
        explicit awaiter_type(fork_operation& of) noexcept : of_(of) {}
        awaiter_type(const awaiter_type&) = delete;
        awaiter_type& operator=(const awaiter_type&) = delete;
        bool await_ready() const noexcept { return sizeof...(Ts) == 0; }
        std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiter) noexcept {
            join_.branches = branches_;
            join_.count = sizeof...(Ts);
            std::size_t i = 0;
            std::apply([&](auto... frame) { (prepare(i++, frame), ...); }, of_.frames_);
            return join_.begin(awaiter);
        }
        result_type await_resume() {
            return std::apply([](auto... frame) { return result_type{take_value(frame)...}; }, of_.frames_);
        }

    private:
        template <class T>
        void prepare(std::size_t i, std::coroutine_handle<task_promise<T>> frame) noexcept {
            branches_[i].frame = frame;
            branches_[i].join = &join_;
            frame.promise().on_done = &branches_[i];
        }
        fork_operation& of_;
        fork_join join_;
        fork_branch branches_[sizeof...(Ts) == 0 ? 1 : sizeof...(Ts)];
    };
    awaiter_type awaiter() noexcept { return awaiter_type(*this); }

private:
    std::tuple<std::coroutine_handle<task_promise<Ts>>...> frames_;
};

template <class T>
class [[nodiscard]] fork_many {
public:
    using result_type = std::conditional_t<std::is_void_v<T>, void, std::vector<fork_value<T>>>;
    explicit fork_many(std::vector<task<T>> tasks) noexcept : tasks_(std::move(tasks)) {}
    fork_many(fork_many&&) noexcept = default;

    class awaiter_type {
    public:
        explicit awaiter_type(std::vector<task<T>>&& tasks) : branches_(tasks.size()), frames_(tasks.size()) {
            for (std::size_t i = 0; i < tasks.size(); ++i) {
                frames_[i] = task_access::release(std::move(tasks[i]));
                branches_[i].frame = frames_[i];
                branches_[i].join = &join_;
                frames_[i].promise().on_done = &branches_[i];
            }
        }
        awaiter_type(const awaiter_type&) = delete;
        awaiter_type& operator=(const awaiter_type&) = delete;
        ~awaiter_type() {
            for (auto frame : frames_) frame.destroy();
        }
        bool await_ready() const noexcept { return frames_.empty(); }
        std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiter) noexcept {
            join_.branches = branches_.data();
            join_.count = branches_.size();
            return join_.begin(awaiter);
        }
        result_type await_resume() {
            if constexpr (std::is_void_v<T>) {
                for (auto frame : frames_) frame.promise().out.take();
            } else {
                result_type values;
                values.reserve(frames_.size());
                for (auto frame : frames_) values.push_back(take_value(frame));
                return values;
            }
        }

    private:
        fork_join join_;
        std::vector<fork_branch> branches_;
        std::vector<std::coroutine_handle<task_promise<T>>> frames_;
    };
    awaiter_type awaiter() { return awaiter_type(std::move(tasks_)); }

private:
    std::vector<task<T>> tasks_;
};
}

/// Runs the tasks at the same time and waits for all of them.
/// Returns       their values in order; rn::nothing for a task<void>.
/// Throws        the exception of the first, in order, that threw, after all have ended (K3).
/// Cancellation  nothing of its own: the waits inside the branches see the task's context.
/// Threads       branches may run on any worker, at once.
/// Cost          a transfer per branch that is not stolen; no allocation.
template <class... Ts>
detail::fork_operation<Ts...> when_all(task<Ts>... tasks) noexcept {
    return detail::fork_operation<Ts...>(std::move(tasks)...);
}
/// The same for any number of tasks of one type: std::vector<T>, or void. Cost: two allocations, and one for the
/// values; co_await throws std::bad_alloc, and no task has begun, when there is no memory for the two.
template <class T>
detail::fork_many<T> when_all(std::vector<task<T>> tasks) noexcept {
    return detail::fork_many<T>(std::move(tasks));
}
}
