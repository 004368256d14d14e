// See runnel/barrier.hpp, whose invariants are named here.
//
// The last one to arrive only counts the round up, under the lock; it wakes the others when its own wait has ended
// (complete()), for an operation may wake one task at most while other objects are locked. Between the two they are
// found by the round that each has noted (B3).
#include <runnel/barrier.hpp>

#include <mutex>

#include <runnel/detail/wait.hpp>

namespace runnel {

using namespace detail;

/// B2: those that were cancelled and have not run since have not arrived. (From here on until they are woken they may
/// still be cancelled: then fail() tells them.)
void barrier::forget_ended_waits() noexcept {
    for (wait_node* node = waiting.front(); node != nullptr;) {
        wait_node& each = *std::exchange(node, node->next);
        if (*static_cast<const std::uint64_t*>(each.slot) != round_ || still_waits(each)) continue;
        waiting.remove(each);
        each.slot = nullptr;
        --arrived_;
    }
}

/// Under the lock: B1.
bool barrier::complete_round() noexcept {
    if (arrived_ < parties_) return false;
    arrived_ = 0;
    ++round_;
    return true;
}

void barrier::release_before(std::uint64_t round) noexcept {
    claimed_tasks woken;
    {
        const std::lock_guard guard(lock);
        while (wait_node* first = waiting.front()) {
            if (*static_cast<const std::uint64_t*>(first->slot) >= round) break;
            waiting.remove(*first);
            woken.claim_popped(*first);
        }
    }
    woken.finish_all();
}

void barrier::leave() noexcept {
    std::uint64_t next = 0;
    {
        const std::lock_guard guard(lock);
        check(parties_ != 0, "barrier: more have left than took part");
        --parties_;
        forget_ended_waits();
        if (arrived_ != 0 && complete_round()) next = round_;
    }
    if (next != 0) release_before(next);
}

std::uint64_t barrier::rounds() noexcept {
    const std::lock_guard guard(lock);
    return round_;
}

bool arrive_operation::try_now(late_wake&) noexcept {
    barrier& here = of();
    if (here.arrived_ + 1 >= here.parties_) here.forget_ended_waits();
    round_ = here.round_;
    ++here.arrived_;
    last_ = here.complete_round();
    if (!last_) --here.arrived_;  // until it queues up
    return last_;
}

void arrive_operation::enlist(task_block& task, std::uint64_t ticket) noexcept {
    node_.slot = &round_;
    ++of().arrived_;
    queue_case::enlist(task, ticket);
}

bool arrive_operation::delist() noexcept {
    barrier& here = of();
    const bool complete = round_ != here.round_;
    counted_ = complete && node_.slot != nullptr;  // B2
    if (!complete && node_.linked()) {
        --here.arrived_;
        node_.slot = nullptr;  // a wait that a dump held while it was refused is delisted twice
    }
    return queue_case::delist();
}

result<bool> arrive_operation::complete(unsigned) noexcept {
    if (last_) of().release_before(round_ + 1);
    return last_;
}

result<bool> arrive_operation::fail(std::error_code error) noexcept {
    if (counted_) return false;
    return error;
}

wait_subject arrive_operation::subject() const noexcept {
    return {"for the others at a barrier", &at_->made};
}
}
