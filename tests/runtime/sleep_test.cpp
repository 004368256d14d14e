// Sleeping, and giving way.
#include <doctest/doctest.h>
#include <runnel/go.hpp>
#include <runnel/select.hpp>
#include <runnel/time.hpp>

#include <limits>
#include <string>
#include <vector>

#include "channel/tasks.hpp"
#include "support/level.hpp"
#include "support/virtual_time.hpp"

using namespace std::chrono_literals;
using namespace support;
using rn::detail::saturated_nanoseconds;

namespace {

rn::task<> sleep_and_note(std::chrono::nanoseconds time, int number, std::vector<int>* into) {
    (void)co_await rn::sleep_for(time);
    into->push_back(number);
}

rn::task<rn::result<>> sleep_long() { co_return co_await rn::sleep_for(24h); }

rn::task<> cancel_later(rn::cancel_function cancel, std::chrono::nanoseconds time) {
    (void)co_await rn::sleep_for(time);
    cancel();
}
}

TEST_CASE("sleep: ends at its deadline, not before and not after") {
    in_virtual_time([]() -> rn::task<> {
        const auto start = rn::clock::now();
        CHECK(co_await rn::sleep_for(24h));
        CHECK(rn::clock::now() - start == 24h);
        CHECK(co_await rn::sleep_until(start + 25h));
        CHECK(rn::clock::now() - start == 25h);
    });
}

TEST_CASE("sleep: sleepers wake in the order of their deadlines") {
    in_virtual_time([]() -> rn::task<> {
        std::vector<int> order;
        for (const int ms : {30, 10, 50, 20, 40}) rn::go(sleep_and_note, ms * 1ms, ms, &order);
        (void)co_await rn::sleep_for(1s);
        CHECK(order == std::vector<int>{10, 20, 30, 40, 50});
    });
}

TEST_CASE("sleep: equal deadlines end in the order in which the waits began") {
    in_virtual_time([]() -> rn::task<> {
        std::vector<int> order, expected;
        for (int i = 0; i < 200; ++i) {
            rn::go(sleep_and_note, 10ms, i, &order);
            expected.push_back(i);
            (void)co_await rn::yield();
        }
        (void)co_await rn::sleep_for(1s);
        CHECK(order == expected);
    });
}

TEST_CASE("sleep: zero, negative and past times are over at once") {
    in_virtual_time([]() -> rn::task<> {
        const auto start = rn::clock::now();
        CHECK(co_await rn::sleep_for(0ns));
        CHECK(co_await rn::sleep_for(-5h));
        CHECK(co_await rn::sleep_for(std::chrono::hours::min()));
        CHECK(co_await rn::sleep_until(start));
        CHECK(co_await rn::sleep_until(start - 1h));
        CHECK(rn::clock::now() == start);
    });
}

TEST_CASE("sleep: a time that is too long to count never ends, but can be cancelled") {
    in_virtual_time([]() -> rn::task<> {
        auto [ctx, cancel] = rn::with_cancel(rn::current_context());
        rn::go(cancel_later, cancel, 1h);
        const auto slept = co_await rn::with_context(ctx, rn::sleep_for(std::chrono::hours::max()));
        CHECK(slept.error() == rn::errc::cancelled);
    });
}

TEST_CASE("sleep: cancelling the context ends it, and takes its deadline away") {
    in_virtual_time([]() -> rn::task<> {
        const auto start = rn::clock::now();
        auto [ctx, cancel] = rn::with_cancel(rn::current_context());
        rn::go(cancel_later, cancel, 10ms);
        const auto slept = co_await rn::with_context(ctx, sleep_long());
        CHECK(slept.error() == rn::errc::cancelled);
        CHECK(rn::clock::now() - start == 10ms);
        CHECK(co_await rn::sleep_for(48h));  // the old deadline would have to fire in this time
    });
}

TEST_CASE("sleep: is a cancel point even when there is nothing to sleep") {
    in_virtual_time([]() -> rn::task<> {
        auto [ctx, cancel] = rn::with_cancel(rn::current_context());
        cancel();
        const auto slept = co_await rn::with_context(ctx, rn::sleep_for(0s));
        CHECK(slept.error() == rn::errc::cancelled);
    });
}

