// sync: mutex and events over the wait protocol. The invariants L1 to L3 are in runnel/sync.hpp.
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
        claim_first(waiting, next_owner) != nullptr;  // L1: it passes from owner to owner without being free
    if (taken_) owner_ = next_owner.task->id.get();
    wait_object::lock.unlock();
    finish(next_owner);
}

bool lock_operation::try_now(late_wake&) noexcept {
    mutex& wanted = of();
    if (std::exchange(wanted.taken_, true)) return false;
    wanted.owner_ = own_number();
    return true;
}

wait_subject lock_operation::subject() const noexcept { return {"for a lock", &at_->made, of().owner_}; }

// --- event -----------------------------------------------------------------------------------------

bool event::set() noexcept {
    claimed_tasks woken;
    {
        const std::lock_guard hold(lock);
        if (std::exchange(set_, true)) return false;
        woken.claim_all(waiting);
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

bool event_operation::try_now(late_wake&) noexcept { return static_cast<event&>(*at_).set_; }

wait_subject event_operation::subject() const noexcept { return {"for an event", &at_->made}; }

// --- auto_event ------------------------------------------------------------------------------------

bool auto_event::set() noexcept {
    late_wake passes;
    {
        const std::lock_guard hold(lock);
        if (set_) return false;
        set_ = claim_first(waiting, passes) == nullptr;
    }
    finish(passes);
    return true;
}

bool auto_event_operation::try_now(late_wake&) noexcept {
    return std::exchange(static_cast<auto_event&>(*at_).set_, false);
}

wait_subject auto_event_operation::subject() const noexcept { return {"for an event", &at_->made}; }
}
