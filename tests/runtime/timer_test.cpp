// Timers: one tick, which can be moved or called off and is never stale.
#include <doctest/doctest.h>
#include <runnel/go.hpp>
#include <runnel/select.hpp>
#include <runnel/timer.hpp>

#include <vector>

#include "channel/tasks.hpp"
#include "support/level.hpp"
#include "support/virtual_time.hpp"

using namespace std::chrono_literals;
using namespace support;

TEST_CASE("timer: fires once, and says when it was due") {
    in_virtual_time([]() -> rn::task<> {
        const auto start = rn::clock::now();
        rn::timer timer(10ms);
        const auto due = co_await timer.fired();
        CHECK(due.value() == start + 10ms);
        CHECK((co_await rn::with_timeout(1h, timer.fired())).error() == rn::errc::timed_out);
    });
}

TEST_CASE("timer: a tick that nobody waits for is kept until somebody takes it") {
    in_virtual_time([]() -> rn::task<> {
        const auto start = rn::clock::now();
        rn::timer timer(10ms);
        (void)co_await rn::sleep_for(1s);
        CHECK((co_await timer.fired()).value() == start + 10ms);
    });
}

TEST_CASE("timer: default-made it is stopped") {
    in_virtual_time([]() -> rn::task<> {
        rn::timer timer;
        CHECK_FALSE(timer.stop());
        CHECK((co_await rn::with_timeout(1h, timer.fired())).error() == rn::errc::timed_out);
        CHECK_FALSE(timer.reset(1ms));
        CHECK(co_await timer.fired());
    });
}

TEST_CASE("timer: after stop there is no tick, whether it had fired or not") {
    in_virtual_time([]() -> rn::task<> {
        rn::timer timer(10ms);
        CHECK(timer.stop());
        CHECK_FALSE(timer.stop());
        CHECK((co_await rn::with_timeout(1h, timer.fired())).error() == rn::errc::timed_out);
        timer.reset(10ms);
        (void)co_await rn::sleep_for(1s);  // fired, not taken
        CHECK(timer.stop());
        CHECK((co_await rn::with_timeout(1h, timer.fired())).error() == rn::errc::timed_out);
    });
}

TEST_CASE("timer: after reset only the new tick comes, whether the old one had fired or not") {
    in_virtual_time([]() -> rn::task<> {
        rn::timer timer(10ms);
        const auto start = rn::clock::now();
        CHECK(timer.reset(20ms));
        CHECK((co_await timer.fired()).value() == start + 20ms);
        CHECK_FALSE(timer.reset(10ms));    // was taken
        (void)co_await rn::sleep_for(1s);  // fired, not taken
        const auto again = rn::clock::now();
        CHECK(timer.reset(30ms));
        CHECK((co_await timer.fired()).value() == again + 30ms);
    });
}

TEST_CASE("timer: a reset moves the tick for those who wait already") {
    in_virtual_time([]() -> rn::task<> {
        const auto start = rn::clock::now();
        rn::timer timer(10ms);
        const auto waiter = [&]() -> rn::task<rn::clock::time_point> {
            co_return (co_await timer.fired()).value();
        };
        auto end = rn::go(waiter);
        (void)co_await rn::sleep_for(5ms);
        CHECK(timer.reset(50ms));
        CHECK((co_await end).value() == start + 55ms);
    });
}

TEST_CASE("timer: one tick ends one wait, the oldest") {
    in_virtual_time([]() -> rn::task<> {
        rn::timer timer;
        std::vector<int> order;
        const auto waiter = [&](int number) -> rn::task<> {
            const auto due = co_await timer.fired();
            if (due) order.push_back(number);
        };
        rn::task_set waiters;
        for (int i = 0; i < 3; ++i) {
            waiters.spawn(waiter, i);
            (void)co_await rn::yield();
        }
        for (std::size_t i = 1; i <= 3; ++i) {
            timer.reset(1ms);
            (void)co_await rn::sleep_for(2ms);
            CHECK(order.size() == i);
        }
        (void)co_await waiters.join();
        CHECK(order == std::vector<int>{0, 1, 2});
    });
}

TEST_CASE("timer: a cancelled wait takes no tick") {
    in_virtual_time([]() -> rn::task<> {
        rn::timer timer(10ms);
        CHECK((co_await rn::with_timeout(5ms, timer.fired())).error() == rn::errc::timed_out);
        CHECK(co_await rn::with_timeout(6ms, timer.fired()));
    });
}

TEST_CASE("timer: zero and negative durations fire as soon as tasks wait, never do not fire at all") {
    in_virtual_time([]() -> rn::task<> {
        rn::timer timer(0s);
        CHECK(co_await rn::with_timeout(1ns, timer.fired()));
        timer.reset(-1h);
        CHECK(co_await rn::with_timeout(1ns, timer.fired()));
        timer.reset(std::chrono::hours::max());
        CHECK((co_await rn::with_timeout(1h, timer.fired())).error() == rn::errc::timed_out);
    });
}

TEST_CASE("timer: an idle limit in a select is pushed on by every reset") {
    in_virtual_time([]() -> rn::task<> {
        rn::timer idle(30s);
        int work = 0;
        const auto start = rn::clock::now();
        for (;;) {
            const auto won = co_await rn::select(rn::sleep_for(work < 5 ? 20s : 60s), idle.fired());
            if (won.index() == 1) break;
            ++work;
            idle.reset(30s);
        }
        CHECK(work == 5);
        CHECK(rn::clock::now() - start == 130s);
    });
}

TEST_CASE("timer: resets, stops and ends on several workers give no stale tick and lose none") {
    const int rounds = scaled(300, 20'000);
    on_workers(3, [rounds]() -> rn::task<> {
        rn::task_set tasks;
        const auto one = [rounds]() -> rn::task<> {
            for (int i = 0; i < rounds; ++i) {
                rn::timer timer(std::chrono::microseconds(i % 50));
                (void)co_await rn::yield();  // goes on elsewhere, maybe
                if (i % 3 == 0) timer.stop();
                const auto from = rn::clock::now();
                timer.reset(std::chrono::microseconds(i % 100));
                const auto due = co_await timer.fired();
                CHECK(due.value() >= from);
                if (i % 5 == 0) timer.reset(1us);  // and the timer ends while it fires
            }
        };
        for (int i = 0; i < 4; ++i) tasks.spawn(one);
        (void)co_await tasks.join();
    });
}
