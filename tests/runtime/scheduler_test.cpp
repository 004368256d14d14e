// The scheduler: no wake-up is lost, nobody starves, tasks move between workers whole, and an idle process sleeps.
#include <dirent.h>
#include <doctest/doctest.h>
#include <runnel/metrics.hpp>
#include <runnel/scope.hpp>
#include <runnel/sync.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "runtime/runtime_core.hpp"
#include "support/build_kind.hpp"
#include "support/level.hpp"
#include "support/runtimes.hpp"
#include "support/watchdog.hpp"

namespace rn = runnel;
using namespace std::chrono_literals;
using support::move_to;
using support::run_on;
using support::worker_index;
using support::workers;

namespace {

/// What may take a few milliseconds takes longer on a loaded machine, and much longer under a sanitizer. So
/// several rounds are made, of which the best counts.
constexpr auto soon = support::sanitized ? 400ms : 100ms;

/// Wakes one waiter per signal; a signal that comes first is kept.
class token {
public:
    rn::task<> take() {
        (void)co_await there_.wait();
        there_.reset();
    }
    void give() { there_.set(); }

private:
    rn::event there_;
};

/// Spins until `over`, for at most `limit`; does not suspend.
template <class Clock = std::chrono::steady_clock>
bool spin_until(const std::atomic<bool>& over, std::chrono::milliseconds limit) {
    const auto end = Clock::now() + limit;
    while (!over)
        if (Clock::now() > end) return false;
    return true;
}

// --- No wake-up is lost -----------------------------------------------------------------------------------

rn::task<> plays(unsigned worker, token& mine, token& yours, long rounds) {
    co_await move_to(worker);
    for (long i = 0; i < rounds; ++i) {
        co_await mine.take();
        if (worker_index() != worker) throw std::logic_error("left its worker");
        yours.give();
    }
}

TEST_CASE("scheduler: a token goes to and fro between two workers, and no wake-up is lost") {
    support::watchdog::instance().allow(support::watchdog::limit() * (support::level() == "short" ? 1 : 20));
    const long rounds = support::scaled(support::sanitized ? 20'000L : 100'000L, 10'000'000L);
    for (const rn::options& how : support::on_each_driver(2)) {
        token left, right;
        rn::runtime here(how);
        auto a = here.spawn(plays, 0U, rn::borrow(left), rn::borrow(right), rounds);
        auto b = here.spawn(plays, 1U, rn::borrow(right), rn::borrow(left), rounds);
        left.give();
        CHECK(a.wait());
        CHECK(b.wait());
    }
}

TEST_CASE("scheduler: a plain thread and a task pass a token, and no wake-up is lost") {
    const long rounds = support::scaled(20'000L, 1'000'000L);
    rn::event there;
    std::atomic<long> taken{0};
    rn::runtime here(workers(2));
    const auto takes = [&]() -> rn::task<> {
        for (long i = 0; i < rounds; ++i) {
            (void)co_await there.wait();
            there.reset();
            ++taken;
        }
    };
    auto end = here.spawn(takes);
    for (long i = 0; i < rounds; ++i) {
        there.set();
        while (taken <= i) std::this_thread::yield();
    }
    CHECK(end.wait());
}

TEST_CASE("scheduler: spawns from outside, each to a runtime that has just fallen asleep") {
    const auto nothing = []() -> rn::task<> { co_return; };
    for (const rn::options& how : support::on_each_driver(3)) {
        rn::runtime here(how);
        for (int i = 0; i < support::scaled(10'000, 1'000'000); ++i) CHECK(here.spawn(nothing).wait());
    }
}

// --- Tasks move between workers ----------------------------------------------------------------------------

rn::task<int> moves_below(unsigned to, int n) {
    const std::array<int, 4> kept{n, n + 1, n + 2, n + 3};
    co_await move_to(to);
    if (worker_index() != to) throw std::logic_error("a child sees the wrong worker");
    co_return kept[0] + kept[3];
}

TEST_CASE("scheduler: a task that moves at every suspension finds its locals, and the worker that it is on") {
    const int rounds = support::scaled(2'000, 200'000);
    rn::runtime here(workers(3));
    const auto wanders = [rounds](unsigned seed) -> rn::task<> {
        std::string text = "kept";
        long sum = 0;
        for (int i = 0; i < rounds; ++i) {
            const unsigned before = worker_index();
            const unsigned to = (before + 1 + (seed + static_cast<unsigned>(i)) % 2) % 3;
            co_await move_to(to);
            const unsigned after = worker_index();
            if (after != to || after == before) throw std::logic_error("moved to the wrong worker");
            sum += co_await moves_below((to + 1) % 3, i) - 2L * i - 3;
            if (text != "kept" || sum != 0) throw std::logic_error("a local is wrong");
        }
    };
    std::vector<rn::join_handle<>> all;
    for (unsigned i = 0; i < 4; ++i) all.push_back(here.spawn(wanders, i));
    for (auto& each : all) CHECK(each.wait());
}

TEST_CASE("scheduler: a backlog is shared: tasks behind a busy one are taken by the other worker") {
    run_on(2, []() -> rn::task<> {
        std::atomic<int> ran{0};
        std::atomic<bool> over{false};
        const unsigned me = worker_index();
        rn::scope s;
        const auto counts = [&]() -> rn::task<> {
            CHECK(worker_index() != me);
            if (++ran == 50) over = true;
            co_return;
        };
        for (int i = 0; i < 50; ++i) s.spawn(counts);
        CHECK(spin_until(over, 10s));
        CHECK(co_await s.join());
    });
}

TEST_CASE("scheduler: a single task that waits behind a spinning one is taken by another worker") {
    run_on(2, []() -> rn::task<> {
        rn::clock::duration best = 1h;
        for (int round = 0; round < 5; ++round) {
            std::atomic<bool> ran{false};
            const auto sets = [&]() -> rn::task<> {
                ran = true;
                co_return;
            };
            auto end = rn::go(sets);  // in `next` of this worker, which does not come back to it
            const auto began = rn::clock::now();
            CHECK(spin_until(ran, 10s));
            best = std::min(best, rn::clock::now() - began);
            co_await end;
            co_await rn::sleep_for(3ms);  // all fall asleep, the monitor too
        }
        CHECK(best < soon);
    });
}

TEST_CASE("scheduler: the timers of a busy worker are fired by another") {
    run_on(2, []() -> rn::task<> {
        co_await move_to(0);
        rn::clock::duration best = 1h;
        for (int round = 0; round < 5; ++round) {
            std::atomic<bool> fired{false};
            const auto sleeps = [&]() -> rn::task<> {
                co_await rn::sleep_for(5ms);
                fired = true;
            };
            auto end = rn::go(sleeps);
            co_await rn::yield();
            const auto began = rn::clock::now();
            CHECK(spin_until(fired, 10s));
            best = std::min(best, rn::clock::now() - began);
            co_await end;
        }
        CHECK(best < soon);
    });
}

// --- Nobody starves ----------------------------------------------------------------------------------------

/// While busy(over) keeps one worker: a timer, a task from outside and one that yields are all served soon.
template <class Busy>
void serves_others_during(Busy busy) {
    rn::runtime here(workers(1));
    std::atomic<bool> over{false};
    auto hog = here.spawn([&]() -> rn::task<> { co_await busy(over); });
    const auto sleeps = []() -> rn::task<rn::clock::duration> {
        const auto began = rn::clock::now();
        co_await rn::sleep_for(5ms);
        co_return rn::clock::now() - began;
    };
    rn::clock::duration best_timer = 1h, best_in_all = 1h;
    for (int round = 0; round < 5; ++round) {
        const auto began = rn::clock::now();
        auto timer = here.spawn(sleeps);
        best_timer = std::min(best_timer, timer.wait().value());
        best_in_all = std::min(best_in_all, rn::clock::now() - began);
    }
    CHECK(best_timer < 5ms + soon);
    CHECK(best_in_all < 5ms + 2 * soon);
    over = true;
    CHECK(hog.wait());
}

TEST_CASE("fairness: two tasks that wake each other for ever") {
    serves_others_during([](std::atomic<bool>& over) -> rn::task<> {
        token left, right;
        const auto bats = [&over](token& mine, token& yours) -> rn::task<> {
            while (!over) {
                co_await mine.take();
                yours.give();
            }
        };
        auto a = rn::go(bats, rn::borrow(left), rn::borrow(right));
        auto b = rn::go(bats, rn::borrow(right), rn::borrow(left));
        left.give();
        co_await a;
        left.give();
        right.give();
        co_await b;
    });
}

TEST_CASE("fairness: a loop that awaits what is always ready") {
    serves_others_during([](std::atomic<bool>& over) -> rn::task<> {
        rn::event open;
        open.set();
        while (!over) co_await open.wait();
    });
}

TEST_CASE("fairness: a loop that awaits children that never wait") {
    serves_others_during([](std::atomic<bool>& over) -> rn::task<> {
        const auto child = []() -> rn::task<> { co_return; };
        while (!over) co_await child();
    });
}

TEST_CASE("fairness: a ready queue that is never empty") {
    serves_others_during([](std::atomic<bool>& over) -> rn::task<> {
        rn::task_set set;
        const auto yields = [&]() -> rn::task<> {
            while (!over) co_await rn::yield();
        };
        for (int i = 0; i < 300; ++i) set.spawn(yields);  // more than the ring holds
        co_await set.join();
    });
}

TEST_CASE("fairness: tasks that each take a millisecond") {  // 61 of them are no measure of time
    serves_others_during([](std::atomic<bool>& over) -> rn::task<> {
        rn::task_set set;
        const auto works = [&]() -> rn::task<> {
            const std::atomic<bool> never{false};
            while (!over) {
                spin_until(never, 1ms);
                co_await rn::yield();
            }
        };
        for (int i = 0; i < 3; ++i) set.spawn(works);
        co_await set.join();
    });
}

TEST_CASE("fairness: a worker with work of its own without end helps one that is stuck") {
    rn::runtime here(workers(2));
    std::atomic<bool> over{false}, served{false}, spinning{false};
    const auto yields = [&]() -> rn::task<> {
        co_await move_to(1);
        while (!over) co_await rn::yield();
    };
    const auto spins = [&]() -> rn::task<> {
        co_await move_to(0);
        const auto sets = [&]() -> rn::task<> {
            served = true;
            co_return;
        };
        rn::go(sets);
        spinning = true;
        CHECK(spin_until(served, 10s));
        over = true;
    };
    std::vector<rn::join_handle<>> all;
    for (int i = 0; i < 2; ++i) all.push_back(here.spawn(yields));
    all.push_back(here.spawn(spins));
    for (auto& each : all) CHECK(each.wait());
}

// --- And nobody is woken in vain ---------------------------------------------------------------------------

/// Voluntary context switches of all threads of this process so far: how often something fell asleep.
long sleeps_of_process() {
    long sum = 0;
    DIR* all = opendir("/proc/self/task");
    while (const dirent* each = readdir(all)) {
        std::ifstream file("/proc/self/task/" + std::string(each->d_name) + "/status");
        for (std::string line; std::getline(file, line);)
            if (line.rfind("voluntary_ctxt_switches:", 0) == 0) sum += std::atol(line.c_str() + 24);
    }
    closedir(all);
    return sum;
}

TEST_CASE("idle: a runtime with nothing to do wakes fewer than 5 times a second") {
    const auto waits = []() -> rn::task<> { co_await rn::sleep_for(1h); };
    for (const rn::options& how : support::on_each_driver(4)) {
        rn::runtime here(how);
        auto waiting = here.spawn(waits);
        std::this_thread::sleep_for(100ms);  // what was started settles
        const long before = sleeps_of_process();
        std::this_thread::sleep_for(1s);
        CHECK(sleeps_of_process() - before < 5 + (support::thread_sanitized ? 20 : 0));  // TSan has a thread
    }
}

TEST_CASE("wakes: two tasks that wake each other stay on one worker") {
    static constexpr long rounds = 20'000;
    rn::runtime here(workers(4));
    const auto both = []() -> rn::task<> {
        token left, right;
        const auto bats = [](token& mine, token& yours) -> rn::task<> {
            for (long i = 0; i < rounds; ++i) {
                co_await mine.take();
                yours.give();
            }
        };
        auto a = rn::go(bats, rn::borrow(left), rn::borrow(right));
        auto b = rn::go(bats, rn::borrow(right), rn::borrow(left));
        left.give();
        co_await a;
        co_await b;
    };
    const long before = sleeps_of_process();
    CHECK(here.spawn(both).wait());
    const auto counts = here.metrics().total;
    CHECK(counts.wakes_sent < static_cast<std::uint64_t>(rounds) / 50);
    CHECK(counts.steals < static_cast<std::uint64_t>(rounds) / 50);
    CHECK(sleeps_of_process() - before < rounds / 20);
}

TEST_CASE("wakes: a mutex that many tasks want does not make workers sleep and wake for each turn") {
    const int rounds = support::scaled(2'000, 100'000);
    rn::runtime here(workers(4));
    const auto all = [rounds]() -> rn::task<> {
        rn::mutex lock;
        long sum = 0;
        const auto wants = [&]() -> rn::task<> {
            for (int i = 0; i < rounds; ++i) {
                const auto held = co_await lock.lock();
                if (held) ++sum;
            }
        };
        rn::scope s;
        for (int i = 0; i < 8; ++i) s.spawn(wants);
        co_await s.join();
        CHECK(sum == 8L * rounds);
    };
    CHECK(here.spawn(all).wait());
    CHECK(here.metrics().total.wakes_sent < static_cast<std::uint64_t>(8 * rounds));
}
}
