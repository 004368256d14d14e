// See runnel/semaphore.hpp, whose invariants are named here.
#include <mutex>

#include <runnel/detail/wait.hpp>
#include <runnel/semaphore.hpp>

namespace runnel {

using namespace detail;

/// Under the lock. A waiter whose wait is over may still stand in the queue: it lets the others go on (pass_on()).
bool semaphore::take(std::uint64_t count) noexcept {
    if (!waiting.empty() || count > free_) return false;
    free_ -= count;
    return true;
}

result<permit> semaphore::try_acquire(std::uint64_t count) noexcept {
    const std::lock_guard guard(lock);
    if (!take(count)) return errc::not_available;
    return permit(this, count);
}

void semaphore::release(std::uint64_t count) noexcept {
    claimed_tasks woken;
    {
        const std::lock_guard guard(lock);
        check(free_ + count >= free_, "semaphore: more permits than can be counted");
        free_ += count;
        while (wait_node* first = waiting.front()) {  // H1
            const std::uint64_t wanted = *static_cast<const std::uint64_t*>(first->slot);
            if (wanted > free_) break;
            waiting.remove(*first);
            if (woken.claim_popped(*first)) free_ -= wanted;  // H2
        }
    }
    woken.finish_all();
}

std::uint64_t semaphore::available() noexcept {
    const std::lock_guard guard(lock);
    return free_;
}

bool acquire_operation::try_now(late_wake&) noexcept { return of().take(count_); }

void acquire_operation::enlist(task_block& task, std::uint64_t ticket) noexcept {
    node_.slot = &count_;
    queue_case::enlist(task, ticket);
}

bool acquire_operation::delist() noexcept { return leave_front(); }

void acquire_operation::pass_on() noexcept { of().release(0); }

wait_subject acquire_operation::subject() const noexcept { return {"for a semaphore", &at_->made}; }
}
