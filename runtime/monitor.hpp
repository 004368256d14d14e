// monitor: a thread that looks whether a task holds its worker while others wait behind it.
//
// Every 2 ms while a worker is awake it asks those that are for a tick, since 61 tasks may take long, and
// reads their heartbeats. One that has not changed since the last look is *stale*: if there is something
// that only a helper can serve (completions in its ring, due timers, tasks in its queues), a sleeper is
// woken to do so; when nobody sleeps, those that are busy do it at their next tick.
//
// A task that has held its worker for options::slow_turn is reported, once for as long as it does.
//
// When no worker is awake any more, it asks whether that is for ever (deadlock.hpp), if somebody wants to know, for a
// fifth of a second at most until it can be told, and anew when a blocking() call has ended; and now and then, for
// which tasks it is (orphans.hpp).
//
//   M1  while all workers sleep, so does the monitor, without a timeout once it has looked for orphans: an idle
//       process does not wake;
//   M2  it never touches a task or a queue itself: it only wakes and marks.
#pragma once

#include <atomic>
#include <cstdint>
#include <set>
#include <thread>
#include <vector>

#include <runnel/detail/driver.hpp>

namespace runnel::detail {

class runtime_core;
class worker;

class monitor {
public:
    explicit monitor(runtime_core& core) noexcept : core_(core) {}
    monitor(const monitor&) = delete;
    monitor& operator=(const monitor&) = delete;

    /// Once the workers are there; and before they leave.
    void start();
    void stop() noexcept;

    /// A worker has woken up. Cost: a load, and a system call if the monitor was in its long sleep.
    void note_awake() noexcept {
        // seq_cst, after the worker was counted as awake: see long_sleep().
        if (long_sleep_.load() != 0) end_long_sleep();
    }
    /// Something has ended that no worker wakes up for, and it was the last that could have. Cost: the same.
    void look_again() noexcept { note_awake(); }

    /// Whom to tell of a deadlock, once, on the monitor's thread. Before start().
    struct listener {
        virtual void deadlocked() noexcept = 0;

    protected:
        ~listener() = default;
    };
    void listen(listener* to) noexcept { listener_ = to; }

private:
    void run() noexcept;
    void look_for_deadlock() noexcept;
    void look() noexcept;
    void look_anew() noexcept;
    /// no_deadline: nothing has changed since they were looked for, or nobody wants to know.
    nanoseconds_t orphans_due_at() const noexcept;
    void look_for_orphans() noexcept;
    bool may_sleep_long() const noexcept;
    void long_sleep() noexcept;
    void short_sleep() noexcept;
    void end_long_sleep() noexcept;

    runtime_core& core_;
    listener* listener_ = nullptr;
    /// Of one worker: the heartbeat that was seen last, and since when it is that.
    struct sight {
        std::uint64_t beat = 0;
        nanoseconds_t since = 0;
        bool reported = false;
    };
    void report_slow(const worker& of, sight& before, nanoseconds_t now) noexcept;
    std::vector<sight> seen_;
    nanoseconds_t orphans_seen_at_ = 0;
    std::uint64_t turns_when_seen_ = 0;  // as many as then: nothing has changed
    std::set<std::uint64_t> orphans_;    // that have been reported
    std::atomic<int> long_sleep_{0};
    std::atomic<int> leaving_{0};
    std::thread thread_;
};
}
