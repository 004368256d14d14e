// See runnel/race.hpp, whose steps and rules are named here.
#include <runnel/race.hpp>

#include <mutex>

#include "context_node.hpp"
#include "task_life.hpp"

namespace runnel::detail {

bool race_core::decided() noexcept {
    const std::lock_guard guard(lock_);
    return winner_ != nobody;
}

bool race_core::wins(std::size_t index, failure how) noexcept {
    const std::lock_guard guard(lock_);
    const bool was_decided = winner_ != nobody;
    if (!was_decided && (wanted_ == race_for::the_end || !how)) {  // R1
        winner_ = index;
        thrown_ = std::move(how.exception);
        return true;
    }
    if (how && !(was_decided && says_cancelled(how.error)))  // R3
        failures_.emplace_back(std::move(how), index);       // there is room for all
    return false;
}

void race_core::cancel_others() noexcept {
    context_node& ours = *running_task().ctx.load(std::memory_order_relaxed);  // relaxed: our own (T1)
    cancel_tree(ours, errc::cancelled, errc::cancelled);
}

std::error_code race_core::first_error() const noexcept {
    return failures_.front().error ? failures_.front().error : make_error_code(errc::producer_failed);
}

task<> run_race(std::vector<task<>> contenders) {
    co_await swapped_operation<fork_many<void>>(when_all(std::move(contenders)), swap_kind::child, {}, {});
}
}