TEST_CASE("sleep: is a case of a select, and one that lost leaves nothing behind") {
    in_virtual_time([]() -> rn::task<> {
        const auto start = rn::clock::now();
        for (int i = 0; i < 100; ++i) {
            const auto won =
                co_await rn::select(rn::after(1h), rn::sleep_for(1ms), rn::sleep_until(start + 1h));
            REQUIRE(won);
            CHECK(won.index() == 1);
        }
        CHECK(rn::clock::now() - start == 100ms);
    });
}

TEST_CASE("sleep: try_select takes a sleep that is over, and no other, also on a plain thread") {
    CHECK(rn::try_select(rn::sleep_for(0s)));
    CHECK_FALSE(rn::try_select(rn::sleep_for(1s)));
    CHECK(rn::try_select(rn::sleep_until(rn::clock::now())));
}

TEST_CASE("sleep: durations are counted in nanoseconds, rounded up, and stop at never") {
    CHECK(saturated_nanoseconds(3ms) == 3'000'000);
    CHECK(saturated_nanoseconds(std::chrono::duration<double, std::nano>(0.2)) == 1);
    CHECK(saturated_nanoseconds(std::chrono::duration<double>(1.5)) == 1'500'000'000);
    CHECK(saturated_nanoseconds(std::chrono::duration<double>(std::numeric_limits<double>::quiet_NaN())) ==
          0);
    CHECK(saturated_nanoseconds(std::chrono::duration<double>(1e300)) == rn::detail::never);
    CHECK(saturated_nanoseconds(std::chrono::years(400)) == rn::detail::never);
    CHECK(saturated_nanoseconds(std::chrono::years(200)) ==
          std::chrono::nanoseconds(std::chrono::years(200)).count());
    CHECK(saturated_nanoseconds(std::chrono::nanoseconds::max()) == rn::detail::never);
    CHECK(saturated_nanoseconds(std::chrono::hours::min()) == 0);
}

TEST_CASE("sleep: thousands of sleepers on several workers all wake, none early") {
    const int tasks = scaled(500, 20'000);
    on_workers(3, [tasks]() -> rn::task<> {
        rn::task_set sleepers;
        const auto sleeper = [](int i) -> rn::task<> {
            for (int round = 0; round < 5; ++round) {
                const auto start = rn::clock::now();
                const auto time = std::chrono::microseconds((i * 37 + round * 101) % 3000);
                CHECK(co_await rn::sleep_for(time));
                CHECK(rn::clock::now() - start >= time);
            }
        };
        for (int i = 0; i < tasks; ++i) sleepers.spawn(sleeper, i);
        (void)co_await sleepers.join();
    });
}

TEST_CASE("yield: lets every task run that was in the queue") {
    in_virtual_time([]() -> rn::task<> {
        std::string order;
        const auto note = [&order](char name) -> rn::task<> {
            for (int i = 0; i < 3; ++i) {
                order += name;
                CHECK(co_await rn::yield());
            }
        };
        auto a = rn::go(note, 'a');
        auto b = rn::go(note, 'b');
        auto c = rn::go(note, 'c');
        (void)co_await a;
        (void)co_await b;
        (void)co_await c;
        std::string once = order.substr(0, 3);
        CHECK(order == once + once + once);
    });
}

TEST_CASE("yield: does not suspend a task whose context is cancelled, and says so") {
    in_virtual_time([]() -> rn::task<> {
        auto [ctx, cancel] = rn::with_cancel(rn::current_context());
        cancel();
        const auto gave_way = co_await rn::with_context(ctx, rn::yield());
        CHECK(gave_way.error() == rn::errc::cancelled);
        CHECK(co_await rn::yield());
    });
}

TEST_CASE("yield: tasks that only yield share several workers") {
    const int rounds = scaled(2'000, 200'000);
    on_workers(2, [rounds]() -> rn::task<> {
        rn::task_set tasks;
        int sums[8] = {};
        const auto count = [rounds](int* sum) -> rn::task<> {
            for (int i = 0; i < rounds; ++i) {
                ++*sum;
                (void)co_await rn::yield();
            }
        };
        for (int& sum : sums) tasks.spawn(count, &sum);
        (void)co_await tasks.join();
        for (const int sum : sums) CHECK(sum == rounds);
    });
}
