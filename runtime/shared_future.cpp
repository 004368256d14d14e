// See runnel/shared_future.hpp, whose invariants are named here.
#include <mutex>

#include <runnel/detail/wait.hpp>
#include <runnel/shared_future.hpp>

#include "task_life.hpp"

namespace runnel::detail {

void future_state::add_handle() noexcept {
    handles_.fetch_add(1, std::memory_order_relaxed);  // relaxed: who copies a handle has one
}

void future_state::drop_handle() noexcept {
    // acq_rel: release pairs with the acquire of the last one, which sees all that was done here.
    if (handles_.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy();
}

// relaxed: old at once, whoever asks.
bool future_state::has_others() const noexcept { return handles_.load(std::memory_order_relaxed) > 1; }

void future_state::settle(std::error_code error, std::exception_ptr exception) noexcept {
    // Keeps us here: once it is settled, a thread that has only looked may drop the last handle, and the promise too.
    const future_handle until_told((add_handle(), this));
    claimed_tasks woken;
    {
        const std::lock_guard guard(lock);
        error_ = error;
        exception_ = std::move(exception);
        settled_.store(true, std::memory_order_release);  // release: pairs with the acquire in settled()
        woken.claim_all(waiting);
    }
    woken.finish_all();
}

void future_state::abandon() noexcept { settle(how_the_producer_ended(), nullptr); }

result<> future_state::outcome() const {
    if (exception_ != nullptr) std::rethrow_exception(exception_);
    return error_ ? result<>(error_) : result<>();
}

void future_state::wait_on_thread() {
    ready_operation settling(*this);
    wait_case* only = &settling;
    wait_object* object;
    std::uint16_t turn;
    detail::wait_on_thread({&only, &object, &turn, 1, choice::in_order}, nullptr, nullptr);
}

bool settled_case::try_now(late_wake&) noexcept { return of().settled(); }

wait_subject settled_case::subject() const noexcept { return {"for a future", &at_->made}; }
}
