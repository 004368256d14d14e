// A runtime that runs inside somebody else's event loop.
#include <doctest/doctest.h>
#include <runnel/blocking.hpp>
#include <runnel/driven_runtime.hpp>
#include <runnel/sync.hpp>
#include <runnel/time.hpp>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include "support/dies.hpp"
#include "support/driven.hpp"
#include "support/level.hpp"
#include "support/runtimes.hpp"

namespace rn = runnel;
using namespace std::chrono_literals;
using support::dies;
using support::drive_until;
using support::readable;

namespace {

constexpr auto never = std::chrono::nanoseconds::max();

/// Both drivers, where there are both.
template <class F>
void on_each_driver(F&& test) {
    for (const rn::options& how : support::on_each_driver(1)) {
        rn::driven_runtime tasks(how);
        INFO("driver: ", tasks.driver_name());
        test(tasks);
    }
}

rn::task<> set(bool& flag) {
    flag = true;
    co_return;
}

rn::task<> sleep_then_set(std::chrono::nanoseconds time, bool& flag) {
    const auto slept = co_await rn::sleep_for(time);
    if (slept) flag = true;  // else the runtime stops, and the flag may be gone
}
}

TEST_CASE("driven runtime: tasks run in poll() and nowhere else; its descriptor says that there is something "
          "to do") {
    on_each_driver([](rn::driven_runtime& tasks) {
        CHECK(tasks.poll() == never);
        CHECK(!readable(tasks));
        bool ran = false;
        tasks.spawn(set, rn::borrow(ran));
        CHECK(readable(tasks));
        CHECK(!ran);
        CHECK(tasks.poll() == never);
        CHECK(ran);
        CHECK(!readable(tasks));
    });
}

TEST_CASE("driven runtime: tasks run on the thread of the loop") {
    on_each_driver([](rn::driven_runtime& tasks) {
        std::thread::id ran_on;
        const auto note = [](std::thread::id& where) -> rn::task<> {
            where = std::this_thread::get_id();
            co_return;
        };
        std::thread([&] { tasks.spawn(note, rn::borrow(ran_on)); }).join();
        drive_until(tasks, [&] { return ran_on != std::thread::id(); });
        CHECK(ran_on == std::this_thread::get_id());
    });
}

TEST_CASE(
    "driven runtime: poll() says when the next deadline is, and the descriptor shows when it has come") {
    on_each_driver([](rn::driven_runtime& tasks) {
        bool short_one = false, long_one = false;
        tasks.spawn(sleep_then_set, 20ms, rn::borrow(short_one));
        tasks.spawn(sleep_then_set, 1h, rn::borrow(long_one));
        const auto due = std::chrono::steady_clock::now() + 20ms;
        const auto next = tasks.poll();
        CHECK(next > 0ns);
        CHECK(next <= 20ms);
        readable(tasks, -1);
        CHECK(std::chrono::steady_clock::now() >= due);
        CHECK(tasks.poll() > 59min);
        CHECK(short_one);
        CHECK(!long_one);
        CHECK(!readable(tasks));
    });
}

TEST_CASE("driven runtime: a deadline that is brought forward, or put off, moves the alarm") {
    on_each_driver([](rn::driven_runtime& tasks) {
        bool first = false, second = false;
        tasks.spawn(sleep_then_set, 1h, rn::borrow(first));
        CHECK(tasks.poll() > 59min);
        tasks.spawn(sleep_then_set, 5ms, rn::borrow(second));
        CHECK(tasks.poll() <= 5ms);
        drive_until(tasks, [&] { return second; });
        CHECK(!readable(tasks));
        CHECK(tasks.poll() > 59min);
    });
}

TEST_CASE("driven runtime: poll() comes back after so many turns, and says that there is more") {
    on_each_driver([](rn::driven_runtime& tasks) {
        int turns = 0;
        const auto yields = [](int& counted) -> rn::task<> {
            for (auto goes_on = true; goes_on;) {
                ++counted;
                goes_on = static_cast<bool>(co_await rn::yield());
            }
        };
        tasks.spawn(yields, rn::borrow(turns));
        CHECK(tasks.poll(10) == 0ns);
        CHECK(turns <= 10);
        CHECK(turns > 0);
        CHECK(readable(tasks));  // a loop that looks at nothing else comes back, too
        const int before = turns;
        CHECK(tasks.poll(0) == 0ns);
        CHECK(turns == before);
        CHECK(tasks.poll(100) == 0ns);
        CHECK(turns > before + 50);
        CHECK(tasks.stop());
    });
}

TEST_CASE("driven runtime: wake-ups of other threads are not lost, however they fall") {
    const int rounds = support::scaled(5'000, 300'000);
    on_each_driver([&](rn::driven_runtime& tasks) {
        std::atomic<int> ran{0};
        const auto count = [](std::atomic<int>& runs) -> rn::task<> {
            ++runs;
            co_return;
        };
        std::thread other([&] {
            for (int i = 0; i < rounds; ++i) {
                tasks.spawn(count, rn::borrow(ran));
                while (ran.load() < i) std::this_thread::yield();  // so that it is asleep, or just about to
            }
        });
        drive_until(tasks, [&] { return ran == rounds; });
        other.join();
    });
}

