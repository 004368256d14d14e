// Tickers: a tick per period, and what happens to ticks that nobody took.
#include <doctest/doctest.h>
#include <runnel/go.hpp>
#include <runnel/select.hpp>
#include <runnel/timer.hpp>

#include <vector>

#include "channel/tasks.hpp"
#include "support/virtual_time.hpp"

using namespace std::chrono_literals;
using namespace support;

namespace {

/// Takes `count` ticks, and notes for each when it was due and when it was taken, in ms since `start`.
rn::task<> take(rn::ticker& ticker, rn::clock::time_point start, int count, std::vector<int>& due,
                std::vector<int>& taken) {
    const auto since = [start](rn::clock::time_point t) { return static_cast<int>((t - start) / 1ms); };
    for (int i = 0; i < count; ++i) {
        const auto tick = co_await ticker.tick();
        due.push_back(since(tick.value()));
        taken.push_back(since(rn::clock::now()));
    }
}

struct ticks {
    std::vector<int> due, taken;
    int missed = 0;
};

/// Two ticks of 10 ms, a pause that ends at 55, four more ticks.
ticks with_a_pause(rn::missed_ticks policy) {
    ticks seen;
    in_virtual_time([&, policy]() -> rn::task<> {
        const auto start = rn::clock::now();
        rn::ticker ticker(10ms, policy);
        co_await take(ticker, start, 2, seen.due, seen.taken);
        (void)co_await rn::sleep_until(start + 55ms);
        co_await take(ticker, start, 4, seen.due, seen.taken);
        seen.missed = static_cast<int>(ticker.missed());
    });
    return seen;
}
}

TEST_CASE("ticker: a period that is too long to count never ends") {
    in_virtual_time([]() -> rn::task<> {
        rn::ticker ticker(std::chrono::hours::max());
        CHECK((co_await rn::with_timeout(24h * 365 * 100, ticker.tick())).error() == rn::errc::timed_out);
    });
}

TEST_CASE("ticker: ticks once per period, the first after one period, without drift") {
    in_virtual_time([]() -> rn::task<> {
        const auto start = rn::clock::now();
        rn::ticker ticker(10ms);
        for (int i = 1; i <= 100; ++i) {
            CHECK((co_await ticker.tick()).value() == start + i * 10ms);
            CHECK(rn::clock::now() == start + i * 10ms);
            (void)co_await rn::sleep_for(3ms);
        }
        CHECK(ticker.missed() == 0);
    });
}

TEST_CASE("ticker: skip keeps one tick of those that were missed, and stays in phase") {
    const ticks seen = with_a_pause(rn::missed_ticks::skip);
    CHECK(seen.due == std::vector<int>{10, 20, 30, 60, 70, 80});
    CHECK(seen.taken == std::vector<int>{10, 20, 55, 60, 70, 80});
    CHECK(seen.missed == 2);  // 40 and 50
}

TEST_CASE("ticker: burst gives all ticks that were missed, at once") {
    const ticks seen = with_a_pause(rn::missed_ticks::burst);
    CHECK(seen.due == std::vector<int>{10, 20, 30, 40, 50, 60});
    CHECK(seen.taken == std::vector<int>{10, 20, 55, 55, 55, 60});
    CHECK(seen.missed == 0);
}

TEST_CASE("ticker: delay counts the next period from the tick that was taken late") {
    const ticks seen = with_a_pause(rn::missed_ticks::delay);
    CHECK(seen.due == std::vector<int>{10, 20, 30, 65, 75, 85});
    CHECK(seen.taken == std::vector<int>{10, 20, 55, 65, 75, 85});
}

TEST_CASE("ticker: stop ends the ticks, also one that was not taken; reset starts anew") {
    for (const auto policy : {rn::missed_ticks::skip, rn::missed_ticks::burst, rn::missed_ticks::delay}) {
        in_virtual_time([policy]() -> rn::task<> {
            rn::ticker ticker(10ms, policy);
            (void)co_await rn::sleep_for(35ms);
            ticker.stop();
            CHECK((co_await rn::with_timeout(1s, ticker.tick())).error() == rn::errc::timed_out);
            const auto start = rn::clock::now();
            ticker.reset(20ms);
            CHECK((co_await ticker.tick()).value() == start + 20ms);
            CHECK((co_await ticker.tick()).value() == start + 40ms);
        });
    }
}

TEST_CASE("ticker: ticks that came due together go to several waiters") {
    in_virtual_time([]() -> rn::task<> {
        rn::ticker ticker(10ms, rn::missed_ticks::burst);
        int taken = 0;
        const auto waiter = [&]() -> rn::task<> {
            const auto due = co_await ticker.tick();
            if (due) ++taken;
        };
        rn::task_set waiters;
        for (int i = 0; i < 5; ++i) waiters.spawn(waiter);
        (void)co_await waiters.join();
        CHECK(taken == 5);
    });
}

TEST_CASE("ticker: is a case of a select") {
    in_virtual_time([]() -> rn::task<> {
        rn::ticker fast(10ms), slow(35ms);
        int fast_ticks = 0, slow_ticks = 0;
        const auto end = rn::clock::now() + 105ms;
        for (;;) {
            const auto won = co_await rn::select(fast.tick(), slow.tick(), rn::sleep_until(end + 1us));
            if (won.index() == 2) break;
            ++(won.index() == 0 ? fast_ticks : slow_ticks);
        }
        CHECK(fast_ticks == 10);
        CHECK(slow_ticks == 3);
    });
}

TEST_CASE("ticker: ends when the runtime begins to stop, so that loops of ticks end") {
    rn::runtime runtime(rn::options().workers(1).driver(rn::driver_kind::none).grace(1h));
    const auto body = []() -> rn::task<rn::result<>> {
        rn::ticker ticker(24h);
        co_return (co_await ticker.tick()).error();
    };
    auto end = runtime.spawn(body);
    CHECK(runtime.stop());
    CHECK(end.wait().error() == rn::errc::stopping);
}
