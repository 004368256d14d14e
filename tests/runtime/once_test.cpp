// once: done one time, by whoever comes first.
#include "runnel/once.hpp"

#include <doctest/doctest.h>
#include <runnel/go.hpp>
#include <runnel/select.hpp>
#include <runnel/testing.hpp>
#include <runnel/time.hpp>

#include <memory>
#include <stdexcept>
#include <string>
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

/// Counts how often it is called, and takes a millisecond.
rn::task<> work(int& calls) {
    ++calls;
    (void)co_await rn::sleep_for(1ms);
}

TEST_CASE("once: the first does it while the others wait, and later it is done") {
    in_virtual_time([]() -> rn::task<> {
        rn::once setup;
        int calls = 0;
        const auto began = rn::clock::now();
        rn::task_set all;
        for (int i = 0; i < 3; ++i)
            all.spawn([&]() -> rn::task<> {
                CHECK(co_await setup.call(work, rn::borrow(calls)));
                CHECK(rn::clock::now() - began == 1ms);
            });
        (void)co_await all.join();
        CHECK(setup.is_done());
        CHECK(co_await setup.call(work, rn::borrow(calls)));
        CHECK(calls == 1);
    });
}

TEST_CASE("once: after an exception or an error the next one tries, and only the one that failed is told") {
    in_virtual_time([]() -> rn::task<> {
        rn::once setup;
        int calls = 0;
        int thrown = 0;
        int failed = 0;
        int succeeded = 0;
        const auto attempt = [](int& count) -> rn::task<rn::result<int>> {
            ++count;
            (void)co_await rn::sleep_for(1ms);
            if (count == 1) throw std::runtime_error("first");
            if (count == 2) co_return rn::errc::closed;
            co_return 7;
        };
        rn::task_set all;
        for (int i = 0; i < 5; ++i)
            all.spawn([&]() -> rn::task<> {
                try {
                    const auto how = co_await setup.call(attempt, rn::borrow(calls));
                    ++(how ? succeeded : failed);
                } catch (const std::runtime_error&) {
                    ++thrown;
                }
            });
        (void)co_await all.join();
        CHECK(calls == 3);
        CHECK(thrown == 1);
        CHECK(failed == 1);
        CHECK(succeeded == 3);
        CHECK(setup.is_done());
    });
}

TEST_CASE(
    "once: when the task that does it is cancelled another one goes on, and a wait can be cancelled alone") {
    in_virtual_time([]() -> rn::task<> {
        rn::once setup;
        int calls = 0;
        const auto slow = [](int& count) -> rn::task<rn::result<>> {
            ++count;
            co_return co_await rn::sleep_for(1h);
        };
        const auto do_it = [&]() -> rn::task<rn::result<>> {
            co_return co_await setup.call(slow, rn::borrow(calls));
        };
        const auto limited = [&]() -> rn::task<rn::result<>> {
            co_return co_await rn::with_timeout(1ms, do_it());
        };
        auto first = rn::go(limited);
        co_await settle();
        auto waiter = rn::go(limited);
        auto patient = rn::go(do_it);
        CHECK((co_await first).error() == rn::errc::timed_out);
        CHECK((co_await waiter).error() == rn::errc::timed_out);
        CHECK(co_await patient);
        CHECK(calls >= 2);
        CHECK(setup.is_done());
    });
}

TEST_CASE("once: under any schedule it is done once and nobody is forgotten, although some fail or give up") {
    const auto how = testing::options().slow_turns(8, 5us);
    const auto all = testing::explore(how, scaled(2'000U, 100'000U), []() -> rn::task<> {
        rn::once setup;
        int running = 0;
        int successes = 0;
        const auto attempt = [&](int number) -> rn::task<rn::result<>> {
            testing::expect(++running == 1, "two at once");
            auto slept = co_await rn::sleep_for(std::chrono::microseconds(number));
            --running;
            if (!slept || number == 0) co_return rn::errc::closed;
            ++successes;
            co_return rn::result<>();
        };
        rn::task_set tasks;
        for (int i = 0; i < 4; ++i)
            tasks.spawn(
                [&](int number) -> rn::task<> {
                    auto way = setup.call(attempt, number);
                    auto end = co_await rn::with_timeout(
                        std::chrono::microseconds(number < 3 ? 2 : 1'000'000), std::move(way));
                    testing::expect(!end || setup.is_done());
                    testing::expect(number != 3 || end.has_value());
                },
                i);
        auto end = co_await tasks.join();
        testing::expect(end.has_value());
        testing::expect(successes == 1, "not done once");
    });
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("once: what was done is seen by all on several workers") {
    const int rounds = scaled(100, 10'000);
    on_workers(3, [rounds]() -> rn::task<> {
        for (int i = 0; i < rounds; ++i) {
            rn::once setup;
            int value = 0;  // plain on purpose
            const auto set = [](int& to) -> rn::task<> {
                to = 42;
                (void)co_await rn::yield();
            };
            rn::task_set all;
            for (int n = 0; n < 4; ++n)
                all.spawn([&]() -> rn::task<> {
                    CHECK(co_await setup.call(set, rn::borrow(value)));
                    CHECK(value == 42);
                });
            (void)co_await all.join();
        }
    });
}

TEST_CASE("once: ending while somebody calls it is reported, with the place that made it") {
    CHECK(dies(
        [] {
            (void)testing::simulate(testing::options(), []() -> rn::task<> {
                auto setup = std::make_unique<rn::once>();
                int calls = 0;
                rn::task_set all;
                all.spawn([](rn::once& of,
                             int& count) -> rn::task<> { (void)co_await of.call(work, rn::borrow(count)); },
                          rn::borrow(*setup), rn::borrow(calls));
                co_await testing::wait_until_all_tasks_wait();
                setup.reset();
                (void)co_await all.join();
            });
        },
        "once: ends while it is called or waited for ("));
}
}
