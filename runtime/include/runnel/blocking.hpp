// blocking: a call that blocks its thread, without stopping a worker.
//
//   auto text = co_await rn::blocking(read_whole_file, path);     // result<std::string>
//
// The call runs on a thread of a pool (up to 512, started on demand, gone after 10 idle seconds), while
// the task waits as for anything else. Callable and arguments move into a *job* that two parties share:
//
//   J1  the pool's thread runs it, destroys callable and arguments, then wakes the waiter;
//   J2  the waiter takes the value or the exception; if its wait ends early (cancelled, timed out, or
//       another case of a select won), the call runs on, and what it gives is destroyed;
//   J3  the call is started when the task begins to wait: never if the wait is refused. From then on
//       it runs to its end, unless the runtime stops before a thread was free for it.
//
// Not taken: running the call on the worker and moving its queue elsewhere (Go, Tokio's block_in_place):
// the worker's driver and timers would have to move too.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <source_location>
#include <tuple>
#include <type_traits>
#include <utility>

#include "detail/await_hazard.hpp"
#include "detail/operation.hpp"
#include "detail/spawning.hpp"
#include "detail/wait_object.hpp"
#include "from.hpp"
#include "result.hpp"
#include "task.hpp"

namespace runnel {

namespace detail {

class blocking_pool;

/// One call: what its two parties share.
class blocking_job {
public:
    blocking_job() noexcept = default;
    blocking_job(const blocking_job&) = delete;
    blocking_job& operator=(const blocking_job&) = delete;

    /// J1. Called by the pool, once; or instead
    void run() noexcept;
    /// that it is never run, and why.
    void refuse(std::error_code why) noexcept;
    /// Gives it to the pool of the running task's runtime, in which it runs on behalf of that task. Who waits for it
    /// is the job's own business: it has no waiter (of blocking_case) but the parties it was made with: one, the pool.
    void submit() noexcept;
    /// No waiter may be woken any more: the runtime goes.
    void abandon() noexcept;
    /// A party goes; with the last one the job.
    void drop() noexcept;

protected:
    virtual ~blocking_job() = default;
    virtual void call() noexcept = 0;
    /// Of a job without a waiter: it is never run.
    virtual void refused(std::error_code) noexcept {}

private:
    friend class blocking_case;
    friend class blocking_pool;
    void finish_waiter() noexcept;

    std::atomic<int> parties_{1};
    wait_object ending_;           // its lock guards the next two
    wait_node* waiter_ = nullptr;  // one, as the operation is awaited once
    bool ended_ = false;
    std::error_code refused_;       // written before ended_
    blocking_job* next_ = nullptr;  // in the pool's queue
    std::uint64_t task_id_ = 0;     // for reports: who asked for it
    std::source_location spawned_at_;
};

/// Waits for the end of a job, which it starts.
class blocking_case : public wait_case {
public:
    explicit blocking_case(blocking_job* job) noexcept : job_(job) {}
    blocking_case(blocking_case&& other) noexcept : job_(std::exchange(other.job_, nullptr)) {}
    blocking_case& operator=(blocking_case&&) = delete;

    wait_object* object() noexcept final;
    bool try_now(late_wake&) noexcept final;
    void enlist(task_block& task, std::uint64_t ticket) noexcept final;
    bool delist() noexcept final;
    wait_subject subject() const noexcept final { return {"for a blocking call"}; }

protected:
    ~blocking_case() {
        if (job_ != nullptr) job_->drop();
    }
    std::error_code refused() const noexcept { return job_->refused_; }
    blocking_job* job_;

private:
    bool started_ = false;
    wait_node node_;
};

template <class R>
class job_of : public blocking_job {
public:
    outcome<R> out;
};

/// The call itself. std::apply, because that knows pointers to members too.
template <class F, class... Args>
decltype(auto) call_kept(F& f, Args&... args) {
    return std::apply(std::move(f), std::forward_as_tuple(unwrap(args)...));
}

template <class R, class F, class... Args>
class blocking_call final : public job_of<R> {
public:
    template <class... Given>
    explicit blocking_call(std::in_place_t, Given&&... given)
        : kept_(std::in_place, std::forward<Given>(given)...) {}

private:
    void call() noexcept override {
        try {
            std::apply([this](F& f, Args&... args) { this->run_into_out(f, args...); }, *kept_);
        } catch (...) {
            this->out.set_exception(std::current_exception());
        }
        kept_.reset();  // J1
    }
    void run_into_out(F& f, Args&... args) {
        if constexpr (std::is_void_v<R>)
            call_kept(f, args...);
        else
            this->out.set_value(call_kept(f, args...));
    }

    std::optional<std::tuple<F, Args...>> kept_;
};
}

/// What blocking() gives.
template <class R>
class [[nodiscard]] blocking_operation final
    : public detail::single_case<blocking_operation<R>, detail::result_of<R>, detail::blocking_case> {
public:
    explicit blocking_operation(detail::job_of<R>* job) noexcept : blocking_operation::single_case(job) {}
    blocking_operation(blocking_operation&&) noexcept = default;
    detail::result_of<R> complete(unsigned) {
        if (const std::error_code why = this->refused()) return why;
        return detail::take_result(static_cast<detail::job_of<R>*>(this->job_)->out);
    }
};

/// Runs f(args…) on a thread where it may block. Callable and arguments are moved (or copied) into the
/// call and live until it has ended. A select case.
/// Returns       result<R>; just R when f returns a result itself; a system error when there is no thread
///               and none can be had.
/// Throws        what f threw; std::bad_alloc.
/// Cancellation  ends the wait, not the call: f runs on, alone (J2). A refused wait does not start it.
/// Order         calls start in the order of their waits; how they end is up to them.
/// Threads       a task's. f runs outside the runtime: it cannot await, and sees no context.
/// Cost          one allocation, two hand-overs between threads (some 10 microseconds).
///
/// g++ 12 destroys the captures of a temporary closure twice in an awaited expression, so there a
/// callable that is not trivially copyable is named first: `auto f = […]…; co_await blocking(from(f))`.
template <class F, class... Args>
auto blocking(F&& f, Args&&... args) {
    static_assert(
        !detail::dies_twice_as_callable<F> || detail::is_from<std::remove_cvref_t<F>>,
        "g++ 12 would destroy the captures of this callable twice: name it on the line before, and pass "
        "rn::from(f)");
    static_assert(
        (!detail::dies_twice_as_value<Args> && ...),
        "g++ 12 would destroy the members of this aggregate twice: name it on the line before, and pass "
        "rn::from(x)");
    static_assert(
        (!detail::may_dangle<Args> && ...),
        "blocking: an argument is a view, a reference_wrapper or an array, and the call may outlive what it "
        "refers to. Pass an owning value, or rn::borrow(x) if x outlives the call, also when the task is "
        "cancelled");
    using returned = decltype(detail::call_kept(std::declval<detail::kept_t<F>&>(),
                                                std::declval<detail::kept_t<Args>&>()...));
    static_assert(!std::is_reference_v<returned>,
                  "blocking: return a value, the call's objects are gone afterwards");
    using R = std::remove_cv_t<returned>;
    return blocking_operation<R>(new detail::blocking_call<R, detail::kept_t<F>, detail::kept_t<Args>...>(
        std::in_place, detail::to_keep(std::forward<F>(f)), detail::to_keep(std::forward<Args>(args))...));
}
}
