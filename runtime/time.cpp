// time: deadlines as wait cases, and giving way. The contracts are in runnel/time.hpp.
#include <runnel/time.hpp>

#include <cassert>
#include <utility>

#include <runnel/detail/wait.hpp>

#include "task_life.hpp"
#include "timers.hpp"

namespace runnel {

static_assert(detail::never == detail::no_deadline);

clock::time_point clock::now() noexcept { return time_point(duration(detail::clock_now())); }

namespace detail {

namespace {

/// For a try_select on a plain thread, which has no timers: something to lock, guarding nothing.
constinit wait_object nowhere;

timer_heap& timers_here() noexcept {
    timer_heap* const own = tls_worker == nullptr ? timers_of_thread() : nullptr;
    return own != nullptr ? *own : current_timers();
}
}

wait_object* deadline_case::object() noexcept {
    // Asked again after the wait, maybe on another worker: the answer must be the same, until that wait is over.
    if (node_.heap != nullptr) return node_.heap;
    if (tls_worker != nullptr) return &current_timers();
    timer_heap* const own = timers_of_thread();
    return own != nullptr ? own : &nowhere;
}

bool deadline_case::try_now(late_wake&) noexcept {
    return time_ <= 0 || (from_ == origin::clock && time_ <= clock_now());
}

void deadline_case::enlist(task_block& task, std::uint64_t ticket) noexcept {
    node_.task = &task;
    node_.ticket = ticket;
    node_.when = from_ == origin::wait ? saturated_sum(clock_now(), time_) : time_;
    timers_here().link(node_);
}

bool deadline_case::delist() noexcept {
    if (node_.heap != nullptr) std::exchange(node_.heap, nullptr)->unlink(node_);
    return false;
}

bool yield_operation::yield_awaiter::await_suspend(std::coroutine_handle<> awaiter) noexcept {
    task_block& task = running_task();
    if (!may_wait(task)) {
        refused_ = true;
        return refuse(task, awaiter);
    }
    task.refused = 0;
    give_way(task, awaiter);  // may run elsewhere at once: `this` is gone
    return true;
}

result<> yield_operation::yield_awaiter::await_resume() const {
    if (!refused_) return {};
    // No wait was armed; resume_one() only reads how it was refused, or throws for the brake.
    sleep_operation none(0, deadline_case::origin::wait);
    return wait_error(resume_one(none));
}
}
}
