// The channel: a ring of values, and the tasks that wait for one or for room.
//
// Send
//   1  closed: say so;
//   2  somebody waits to receive: claim the first whose wait is not over yet, move the value straight
//      into its frame;
//   3  there is room: move the value to the end of the ring;
//   4  else queue up, or do what the channel's overflow says (overflow.cpp).
// Receive
//   1  the ring has a value: move the oldest out, and the value of the first sender that waits into its
//      place;
//   2  closed, and no place is held any more: say so;
//   3  somebody waits to send: claim the first, move its value straight out of its frame;
//   4  else queue up.
// Reserve: takes a place of the ring for a value to come; see permits.cpp.
// With capacity 0 the ring never has a value and never has room, and nothing else is different.
// A try that would fail is mostly found out by a look without the lock (K6).
// Close
//   1  note the cause, then set the flag, once: nobody queues up any more;
//   2  claim all that wait, at most 64 per hold of the lock, and let them run without it. Their slots
//      stay set (V1), so they find the flag and return the cause. Receivers stay while a place is held.
// Another capacity: with more, the values of senders that wait move up, as if room had come by receiving; with less,
// the ring holds more than it should until so much has been received.
//
//   K1  while a receiver waits whose wait is not over, the ring is empty and no other task waits to
//       send a value; while a sender waits, or a reserver, the ring has no room but for the places that are held.
//       (One select may wait for both at once: it cannot meet itself, because it tries all its cases before it
//       queues for any.)
//   K2  under the lock runs nothing of the user's but the nothrow move of a T and the end of the empty
//       T that it leaves in the ring. Values that nobody wants die without the lock, and hooks run without it;
//   K3  closed is for ever; the cause is written before the flag and never again;
//   K4  `refs` counts handles of any kind and is about memory only; `senders` and `receivers` are
//       about closing. Every case belongs to a living end, so a core that goes has no waiters, and a kind of which
//       the last end goes has none: check()ed;
//   K5  memory looks like a handle of a joint channel, its address and the mark, only while one is there
//       (runtime/orphans.hpp counts them);
//   K6  while the channel is *plain* (nobody ever asked for a place, nor changed the capacity, nor was memory wanting)
//       there is something to receive exactly when the ring has a value or, with capacity 0, a sender waits; and there
//       is no room exactly when the ring is full or, with capacity 0, no receiver waits. This is so at every moment,
//       also while the lock is held: who takes a value and puts one in its place exchange()s them, and who wakes a
//       waiter claims it before it leaves the queue. Being closed and not being plain are for ever, and looked at last,
//       so they were not so at the moment of the first look. Before that the lock is seen to be free: what others did
//       under it may still be on its way to us, and only the lock itself is surely seen to have been taken. So a look
//       has its place in the one order of all that is done under locks, and of the user's seq_cst accesses.
//
// Not taken: a lock-free ring (Vyukov) or cells (Kotlin): within 5 % of this one in coroutine channels,
// where the wake-ups are what costs, and each cancelled waiter is a special case.
#include <mutex>

#include <runnel/detail/suspend.hpp>
#include <runnel/detail/tracing.hpp>

#include "core.hpp"

