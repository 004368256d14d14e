// Slots from prepare() to their last message; see slot_driver.hpp.
#include "slot_driver.hpp"

#include <runnel/detail/wait.hpp>

namespace runnel::detail {

io_request* slot_driver::prepare(io_action& action, task_block& task) noexcept {
    io_slot* slot = slots_.take(*this, lock_);
    if (slot == nullptr) return nullptr;
    slot->action = &action;
    slot->task = &task;
    slot->taken_back = false;
    slot->at = io_slot::phase::prepared;
    return slot;
}

unsigned slot_driver::finish(io_slot& slot) noexcept {
    const bool message_under_way = !closing_ && complete_io(*slot.task) && !slot.taken_back;
    add_in_flight(-1);
    if (message_under_way) {
        ++owed_messages_;
        slot.at = io_slot::phase::over;
    } else {
        slots_.release(slot);
    }
    return 1;
}

bool slot_driver::take_late(io_slot& slot) noexcept {
    if (slot.at != io_slot::phase::over) return false;
    --owed_messages_;
    slots_.release(slot);  // L2
    return true;
}

void slot_driver::add_in_flight(int by) noexcept {
    // relaxed: the lock orders the changes; to others it is a hint.
    in_flight_.store(in_flight_.load(std::memory_order_relaxed) + static_cast<std::size_t>(by),
                     std::memory_order_relaxed);
}

driver_counts slot_driver::counts() const noexcept {
    const auto get = [](const std::atomic<std::uint64_t>& figure) {
        return figure.load(std::memory_order_relaxed);  // relaxed: figures for people
    };
    driver_counts counts;
    counts.submitted = get(counters_.submitted);
    counts.completed = get(counters_.completed);
    counts.enters = get(counters_.enters);
    counts.sleeps = get(counters_.sleeps);
    counts.helped = get(counters_.helped);
    counts.overflows = get(counters_.overflows);
    return counts;
}
}
