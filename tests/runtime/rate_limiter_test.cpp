// rate_limiter: so many per second, and so many at once.
#include "runnel/rate_limiter.hpp"

#include <doctest/doctest.h>
#include <runnel/go.hpp>
#include <runnel/select.hpp>
#include <runnel/sync.hpp>
#include <runnel/testing.hpp>

#include <limits>
#include <random>
#include <thread>
#include <vector>

#include "channel/tasks.hpp"
#include "support/level.hpp"
#include "support/virtual_time.hpp"

namespace testing = runnel::testing;
using namespace std::chrono_literals;
using namespace support;

namespace {

rn::clock::duration since(rn::clock::time_point began) { return rn::clock::now() - began; }

TEST_CASE("rate_limiter: a burst goes through at once and then it is the rate") {
    in_virtual_time([]() -> rn::task<> {
        rn::rate_limiter calls(rn::every(10ms), 3);
        const auto began = rn::clock::now();
        std::vector<rn::clock::duration> times;
        for (int i = 0; i < 6; ++i) {
            CHECK(co_await calls.wait());
            times.push_back(since(began));
        }
        CHECK((times == std::vector<rn::clock::duration>{0ms, 0ms, 0ms, 10ms, 20ms, 30ms}));
    });
}

TEST_CASE("rate_limiter: a pause fills the bucket again but not above the burst") {
    in_virtual_time([]() -> rn::task<> {
        rn::rate_limiter calls(rn::per_second(100), 2);
        CHECK(calls.allow(2));
        CHECK_FALSE(calls.allow());
        (void)co_await rn::sleep_for(10ms);
        CHECK(calls.allow());
        CHECK_FALSE(calls.allow());
        (void)co_await rn::sleep_for(1h);
        CHECK(calls.tokens() == doctest::Approx(2));
        CHECK_FALSE(calls.allow(3));
        CHECK(calls.allow(2));
    });
}

TEST_CASE("rate_limiter: tasks go on in the order in which they came whatever they weigh") {
    in_virtual_time([]() -> rn::task<> {
        rn::rate_limiter bytes(rn::every(1ms), 10);
        CHECK(bytes.allow(10));
        const auto began = rn::clock::now();
        std::vector<rn::clock::duration> times(3);
        rn::task_set all;
        const auto send = [&](std::size_t number, std::uint64_t size) -> rn::task<> {
            CHECK(co_await bytes.wait(size));
            times[number] = since(began);
        };
        for (const auto& [number, size] : {std::pair(0U, 8U), std::pair(1U, 1U), std::pair(2U, 5U)}) {
            all.spawn(send, number, size);
            co_await settle();
        }
        CHECK_FALSE(bytes.allow());
        (void)co_await all.join();
        CHECK((times == std::vector<rn::clock::duration>{8ms, 9ms, 14ms}));
    });
}

TEST_CASE("rate_limiter: who gives up gives back what nobody after it has been made to wait for") {
    in_virtual_time([]() -> rn::task<> {
        rn::rate_limiter calls(rn::every(10ms), 1);
        CHECK(calls.allow());
        const auto began = rn::clock::now();
        const auto late = co_await rn::with_timeout(1ms, calls.wait());
        CHECK(late.error() == rn::errc::timed_out);
        CHECK(co_await calls.wait());
        CHECK(since(began) == 10ms);  // not 20

        auto first = calls.reserve();
        auto second = calls.reserve();
        CHECK(first.delay() == 10ms);
        CHECK(second.delay() == 20ms);
        calls.cancel(first);
        CHECK_FALSE(first);
        CHECK(second.delay() == 20ms);
        CHECK(calls.reserve().delay() == 30ms);  // the second waits on, so the place of the first is lost
    });
}

TEST_CASE("rate_limiter: who gave up while there was no rate gives back what it took and no more") {
    in_virtual_time([]() -> rn::task<> {
        rn::rate_limiter calls(rn::per_second(0), 3);
        CHECK(calls.allow(3));
        auto first = calls.reserve();
        auto second = calls.reserve();
        CHECK(second.when() == rn::clock::time_point::max());
        calls.set_rate(rn::every(10ms));
        calls.cancel(second);
        CHECK(calls.tokens() == doctest::Approx(-1));
        calls.cancel(first);
        CHECK(calls.tokens() == doctest::Approx(0));

        auto later = calls.reserve();  // and is no longer in the way of what comes after
        CHECK(later.delay() == 10ms);
        calls.cancel(later);
        CHECK(calls.tokens() == doctest::Approx(0));
        co_return;
    });
}

TEST_CASE(
    "rate_limiter: what is given back after a change of the rate is what nobody has been made to wait for") {
    in_virtual_time([]() -> rn::task<> {
        rn::rate_limiter calls(rn::every(1ms), 1);
        CHECK(calls.allow());
        auto first = calls.reserve();
        auto second = calls.reserve();
        calls.set_rate(rn::every(1s));
        calls.cancel(first);  // the second waits for it
        CHECK(calls.tokens() == doctest::Approx(-2));
        calls.cancel(second);
        CHECK(calls.tokens() == doctest::Approx(-1));
        co_return;
    });
}

TEST_CASE("rate_limiter: what is given back was taken without a wait although others took theirs since") {
    in_virtual_time([]() -> rn::task<> {
        rn::rate_limiter calls(rn::every(10ms), 10);
        auto unused = calls.reserve();
        CHECK(co_await rn::sleep_for(5ms));
        CHECK(calls.allow());  // did not wait for it
        calls.cancel(unused);
        CHECK(calls.tokens() == doctest::Approx(9.5));
    });
}

TEST_CASE("rate_limiter: a case of a select that lost has taken nothing") {
    in_virtual_time([]() -> rn::task<> {
        rn::rate_limiter calls(rn::every(10ms), 1);
        rn::event other;
        CHECK(calls.allow());
        auto waiter = rn::go([&]() -> rn::task<> {
            auto won = co_await rn::select(calls.wait(), other);
            CHECK(won.index() == 1);
        });
        co_await settle();
        other.set();
        (void)co_await waiter;
        CHECK(calls.tokens() == doctest::Approx(0));
        auto won = co_await rn::select(calls.wait(), rn::sleep_for(1h));
        CHECK(won.index() == 0);
        CHECK(rn::try_select(calls.wait()).error() == rn::errc::not_available);
    });
}

TEST_CASE("rate_limiter: more than the burst is refused at once and takes nothing") {
    in_virtual_time([]() -> rn::task<> {
        rn::rate_limiter calls(rn::per_second(1), 5);
        const auto refused = co_await calls.wait(6);
        CHECK(refused.error() == std::errc::invalid_argument);
        CHECK_FALSE(calls.reserve(6));
        CHECK(calls.tokens() == doctest::Approx(5));
    });
}

TEST_CASE("rate_limiter: rates without end and without beginning") {
    in_virtual_time([]() -> rn::task<> {
        rn::rate_limiter free(rn::per_second(std::numeric_limits<double>::infinity()), 0);
        CHECK(free.allow(1'000'000));
        CHECK(co_await free.wait(1'000'000));
        rn::rate_limiter shut(rn::per_second(0), 1);
        CHECK(shut.allow());
        const auto never = co_await rn::with_timeout(1h, shut.wait());
        CHECK(never.error() == rn::errc::timed_out);
        CHECK(rn::rate_limiter(rn::per_second(-1), 1).allow());
    });
}

TEST_CASE("rate_limiter: rate and burst can be changed while it is used") {
    in_virtual_time([]() -> rn::task<> {
        rn::rate_limiter calls(rn::every(10ms), 4);
        calls.set_burst(2);
        CHECK_FALSE(calls.allow(3));
        CHECK(calls.allow(2));
        calls.set_rate(rn::every(1ms));
        const auto began = rn::clock::now();
        CHECK(co_await calls.wait(2));
        CHECK(since(began) == 2ms);
    });
}

TEST_CASE("rate_limiter: wait is a cancel point also when there are tokens") {
    in_virtual_time([]() -> rn::task<> {
        rn::rate_limiter calls(rn::per_second(1), 1);
        auto [ctx, cancel] = rn::with_cancel(rn::current_context());
        cancel();
        const auto refused = co_await rn::with_context(ctx, calls.wait());
        CHECK(refused.error() == rn::errc::cancelled);
        CHECK(calls.allow());
    });
}

/// Takes some now and then; gives up at times.
rn::task<> caller(rn::rate_limiter& calls, std::vector<rn::clock::time_point>& taken, unsigned number) {
    std::mt19937 random(number);
    for (int i = 0; i < 10; ++i) {
        const auto patience = std::chrono::microseconds(random() % 100);
        auto won = co_await rn::select(calls.wait(), rn::sleep_for(patience));
        testing::expect(static_cast<bool>(won));
        if (won.index() == 0) taken.push_back(rn::clock::now());
    }
}

TEST_CASE("rate_limiter: under any schedule no span of time has more than the burst and the rate") {
    const auto how = testing::options().slow_turns(8, 50us);
    const auto all = testing::explore(how, support::scaled(2'000U, 100'000U), []() -> rn::task<> {
        rn::rate_limiter calls(rn::every(10us), 3);
        std::vector<rn::clock::time_point> taken;
        rn::task_set callers;
        for (unsigned i = 0; i < 3; ++i) callers.spawn(caller, rn::borrow(calls), rn::borrow(taken), i);
        auto end = co_await callers.join();
        testing::expect(end.has_value());
        // A task may run later than its time, when others have come meanwhile: count from the first on.
        for (std::size_t n = 3; n < taken.size(); ++n)
            testing::expect(taken[n] - taken[0] >= 10us * static_cast<int>(n - 3), "too many");
    });
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("rate_limiter: plain threads share it") {
    rn::rate_limiter calls(rn::per_second(0), 1'000);
    std::vector<int> taken(3, 0);
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < taken.size(); ++t)
        threads.emplace_back([&, t] {
            for (int i = 0; i < 1'000; ++i) taken[t] += calls.allow();
        });
    for (std::thread& each : threads) each.join();
    CHECK(taken[0] + taken[1] + taken[2] == 1'000);
}
}