namespace runnel::detail {

namespace {

void claim_all(wait_list& waiting, winners& woken) noexcept {
    while (!woken.full()) {
        wait_node* node = waiting.pop_front();
        if (node == nullptr) return;
        task_block& task = *node->task;
        woken.add(task, claim(*node));
    }
}

/// Do ends of this kind keep the channel open?
bool counts(end_kind kind) noexcept { return kind == end_kind::sender || kind == end_kind::receiver; }

}

/// Of a channel that grows. Without memory it is as full: senders wait, maybe with nothing in the ring.
bool channel_core::make_room(std::size_t values) noexcept {
    if (ring_.grow(values)) return true;
    plain_ = false;
    return false;
}

inline bool channel_core::send_now(send_case& sender, late_wake& wake) noexcept {
    if (closed()) return true;
    if (wait_node* receiver = claim_first(receivers_waiting, wake)) {
        assert(ring_.count() == 0 && "K1");
        hand_over(sender.node_, *receiver);
        return true;
    }
    if (!has_room()) return settings_.when_full != overflow::wait && overflowed(sender);
    push(sender.node_);
    if (tended_) [[unlikely]]
        note_level(sender);
    return true;
}

/// Step 1 of a receive while somebody waits to send. Apart, because it needs more registers than what mostly happens.
[[gnu::noinline]] void channel_core::pop_and_move_up(wait_node& receiver, late_wake& wake) noexcept {
    wait_node* const next = plain_ && !closed() ? claim_first(senders_waiting, wake) : nullptr;
    if (next != nullptr) return exchange(receiver, *next);
    pop(receiver);
    move_up(wake);
}

/// Into the room that a value, or a place that was held, has left.
void channel_core::move_up(late_wake& wake) noexcept {
    if (closed() || !has_room()) return;
    if (wait_node* next = claim_first(senders_waiting, wake)) let_in(*next);
}

inline bool channel_core::recv_now(wait_node& receiver, late_wake& wake) noexcept {
    if (ring_.count() > 0) {
        if (senders_waiting.empty()) [[likely]]
            pop(receiver);
        else
            pop_and_move_up(receiver, wake);
        return true;
    }
    if (drained()) return true;
    if (capacity_ != 0) return recv_past_reservers(receiver, wake);
    wait_node* sender = claim_first(senders_waiting, wake);
    if (sender == nullptr) return false;
    hand_over(*sender, receiver);
    return true;
}

// --- The cases of a wait: here, where what they do can be compiled into the wait ------------------

wait_object* channel_case::object() noexcept { return core_; }

bool send_case::try_now(late_wake& wake) noexcept { return core_->send_now(*this, wake); }

void send_case::enlist(task_block& task, std::uint64_t ticket) noexcept {
    core_->senders_waiting.enlist(node_, task, ticket);
}

bool send_case::delist() noexcept { return core_->senders_waiting.delist(node_); }

bool send_case::suspend_alone(std::coroutine_handle<> awaiter) noexcept { return suspend_at(*this, awaiter); }

bool recv_case::try_now(late_wake& wake) noexcept { return core_->recv_now(node_, wake); }

void recv_case::enlist(task_block& task, std::uint64_t ticket) noexcept {
    core_->receivers_waiting.enlist(node_, task, ticket);
}

bool recv_case::delist() noexcept { return core_->receivers_waiting.delist(node_); }

bool recv_case::suspend_alone(std::coroutine_handle<> awaiter) noexcept { return suspend_at(*this, awaiter); }

// --- A look without the lock ---------------------------------------------------------------------

bool channel_core::surely_empty() const noexcept {
    if (!lock.looks_free()) return false;
    const bool nothing = capacity_.look() == 0 ? senders_waiting.looks_empty() : ring_.look_at_count() == 0;
    return nothing && !closed() && plain_;
}

bool channel_core::surely_full() const noexcept {
    if (!lock.looks_free()) return false;
    const std::size_t capacity = capacity_.look();
    const bool no_room = capacity == 0 ? receivers_waiting.looks_empty() : ring_.look_at_count() == capacity;
    return no_room && !closed() && plain_ && settings_.when_full == overflow::wait;
}

// --- Another capacity --------------------------------------------------------------------------

/// All under one hold of the lock: a channel that has no places has nobody that waits for one.
void channel_core::set_capacity(std::size_t capacity) {
    claimed_tasks woken;
    bool high = false;
    {
        const std::lock_guard guard(lock);
        if (closed()) return;  // K2: what was set aside must stay where it is
        if (!settings_.grows && capacity != unbounded && !ring_.grow(capacity)) throw std::bad_alloc();
        plain_ = false;
        capacity_ = capacity;
        tended_ = tended_ || capacity == unbounded;
        while (!senders_waiting.empty() && has_room()) {
            wait_node& sender = *senders_waiting.pop_front();
            if (woken.claim_popped(sender)) let_in(sender);
        }
        if (capacity_ == 0) turn_away_reservers(woken);
        high = tended_ && reached_level();
    }
    woken.finish_all();
    if (high) tell_level();
}

// --- Closing -----------------------------------------------------------------------------------

/// Under the lock: step 1. False: it has been done before.
bool channel_core::note_closed(std::error_code cause) noexcept {
    if (closed()) return false;
    cause_ = cause ? cause : make_error_code(errc::closed);
    // release: pairs with the acquire in closed(), for who asks without the lock.
    closed_.store(true, std::memory_order_release);
    count(&channel_totals::closed);
    return true;
}

bool channel_core::close(std::error_code cause) noexcept {
    {
        const std::lock_guard guard(lock);
        if (!note_closed(cause)) return false;
    }
    if (traced()) [[unlikely]]
        trace_done("close", *this, made);
    wake_all();
    return true;
}

void channel_core::wake_all() noexcept {
    winners woken;
    for (bool more = true; more;) {
        {
            const std::lock_guard guard(lock);
            if (drained()) claim_all(receivers_waiting, woken);
            claim_all(senders_waiting, woken);
            claim_all(closing_awaited, woken);
            more = (drained() && !receivers_waiting.empty()) || !senders_waiting.empty() ||
                   !closing_awaited.empty();
        }
        woken.finish_all();
    }
}

/// The last receiver is gone and the channel closed: nobody can reach the ring any more but its size.
void channel_core::discard_unreceived() noexcept {
    std::size_t left;
    {
        const std::lock_guard guard(lock);
        left = ring_.set_aside();
        dropped_ += left;
    }
    for (std::size_t i = 0; i < left; ++i) {
        if (settings_.on_drop != nullptr) settings_.on_drop->run(ring_.aside(i), dropped::undelivered);
        type_.destroy(ring_.aside(i));
    }
}

// --- Its life ----------------------------------------------------------------------------------

channel_core* channel_core::make(const element_type& type, channel_settings&& settings, bool joint,
                                 std::source_location made_at) {
    if (settings.when_full == overflow::keep_latest) {
        settings.when_full = overflow::drop_oldest;
        settings.capacity = 1;
        settings.grows = false;
    }
    const std::size_t room = settings.grows ? 0 : settings.capacity;
    if (room > value_ring::most_room(type, sizeof(channel_core))) throw std::bad_alloc();
    void* memory = ::operator new(sizeof(channel_core) + value_ring::bytes_for(type, room));
    return ::new (memory) channel_core(type, std::move(settings), joint, made_at);
}

channel_core::channel_core(const element_type& type, channel_settings&& settings, bool joint,
                           std::source_location made_at) noexcept
    : made(made_at),
      counts_(counted_kind::channel, made_at, &made),
      type_(type),
      settings_(std::move(settings)),
      capacity_(settings_.capacity),
      joint_(joint),
      tended_(settings_.grows || settings_.soft_limit != unbounded),
      ring_(type, settings_.grows ? 0 : settings_.capacity, reinterpret_cast<std::byte*>(this + 1)) {}

channel_core::~channel_core() {
    check_not_waited_for(receivers_waiting.empty() && senders_waiting.empty() && closing_awaited.empty());
    assert(reserved_ == 0 && "P1: a permit has a handle");
    discard_unreceived();
    while (spares_ != nullptr) ::operator delete(std::exchange(spares_, *static_cast<void**>(spares_)));
}

/// K4, of who uses the ends.
void channel_core::check_not_waited_for(bool nobody_waits) const noexcept {
    check(nobody_waits, "channel: an end is given up while it is waited for", made.made_at());
}

void channel_core::add(end_kind kind) noexcept {
    // relaxed: who adds has a reference, and passes the new one on by other means.
    refs_.fetch_add(1, std::memory_order_relaxed);
    if (!counts(kind)) return;
    const std::lock_guard guard(lock);
    count_ends(kind, 1);
}

bool channel_core::add_sender_if_any() noexcept {
    const std::lock_guard guard(lock);
    if (closed() || senders_ == 0) return false;
    count_ends(end_kind::sender, 1);
    refs_.fetch_add(1, std::memory_order_relaxed);  // relaxed: as in add()
    return true;
}

void channel_core::drop(end_kind kind) noexcept {
    if (counts(kind)) {
        bool last;
        {
            const std::lock_guard guard(lock);
            last = count_ends(kind, -1) == 0;
            if (last)
                check_not_waited_for(kind == end_kind::receiver
                                         ? receivers_waiting.empty()
                                         : senders_waiting.empty() && closing_awaited.empty());
        }
        if (last && kind == end_kind::sender) close(how_the_producer_ended());
        if (last && kind == end_kind::receiver) {
            close(errc::closed);
            discard_unreceived();
        }
    }
    // acq_rel: release pairs with the acquire of the last one, which sees all that was done here.
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        this->~channel_core();
        ::operator delete(this);
    }
}

