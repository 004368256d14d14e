// after_func: who comes first, the time or stop(). See runnel/after_func.hpp.
#include <runnel/after_func.hpp>
#include <runnel/detail/wait.hpp>

namespace runnel::detail {

bool later_state::stop() noexcept {
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

std::int64_t due_in(std::int64_t nanoseconds) noexcept { return saturated_sum(clock_now(), nanoseconds); }
}
