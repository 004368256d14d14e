// Go's own rules of what tasks share, as the tests of its packages sync, x/sync and x/time/rate state them, written
// anew. docs/conformance/sync.md says which is which.
#include <doctest/doctest.h>
#include <runnel/condition.hpp>
#include <runnel/once.hpp>
#include <runnel/rate_limiter.hpp>
#include <runnel/scope.hpp>
#include <runnel/select.hpp>
#include <runnel/semaphore.hpp>
#include <runnel/shared_mutex.hpp>
#include <runnel/singleflight.hpp>
#include <runnel/sync.hpp>
#include <runnel/testing.hpp>
#include <runnel/wait_group.hpp>

#include <atomic>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "channel/tasks.hpp"
#include "support/level.hpp"
#include "support/virtual_time.hpp"

namespace testing = runnel::testing;
using namespace std::chrono_literals;
using namespace support;

// --- sync ---------------------------------------------------------------------------------------------

TEST_CASE("Go sync: what tasks wait at cannot be copied") {
    CHECK_FALSE(std::is_copy_constructible_v<rn::mutex>);
    CHECK_FALSE(std::is_copy_constructible_v<rn::shared_mutex>);
    CHECK_FALSE(std::is_copy_constructible_v<rn::condition>);
    CHECK_FALSE(std::is_copy_constructible_v<rn::once>);
    CHECK_FALSE(std::is_copy_constructible_v<rn::wait_group>);
    CHECK_FALSE(std::is_copy_constructible_v<rn::semaphore>);
}

TEST_CASE("Go sync: a task that locks again and again does not keep out one that locks now and then") {
    in_virtual_time([]() -> rn::task<> {
        rn::mutex mutex;
        bool over = false;
        auto hog = rn::go([&]() -> rn::task<> {
            while (!over) {
                const auto held = co_await mutex.lock();
                (void)co_await rn::sleep_for(100us);
            }
        });
        const auto began = rn::clock::now();
        for (int i = 0; i < 10; ++i) {
            (void)co_await rn::sleep_for(100us);
            CHECK(co_await mutex.lock());
        }
        CHECK(rn::clock::now() - began <= 10 * 200us);
        over = true;
        (void)co_await hog;
    });
}

