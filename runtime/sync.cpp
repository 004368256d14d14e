// sync: mutex and event over the wait protocol. The invariants L1 to L3 are in runnel/sync.hpp.
#include <runnel/sync.hpp>

#include <mutex>

#include <runnel/detail/wait.hpp>

namespace runnel {

namespace {

using namespace detail;

/// For dumps: who runs here; 0 on a plain thread.
std::uint64_t own_number() noexcept {
    const worker_local* here = tls_worker;
    return here != nullptr && here->running != nullptr ? here->running->id.get() : 0;
}

/// Any number of claimed tasks, oldest first, linked through their blocks: nobody else uses the link of
/// a task that is claimed and not yet in a run queue (T2 of detail/wait.hpp).
class claimed_tasks {
public:
    void add(const late_wake& wake) noexcept {
        task_block*& last = wake.held ? last_held_ : last_;
        task_block*& first = wake.held ? first_held_ : first_;
        wake.task->queue_next = nullptr;
        (last != nullptr ? last->queue_next : first) = wake.task;
        last = wake.task;
    }
    void finish_all() noexcept {
        if (first_ != nullptr && first_ == last_)
            finish(*first_, claimed::won);  // alone: next to run
        else
            finish_chain(first_, claimed::won);
        finish_chain(first_held_, claimed::won_held);
    }

private:
    static void finish_chain(task_block* task, claimed how) noexcept {
        while (task != nullptr) finish_in_turn(*std::exchange(task, task->queue_next), how);
    }

    task_block* first_ = nullptr;
    task_block* last_ = nullptr;
    task_block* first_held_ = nullptr;
    task_block* last_held_ = nullptr;
};
}

// --- mutex -----------------------------------------------------------------------------------------

result<guard> mutex::try_lock() noexcept {
    const std::lock_guard hold(wait_object::lock);
    if (taken_) return errc::not_available;
    taken_ = true;
    owner_ = own_number();
    return guard(*this);
}

bool mutex::is_locked() noexcept {
    const std::lock_guard hold(wait_object::lock);
    return taken_;
}

void mutex::unlock() noexcept {
    late_wake next_owner;
    wait_object::lock.lock();
    taken_ =
        claim_first(waiters_, next_owner) != nullptr;  // L1: it passes from owner to owner without being free
    if (taken_) owner_ = next_owner.task->id.get();
    wait_object::lock.unlock();
    finish(next_owner);
}

wait_object* lock_operation::object() noexcept { return of_; }

bool lock_operation::try_now(late_wake&) noexcept {
    if (std::exchange(of_->taken_, true)) return false;
    of_->owner_ = own_number();
    return true;
}

wait_subject lock_operation::subject() const noexcept { return {"for a lock", &of_->origin_, of_->owner_}; }

void lock_operation::enlist(task_block& task, std::uint64_t ticket) noexcept {
    of_->waiters_.enlist(node_, task, ticket);
}

void lock_operation::delist() noexcept { of_->waiters_.delist(node_); }

// --- event -----------------------------------------------------------------------------------------

bool event::set() noexcept {
    claimed_tasks woken;
    {
        // All under one hold: between two, the last waiters could be cancelled and the event destroyed.
        const std::lock_guard hold(lock);
        if (std::exchange(set_, true)) return false;
        for (late_wake wake; claim_first(waiters_, wake); wake = {}) woken.add(wake);
    }
    woken.finish_all();
    return true;
}

void event::reset() noexcept {
    const std::lock_guard hold(lock);
    set_ = false;
}

bool event::is_set() noexcept {
    const std::lock_guard hold(lock);
    return set_;
}

wait_object* event_operation::object() noexcept { return of_; }

bool event_operation::try_now(late_wake&) noexcept { return of_->set_; }

void event_operation::enlist(task_block& task, std::uint64_t ticket) noexcept {
    of_->waiters_.enlist(node_, task, ticket);
}

void event_operation::delist() noexcept { of_->waiters_.delist(node_); }
wait_subject event_operation::subject() const noexcept { return {"for an event", &of_->origin_}; }
}
