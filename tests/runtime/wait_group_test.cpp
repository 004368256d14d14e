// wait_group and latch: until all are done.
#include "runnel/wait_group.hpp"

#include <doctest/doctest.h>
#include <runnel/go.hpp>
#include <runnel/select.hpp>
#include <runnel/testing.hpp>
#include <runnel/time.hpp>

#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "channel/tasks.hpp"
#include "support/dies.hpp"
#include "support/level.hpp"
#include "support/virtual_time.hpp"

namespace testing = runnel::testing;
using namespace std::chrono_literals;
using namespace support;

namespace {

TEST_CASE("wait_group: wait ends when each add has its done and at once when there is nothing to wait for") {
    in_virtual_time([]() -> rn::task<> {
        rn::wait_group pending;
        CHECK(co_await pending);
        const auto work = [&](std::chrono::milliseconds time) -> rn::task<> {
            (void)co_await rn::sleep_for(time);
            pending.done();
        };
        const auto began = rn::clock::now();
        rn::task_set all;
        for (int i = 1; i <= 5; ++i) {
            pending.add();
            all.spawn(work, std::chrono::milliseconds(i));
        }
        CHECK(pending.count() == 5);
        CHECK(co_await pending.wait());
        CHECK(rn::clock::now() - began == 5ms);
        CHECK(pending.count() == 0);
        (void)co_await all.join();
    });
}

TEST_CASE("wait_group: all who wait when it becomes zero go on even if it rises again before they have run") {
    in_virtual_time([]() -> rn::task<> {
        rn::wait_group pending;
        pending.add();
        rn::task_set waiters;
        for (int i = 0; i < 3; ++i) waiters.spawn([&]() -> rn::task<> { CHECK(co_await pending); });
        co_await settle();
        pending.done();
        pending.add();
        CHECK(co_await waiters.join());
        pending.done();
    });
}

TEST_CASE("wait_group: a wait can be cancelled and is a case of a select") {
    in_virtual_time([]() -> rn::task<> {
        rn::wait_group pending;
        rn::wait_group nothing;
        pending.add(2);
        const auto late = co_await rn::with_timeout(1ms, pending.wait());
        CHECK(late.error() == rn::errc::timed_out);
        auto won = co_await rn::select(pending, nothing);
        CHECK(won.index() == 1);
        auto [ctx, cancel] = rn::with_cancel(rn::current_context());
        cancel();
        const auto refused = co_await rn::with_context(ctx, nothing.wait());
        CHECK(refused.error() == rn::errc::cancelled);
        pending.done();
        pending.done();
    });
}

TEST_CASE("wait_group: plain threads may say done and what they wrote is seen") {
    on_workers(2, []() -> rn::task<> {
        rn::wait_group pending;
        std::vector<int> written(4, 0);  // plain on purpose: TSan reports it if done() does not publish it
        std::vector<std::thread> threads;
        pending.add(written.size());
        for (std::size_t i = 0; i < written.size(); ++i)
            threads.emplace_back([&, i] {
                written[i] = 1;
                pending.done();
            });
        CHECK(co_await pending);
        CHECK(written == std::vector<int>(4, 1));
        for (std::thread& each : threads) each.join();
    });
}

TEST_CASE("wait_group: may be destroyed as soon as its last waiter has returned") {
    const int rounds = scaled(300, 20'000);
    on_workers(3, [rounds]() -> rn::task<> {
        for (int i = 0; i < rounds; ++i) {
            std::optional<rn::wait_group> pending(std::in_place);
            pending->add();
            const auto work = [&]() -> rn::task<> {
                pending->done();
                co_return;
            };
            auto end = rn::go(work);
            CHECK(co_await *pending);
            pending.reset();
            (void)co_await end;
        }
    });
}

TEST_CASE("latch: opens when it has been counted down and stays open") {
    in_virtual_time([]() -> rn::task<> {
        rn::latch ready(3);
        CHECK_FALSE(ready.is_open());
        auto waiter = rn::go([&]() -> rn::task<rn::result<>> { co_return co_await ready; });
        co_await settle();
        ready.count_down(2);
        co_await settle();
        CHECK_FALSE(ready.is_open());
        ready.count_down();
        const auto waited = co_await waiter;
        CHECK(waited);
        CHECK(ready.is_open());
        CHECK(co_await ready.wait());
        ready.count_down(0);
    });
}

TEST_CASE("wait_group: misuse is reported") {
    CHECK(dies([] { rn::wait_group().done(); }, "wait_group: done() more often than add()"));
    CHECK(dies([] { rn::wait_group().done(); }, "wait_group_test.cpp"));
    CHECK(dies([] { rn::latch(1).count_down(2); }, "latch: counted down below zero"));
    CHECK(dies([] { rn::latch(1).count_down(2); }, "wait_group_test.cpp"));
    CHECK(dies(
        [] {
            rn::wait_group pending;
            pending.add();
            pending.add(~std::uint64_t{0});
        },
        "wait_group: more than can be counted"));
}
}
