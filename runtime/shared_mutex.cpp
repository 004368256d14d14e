// See runnel/shared_mutex.hpp, whose invariants are named here.
#include <mutex>

#include <runnel/detail/wait.hpp>
#include <runnel/shared_mutex.hpp>

namespace runnel {

using namespace detail;

/// Under the lock.
bool shared_mutex::enter(bool alone) noexcept {
    if (!waiting.empty() || !has_room_for(alone)) return false;
    if (alone)
        writer_ = true;
    else
        ++readers_;
    return true;
}

void shared_mutex::leave(bool alone, bool stay_as_reader) noexcept {
    wait_object::lock.lock();
    if (alone)
        writer_ = false;
    else
        --readers_;
    if (stay_as_reader) ++readers_;
    let_in();
}

/// W2, from the head of the queue. Takes the lock over and releases it.
void shared_mutex::let_in() noexcept {
    claimed_tasks woken;
    while (wait_node* first = waiting.front()) {
        const bool alone = *static_cast<const bool*>(first->slot);
        if (!has_room_for(alone)) break;
        waiting.remove(*first);
        if (!woken.claim_popped(*first)) continue;
        if (alone)
            writer_ = true;
        else
            ++readers_;
    }
    wait_object::lock.unlock();
    woken.finish_all();
}

result<exclusive_guard> shared_mutex::try_lock() noexcept {
    const std::lock_guard guard(wait_object::lock);
    if (!enter(true)) return errc::not_available;
    return exclusive_guard(*this);
}

result<shared_guard> shared_mutex::try_lock_shared() noexcept {
    const std::lock_guard guard(wait_object::lock);
    if (!enter(false)) return errc::not_available;
    return shared_guard(*this);
}

bool shared_mutex_case::try_now(late_wake&) noexcept { return of().enter(alone_); }

void shared_mutex_case::enlist(task_block& task, std::uint64_t ticket) noexcept {
    node_.slot = &alone_;
    queue_case::enlist(task, ticket);
}

bool shared_mutex_case::delist() noexcept { return leave_front(); }

void shared_mutex_case::pass_on() noexcept {
    of().wait_object::lock.lock();
    of().let_in();
}

wait_subject shared_mutex_case::subject() const noexcept {
    return {alone_ ? "for a shared_mutex alone" : "for a shared_mutex to read", &at_->made};
}
}