// --- What it says of itself --------------------------------------------------------------------

handles_of channel_core::handles() const noexcept {
    static_assert(sizeof(channel_end) == 2 * sizeof(void*) && std::is_standard_layout_v<channel_end>,
                  "K5: the address first, then kind and moved_from");
    static_assert(offsetof(channel_end, kind_) == sizeof(void*) &&
                  offsetof(channel_end, moved_from_) == sizeof(void*) + 1);
    static_assert(sizeof(held_place) == sizeof(channel_end) && std::is_standard_layout_v<held_place> &&
                  offsetof(held_place, kind_) == sizeof(void*) &&
                  offsetof(held_place, moved_from_) == sizeof(void*) + 1);
    constexpr auto mark = static_cast<std::uint16_t>(end_kind::joint);  // and not moved from
    // relaxed: a number for who knows that nobody runs.
    return joint_ ? handles_of{this, refs_.load(std::memory_order_relaxed), mark} : handles_of{};
}

std::size_t channel_core::len() noexcept {
    const std::lock_guard guard(lock);
    return ring_.count();
}

channel_stats channel_core::stats() noexcept {
    const std::uint32_t now = age_steps(clock_now());
    channel_stats all;
    const std::lock_guard guard(lock);
    all.items = ring_.count();
    all.reserved = reserved_;
    all.high_water = high_water_;
    all.sent = sent_;
    all.dropped = dropped_;
    all.received = sent_ - dropped_ - all.items;
    if (all.items != 0) all.oldest_age_ms = (std::int64_t{now - ring_.oldest()} << age_shift) / 1'000'000;
    all.waiting_senders = senders_waiting.length();
    all.waiting_receivers = receivers_waiting.length();
    all.senders = senders_;
    all.receivers = receivers_;
    return all;
}
}
