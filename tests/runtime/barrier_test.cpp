// barrier: tasks that go on together, round after round.
#include "runnel/barrier.hpp"

#include <doctest/doctest.h>
#include <runnel/detail/wait.hpp>
#include <runnel/go.hpp>
#include <runnel/select.hpp>
#include <runnel/sync.hpp>
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

/// The lock of the object at which an operation would wait.
struct turn_lock {
    explicit turn_lock(rn::detail::wait_case& of) : at(*of.object()) { at.lock.lock(); }
    turn_lock(const turn_lock&) = delete;
    turn_lock& operator=(const turn_lock&) = delete;
    ~turn_lock() { at.lock.unlock(); }
    rn::detail::wait_object& at;
};

TEST_CASE("barrier: the last to arrive lets all go on and one of them is told that it was the last") {
    in_virtual_time([]() -> rn::task<> {
        rn::barrier turn(3);
        int lasts = 0;
        const auto party = [&](std::chrono::milliseconds time) -> rn::task<> {
            for (int round = 0; round < 10; ++round) {
                (void)co_await rn::sleep_for(time);
                const auto last = co_await turn.arrive();
                CHECK(last);
                lasts += *last;
            }
        };
        const auto began = rn::clock::now();
        rn::task_set all;
        for (int i = 1; i <= 3; ++i) all.spawn(party, std::chrono::milliseconds(i));
        (void)co_await all.join();
        CHECK(rn::clock::now() - began == 30ms);  // the slowest sets the pace
        CHECK(lasts == 10);
        CHECK(turn.rounds() == 10);
    });
}

TEST_CASE("barrier: who gives up has not arrived and the round waits for another") {
    in_virtual_time([]() -> rn::task<> {
        rn::barrier turn(2);
        const auto late = co_await rn::with_timeout(1ms, turn.arrive());
        CHECK(late.error() == rn::errc::timed_out);
        auto won = co_await rn::select(turn.arrive(), rn::sleep_for(1ms));
        CHECK(won.index() == 1);
        auto other = rn::go([&]() -> rn::task<rn::result<bool>> { co_return co_await turn.arrive(); });
        co_await settle();
        CHECK(turn.rounds() == 0);
        const auto mine = co_await turn.arrive();
        CHECK(mine.value());
        const auto its = co_await other;
        CHECK_FALSE(its.value());
        CHECK(turn.rounds() == 1);
    });
}

TEST_CASE("barrier: the last is a case of a select that can happen at once") {
    in_virtual_time([]() -> rn::task<> {
        rn::barrier turn(2);
        CHECK(rn::try_select(turn.arrive()).error() == rn::errc::not_available);
        auto other = rn::go([&]() -> rn::task<> { CHECK(co_await turn.arrive()); });
        co_await settle();
        auto won = rn::try_select(turn.arrive());
        REQUIRE(won);
        CHECK(won.take<0>().value());
        (void)co_await other;
    });
}

TEST_CASE(
    "barrier: whose select has been won by another case has not arrived, also when it has not run since") {
    in_virtual_time([]() -> rn::task<> {
        rn::barrier turn(2);
        rn::event other_case;
        auto other = rn::go([&]() -> rn::task<> {
            auto won = co_await rn::select(turn.arrive(), other_case);
            CHECK(won.index() == 1);
        });
        co_await settle();
        other_case.set();
        CHECK(rn::try_select(turn.arrive()).error() == rn::errc::not_available);
        (void)co_await other;
        CHECK(turn.rounds() == 0);
    });
}

TEST_CASE("barrier: who was cancelled before the round was complete is told so, also when it runs after") {
    in_virtual_time([]() -> rn::task<> {
        rn::barrier turn(3);
        auto [ctx, cancel] = rn::with_cancel(rn::current_context());
        const auto arrive = [&]() -> rn::task<rn::result<bool>> { co_return co_await turn.arrive(); };
        const auto arrive_in = [&](rn::context under) -> rn::task<rn::result<bool>> {
            co_return co_await rn::with_context(under, arrive());
        };
        auto cancelled = rn::go(arrive_in, ctx);
        auto patient = rn::go(arrive);
        co_await settle();
        cancel();
        turn.leave();  // two are left, of whom one has arrived
        auto won = rn::try_select(turn.arrive());
        CHECK(won);
        CHECK(turn.rounds() == 1);
        CHECK((co_await cancelled).error() == rn::errc::cancelled);
        CHECK(co_await patient);
    });
}

