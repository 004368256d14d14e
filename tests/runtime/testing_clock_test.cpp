// virtual_clock, spend() and slow_turns: time by hand, and time that passes while tasks are busy.
#include "runnel/testing_clock.hpp"

#include <doctest/doctest.h>
#include <runnel/go.hpp>
#include <runnel/scope.hpp>
#include <runnel/sync.hpp>
#include <runnel/testing.hpp>
#include <runnel/timer.hpp>

#include <string>

#include "support/child.hpp"

namespace rn = runnel;
namespace testing = runnel::testing;
using namespace std::chrono_literals;

namespace {

rn::task<> tick(int& ticks) {
    rn::ticker every(1s);
    for (;;) {
        auto next = co_await every.tick();
        if (!next) co_return;
        ++ticks;
    }
}

TEST_CASE("virtual_clock: time stands still but for advance(), which lets all happen that is due, and "
          "nothing more") {
    int ticks = 0;
    const auto all = testing::explore(100, [&]() -> rn::task<> {
        ticks = 0;
        testing::virtual_clock clock;
        const auto start = clock.now();
        auto ticking = rn::go(tick, rn::borrow(ticks));
        co_await testing::wait_until_all_tasks_wait();
        testing::expect(clock.now() == start);
        co_await clock.advance(999ms);
        testing::expect(ticks == 0);
        co_await clock.advance(1ms);
        testing::expect(ticks == 1);
        co_await clock.advance(10s);
        testing::expect(ticks == 11);
        testing::expect(clock.now() - start == 11s);
    });
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("virtual_clock: a program that waits for time which nobody lets pass is told so") {
    const auto run = testing::simulate(testing::options(), []() -> rn::task<> {
        testing::virtual_clock clock;
        co_await rn::sleep_for(1s);
    });
    CHECK(run.kind() == testing::failure::deadlock);
    CHECK_MESSAGE(run.what().find("a virtual_clock stands still") != std::string::npos, run.what());
}

TEST_CASE("virtual_clock: without it, and after its end, time passes by itself") {
    const auto run = testing::simulate(testing::options(), []() -> rn::task<> {
        {
            testing::virtual_clock clock;
            co_await clock.advance(1s);
        }
        co_await rn::sleep_for(1s);
    });
    CHECK_MESSAGE(run.ok(), run.what());
    CHECK(run.time() == 2s);
}

TEST_CASE("virtual_clock: a cancelled advance() returns, and time stands where it is") {
    const auto run = testing::simulate(testing::options(), []() -> rn::task<> {
        testing::virtual_clock clock;
        const auto start = clock.now();
        rn::task_set all;
        all.spawn([](testing::virtual_clock& of) -> rn::task<> { co_await of.advance(1h); },
                  rn::borrow(clock));
        all.cancel();
        co_await all.join();
        testing::expect(clock.now() - start < 1h);
    });
    CHECK_MESSAGE(run.ok(), run.what());
}

TEST_CASE("child: two virtual clocks" * doctest::skip()) {
    (void)testing::simulate(testing::options(), []() -> rn::task<> {
        testing::virtual_clock one, two;
        co_return;
    });
}
TEST_CASE("child: a virtual clock outside of a simulation" * doctest::skip()) {
    const testing::virtual_clock one;
}

TEST_CASE("virtual_clock: two at once, or one without a simulation, are misuse and said aloud") {
    CHECK(support::aborts_saying("child: two virtual clocks", "virtual_clock: there is one already"));
    CHECK(support::aborts_saying("child: a virtual clock outside of a simulation",
                                 "virtual_clock: only in a simulation"));
}

TEST_CASE(
    "spend: a turn that takes longer than another's deadline makes it late, however ready its operation is") {
    const auto run = testing::simulate(testing::options(), []() -> rn::task<> {
        rn::event done;
        auto waits = rn::go(
            [](rn::event& e) -> rn::task<bool> {
                auto in_time = co_await rn::with_timeout(1s, e.wait());
                co_return in_time.has_value();
            },
            rn::borrow(done));
        co_await testing::wait_until_all_tasks_wait();
        testing::spend(2s);
        co_await rn::yield();  // the deadline is served before who is ready later
        done.set();
        auto in_time = co_await waits;
        testing::expect(in_time.has_value() && !*in_time, "it came in time");
    });
    CHECK_MESSAGE(run.ok(), run.what());
    CHECK(run.time() == 2s);
}

/// Right as long as everybody is quick: after the timeout it takes for granted that the other has not begun.
rn::task<> believes_in_quick_turns() {
    bool answered = false;
    rn::event asked;
    rn::task_set server;
    server.spawn(
        [](rn::event& e, bool& done) -> rn::task<> {
            auto question = co_await e.wait();
            for (int i = 0; question && i < 5; ++i) co_await rn::yield();
            done = true;
        },
        rn::borrow(asked), rn::borrow(answered));
    asked.set();
    co_await rn::sleep_for(10ms);
    testing::expect(answered, "the server was too slow");
    co_await server.join();
}

TEST_CASE(
    "slow_turns: finds what breaks when a task is slow past a deadline; without them time waits for all") {
    CHECK(testing::explore(1'000, believes_in_quick_turns).ok());
    const auto slow = testing::explore(testing::options().slow_turns(8), 1'000, believes_in_quick_turns);
    REQUIRE_FALSE(slow.ok());
    CHECK_MESSAGE(slow.what().find("the server was too slow") != std::string::npos, slow.what());
    MESSAGE("found after " << slow.runs() << " runs");

    const auto hurried = testing::options().slow_turns(8, 1ms);  // the deadline is further away than that
    CHECK(testing::explore(hurried, 1'000, believes_in_quick_turns).ok());
}
}
