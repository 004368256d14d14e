// Starting a task later, when its time or the end of a context has come, and calling it off.
#include <doctest/doctest.h>
#include <runnel/after_func.hpp>
#include <runnel/scope.hpp>
#include <runnel/testing.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "channel/tasks.hpp"
#include "support/contexts.hpp"
#include "support/runtimes.hpp"
#include "support/virtual_time.hpp"

using namespace std::chrono_literals;
using namespace support;

namespace {

rn::task<> note_time(std::chrono::nanoseconds* into, rn::clock::time_point start) {
    *into = rn::clock::now() - start;
    co_return;
}
rn::task<> add(std::unique_ptr<int> number, int* sum) {
    *sum += *number;
    co_return;
}
}

TEST_CASE("after_func: runs the function as a task of its own when its time has come") {
    in_virtual_time([]() -> rn::task<> {
        const auto start = rn::clock::now();
        std::chrono::nanoseconds ran_at{-1};
        rn::after_func(5s, note_time, &ran_at, start);
        (void)co_await rn::sleep_for(4999ms);
        CHECK(ran_at == -1ns);
        (void)co_await rn::sleep_for(2ms);
        CHECK(ran_at == 5s);
        rn::after_func(0s, note_time, &ran_at, rn::clock::now());
        (void)co_await rn::sleep_for(1ns);
        CHECK(ran_at == 0s);
    });
}

TEST_CASE("after_func: a time that is too long to count never comes, but can be called off") {
    in_virtual_time([]() -> rn::task<> {
        int sum = 0;
        rn::later never = rn::after_func(std::chrono::hours::max(), add, std::make_unique<int>(1), &sum);
        (void)co_await rn::sleep_for(24h * 365 * 100);
        CHECK(never.stop());
        CHECK(sum == 0);
    });
}

TEST_CASE("after_func: stop calls it off, once, and only before it has started") {
    in_virtual_time([]() -> rn::task<> {
        int sum = 0;
        rn::later first = rn::after_func(5s, add, std::make_unique<int>(1), &sum);
        CHECK(first.stop());
        CHECK_FALSE(first.stop());
        rn::later second = rn::after_func(5s, add, std::make_unique<int>(2), &sum);
        (void)co_await rn::sleep_for(6s);
        CHECK_FALSE(second.stop());
        CHECK(sum == 2);
    });
}

TEST_CASE("after_func: what was called off frees its arguments at once, not when its time comes") {
    in_virtual_time([]() -> rn::task<> {
        const auto shared = std::make_shared<int>(1);
        const auto hold = [](std::shared_ptr<int>) -> rn::task<> { co_return; };
        rn::later later = rn::after_func(24h, hold, shared);
        (void)co_await rn::sleep_for(1ms);
        CHECK(shared.use_count() == 2);
        later.stop();
        (void)co_await rn::sleep_for(1ms);
        CHECK(shared.use_count() == 1);
    });
}

TEST_CASE("after_func: does not run once the context of its starter is cancelled") {
    in_virtual_time([]() -> rn::task<> {
        int sum = 0;
        rn::scope starters;
        const auto start = [&sum]() -> rn::task<> {
            rn::after_func(1s, add, std::make_unique<int>(1), &sum);
            rn::after_func(5s, add, std::make_unique<int>(2), &sum);
            co_return;
        };
        starters.spawn(start);
        (void)co_await rn::sleep_for(2s);
        starters.cancel();
        (void)co_await starters.join();
        (void)co_await rn::sleep_for(10s);
        CHECK(sum == 1);
    });
}

TEST_CASE("after_func: stop() does not claim what a cancel has called off, or the end of the runtime") {
    const auto nothing = []() -> rn::task<> { co_return; };
    in_virtual_time([&]() -> rn::task<> {
        rn::scope starters;
        std::optional<rn::later> later;
        const auto start = [&]() -> rn::task<> {
            later.emplace(rn::after_func(5s, nothing));
            co_return;
        };
        starters.spawn(start);
        (void)co_await rn::sleep_for(2s);
        starters.cancel();
        (void)co_await starters.join();
        (void)co_await rn::sleep_for(1s);
        CHECK(!later->stop());
    });
    const auto apart = rn::with_cancel(rn::background());
    std::optional<rn::later> later;
    run_on(1, [&]() -> rn::task<> {
        later.emplace(rn::after_func(apart.ctx, nothing));
        co_return;
    });
    CHECK(!later->stop());
}

TEST_CASE("after_func: a runtime that stops does not wait for its time") {
    int sum = 0;
    rn::runtime runtime(rn::options().workers(1).driver(rn::driver_kind::none).grace(1h));
    const auto body = [&sum]() -> rn::task<> {
        rn::after_func(24h, add, std::make_unique<int>(1), &sum);
        co_return;
    };
    CHECK(runtime.spawn(body).wait());
    CHECK(runtime.stop());
    CHECK(sum == 0);
}

// --- Of a context ------------------------------------------------------------------------------------------

namespace {
rn::task<> count_up(int* calls) {
    ++*calls;
    co_return;
}
}

