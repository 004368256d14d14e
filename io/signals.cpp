// See runnel/signals.hpp.
#include <runnel/signals.hpp>

#include <pthread.h>

#include <cstring>
#include <mutex>
#include <string>

#include <runnel/detail/check.hpp>
#include <runnel/detail/wait.hpp>

namespace runnel {

signals::signals(std::initializer_list<int> numbers, std::source_location at)
    : wait_queue(at), signal_subscriber(numbers), counts_(detail::counted_kind::signals, at, &made) {
    subscribe();
}

signals::~signals() {
    unsubscribe();
    detail::check(waiting.empty(), "signals: ends while it is waited for");
}

/// Under the dispatcher's lock, on its thread.
void signals::raised(int number, int from) noexcept {
    detail::late_wake wake;
    {
        const std::lock_guard hold(wait_object::lock);
        const received_signal one{number, from, 1};
        if (detail::wait_node* const first = detail::claim_first(waiting, wake))
            *static_cast<received_signal*>(first->slot) = one;
        else
            put(one);
    }
    detail::finish(wake);
}

void signals::put(const received_signal& one) noexcept {
    for (unsigned i = 0; i < pending_count_; ++i) {
        if (pending_[i].number != one.number) continue;
        ++pending_[i].times;
        pending_[i].from = one.from;
        return;
    }
    pending_[pending_count_++] = one;  // there are 64 signals
}

bool signals::take(received_signal& out) noexcept {
    if (pending_count_ == 0) return false;
    out = pending_[0];
    --pending_count_;
    for (unsigned i = 0; i < pending_count_; ++i) pending_[i] = pending_[i + 1];
    return true;
}

namespace detail {

bool signal_case::try_now(late_wake&) noexcept { return static_cast<signals&>(*at_).take(got_); }

void signal_case::enlist(task_block& task, std::uint64_t ticket) noexcept {
    node_.slot = &got_;
    queue_case::enlist(task, ticket);
}
}

// --- A context -------------------------------------------------------------------------------------

signal_context::signal_context(const context& parent, std::initializer_list<int> numbers,
                               std::source_location at)
    : signal_subscriber(numbers), made_(with_cancel(parent, at)) {
    subscribe();
}

signal_context::~signal_context() { unsubscribe(); }

void signal_context::raised(int number, int) noexcept { made_.cancel(signal_error(number)); }

namespace {
class signal_names final : public std::error_category {
public:
    const char* name() const noexcept override { return "signal"; }
    std::string message(int number) const override {
        const char* const known = sigabbrev_np(number);
        return known != nullptr ? std::string("SIG") + known : "signal " + std::to_string(number);
    }
};
}

std::error_code signal_error(int number) noexcept {
    static const signal_names names;
    return {number, names};
}

void block_signals(std::initializer_list<int> numbers) noexcept {
    sigset_t those;
    sigemptyset(&those);
    for (const int number : numbers) sigaddset(&those, number);
    pthread_sigmask(SIG_BLOCK, &those, nullptr);
}
}
