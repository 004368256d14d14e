// See testing_sequencer.hpp, whose invariants are named here.
#include <mutex>
#include <utility>

#include <runnel/detail/check.hpp>
#include <runnel/detail/wait.hpp>
#include <runnel/testing_sequencer.hpp>

namespace runnel::testing {

using namespace detail;

sequencer::~sequencer() { check(waiters_.empty(), "sequencer: ends while a task waits for its step"); }

step_operation sequencer::reach(std::uint32_t step) noexcept {
    check(step > reached(), "sequencer: this step has been reached already");
    return {*this, step};
}

std::uint32_t sequencer::reached() noexcept {
    const std::lock_guard guard(lock);
    return reached_;
}

/// Q2.
void sequencer::passed(std::uint32_t step) noexcept {
    late_wake wake;
    {
        const std::lock_guard guard(lock);
        check(step == reached_ + 1, "sequencer: two tasks reach the same step");  // Q1
        reached_ = step;
        for (wait_node* node = waiters_.front(); node != nullptr;) {
            wait_node& each = *std::exchange(node, node->next);
            if (*static_cast<const std::uint32_t*>(each.slot) != step + 1) continue;
            waiters_.remove(each);
            if (claim(each, wake)) break;
        }
    }
    finish(wake);
}

wait_object* step_operation::object() noexcept { return of_; }
bool step_operation::try_now(late_wake&) noexcept { return step_ == of_->reached_ + 1; }
void step_operation::enlist(task_block& task, std::uint64_t ticket) noexcept {
    of_->waiters_.enlist(node_, task, ticket);
}
bool step_operation::delist() noexcept { return of_->waiters_.delist(node_); }

result<> step_operation::complete(unsigned) noexcept {
    of_->passed(step_);
    return {};
}
}
