// See runnel/condition.hpp, whose invariants are named here.
#include <mutex>

#include <runnel/condition.hpp>
#include <runnel/detail/wait.hpp>

namespace runnel {

namespace detail {

notified_operation::notified_operation(condition& of) noexcept : single_case(of) {
    node_.slot = this;
    const std::lock_guard guard(at_->lock);
    at_->waiting.push_back(node_);
}

notified_operation::~notified_operation() { leave(); }

/// Out of the queue, whether it ever waited or not. Was it notified?
bool notified_operation::leave() noexcept {
    const std::lock_guard guard(at_->lock);
    at_->waiting.delist(node_);
    return notified_;
}

/// O2.
result<> notified_operation::fail(std::error_code error) noexcept {
    return leave() ? result<>() : result<>(error);
}

std::uint16_t notified_operation::refused() noexcept { return running_task().refused; }
void notified_operation::set_refused(std::uint16_t count) noexcept { running_task().refused = count; }

bool notified_operation::try_now(late_wake&) noexcept { return notified_; }

void notified_operation::enlist(task_block& task, std::uint64_t ticket) noexcept {
    node_.task = &task;  // in the queue it is already
    node_.ticket = ticket;
    parked_ = true;
}

bool notified_operation::delist() noexcept {
    parked_ = false;
    return queue_case::delist();
}

wait_subject notified_operation::subject() const noexcept { return {"for a condition", &at_->made}; }
}

/// O2, for the first whose wait is not over, under the lock. False: there is none.
bool condition::notify_first(detail::claimed_tasks& woken) noexcept {
    while (detail::wait_node* const node = waiting.pop_front()) {
        auto& waiter = *static_cast<detail::notified_operation*>(node->slot);
        if (waiter.parked_ ? woken.claim_popped(*node) : (waiter.notified_ = true)) return true;
    }
    return false;
}

bool condition::notify_one() noexcept {
    detail::claimed_tasks woken;
    bool any;
    {
        const std::lock_guard guard(lock);
        any = notify_first(woken);
    }
    woken.finish_all();
    return any;
}

std::size_t condition::notify_all() noexcept {
    detail::claimed_tasks woken;
    std::size_t count = 0;
    {
        const std::lock_guard guard(lock);
        while (notify_first(woken)) ++count;
    }
    woken.finish_all();
    return count;
}
}