TEST_CASE("barrier: one that leaves is not waited for any more") {
    in_virtual_time([]() -> rn::task<> {
        rn::barrier turn(3);
        rn::task_set two;
        for (int i = 0; i < 2; ++i)
            two.spawn([&]() -> rn::task<> {
                for (int round = 0; round < 3; ++round) CHECK(co_await turn.arrive());
            });
        co_await settle();
        CHECK(turn.rounds() == 0);
        turn.leave();
        (void)co_await two.join();
        CHECK(turn.rounds() == 3);
    });
}

TEST_CASE("barrier: who was refused while a dump looked has not arrived, although the round is complete when "
          "it runs") {
    in_virtual_time([]() -> rn::task<> {
        rn::barrier turn(1);
        auto refused = turn.arrive();
        {
            const turn_lock hold(refused);  // what suspend_one() does, and then resume_one()
            refused.enlist(rn::detail::running_task(), 0);
            refused.delist();
        }
        CHECK(co_await turn.arrive());
        CHECK(turn.rounds() == 1);
        {
            const turn_lock hold(refused);
            refused.delist();
        }
        CHECK(refused.fail(make_error_code(rn::errc::cancelled)).error() == rn::errc::cancelled);
    });
}

/// What all parties do together; each has done its step of a round before any begins the next.
struct common_work {
    rn::barrier turn{3};
    unsigned steps[3] = {0, 0, 0};
};

rn::task<> party(common_work& of, unsigned number) {
    std::mt19937 random(number);
    for (unsigned round = 1; round <= 6; ++round) {
        auto slept = co_await rn::sleep_for(std::chrono::microseconds(random() % 10));
        testing::expect(slept.has_value());
        of.steps[number] = round;
        for (;;) {  // impatient, so that arrivals are taken back
            const auto patience = std::chrono::microseconds(1 + random() % 10);
            auto arrived = co_await rn::with_timeout(patience, of.turn.arrive());
            testing::expect(arrived || of.turn.rounds() < round, "the round is complete and it was not told");
            if (arrived) break;
        }
        testing::expect(of.turn.rounds() >= round);
        for (const unsigned each : of.steps)
            testing::expect(each == round || each == round + 1, "somebody went on too early");
    }
}

TEST_CASE("barrier: under any schedule a round is complete when all have arrived and all are told") {
    // Slow turns: so that waits end between the moment in which a round is complete and that in which all are told.
    const auto how = testing::options().slow_turns(4, 10us);
    const auto all = testing::explore(how, support::scaled(3'000U, 100'000U), []() -> rn::task<> {
        common_work of;
        rn::task_set parties;
        for (unsigned i = 0; i < 3; ++i) parties.spawn(party, rn::borrow(of), i);
        auto end = co_await parties.join();
        testing::expect(end.has_value());
        testing::expect(of.turn.rounds() == 6);
    });
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("barrier: orders what tasks on several workers wrote before and may end with the last return") {
    const int rounds = scaled(100, 10'000);
    on_workers(3, [rounds]() -> rn::task<> {
        for (int i = 0; i < rounds; ++i) {
            std::optional<rn::barrier> turn(std::in_place, 3U);
            int written[3] = {0, 0, 0};  // plain on purpose
            std::atomic<int> left{3};
            rn::task_set three;
            for (std::size_t n = 0; n < 3; ++n)
                three.spawn([&, n]() -> rn::task<> {
                    for (int round = 1; round < 5; ++round) {
                        written[n] = round;
                        CHECK(co_await turn->arrive());
                        for (const int each : written) CHECK(each == round);
                        CHECK(co_await turn->arrive());
                    }
                    if (left.fetch_sub(1) == 1) turn.reset();
                });
            (void)co_await three.join();
        }
    });
}

TEST_CASE("barrier: misuse is reported") {
    CHECK(dies([] { rn::barrier(0); }, "barrier: for nobody"));
    CHECK(dies(
        [] {
            rn::barrier turn(1);
            turn.leave();
            turn.leave();
        },
        "barrier: more have left than took part"));
}
}
