// after_func: who comes first, its moment or stop(). See runnel/after_func.hpp.
#include <runnel/after_func.hpp>

#include "runtime_core.hpp"

namespace runnel::detail {

bool later_state::stop() noexcept {
    if (when.cancelled()) return false;  // F2
    phase expected = waiting;
    if (!phase_.compare_exchange_strong(expected, called_off)) return false;
    stopped.set();
    return true;
}

bool later_state::begin() noexcept {
    phase expected = waiting;
    return phase_.compare_exchange_strong(expected, begun);
}

// relaxed: whoever refers to it may pass it on.
void later_state::ref() noexcept { refs_.fetch_add(1, std::memory_order_relaxed); }

void later_state::unref() noexcept {
    // acq_rel: what others did with it happens before its end.
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

// relaxed, both: a task that has ended is no function either, since who reads this has read live() before, which
// acquires the ends; of one that goes on it may be read late, as if it had not had its turn yet.
idle_function::idle_function() noexcept {
    current_runtime().idle_functions.fetch_add(1, std::memory_order_relaxed);
}
idle_function::~idle_function() {
    current_runtime().idle_functions.fetch_sub(1, std::memory_order_relaxed);  // relaxed: as above
}

bool go_under_root(task<> what, std::source_location at) {
    const auto frame = task_access::frame_of(what, at);
    const start_request request = request_for<void>(frame, task_kind::spawned, nullptr, at, false);
    if (start_in(current_runtime(), nullptr, request) == nullptr) return false;
    (void)task_access::release(std::move(what));
    return true;
}

std::int64_t due_in(std::int64_t nanoseconds) noexcept { return saturated_sum(clock_now(), nanoseconds); }
}
