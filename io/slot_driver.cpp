// Slots from prepare() to their last message; see slot_driver.hpp.
#include "slot_driver.hpp"

#include <runnel/detail/wait.hpp>

namespace runnel::detail {

io_slot* slot_driver::take_slot(io_action& action) noexcept {
    io_slot* slot = slots_.take(*this, lock_);
    if (slot == nullptr) return nullptr;
    slot->action = &action;
    slot->task = nullptr;
    slot->taken_back = false;
    slot->at = io_slot::phase::prepared;
    return slot;
}

io_request* slot_driver::prepare(io_action& action, task_block& task) noexcept {
    io_slot* const slot = take_slot(action);
    if (slot != nullptr) slot->task = &task;
    return slot;
}

io_request* slot_driver::prepare(standing_action& action) noexcept { return take_slot(action); }

unsigned slot_driver::finish(io_slot& slot) noexcept {
    if (slot.task == nullptr) {
        tell(slot, closing_ ? standing_action::event::driver_ends : standing_action::event::answered);
        return 1;
    }
    const bool asked = !closing_ && complete_io(*slot.task);
    add_in_flight(-1);
    release(slot, asked && !slot.taken_back);
    return 1;
}

void slot_driver::release(io_slot& slot, bool message_under_way) noexcept {
    if (message_under_way) {
        ++owed_messages_;
        slot.at = io_slot::phase::over;
    } else {
        slots_.release(slot);
    }
}

/// One that rests is not in flight: nothing in the world would end it.
void slot_driver::tell(io_slot& slot, standing_action::event what) noexcept {
    using next = standing_action::next;
    const bool rested = slot.at == io_slot::phase::resting;
    const next then = static_cast<standing_action*>(slot.action)->hears(what, *this);
    if (rested && then == next::again) add_in_flight(1);
    if (!rested && then != next::again) add_in_flight(-1);
    switch (then) {
        case next::again:
            return begin_again(slot);
        case next::rest:
            slot.at = io_slot::phase::resting;
            return;
        case next::end:
        case next::end_owed:
            return release(slot, then == next::end_owed && !slot.taken_back);
    }
}

bool slot_driver::take_nudge(io_slot& slot) noexcept {
    if (slot.at != io_slot::phase::resting) return false;
    tell(slot, standing_action::event::nudged);
    return true;
}

void slot_driver::end_standing(bool also_in_kernel) noexcept {
    slots_.for_each([&](io_slot& slot) {
        const bool begun = slot.at == io_slot::phase::resting || slot.at == io_slot::phase::delayed ||
                           (also_in_kernel && slot.at == io_slot::phase::in_kernel);
        if (begun && slot.task == nullptr) tell(slot, standing_action::event::driver_ends);
    });
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
