// once: something that is done one time, by whoever comes first, while the others wait for it.
//
//   rn::once setup;
//   if (!co_await setup.call(open_database, path)) co_return;   // in any number of tasks
//
//   U1  f runs in one task at a time, and not again after it has succeeded;
//   U2  when it fails, by an exception, an error or a cancel of its task, the one that failed is told, and the next
//       that waits tries it anew;
//   U3  whoever gets success sees what f wrote.
//
// An f that calls the same once waits for itself.
//
// After std::call_once. Not taken: Go's rule that a panic counts as done: all others would go on without what they
// need.
#pragma once

#include "detail/operation.hpp"
#include "detail/spawning.hpp"
#include "detail/wait_queue.hpp"
#include "result.hpp"
#include "task.hpp"

namespace runnel {

class once;

namespace detail {

/// Gives true to the one that is to do it, false when it is done.
class [[nodiscard]] turn_operation final : public single_case<turn_operation, result<bool>, queue_case> {
public:
    explicit turn_operation(once& at) noexcept;
    turn_operation(turn_operation&&) noexcept = default;
    result<bool> complete(unsigned) noexcept { return ours_; }

    bool try_now(late_wake&) noexcept override;
    void enlist(task_block& task, std::uint64_t ticket) noexcept override;
    wait_subject subject() const noexcept override;

private:
    bool ours_ = false;
};
}

class once : detail::wait_queue {
public:
    once(std::source_location made_at = std::source_location::current()) noexcept : wait_queue(made_at) {}
    ~once() {
        detail::check((!busy_ || is_done()) && waiting.empty(), "once: ends while it is called or waited for",
                      made.made_at());
    }

    /// Runs f(args…), a coroutine that returns task<> or task<result<…>>, if nobody has yet; else waits for who does.
    /// `f` and `args` are kept as by go(), until the task that this returns has ended.
    /// Returns       success when it is done, by whomever; the error of f in this task (U2); an error when the wait was
    ///               refused or ended.
    /// Throws        what f throws in this task.
    /// Cancellation  ends the wait, or f as f does it. A cancel point also when it is done.
    /// Order         first come, first served.
    /// Threads       a task's.
    /// Cost          a frame from the worker's list and one short spin lock. is_done() costs a load.
    template <class F, class... Args>
    task<result<>> call(F&& f, Args&&... args) {
        detail::refuse_what_dies_twice<F, Args...>();
        return run<detail::kept_t<F>, detail::kept_t<Args>...>(*this, detail::to_keep(std::forward<F>(f)),
                                                               detail::to_keep(std::forward<Args>(args))...);
    }

    /// Threads: any. True: what f wrote is seen.
    // acquire: pairs with the release in end_turn().
    bool is_done() const noexcept { return done_.load(std::memory_order_acquire); }

    /// Its name in dumps and traces. Threads: any.
    void label(literal text) noexcept { made.set_label(text); }

private:
    friend class detail::turn_operation;

    /// Passes the turn on at its end, however it comes.
    class turn {
    public:
        explicit turn(once& of) noexcept : of_(of) {}
        turn(const turn&) = delete;
        turn& operator=(const turn&) = delete;
        ~turn() { of_.end_turn(succeeded); }
        bool succeeded = false;

    private:
        once& of_;
    };

    template <class F, class... Args>
    static task<result<>> run(once& of, F f, Args... args) {
        using called = decltype(detail::call(std::move(f), detail::unwrap(args)...));
        static_assert(detail::is_task<called>,
                      "once: the function must be a coroutine that returns rn::task<…>");
        using value = typename detail::task_value<called>::type;
        const result<bool> first = co_await detail::turn_operation(of);
        if (!first) co_return first.error();
        if (!*first) co_return result<>();
        turn mine(of);
        if constexpr (detail::holds_error<value>) {
            const auto got = co_await detail::call(std::move(f), detail::unwrap(args)...);
            if (const std::error_code error = detail::error_in(got)) co_return error;
        } else {
            co_await detail::call(std::move(f), detail::unwrap(args)...);
        }
        mine.succeeded = true;
        co_return result<>();
    }
    void end_turn(bool succeeded) noexcept;

    bool busy_ = false;
    std::atomic<bool> done_{false};
};

inline detail::turn_operation::turn_operation(once& at) noexcept : single_case(at) {}
}
