// Deadlines and idle timeouts; socket_timing.hpp names the steps and invariants.
#include "socket_timing.hpp"

#include <cassert>
#include <mutex>

#include <runnel/deadlines.hpp>
#include <runnel/detail/check.hpp>
#include <runnel/detail/io_action.hpp>
#include <runnel/detail/io_watch.hpp>
#include <runnel/detail/wait.hpp>

namespace runnel::detail {

using namespace lane_word;

namespace {

constexpr nanoseconds_t again_in = 1'000'000;  // step 4
constexpr unsigned block_shift = 6;            // a task_block is aligned to 64
constexpr unsigned epoch_bits = 23;
constexpr std::uint64_t epoch_mask = (std::uint64_t{1} << epoch_bits) - 1;
static_assert(alignof(task_block) == std::size_t{1} << block_shift);

constexpr std::uint64_t short_epoch(std::uint64_t word) noexcept {
    return (word >> word_bits::epoch_shift) & epoch_mask;
}

nanoseconds_t later(nanoseconds_t now, nanoseconds_t by) noexcept {
    return by < no_deadline - now ? now + by : no_deadline;
}
}

// --- Who waits in the kernel -------------------------------------------------------------------------------

std::uint64_t waiting_task::packed(const task_block& task, std::uint64_t ticket) noexcept {
    // 47 bits of an address of a user's, of which the last 6 are zero, and 23 bits of the epoch.
    const std::uint64_t block = reinterpret_cast<std::uintptr_t>(&task) >> block_shift;
    return block << epoch_bits | short_epoch(ticket);
}

bool waiting_task::claim(std::uint64_t packed, unsigned code) noexcept {
    if (packed == 0) return false;
    // Blocks are never unmapped; one that is in another wait by now has another epoch (up to 2^23 waits later).
    const auto task = reinterpret_cast<task_block*>((packed >> epoch_bits) << block_shift);
    const std::uint64_t word = task->word.load();
    if (short_epoch(word) != (packed & epoch_mask)) return false;
    return detail::claim(*task, word & word_bits::epoch_mask, code) != claimed::lost;
}

// --- Its life ----------------------------------------------------------------------------------------------

socket_timing::socket_timing(descriptor& of) noexcept
    : on_(&of), deadlines_{{*this, lane::in}, {*this, lane::out}}, idle_(*this) {}

void socket_timing::drop() noexcept {
    if (parties_.fetch_sub(1) == 1) delete this;
}

void socket_timing::moved_to(descriptor& to) noexcept {
    on_ = &to;
    lock_.unlock();
}

void socket_timing::gone() noexcept {
    {
        const std::lock_guard guard(lock_);
        on_ = nullptr;  // T2
        for (deadline& each : deadlines_) take_out(each.timer);
        take_out(idle_);
    }
    drop();
}

// --- The timers --------------------------------------------------------------------------------------------

bool socket_timing::alarm::hold() noexcept {
    of.parties_.fetch_add(1);
    return true;
}

void socket_timing::alarm::run() noexcept {
    of.went_off(*this);
    of.drop();
}

void socket_timing::take_out(alarm& which) noexcept {
    stop_timer(which.node);
    which.node.heap = nullptr;  // it may be gone when we come again
    which.set_for = no_deadline;
}

/// Step 1.
void socket_timing::set(alarm& which, nanoseconds_t when) {
    if (when >= which.set_for) return;
    take_out(which);
    which.node.when = when;
    start_timer(which.node);
    which.set_for = when;
}

void socket_timing::went_off(alarm& which) noexcept {
    const bool is_idle = &which == &idle_;
    {
        const std::lock_guard guard(lock_);
        if (on_ == nullptr) return;
        take_out(which);  // somebody may have set it again meanwhile
        if (is_idle && !look_for_progress()) return;
    }
    for (deadline& each : deadlines_)
        if (is_idle || &which == &each.timer) look(each);
}

// --- Deadlines ---------------------------------------------------------------------------------------------

void socket_timing::set_deadline(lane which, nanoseconds_t when) {
    deadline& at = deadlines_[static_cast<unsigned>(which)];
    {
        const std::lock_guard guard(lock_);
        at.when = when;
    }
    look(at);
}

void socket_timing::look(deadline& at) {
    std::uint64_t waits = 0;
    {
        const std::lock_guard guard(lock_);
        if (on_ == nullptr) return;
        const bool late = is_late(at, clock_now());
        flag(late_flag(at.which), late);
        if (!late) return set(at.timer, at.when);
        if (at.which == lane::in) wake_select();
        if (users_in(users(), at.which) == 0) return;
        std::atomic_ref<std::uint64_t> waiting(on_->waiting_[static_cast<unsigned>(at.which)]);
        waits = waiting.load();
    }
    if (waiting_task::claim(waits, wait_code::timed_out)) return;  // T1
    const std::lock_guard guard(lock_);
    if (on_ != nullptr && is_late(at, clock_now())) set(at.timer, later(clock_now(), again_in));
}

/// Step 3. The socket has the watch, and we the socket.
void socket_timing::wake_select() noexcept {
    if (io_watch* const watch = on_->watch()) watch->interrupt();
}

void socket_timing::flag(std::uint64_t which, bool on) noexcept {
    std::atomic_ref<std::uint64_t> word(on_->users_);
    std::uint64_t seen = word.load();
    while ((seen & descriptor::closed_bit) == 0 && ((seen & which) == which) != on)
        if (word.compare_exchange_weak(seen, on ? seen | which : seen & ~which)) return;
}

std::uint64_t socket_timing::users() const noexcept {
    return std::atomic_ref<std::uint64_t>(on_->users_).load();
}

// --- Idle --------------------------------------------------------------------------------------------------

void socket_timing::set_idle(nanoseconds_t limit, std::uint64_t least_bytes) {
    {
        const std::lock_guard guard(lock_);
        idle_limit_ = limit;
        idle_ended_ = false;
        // relaxed, here and below: figures; a byte more or less, a tick sooner or later makes no difference.
        portion_bytes_.store(least_bytes, std::memory_order_relaxed);
        portion_from_.store(moved_.load(std::memory_order_relaxed), std::memory_order_relaxed);
        last_portion_.store(clock_now(), std::memory_order_relaxed);
        flag(watched_flag(lane::in) | watched_flag(lane::out), limit != no_deadline);
        take_out(idle_);
        if (limit != no_deadline) set(idle_, later(clock_now(), limit));
    }
    for (deadline& each : deadlines_) look(each);
}

bool socket_timing::look_for_progress() {
    if (idle_limit_ == no_deadline) return false;
    const nanoseconds_t now = clock_now();
    const std::uint64_t seen = users();
    const io_watch* const watch = on_->watch();
    const bool is_ours = users_in(seen, lane::in) == 0 && users_in(seen, lane::out) == 0 &&
                         (watch == nullptr || !watch->is_waited_for());
    if (is_ours) last_portion_.store(now, std::memory_order_relaxed);  // relaxed: as above
    const nanoseconds_t due = later(last_portion_.load(std::memory_order_relaxed), idle_limit_);
    idle_ended_ = due <= now;
    if (!idle_ended_) set(idle_, due);
    return idle_ended_;
}

bool socket_timing::idle_ended() noexcept {
    const std::lock_guard guard(lock_);
    return idle_ended_;
}

void socket_timing::note_progress(std::uint64_t bytes) noexcept {
    // relaxed, all: as in set_idle().
    const std::uint64_t moved = moved_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
    if (moved - portion_from_.load(std::memory_order_relaxed) <
        portion_bytes_.load(std::memory_order_relaxed))
        return;
    // relaxed: the same.
    portion_from_.store(moved, std::memory_order_relaxed);
    last_portion_.store(tick_time(), std::memory_order_relaxed);
}

void note_progress(socket_timing& of, std::size_t bytes) noexcept { of.note_progress(bytes); }

// --- What streams call -------------------------------------------------------------------------------------

void set_deadline(descriptor& on, lane which, std::int64_t when) {
    check(tls_worker != nullptr, "stream: a deadline is set outside a runtime, which has the timers");
    if (when == no_deadline && on.timing_if_any() == nullptr) return;
    on.timing().set_deadline(which, when);
}

void set_idle_timeout(descriptor& on, std::int64_t limit, std::uint64_t least_bytes) {
    check(tls_worker != nullptr, "stream: an idle timeout is set outside a runtime, which has the timers");
    check(least_bytes > 0, "stream: an idle timeout of 0 bytes would never end anything");
    if (limit == no_deadline && on.timing_if_any() == nullptr) return;
    on.timing().set_idle(limit, least_bytes);
}

bool idle_ended(const descriptor& on) noexcept {
    return on.timing_if_any() != nullptr && on.timing_if_any()->idle_ended();
}
}
