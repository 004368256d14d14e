// auto_event: lets one pass each time it is set.
#include "runnel/sync.hpp"

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

TEST_CASE("auto_event: each set lets one pass and sets that nobody has used are one") {
    in_virtual_time([]() -> rn::task<> {
        rn::auto_event work;
        CHECK(work.set());
        CHECK_FALSE(work.set());
        CHECK(co_await work);
        const auto late = co_await rn::with_timeout(1ms, work.wait());
        CHECK(late.error() == rn::errc::timed_out);
    });
}

TEST_CASE("auto_event: those that wait pass in the order in which they came") {
    in_virtual_time([]() -> rn::task<> {
        rn::auto_event work;
        std::vector<int> order;
        rn::task_set all;
        const auto waiter = [&](int number) -> rn::task<> {
            CHECK(co_await work);
            order.push_back(number);
        };
        for (int i = 0; i < 3; ++i) {
            all.spawn(waiter, i);
            co_await settle();
        }
        for (int i = 0; i < 3; ++i) {
            CHECK(work.set());
            co_await settle();
        }
        (void)co_await all.join();
        CHECK(order == std::vector<int>{0, 1, 2});
        CHECK(rn::try_select(work).error() == rn::errc::not_available);
    });
}

TEST_CASE("auto_event: is a case of a select and one that lost has taken nothing") {
    in_virtual_time([]() -> rn::task<> {
        rn::auto_event a;
        rn::auto_event b;
        a.set();
        b.set();
        auto won = co_await rn::select(a, b);
        auto other = co_await rn::select(a, b);
        CHECK(won.index() + other.index() == 1);
    });
}

TEST_CASE("auto_event: no set is lost under any schedule although waiters give up") {
    const auto how = testing::options().slow_turns(4, 10us);
    const auto all = testing::explore(how, support::scaled(3'000U, 100'000U), []() -> rn::task<> {
        rn::auto_event work;
        rn::auto_event taken;
        rn::task_set both;
        both.spawn([&]() -> rn::task<> {
            for (int done = 0; done < 6;) {
                auto something = co_await rn::with_timeout(2us, work.wait());
                if (!something) continue;
                ++done;
                taken.set();
            }
        });
        both.spawn([&]() -> rn::task<> {
            for (int i = 0; i < 6; ++i) {
                auto slept = co_await rn::sleep_for(std::chrono::microseconds(i % 3));
                testing::expect(slept && work.set());
                auto next = co_await rn::with_timeout(1ms, taken.wait());
                testing::expect(next.has_value(), "a set was lost");
            }
        });
        auto end = co_await both.join();
        testing::expect(end.has_value());
    });
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("auto_event: a plain thread may set it and what it wrote is seen") {
    on_workers(2, []() -> rn::task<> {
        rn::auto_event event;
        int mail = 0;  // plain on purpose: TSan reports it if set() does not publish it
        std::thread sender([&] {
            mail = 42;
            event.set();
        });
        CHECK(co_await event);
        CHECK(mail == 42);
        sender.join();
    });
}
}
