// Slots from prepare() to their last message; see slot_driver.hpp.
#include "slot_driver.hpp"

#include <sched.h>

#include <cerrno>
#include <mutex>
#include <new>

#include <runnel/blocking.hpp>
#include <runnel/detail/wait.hpp>

namespace runnel::detail {

slot_driver::~slot_driver() {
    // acquire: pairs with the release of each thread's last step.
    while (in_pool_.load(std::memory_order_acquire) > 0) sched_yield();
}

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
    const next then = static_cast<standing_action&>(*slot.action).hears(what, *this);
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

// --- In the pool -------------------------------------------------------------------------------------

class slot_driver::pool_job final : public blocking_job {
public:
    pool_job(slot_driver& of, io_slot& slot) noexcept : of_(of), slot_(slot) {}

private:
    void call() noexcept override {
        if (of_.begin_in_pool(slot_))
            call_file(*slot_.action);
        else
            slot_.action->error = ECANCELED;
        of_.end_in_pool(slot_);
    }
    void refused(std::error_code why) noexcept override {
        slot_.action->error = why.category() == std::system_category() ? why.value() : ECANCELED;
        of_.end_in_pool(slot_);
    }

    slot_driver& of_;
    io_slot& slot_;
};

bool slot_driver::is_for_pool(const io_slot& slot) const noexcept {
    if (slot.action->kind != io_kind::file) return false;
    const file_form& form = form_of(file_of(*slot.action).kind);
    return form.opcode == file_form::no_request || !has_request(form);
}

void slot_driver::run_in_pool(io_slot& slot) noexcept {
    blocking_job* const job = new (std::nothrow) pool_job(*this, slot);
    {
        const std::lock_guard guard(lock_);
        note_begun();
        count(counters_.submitted);
        slot.at = io_slot::phase::in_pool;
        in_pool_.fetch_add(1, std::memory_order_relaxed);  // relaxed: the owner's, as the destructor is
    }
    if (job != nullptr) return job->submit();
    slot.action->error = ENOMEM;
    end_in_pool(slot);
}

/// False: it has been taken back (P1).
bool slot_driver::begin_in_pool(const io_slot& slot) noexcept {
    const std::lock_guard guard(lock_);
    return !slot.taken_back;
}

void slot_driver::end_in_pool(io_slot& slot) noexcept {
    {
        const std::lock_guard guard(lock_);
        count(counters_.completed);
        finish(slot);
    }
    // The last access: P2. release: pairs with the acquire of the destructor.
    in_pool_.fetch_sub(1, std::memory_order_release);
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
