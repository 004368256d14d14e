// Starting a task later, and calling it off.
#include <doctest/doctest.h>
#include <runnel/after_func.hpp>
#include <runnel/scope.hpp>

#include <memory>
#include <string>

#include "channel/tasks.hpp"
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
