// timer: ticks of timers and tickers. The design and its invariants (K1 to K3) are in runnel/timer.hpp.
#include <runnel/timer.hpp>

#include <algorithm>
#include <cassert>
#include <mutex>

#include <runnel/detail/check.hpp>
#include <runnel/detail/wait.hpp>

#include "timers.hpp"

namespace runnel::detail {

namespace {

timer_heap& timers_here() noexcept {
    check(tls_worker != nullptr, "timer, ticker: made outside a runtime");
    return current_timers();
}
}

tick_source::tick_source(missed_ticks policy, counted_kind what, std::source_location at) noexcept
    : made(at), heap_(timers_here()), policy_(policy), counts_(what, at, &made) {
    node_.callback = this;
}

tick_source::~tick_source() {
    const std::lock_guard guard(heap_.lock);
    heap_.unlink(node_);
    check(waiters_.empty(), "timer, ticker: ends while a task waits for it");
}

bool tick_source::start(std::int64_t in, std::int64_t period) noexcept {
    const std::int64_t first = saturated_sum(clock_now(), in);
    heap_.lock.lock();
    const bool was_active = clear();
    period_ = period;
    node_.when = first;
    const bool is_earliest = heap_.link(node_);
    heap_.lock.unlock();
    if (is_earliest) heap_.wake_owner();
    return was_active;
}

bool tick_source::stop() noexcept {
    const std::lock_guard guard(heap_.lock);
    return clear();
}

std::uint64_t tick_source::missed() const noexcept {
    const std::lock_guard guard(heap_.lock);
    return missed_;
}

bool tick_source::clear() noexcept {
    const bool was_linked = heap_.unlink(node_);
    const bool was_active = was_linked || kept_ > 0 || resting_;
    kept_ = 0;
    resting_ = false;
    return was_active;
}

/// Called by the heap, which has unlinked the node.
bool tick_source::tick(std::int64_t now, late_wake& wake) noexcept {
    const std::int64_t due = node_.when;
    const bool taken = hand_over(due, wake);
    if (!taken) keep(due, now);
    if (period_ > 0 && !resting_) {
        node_.when = next_due(due, now, taken);
        heap_.link(node_);
    }
    return true;
}

/// To the oldest waiter whose wait is not over yet.
bool tick_source::hand_over(std::int64_t due, late_wake& wake) noexcept {
    wait_node* const node = claim_first(waiters_, wake);
    if (node != nullptr) *static_cast<std::int64_t*>(node->slot) = due;
    return node != nullptr;
}

/// Nobody waits: all that came due until now, `due` being the first.
void tick_source::keep(std::int64_t due, std::int64_t now) noexcept {
    const std::uint64_t came = period_ > 0 ? static_cast<std::uint64_t>((now - due) / period_) + 1 : 1;
    if (kept_ == 0) oldest_ = due;
    if (policy_ == missed_ticks::burst) {
        kept_ += came;
        return;
    }
    missed_ += kept_ + came - 1;
    kept_ = 1;
    resting_ = policy_ == missed_ticks::delay;
}

std::int64_t tick_source::next_due(std::int64_t due, std::int64_t now, bool taken) const noexcept {
    const std::int64_t next = saturated_sum(due, period_);
    if (next > now) return next;
    if (policy_ == missed_ticks::delay) return saturated_sum(now, period_);
    if (policy_ == missed_ticks::burst && taken) return next;  // due already: comes again at once
    return saturated_sum(due, ((now - due) / period_ + 1) * period_);
}

/// missed_ticks::delay: the kept tick has been taken, late.
void tick_source::rest_is_over() noexcept {
    const std::int64_t next = saturated_sum(clock_now(), period_);
    bool is_earliest = false;
    {
        const std::lock_guard guard(heap_.lock);
        if (!resting_ || kept_ > 0) return;  // stopped or started again meanwhile
        resting_ = false;
        node_.when = next;
        is_earliest = heap_.link(node_);
    }
    if (is_earliest) heap_.wake_owner();
}

wait_object* tick_operation::object() noexcept { return &of_->heap_; }

bool tick_operation::try_now(late_wake&) noexcept {
    tick_source& source = *of_;
    if (source.kept_ == 0) return false;
    due_ = source.oldest_;
    source.oldest_ += source.period_;
    --source.kept_;
    return true;
}

void tick_operation::enlist(task_block& task, std::uint64_t ticket) noexcept {
    assert(of_->kept_ == 0 && "K2: waits although a tick is there");
    node_.slot = &due_;
    of_->waiters_.enlist(node_, task, ticket);
}

bool tick_operation::delist() noexcept { return of_->waiters_.delist(node_); }

result<clock::time_point> tick_operation::complete(unsigned) noexcept {
    if (of_->policy_ == missed_ticks::delay) of_->rest_is_over();
    return clock::time_point(clock::duration(due_));
}
}