TEST_CASE("Go sync: a notification wakes who waited before it and not who comes after it") {
    in_virtual_time([]() -> rn::task<> {
        rn::mutex mutex;
        rn::condition changed;
        std::vector<int> awake;
        rn::task_set all;
        const auto wait = [&](int number) -> rn::task<> {
            auto held = co_await mutex.lock();
            CHECK(co_await changed.wait(*held));
            awake.push_back(number);
        };
        for (int i = 0; i < 100; ++i) {
            all.spawn(wait, i);
            co_await settle();
            CHECK(awake.size() == static_cast<std::size_t>(i));
            CHECK(changed.notify_one());
            all.spawn(wait, 1'000 + i);  // comes after it
            co_await settle();
            CHECK(awake.back() == i);
            CHECK(changed.notify_one());
            co_await settle();
            CHECK(awake.back() == 1'000 + i);
            awake.resize(static_cast<std::size_t>(i) + 1);
        }
        (void)co_await all.join();
    });
}

TEST_CASE("Go sync: notify_all wakes all who wait; each once; round by round") {
    in_virtual_time([]() -> rn::task<> {
        constexpr std::size_t tasks = 50;
        constexpr int rounds = 20;
        rn::mutex mutex;
        rn::condition changed;
        std::vector<int> woken(tasks, 0);
        rn::task_set all;
        const auto wait = [&](int& times) -> rn::task<> {
            auto held = co_await mutex.lock();
            for (int i = 0; i < rounds; ++i) {
                CHECK(co_await changed.wait(*held));
                ++times;
            }
        };
        for (int& times : woken) all.spawn(wait, rn::borrow(times));
        for (int round = 0; round < rounds; ++round) {
            co_await settle();
            CHECK(woken == std::vector<int>(tasks, round));
            CHECK(changed.notify_all() == tasks);
        }
        (void)co_await all.join();
        CHECK(changed.notify_all() == 0);
    });
}

namespace {
/// Three tasks that hand a state on: 0, 1, 2, 3.
struct relay {
    rn::mutex mutex;
    rn::condition changed;
    int state = 0;

    rn::task<> begin() {
        auto held = co_await mutex.lock();
        if (!held) co_return;
        state = 1;
        auto woken = co_await changed.wait(*held);
        testing::expect(woken.has_value() && state == 2);
        state = 3;
        changed.notify_one();
    }
    rn::task<> step() {
        for (bool done = false; !done;) {
            auto held = co_await mutex.lock();
            if (!held) co_return;
            if (state == 1) {
                state = 2;
                changed.notify_one();
                done = true;
            }
            held->unlock();
            auto slept = co_await rn::sleep_for(1us);
            testing::expect(slept.has_value());
        }
    }
    rn::task<> end() {
        for (bool done = false; !done;) {
            auto held = co_await mutex.lock();
            if (!held) co_return;
            if (state == 2) {
                auto woken = co_await changed.wait(*held);
                testing::expect(woken.has_value() && state == 3);
            }
            done = state == 3;
            held->unlock();
            auto slept = co_await rn::sleep_for(1us);
            testing::expect(slept.has_value());
        }
    }
};
}

TEST_CASE("Go sync: under any schedule three tasks hand a state on by one condition") {
    const auto all = testing::explore(scaled(2'000U, 100'000U), []() -> rn::task<> {
        relay race;
        rn::task_set runners;
        runners.spawn(&relay::begin, &race);
        runners.spawn(&relay::step, &race);
        runners.spawn(&relay::end, &race);
        auto end = co_await runners.join();
        testing::expect(end.has_value() && race.state == 3);
    });
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("Go sync: under any schedule a newcomer does not take the notification of who waits already") {
    const auto all = testing::explore(scaled(2'000U, 100'000U), []() -> rn::task<> {
        rn::mutex mutex;
        rn::condition changed;
        rn::event first_waits;
        bool done = false;
        bool first_woken = false;
        rn::task_set tasks;
        tasks.spawn([&]() -> rn::task<> {
            auto held = co_await mutex.lock();
            if (!held) co_return;
            first_waits.set();
            auto woken = co_await changed.wait(*held);
            first_woken = woken.has_value();
            done = true;
            changed.notify_all();
        });
        tasks.spawn([&]() -> rn::task<> {
            auto waits = co_await first_waits;
            auto held = co_await mutex.lock();  // has it: the first has unlocked, and so it waits
            if (!held) co_return;
            held->unlock();
            auto gave_way = co_await rn::yield();
            testing::expect(waits.has_value() && gave_way.has_value());
            changed.notify_one();
        });
        tasks.spawn([&]() -> rn::task<> {
            auto waits = co_await first_waits;
            testing::expect(waits.has_value());
            auto held = co_await mutex.lock();
            if (!held) co_return;
            while (!done) {
                auto woken = co_await changed.wait(*held);
                testing::expect(woken.has_value());
            }
        });
        auto end = co_await tasks.join();
        testing::expect(end.has_value() && first_woken);
    });
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("Go sync: two wait_groups hold each other's tasks back; round after round") {
    on_one_and_several([]() -> rn::task<> {
        rn::wait_group arrived;
        rn::wait_group released;
        for (int round = 0; round < 8; ++round) {
            std::atomic<int> gone{0};
            arrived.add(16);
            released.add(16);
            rn::task_set all;
            const auto pass = [&]() -> rn::task<> {
                arrived.done();
                CHECK(co_await released);
                ++gone;
            };
            for (int i = 0; i < 16; ++i) all.spawn(pass);
            CHECK(co_await arrived);
            for (int i = 0; i < 16; ++i) {
                CHECK(gone == 0);  // not before the last one is done
                released.done();
            }
            (void)co_await all.join();
            CHECK(gone == 16);
        }
    });
}

TEST_CASE("Go sync: a wait for two tasks never ends when one of them is done") {
    on_one_and_several([]() -> rn::task<> {
        for (int i = 0; i < scaled(300, 20'000); ++i) {
            rn::wait_group pending;
            std::atomic<int> done{0};
            rn::task_set both;
            const auto work = [&]() -> rn::task<> {
                ++done;
                pending.done();
                co_return;
            };
            for (int n = 0; n < 2; ++n) {
                pending.add();
                both.spawn(work);
            }
            CHECK(co_await pending);
            CHECK(done == 2);
            (void)co_await both.join();
        }
    });
}

// --- x/sync -------------------------------------------------------------------------------------------

TEST_CASE("Go sync: under any schedule an acquire that is cancelled before the release has taken nothing") {
    const auto all = testing::explore(scaled(2'000U, 100'000U), []() -> rn::task<> {
        rn::semaphore slots(2);
        auto one = co_await slots.acquire();
        auto [ctx, cancel] = rn::with_cancel(rn::current_context());
        rn::task_set tasks;
        const auto both = [&](rn::context under) -> rn::task<> {
            auto permit = co_await rn::with_context(under, slots.acquire(2));
            testing::expect(permit.error() == rn::errc::cancelled);
        };
        tasks.spawn(both, ctx);
        auto gave_way = co_await rn::yield();
        testing::expect(gave_way.has_value());
        cancel();
        one->release();
        auto end = co_await tasks.join();
        testing::expect(end.has_value());
        testing::expect(slots.try_acquire(2).has_value());
    });
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE(
    "Go sync: who wants more permits than there are waits in its place; and has them when there are more") {
    in_virtual_time([]() -> rn::task<> {
        rn::semaphore slots(2);
        auto greedy = rn::go([&]() -> rn::task<std::uint64_t> {
            const auto permit = co_await slots.acquire(3);
            co_return permit->count();
        });
        co_await settle();
        const auto behind =
            co_await rn::with_timeout(1h, slots.acquire());  // in Go it would not have to wait
        CHECK(behind.error() == rn::errc::timed_out);
        slots.release();
        CHECK((co_await greedy).value() == 3);
        CHECK(co_await slots.acquire(3));
    });
}

TEST_CASE("Go sync: a flight that was forgotten and lands does not touch the one that took its place") {
    in_virtual_time([]() -> rn::task<> {
        rn::singleflight<std::string, int> flights;
        const auto fly = [](int number, rn::clock::duration time) -> rn::task<int> {
            (void)co_await rn::sleep_for(time);
            co_return number;
        };
        const auto ask = [&](int number, rn::clock::duration time) -> rn::task<int> {
            const auto got = co_await flights.run("key", fly, number, time);
            co_return got.value();
        };
        auto first = rn::go(ask, 1, 1ms);
        co_await settle();
        flights.forget("key");
        auto second = rn::go(ask, 2, 5ms);
        CHECK((co_await first).value() == 1);
        auto third = rn::go(ask, 3, 1ms);
        CHECK((co_await second).value() == 2);
        CHECK((co_await third).value() == 2);
    });
}

// --- x/time/rate --------------------------------------------------------------------------------------

namespace {
constexpr auto beat = 100ms;  // in which a rate of 10 a second gives a token

rn::task<> until(rn::clock::time_point began, int beats) {
    (void)co_await rn::sleep_until(began + beats * beat);
}

/// When to act, in beats.
int place_of(const rn::rate_reservation& place, rn::clock::time_point began) {
    REQUIRE(place);
    return static_cast<int>((place.when() - began + beat / 2) / beat);
}

struct attempt {
    int at;  // in beats
    double tokens;
    std::uint64_t wanted;
    bool given;
};

void check_attempts(std::uint64_t burst, const std::vector<attempt>& all) {
    in_virtual_time([&]() -> rn::task<> {
        rn::rate_limiter calls(rn::per_second(10), burst);
        const auto began = rn::clock::now();
        for (const attempt& each : all) {
            co_await until(began, each.at);
            CHECK(calls.tokens() == doctest::Approx(each.tokens));
            CHECK(calls.allow(each.wanted) == each.given);
        }
    });
}
}

TEST_CASE("Go rate: what a bucket of one gives and what it refuses") {
    check_attempts(1, {{0, 1, 1, true},
                       {0, 0, 1, false},
                       {1, 1, 1, true},
                       {1, 0, 1, false},
                       {2, 1, 2, false},  // never: more than the burst
                       {2, 1, 1, true},
                       {2, 0, 1, false}});
}

TEST_CASE("Go rate: what a bucket of three gives and what it refuses") {
    check_attempts(3, {{0, 3, 2, true},
                       {0, 1, 2, false},
                       {0, 1, 1, true},
                       {0, 0, 1, false},
                       {1, 1, 4, false},
                       {2, 2, 1, true},
                       {3, 2, 1, true},
                       {4, 2, 1, true},
                       {4, 1, 1, true},
                       {4, 0, 1, false},
                       {9, 3, 3, true},
                       {9, 0, 0, true}});
}

TEST_CASE("Go rate: an interval is a rate; none at all is one without end") {
    CHECK(rn::every(1s).tokens_per_second() == doctest::Approx(1));
    CHECK(rn::every(2500ms).tokens_per_second() == doctest::Approx(0.4));
    CHECK(rn::every(1ns).tokens_per_second() == doctest::Approx(1e9));
    CHECK(rn::every(rn::clock::duration::max()).tokens_per_second() == doctest::Approx(1.084e-10));
    constexpr double without_end = std::numeric_limits<double>::infinity();
    CHECK(rn::every(0s).tokens_per_second() == without_end);
    CHECK(rn::every(-1ns).tokens_per_second() == without_end);
}

TEST_CASE("Go rate: rates that are tiny or odd neither overflow nor lose the first token") {
    in_virtual_time([]() -> rn::task<> {
        rn::rate_limiter tiny(rn::per_second(1e-10), 1);
        CHECK(tiny.allow());
        CHECK_FALSE(tiny.allow());
        CHECK(tiny.reserve().when() == rn::clock::time_point::max());  // in 317 years
        CHECK(rn::rate_limiter(rn::per_second(0.7692307692307693), 1).allow());
        co_return;
    });
}

TEST_CASE("Go rate: in the long run it is the rate and the burst; no more and hardly less") {
    in_virtual_time([]() -> rn::task<> {
        rn::rate_limiter calls(rn::per_second(100), 100);
        int given = 0;
        for (int i = 0; i < 2'500; ++i) {
            given += calls.allow();
            (void)co_await rn::sleep_for(2ms);
        }
        CHECK(given <= 600);
        CHECK(given >= 599);
    });
}

TEST_CASE("Go rate: places stand one behind the other; one that can never be is refused and takes nothing") {
    in_virtual_time([]() -> rn::task<> {
        rn::rate_limiter calls(rn::per_second(10), 2);
        const auto began = rn::clock::now();
        CHECK(place_of(calls.reserve(2), began) == 0);
        auto never = calls.reserve(3);
        CHECK_FALSE(never);
        calls.cancel(never);  // gives nothing back
        CHECK(place_of(calls.reserve(2), began) == 2);
        co_await until(began, 1);
        CHECK(calls.tokens() == doctest::Approx(-1));
        CHECK_FALSE(calls.allow());
        co_await until(began, 3);
        CHECK(calls.allow());
        CHECK(place_of(calls.reserve(2), began) == 5);
    });
}

TEST_CASE("Go rate: a place that is given back is worth what nobody stands behind") {
    in_virtual_time([]() -> rn::task<> {
        rn::rate_limiter last(rn::per_second(10), 2);
        rn::rate_limiter none(rn::per_second(10), 2);
        rn::rate_limiter one(rn::per_second(10), 2);
        rn::rate_limiter several(rn::per_second(10), 4);
        const auto began = rn::clock::now();

        CHECK(last.allow(2));
        auto place = last.reserve(2);
        CHECK(none.allow(2));
        auto worthless = none.reserve();
        CHECK(place_of(none.reserve(), began) == 2);
        CHECK(place_of(none.reserve(2), began) == 4);
        none.cancel(worthless);
        CHECK(place_of(none.reserve(), began) == 5);
        CHECK(one.allow(2));
        auto worth_one = one.reserve(2);
        CHECK(place_of(one.reserve(), began) == 3);
        CHECK(several.allow(4));
        auto a = several.reserve(3);
        CHECK(place_of(several.reserve(), began) == 4);
        auto c = several.reserve();
        CHECK(place_of(c, began) == 5);

        co_await until(began, 1);
        last.cancel(place);
        CHECK(place_of(last.reserve(2), began) == 2);
        several.cancel(c);
        several.cancel(a);  // as if c had never been
        CHECK(place_of(several.reserve(3), began) == 5);
        co_await until(began, 2);
        one.cancel(worth_one);
        CHECK(place_of(one.reserve(2), began) == 4);
    });
}

TEST_CASE("Go rate: a place may be given back after its time too; who does has not used it") {
    in_virtual_time([]() -> rn::task<> {
        rn::rate_limiter calls(rn::per_second(10), 2);
        const auto began = rn::clock::now();
        CHECK(calls.allow(2));
        auto place = calls.reserve(2);
        co_await until(began, 3);
        calls.cancel(place);  // in Go it is too late
        CHECK(calls.tokens() == doctest::Approx(2));
    });
}

TEST_CASE("Go rate: a new rate or burst is for those who come after it; with the debt of those before") {
    in_virtual_time([]() -> rn::task<> {
        rn::rate_limiter faster(rn::per_second(5), 2);
        rn::rate_limiter back(rn::per_second(5), 2);
        rn::rate_limiter wider(rn::per_second(5), 2);
        const auto began = rn::clock::now();
        for (rn::rate_limiter* each : {&faster, &back, &wider}) CHECK(each->allow(2));
        CHECK(place_of(faster.reserve(2), began) == 4);
        auto place = back.reserve(2);
        CHECK(place_of(wider.reserve(2), began) == 4);
        co_await until(began, 2);
        faster.set_rate(rn::per_second(10));
        CHECK(place_of(faster.reserve(), began) == 4);
        back.set_rate(rn::per_second(10));
        back.cancel(place);
        CHECK(place_of(back.reserve(2), began) == 3);
        co_await until(began, 3);
        wider.set_burst(4);
        CHECK(place_of(wider.reserve(4), began) == 12);
    });
}

TEST_CASE("Go rate: after no rate at all a new one gives its first token when it is due") {
    in_virtual_time([]() -> rn::task<> {
        rn::rate_limiter calls(rn::per_second(0), 1);
        CHECK(calls.allow());
        CHECK_FALSE(calls.allow());
        (void)co_await rn::sleep_for(1h);
        CHECK_FALSE(calls.allow());
        calls.set_rate(rn::per_second(10));
        const auto began = rn::clock::now();
        CHECK(co_await calls.wait());
        CHECK(rn::clock::now() - began == beat);
    });
}

TEST_CASE("Go rate: a wait whose context ends before its turn ends then and gives its tokens back") {
    in_virtual_time([]() -> rn::task<> {
        rn::rate_limiter calls(rn::per_second(10), 3);
        CHECK(co_await calls.wait(2));
        const auto began = rn::clock::now();
        auto [ctx, cancel] = rn::with_timeout(rn::current_context(), beat);
        const auto late = co_await rn::with_context(ctx, calls.wait(3));
        CHECK(late.error() == rn::errc::deadline_exceeded);
        CHECK(rn::clock::now() - began == beat);  // Go sees at once that it would be too late
        CHECK(calls.tokens() == doctest::Approx(2));
        CHECK(co_await calls.wait(2));
        CHECK(rn::clock::now() - began == beat);
    });
}