TEST_CASE("after_func: several functions of one context know nothing of each other") {
    in_virtual_time([]() -> rn::task<> {
        auto [ctx, cancel] = rn::with_cancel(rn::background());
        int calls = 0;
        std::vector<rn::later> functions;
        for (int i = 0; i < 10; ++i) functions.push_back(rn::after_func(ctx, count_up, &calls));
        for (std::size_t i = 0; i < 5; ++i) CHECK(functions[i].stop());
        cancel();
        for (rn::later& each : functions) CHECK_FALSE(each.stop());
        (void)co_await rn::sleep_for(1ms);
        CHECK(calls == 5);
    });
}

TEST_CASE(
    "after_func: from the cancel of its context on it cannot be stopped, though its task has had no turn") {
    in_virtual_time([]() -> rn::task<> {
        auto [ctx, cancel] = rn::with_cancel(rn::background());
        int calls = 0;
        rn::later parked = rn::after_func(ctx, count_up, &calls);
        (void)co_await rn::sleep_for(1ms);
        rn::later fresh = rn::after_func(ctx, count_up, &calls);
        cancel();
        CHECK_FALSE(parked.stop());
        CHECK_FALSE(fresh.stop());
        CHECK(calls == 0);
        (void)co_await rn::sleep_for(1ms);
        CHECK(calls == 2);
    });
}

TEST_CASE("after_func: of a context, runs with the values of that, may wait, and starts tasks that may") {
    in_virtual_time([]() -> rn::task<> {
        static rn::context_key<std::string> user;
        auto [ctx, cancel] = rn::with_cancel(rn::with_value(rn::current_context(), user, "ada"));
        rn::event done;
        const auto starter = [&]() -> rn::task<> {
            rn::after_func(
                rn::current_context(),
                [](rn::event* told) -> rn::task<> {
                    CHECK(*rn::current_context().value(user) == "ada");
                    CHECK_FALSE(rn::current_context().cancelled());
                    CHECK(co_await rn::sleep_for(1s));
                    auto child = rn::go([]() -> rn::task<bool> {
                        const auto slept = co_await rn::sleep_for(1s);
                        co_return slept && *rn::current_context().value(user) == "ada";
                    });
                    const auto slept = co_await child;
                    CHECK(slept.value());
                    told->set();
                },
                &done);
            co_return;
        };
        auto under = rn::with_context(ctx, starter());
        co_await std::move(under);
        cancel();
        CHECK(co_await done.wait());
    });
}

TEST_CASE("after_func: of a context, what was stopped frees its arguments at once, and its context") {
    in_virtual_time([]() -> rn::task<> {
        const auto top = rn::with_cancel(rn::background());
        const auto shared = std::make_shared<int>(1);
        const auto hold = [](std::shared_ptr<int>) -> rn::task<> { co_return; };
        {
            rn::later later = rn::after_func(rn::with_cancel(top.ctx).ctx, hold, shared);
            (void)co_await rn::sleep_for(1ms);
            CHECK(shared.use_count() == 2);
            CHECK(support::children_of(top.ctx) == 1);
            CHECK(later.stop());
        }
        (void)co_await rn::sleep_for(1ms);
        CHECK(shared.use_count() == 1);
        CHECK(support::children_of(top.ctx) == 0);
    });
}

TEST_CASE("after_func: of a context, called or stopped exactly once whatever comes first") {
    const auto program = []() -> rn::task<> {
        const auto made = rn::with_cancel(rn::background());
        int calls = 0;
        int stops = 0;
        rn::event ended;
        rn::later function = rn::after_func(made.ctx, count_up, &calls);
        rn::scope both;
        both.spawn(
            [](rn::cancel_function cancel) -> rn::task<> {
                cancel();
                co_return;
            },
            made.cancel);
        both.spawn(
            [](rn::later* stopped, int* count) -> rn::task<> {
                *count += stopped->stop();
                *count += stopped->stop();
                co_return;
            },
            &function, &stops);
        (void)co_await both.join();
        (void)co_await rn::sleep_for(1s);
        rn::testing::expect(calls + stops == 1);
    };
    const auto all = rn::testing::explore(1000, program);
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE(
    "after_func: when the runtime stops, functions of contexts below its root run, others are called off") {
    int below = 0;
    int apart = 0;
    const auto other = rn::with_cancel(rn::background());
    rn::runtime runtime(rn::options().workers(1).driver(rn::driver_kind::none).grace(1h));
    const auto body = [&]() -> rn::task<> {
        rn::after_func(rn::current_context(), count_up, &below);
        rn::after_func(rn::with_cancel(rn::current_context()).ctx, count_up, &below);
        rn::after_func(other.ctx, count_up, &apart);
        rn::after_func(rn::background(), count_up, &apart);
        (void)co_await rn::yield();
        co_return;
    };
    CHECK(runtime.spawn(body).wait());
    CHECK(runtime.stop());  // and does not wait for the grace: nobody is left but they
    CHECK(below == 2);
    other.cancel();
    CHECK(apart == 0);
}

TEST_CASE("after_func: of a context, a simulated program may end while functions wait") {
    const auto program = []() -> rn::task<> {
        const auto made = rn::with_cancel(rn::current_context());
        static int calls;
        rn::after_func(made.ctx, count_up, &calls);
        rn::after_func(rn::background(), count_up, &calls);
        (void)co_await rn::yield();
    };
    const auto all = rn::testing::explore(200, program);
    CHECK_MESSAGE(all.ok(), all.what());
}
