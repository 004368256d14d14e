// See monitor.hpp.
#include "monitor.hpp"

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

#include "deadlock.hpp"
#include "orphans.hpp"
#include "runtime_core.hpp"
#include "task_dump.hpp"
#include "task_names.hpp"

namespace runnel::detail {

namespace {
constexpr long period_ns = 2'000'000;
constexpr int deadlock_looks = 100;  // while a worker is about to sleep

void futex_wait(std::atomic<int>& word, int while_it_is, const timespec* at_most) noexcept {
    ::syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, while_it_is, at_most, nullptr, 0);
}
/// While it lives, threads that are started block all signals.
class all_signals_blocked {
public:
    all_signals_blocked() noexcept {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~all_signals_blocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    all_signals_blocked(const all_signals_blocked&) = delete;
    all_signals_blocked& operator=(const all_signals_blocked&) = delete;

private:
    sigset_t before_;
};

void futex_wake(std::atomic<int>& word) noexcept {
    ::syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}
}

void monitor::start() {
    orphans_seen_at_ = core_.drivers->now();
    seen_.resize(core_.workers.size());
    const all_signals_blocked meanwhile;  // from its first moment: one that is received must not hit it
    thread_ = std::thread([this] { run(); });
}

void monitor::stop() noexcept {
    leaving_.store(1);
    futex_wake(leaving_);
    end_long_sleep();
    thread_.join();
}

void monitor::end_long_sleep() noexcept {
    if (long_sleep_.exchange(0) != 0) futex_wake(long_sleep_);
}

/// Nothing has happened that nobody will tell us of any more?
bool monitor::may_sleep_long() const noexcept {
    return core_.idle.awake_now() == 0 && leaving_.load() == 0 &&
           (listener_ == nullptr || look_ahead(core_) != outlook::nothing_can_happen);
}

void monitor::long_sleep() noexcept {
    long_sleep_.store(1);
    // Whoever wakes up now, or ends a call, either is counted here or sees the flag: both are seq_cst on one side.
    if (!may_sleep_long()) {
        long_sleep_.store(0);
        return;
    }
    while (long_sleep_.load() != 0 && leaving_.load() == 0) {
        const nanoseconds_t due = orphans_due_at();
        if (due == no_deadline) {
            futex_wait(long_sleep_, 1, nullptr);
        } else if (const nanoseconds_t left = due - core_.drivers->now(); left > 0) {
            const timespec until{left / 1'000'000'000, left % 1'000'000'000};
            futex_wait(long_sleep_, 1, &until);
        } else {
            look_for_orphans();
        }
    }
}

void monitor::short_sleep() noexcept {
    const timespec period{0, period_ns};
    futex_wait(leaving_, 0, &period);
}

void monitor::report_slow(const worker& of, sight& before, nanoseconds_t now) noexcept {
    const nanoseconds_t limit = core_.settings.slow_turn().count();
    const nanoseconds_t held = now - before.since;
    const task_block* task = of.turn_of();
    if (before.reported || limit <= 0 || held < limit || task == nullptr) return;
    before.reported = true;
    std::fprintf(stderr,
                 "runnel: %s, has held worker %u of '%s' for %lld ms without waiting; "
                 "long work belongs into blocking(), or wants yield()\n",
                 introduce(*task).c_str(), of.index, core_.settings.name().c_str(),
                 static_cast<long long>(held / 1'000'000));
}

/// Nobody has held a worker while it was not looked at: who has just woken up may not have begun a turn yet.
void monitor::look_anew() noexcept {
    const nanoseconds_t now = core_.drivers->now();
    for (sight& each : seen_) each.since = now;
}

void monitor::look() noexcept {
    const nanoseconds_t now = core_.drivers->now();
    for (std::size_t i = 0; i < core_.workers.size(); ++i) {
        worker& seen = *core_.workers[i];
        const std::uint64_t beat = seen.heartbeat();
        const bool stale = beat == seen_[i].beat && !seen.sleeping();
        if (stale)
            report_slow(seen, seen_[i], now);
        else
            seen_[i] = {beat, now, false};
        seen.set_stale(stale);
        if (!seen.sleeping()) seen.ask_for_tick();
        if (stale && seen.needs_help(now) && !core_.wake_helper()) core_.ask_for_help();
    }
}

void monitor::look_for_deadlock() noexcept {
    for (int look = 0; look < deadlock_looks && core_.idle.awake_now() == 0; ++look) {
        const std::uint64_t turns = turns_taken(core_);
        const outlook before = look_ahead(core_);
        if (before == outlook::something_can_happen) return;
        short_sleep();
        if (leaving_.load() != 0) return;
        if (before != outlook::nothing_can_happen || turns_taken(core_) != turns) continue;
        if (look_ahead(core_) != outlook::nothing_can_happen) continue;
        std::exchange(listener_, nullptr)->deadlocked();
        return;
    }
}

nanoseconds_t monitor::orphans_due_at() const noexcept {
    const nanoseconds_t every = core_.settings.orphan_report().count();
    if (every <= 0 || turns_taken(core_) == turns_when_seen_ || core_.stopping()) return no_deadline;
    return saturated_sum(orphans_seen_at_, every);
}

void monitor::look_for_orphans() noexcept {
    turns_when_seen_ = turns_taken(core_);
    orphans_seen_at_ = core_.drivers->now();
    auto found = find_orphans(core_);
    if (!found) return;  // somebody has woken up
    std::set<std::uint64_t> fresh;
    for (const std::uint64_t each : *found)
        if (!orphans_.contains(each)) fresh.insert(each);
    if (!fresh.empty())
        std::fprintf(stderr, "runnel: %s", describe_orphans(core_, fresh, core_.drivers->now()).c_str());
    orphans_ = std::move(*found);
}

void monitor::run() noexcept {
    pthread_setname_np(pthread_self(), "runnel/monitor");
    look_anew();
    while (leaving_.load() == 0) {
        if (core_.idle.awake_now() == 0) {
            if (listener_ != nullptr) look_for_deadlock();
            long_sleep();
            look_anew();
        }
        short_sleep();
        look();
    }
}
}
