// The channel's own view of itself: what it has, and what its lock guards. The algorithm is in channel_core.cpp, which
// names the invariants; what happens when there is no room, in overflow.cpp; the ends that users hold, in
// channel_ends.cpp.
#pragma once

#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>

#include <runnel/channel.hpp>
#include <runnel/detail/claimed_tasks.hpp>
#include <runnel/detail/counted.hpp>
#include <runnel/detail/wait.hpp>

#include "totals.hpp"
#include "value_ring.hpp"

namespace runnel::detail {

class alignas(16) channel_core final : public wait_object {
public:
    /// A core and its first cells in one piece. It lives until the last of the handles that are add()ed goes.
    static channel_core* make(const element_type& type, channel_settings&& settings, bool joint,
                              std::source_location made_at);

    // With the lock held, by the cases. True: decided, and the slot says how (V1).
    bool send_now(send_case& sender, late_wake& wake) noexcept;
    bool recv_now(wait_node& receiver, late_wake& wake) noexcept;
    bool reserve_now(wait_node& holder) noexcept;
    /// Of a send that has ended: V3. Without the lock.
    void tell(send_case& sender) noexcept;

    // Of a place that is held (permits.cpp), which is used up by it. Without the lock.
    std::error_code send_reserved(void* value) noexcept;
    void give_back_place() noexcept;

    void add(end_kind kind) noexcept;
    /// A sender more, if there is one still and the channel is open.
    bool add_sender_if_any() noexcept;
    void drop(end_kind kind) noexcept;
    bool close(std::error_code cause) noexcept;
    std::error_code why() const noexcept { return closed() ? cause_ : std::error_code(); }
    // acquire: pairs with the release in note_closed(), so that the cause is seen.
    bool closed() const noexcept { return closed_.load(std::memory_order_acquire); }
    std::size_t capacity() const noexcept { return capacity_.look(); }
    void set_capacity(std::size_t capacity);
    std::size_t len() noexcept;
    /// K6. False: perhaps not.
    bool surely_empty() const noexcept;
    bool surely_full() const noexcept;
    channel_stats stats() noexcept;
    /// None are known of counted ends: the last one closes the channel.
    handles_of handles() const noexcept;
    bool is_joint() const noexcept { return joint_; }
    std::uint32_t senders() const noexcept { return senders_; }
    std::uint32_t receivers() const noexcept { return receivers_; }
    std::size_t reserved() const noexcept { return reserved_; }

    wait_list receivers_waiting;
    wait_list senders_waiting;
    wait_list closing_awaited;
    origin made;

private:
    channel_core(const element_type& type, channel_settings&& settings, bool joint,
                 std::source_location made_at) noexcept;
    ~channel_core();

    void hand_over(wait_node& from, wait_node& to) noexcept;
    void push(wait_node& from) noexcept;
    void pop(wait_node& to) noexcept;
    void exchange(wait_node& to, wait_node& from) noexcept;
    void pop_and_move_up(wait_node& receiver, late_wake& wake) noexcept;
    bool has_room() noexcept {
        const std::size_t taken = ring_.count() + reserved_;
        return taken < capacity_ && (taken < ring_.room() || make_room(taken + 1));
    }
    bool make_room(std::size_t values) noexcept;
    void move_up(late_wake& wake) noexcept;
    void let_in(wait_node& claimed) noexcept;
    bool recv_past_reservers(wait_node& receiver, late_wake& wake) noexcept;
    void turn_away_reservers(claimed_tasks& woken) noexcept;
    bool reached_level() noexcept;
    void tell_level() noexcept { settings_.on_level->run(len()); }
    bool overflowed(send_case& sender) noexcept;
    void drop_newest(send_case& sender) noexcept;
    void drop_oldest(send_case& sender) noexcept;
    void* take_spare() noexcept;
    void note_level(send_case& sender) noexcept;
    void tend() noexcept;

    bool note_closed(std::error_code cause) noexcept;
    void wake_all() noexcept;
    /// Under the lock: no value will come any more, beside those in the ring (P3).
    bool drained() const noexcept { return closed() && reserved_ == 0; }
    void discard_unreceived() noexcept;
    void check_not_waited_for(bool nobody_waits) const noexcept;

    /// Under the lock: how many there are of this kind now.
    std::uint32_t count_ends(end_kind kind, int change) noexcept {
        relaxed<std::uint32_t>& ends = kind == end_kind::sender ? senders_ : receivers_;
        return (ends = ends + static_cast<std::uint32_t>(change));
    }

    const counted counts_;
    const element_type& type_;
    const channel_settings settings_;  // but for the capacity, which changes
    published<std::size_t> capacity_;  // written under the lock; a changed one after plain_
    const bool joint_;
    relaxed<bool> plain_ = true;  // K6; written under the lock
    bool tended_;                 // it has a soft limit, or memory to give back: tend()
    bool above_soft_limit_ = false;
    std::atomic<bool> closed_{false};
    relaxed<std::uint32_t> senders_ = 0;  // written under the lock; dumps look without
    relaxed<std::uint32_t> receivers_ = 0;
    std::atomic<std::uint32_t> refs_{0};
    relaxed<std::size_t> reserved_ = 0;  // written under the lock; dumps look without
    value_ring ring_;
    std::error_code cause_;
    std::size_t high_water_ = 0;
    std::uint64_t sent_ = 0;
    std::uint64_t dropped_ = 0;
    void* spares_ = nullptr;  // cells for what was dropped, linked by their first word
    // The first cells of the ring follow.
};

// --- Values ------------------------------------------------------------------------------------

/// For ages: in steps of about a millisecond, which begin anew after 52 days.
inline constexpr unsigned age_shift = 20;
inline std::uint32_t age_steps(std::int64_t time) noexcept {
    return static_cast<std::uint32_t>(time >> age_shift);
}

/// Counts a value that is put into a ring, and says since when it is there.
inline std::uint32_t count_and_look_at_clock() noexcept {
    worker_local* const here = tls_worker;
    if (here == nullptr) [[unlikely]]
        return age_steps(clock_now());
    here->channels.put.add();
    return age_steps(here->tick_time);
}

inline void channel_core::hand_over(wait_node& from, wait_node& to) noexcept {
    type_.move(to.slot, from.slot);
    to.slot = from.slot = nullptr;
    ++sent_;
    count(&channel_totals::direct);
}

inline void channel_core::push(wait_node& from) noexcept {
    ring_.push(from.slot, count_and_look_at_clock());
    from.slot = nullptr;
    ++sent_;
    if (ring_.count() > high_water_) high_water_ = ring_.count();
}

inline void channel_core::exchange(wait_node& to, wait_node& from) noexcept {
    ring_.exchange(to.slot, from.slot, count_and_look_at_clock());
    to.slot = from.slot = nullptr;
    ++sent_;
    count(&channel_totals::taken);
}

inline void channel_core::pop(wait_node& to) noexcept {
    ring_.pop(to.slot);
    to.slot = nullptr;
    if (tended_) [[unlikely]]
        tend();
    count(&channel_totals::taken);
}
}
