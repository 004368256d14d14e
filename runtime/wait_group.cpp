// See runnel/wait_group.hpp, whose invariants are named here.
#include <mutex>

#include <runnel/detail/wait.hpp>
#include <runnel/wait_group.hpp>

namespace runnel::detail {

void countdown::raise(std::uint64_t by) noexcept {
    const std::lock_guard guard(lock);
    check(count_ + by >= count_, "wait_group: more than can be counted");
    count_ += by;
}

bool countdown::lower(std::uint64_t by) noexcept {
    claimed_tasks woken;
    {
        const std::lock_guard guard(lock);
        if (by > count_) return false;
        count_ -= by;
        if (count_ == 0) woken.claim_all(waiting);  // G2
    }
    woken.finish_all();
    return true;
}

std::uint64_t countdown::count() noexcept {
    const std::lock_guard guard(lock);
    return count_;
}

bool zero_operation::try_now(late_wake&) noexcept { return static_cast<countdown&>(*at_).count_ == 0; }

wait_subject zero_operation::subject() const noexcept { return {what_, &at_->made}; }
}