TEST_CASE("driven runtime: a blocking call is waited for in the loop as anything else") {
    on_each_driver([](rn::driven_runtime& tasks) {
        int result = 0;
        const auto call = [](int& into) -> rn::task<> {
            auto got = co_await rn::blocking([](int x) { return x + 1; }, 41);
            into = got.value_or(-1);
        };
        tasks.spawn(call, rn::borrow(result));
        drive_until(tasks, [&] { return result != 0; });
        CHECK(result == 42);
    });
}

TEST_CASE("driven runtime: stop() runs the tasks until they have ended, in the phases of any runtime") {
    on_each_driver([](rn::driven_runtime& tasks) {
        int ended = 0;
        const auto waits = [](int& count) -> rn::task<> {
            const auto slept = co_await rn::sleep_for(1h);
            CHECK(slept.error() == rn::errc::cancelled);
            ++count;
        };
        for (int i = 0; i < 10; ++i) tasks.spawn(waits, rn::borrow(ended));
        tasks.poll();
        CHECK(tasks.stop());
        CHECK(ended == 10);
        CHECK(tasks.poll() == never);  // does nothing more
        CHECK(!tasks.spawn(waits, rn::borrow(ended)).wait());
    });
}

TEST_CASE("driven runtime: the grace of stop() is time in which tasks go on") {
    rn::options how = support::workers(1);
    rn::driven_runtime tasks(how.grace(10s));
    bool finished = false;
    tasks.spawn(sleep_then_set, 2ms, rn::borrow(finished));
    CHECK(tasks.stop());
    CHECK(finished);
}

TEST_CASE("driven runtime: two of them run in one loop, and in the poll() of one that of the other") {
    rn::driven_runtime outer(support::workers(1)), inner(support::workers(1));
    int steps = 0;
    const auto step = [](int& count) -> rn::task<> {
        ++count;
        co_await rn::yield();
        ++count;
    };
    const auto drives = [](rn::driven_runtime& other, int& count) -> rn::task<> {
        CHECK(other.poll() == never);
        CHECK(count == 2);
        co_await rn::yield();  // this thread is outer's again
        ++count;
    };
    inner.spawn(step, rn::borrow(steps));
    outer.spawn(drives, rn::borrow(inner), rn::borrow(steps));
    CHECK(outer.poll() == never);
    CHECK(steps == 3);
}

TEST_CASE("driven runtime: a task of it joins one of another runtime, and the other way round") {
    rn::runtime threads(support::workers(2));
    on_each_driver([&](rn::driven_runtime& tasks) {
        int sum = 0;
        const auto half = [](int x) -> rn::task<int> { co_return x / 2; };
        const auto ask = [](rn::join_handle<int> from, int& into) -> rn::task<> {
            into += (co_await from).value();
        };
        tasks.spawn(ask, threads.spawn(half, 40), rn::borrow(sum));
        drive_until(tasks, [&] { return sum == 20; });
        auto there = threads.spawn(
            [](rn::join_handle<int> from) -> rn::task<int> { co_return (co_await from).value(); },
            tasks.spawn(half, 22));
        tasks.poll();
        CHECK(there.wait().value() == 11);
    });
}

TEST_CASE("driven runtime: it can be started and stopped again and again") {
    for (int round = 0; round < support::scaled(100, 1000); ++round) {
        on_each_driver([&](rn::driven_runtime& tasks) {
            bool ended = false;
            tasks.spawn(sleep_then_set, 1us * (round % 50), rn::borrow(ended));
            if (round % 2 == 0) tasks.poll();
            if (round % 3 == 0) drive_until(tasks, [&] { return ended; });
            CHECK((tasks.stop() || ended));
        });
    }
}

TEST_CASE("driven runtime: misuse is said where it happens") {
    CHECK(dies(
        [] {
            rn::driven_runtime tasks(support::workers(1));
            const auto polls = [](rn::driven_runtime& own) -> rn::task<> {
                own.poll();
                co_return;
            };
            tasks.spawn(polls, rn::borrow(tasks));
            tasks.poll();
        },
        "by a task of its own"));
    CHECK(dies(
        [] {
            rn::driven_runtime tasks(support::workers(1));
            (void)tasks.spawn([]() -> rn::task<> { co_return; }).wait();
        },
        "poll() until it has what it waits for"));
    for (const bool stops : {false, true}) {
        const auto goes_round = [stops] {
            rn::driven_runtime outer(support::workers(1));
            rn::driven_runtime inner(support::workers(1));
            const auto comes_back = [&]() -> rn::task<> {
                if (stops)
                    (void)outer.stop();
                else
                    outer.poll();
                co_return;
            };
            const auto polls_inner = [&]() -> rn::task<> {
                inner.poll();
                co_return;
            };
            inner.spawn(comes_back);
            outer.spawn(polls_inner);
            outer.poll();
        };
        CHECK(dies(goes_round, "by a task of its own"));
    }
    rn::driven_runtime tasks(support::workers(1));
    std::thread([&] { CHECK(dies([&] { tasks.poll(); }, "on another thread")); }).join();
}
