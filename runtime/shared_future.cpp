// See runnel/shared_future.hpp, whose invariants are named here.
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mutex>

#include <runnel/detail/wait.hpp>
#include <runnel/shared_future.hpp>

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
    bool threads_sleep;
    {
        const std::lock_guard guard(lock);
        error_ = error;
        exception_ = std::move(exception);
        // acq_rel: release pairs with the acquire in settled(); acquire is for whoever sleeps, who needs none.
        threads_sleep = state_.exchange(is_settled, std::memory_order_acq_rel) == has_sleepers;
        woken.claim_all(waiting);
    }
    if (threads_sleep) ::syscall(SYS_futex, &state_, FUTEX_WAKE_PRIVATE, INT32_MAX, nullptr, nullptr, 0);
    woken.finish_all();
}

void future_state::abandon() noexcept { settle(how_the_producer_ended(), nullptr); }

result<> future_state::outcome() const {
    if (exception_ != nullptr) std::rethrow_exception(exception_);
    return error_ ? result<>(error_) : result<>();
}

void future_state::wait_on_thread() noexcept {
    check(tls_worker == nullptr, "a worker must not wait in a blocking call: co_await it instead");
    while (!settled()) {
        int seen = is_open;
        // relaxed: only says that somebody sleeps; settled() acquires.
        state_.compare_exchange_strong(seen, has_sleepers, std::memory_order_relaxed);
        if (seen != is_settled)
            ::syscall(SYS_futex, &state_, FUTEX_WAIT_PRIVATE, has_sleepers, nullptr, nullptr, 0);
    }
}

bool settled_case::try_now(late_wake&) noexcept { return of().settled(); }

wait_subject settled_case::subject() const noexcept { return {"for a future", &at_->made}; }
}
