// See simulated_medium.hpp.
#include "simulated_medium.hpp"

#include <algorithm>
#include <iterator>

namespace runnel::detail {

namespace {
constexpr std::uint32_t latency_steps = 8;
constexpr std::uint32_t candidates_max = 4;  // more would make the schedule longer, and find no more
}

void simulated_medium::at(nanoseconds_t time, std::function<void()> event) {
    events_.emplace(std::pair(time, ++last_event_), std::move(event));
}

nanoseconds_t simulated_medium::next_event() const noexcept {
    return events_.empty() ? no_deadline : events_.begin()->first.first;
}

void simulated_medium::happen() {
    std::uint32_t due = 0;
    for (auto it = events_.begin(); it != events_.end() && it->first.first <= now() && due < candidates_max;
         ++it)
        ++due;
    if (due == 0) return;
    const auto chosen = std::next(events_.begin(), choose(due));
    const std::function<void()> event = std::move(chosen->second);
    events_.erase(chosen);
    event();
}

nanoseconds_t simulated_medium::latency() noexcept {
    const nanoseconds_t shortest = how_.latency_min().count();
    const nanoseconds_t range = how_.latency_max().count() - shortest;
    if (range <= 0) return shortest;
    return shortest + range / (latency_steps - 1) * choose(latency_steps);
}

std::size_t simulated_medium::part_of(std::size_t bytes) noexcept {
    if (!how_.short_transfers() || bytes < 2) return bytes;
    const std::uint32_t way = choose(8);
    if (way < 6) return bytes;
    // A few bytes cut a header in two, any number the rest.
    const std::size_t most = std::min<std::size_t>(bytes - 1, way == 6 ? 8 : UINT32_MAX);
    return 1 + choose(static_cast<std::uint32_t>(most));
}

bool simulated_medium::strikes(std::uint32_t one_in) noexcept {
    return one_in != 0 && choose(one_in) == one_in - 1;
}
}
