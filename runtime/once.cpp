// See runnel/once.hpp, whose invariants are named here.
#include <mutex>

#include <runnel/detail/wait.hpp>
#include <runnel/once.hpp>

namespace runnel {

using namespace detail;

void once::end_turn(bool succeeded) noexcept {
    claimed_tasks woken;
    {
        const std::lock_guard guard(lock);
        if (succeeded) {
            done_.store(true, std::memory_order_release);  // release: pairs with is_done()
            woken.claim_all(waiting);
        } else {
            busy_ = false;
            while (wait_node* next = waiting.pop_front()) {  // U2
                if (!woken.claim_popped(*next)) continue;
                *static_cast<bool*>(next->slot) = busy_ = true;
                break;
            }
        }
    }
    woken.finish_all();
}

bool turn_operation::try_now(late_wake&) noexcept {
    once& of = static_cast<once&>(*at_);
    if (of.is_done()) return true;
    ours_ = !std::exchange(of.busy_, true);
    return ours_;
}

void turn_operation::enlist(task_block& task, std::uint64_t ticket) noexcept {
    node_.slot = &ours_;
    queue_case::enlist(task, ticket);
}

wait_subject turn_operation::subject() const noexcept { return {"for a once", &at_->made}; }
}
