// socket_timing: the deadlines of one socket, and its idle timeout; see runnel/deadlines.hpp for what they promise.
//
// It is made when the first is set, and counted: the socket has it, and a timer that is just going off.
//
// A deadline of a lane
//   1  set: note it. Only an earlier one than before moves the timer; a later one is found when that goes off, so
//      who puts its deadline further off with each message pays a lock and a store for it;
//   2  the timer goes off: it is not the time yet: again, then. Else the lane gets its flag `late`, which every
//      operation sees when it enters (F5 of detail/descriptor.hpp);
//   3  a select that waits for the lane at its watch is woken: its case enters, and sees the flag;
//   4  an operation that is in the lane already: if it waits in the kernel, its name is there: claim it with
//      timed_out. If not, it is just about to wait, or to leave: look again in a millisecond, until it does;
//   5  set anew, or cleared: the flag goes away; operations are as usual.
//
// An idle timeout of a limit and a number of bytes
//   6  what is moved is counted where it is moved. Each time that so many bytes are together, that time is noted;
//   7  the timer goes off `limit` after that time: nothing of ours waits: the program is busy with something
//      else, and nobody is idle: again `limit` from now. Else both lanes become late, and stay so.
//
//   T1  the lock guards all below it; claims are made without it. It is taken before that of a timer heap, and never
//       under one: hold() takes none;
//   T2  on_ is where the socket is, or null when it is gone: a timer that goes off then does nothing. While a socket
//       is moved the lock is held: such a timer would find half of it;
//   T3  an operation leaves its name by a plain store after it has looked at the flags, so a deadline that passes just
//       then may find neither: that is what step 4 looks again for. So the many operations pay no barrier for the few
//       deadlines.
//
// Not taken: a timer armed and disarmed for each operation (with_timeout() does that; a deadline is for who has many
// operations under one); a clock read per operation.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include <runnel/detail/descriptor.hpp>
#include <runnel/detail/driver.hpp>
#include <runnel/detail/spin_lock.hpp>
#include <runnel/detail/timer_node.hpp>

namespace runnel::detail {

/// The bits of a lane in descriptor::users_: how many are in it, and two flags above.
namespace lane_word {
inline constexpr unsigned lane_bits = 20;
inline constexpr std::uint64_t lane_mask = (1U << lane_bits) - 1;
inline constexpr std::uint64_t late_bit = std::uint64_t{1} << (lane_bits - 1);
inline constexpr std::uint64_t watched_bit = std::uint64_t{1} << (lane_bits - 2);
inline constexpr std::uint64_t count_mask = watched_bit - 1;

constexpr unsigned shift(lane which) noexcept { return lane_bits * static_cast<unsigned>(which); }
constexpr std::uint64_t one(lane which) noexcept { return std::uint64_t{1} << shift(which); }
constexpr std::uint64_t lane_of(std::uint64_t users, lane which) noexcept {
    return (users >> shift(which)) & lane_mask;
}
constexpr std::uint64_t users_in(std::uint64_t users, lane which) noexcept {
    return (users >> shift(which)) & count_mask;
}
constexpr std::uint64_t late_flag(lane which) noexcept { return late_bit << shift(which); }
constexpr std::uint64_t watched_flag(lane which) noexcept { return watched_bit << shift(which); }
inline constexpr std::uint64_t all_flags =
    late_flag(lane::in) | late_flag(lane::out) | watched_flag(lane::in) | watched_flag(lane::out);
}

/// Which wait of which task, in one word: the task's block, and what fits of the wait's epoch.
namespace waiting_task {
std::uint64_t packed(const task_block& task, std::uint64_t ticket) noexcept;
/// Ends that wait, if it is still the one. Returns whether it was.
bool claim(std::uint64_t packed, unsigned code) noexcept;
}

class socket_timing {
public:
    explicit socket_timing(descriptor& of) noexcept;
    socket_timing(const socket_timing&) = delete;
    socket_timing& operator=(const socket_timing&) = delete;

    /// Steps 1 and 5. no_deadline: none. Threads: a task's. Throws std::bad_alloc.
    void set_deadline(lane which, nanoseconds_t when);
    /// `limit` no_deadline: none.
    void set_idle(nanoseconds_t limit, std::uint64_t least_bytes);
    bool idle_ended() noexcept;

    void note_progress(std::uint64_t bytes) noexcept;

    // The socket's:
    void before_move() noexcept { lock_.lock(); }
    void moved_to(descriptor& to) noexcept;
    void gone() noexcept;

private:
    struct alarm final : timer_callback {
        explicit alarm(socket_timing& o) noexcept : of(o) { node.callback = this; }
        bool hold() noexcept override;
        void run() noexcept override;

        socket_timing& of;
        timer_node node;
        nanoseconds_t set_for = no_deadline;  // when the timer goes off; it may have done so just now
    };
    struct deadline {
        deadline(socket_timing& of, lane l) noexcept : timer(of), which(l) {}
        alarm timer;
        lane which;
        nanoseconds_t when = no_deadline;
    };

    ~socket_timing() = default;
    void drop() noexcept;
    void went_off(alarm& which) noexcept;
    /// These two under the lock.
    void set(alarm& which, nanoseconds_t when);
    void take_out(alarm& which) noexcept;
    /// Steps 2 to 4 for a lane.
    void look(deadline& at);
    bool is_late(const deadline& at, nanoseconds_t now) const noexcept {
        return idle_ended_ || at.when <= now;
    }
    /// Step 7, under the lock. Has it been idle for too long?
    bool look_for_progress();
    void flag(std::uint64_t which, bool on) noexcept;
    void wake_select() noexcept;
    std::uint64_t users() const noexcept;

    std::atomic<std::uint32_t> parties_{1};
    spin_lock lock_;
    descriptor* on_;
    deadline deadlines_[2];
    alarm idle_;
    nanoseconds_t idle_limit_ = no_deadline;
    bool idle_ended_ = false;
    // Step 6, without the lock. Two operations may count at the same time, and then a portion may be noted twice.
    std::atomic<std::uint64_t> moved_{0};
    std::atomic<std::uint64_t> portion_from_{0};
    std::atomic<std::uint64_t> portion_bytes_{1};
    std::atomic<nanoseconds_t> last_portion_{0};
};
}
