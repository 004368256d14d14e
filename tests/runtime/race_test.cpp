// race and race_ok: of several tasks one is wanted, and all have ended when it is there.
#include <doctest/doctest.h>
#include <runnel/go.hpp>
#include <runnel/race.hpp>
#include <runnel/scope.hpp>
#include <runnel/sync.hpp>
#include <runnel/testing.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/child.hpp"
#include "support/counted.hpp"
#include "support/level.hpp"
#include "support/runtimes.hpp"
#include "support/scarce_memory.hpp"
#include "support/virtual_time.hpp"

namespace rn = runnel;
namespace testing = runnel::testing;
using namespace std::chrono_literals;
using support::counted_move_only;
using support::in_virtual_time;
using support::run_on;
using support::scaled;

namespace {

rn::task<rn::result<int>> gives_at(rn::clock::duration time, int n) {
    const auto slept = co_await rn::sleep_for(time);
    if (!slept) co_return slept.error();
    co_return n;
}
rn::task<rn::result<int>> refuses_at(rn::clock::duration time, rn::errc why) {
    const auto slept = co_await rn::sleep_for(time);
    if (!slept) co_return slept.error();
    co_return why;
}
rn::task<rn::result<int>> throws_at(rn::clock::duration time, const char* what) {
    co_await rn::sleep_for(time);
    throw std::runtime_error(what);
}
rn::task<> ends_at(rn::clock::duration time) { co_await rn::sleep_for(time); }
rn::task<std::unique_ptr<int>> boxes(int n) { co_return std::make_unique<int>(n); }

TEST_CASE("race: the first that ends wins, and the others are cancelled") {
    in_virtual_time([]() -> rn::task<> {
        const auto began = rn::clock::now();
        auto won = co_await rn::race(gives_at(1h, 1), gives_at(2ms, 2), ends_at(1h));
        CHECK(rn::clock::now() - began == 2ms);
        CHECK(won);
        CHECK(won.index() == 1);
        CHECK(won.get<1>().value() == 2);
        CHECK_THROWS_AS((void)won.get<0>(), std::bad_variant_access);
        CHECK(won.failures().empty());  // that they were cancelled is no failure
        CHECK(!rn::current_context().cancelled());
        auto none = co_await rn::race(gives_at(1h, 1), ends_at(1ms));
        CHECK(none.index() == 1);
        static_assert(std::is_same_v<decltype(none.get<1>()), rn::nothing&>);
    });
}

TEST_CASE("race: a failure wins too, an error as a value and an exception as an exception") {
    in_virtual_time([]() -> rn::task<> {
        auto won = co_await rn::race(gives_at(2ms, 1), refuses_at(1ms, rn::errc::full));
        CHECK(won.index() == 1);
        CHECK(won.get<1>().error() == rn::errc::full);
        CHECK_THROWS_WITH((void)co_await rn::race(gives_at(2ms, 1), throws_at(1ms, "first")), "first");
    });
}

TEST_CASE("race: on one worker a task that has not begun when another has won never does") {
    run_on(1, []() -> rn::task<> {
        bool ran = false;
        const auto runs = [&]() -> rn::task<std::unique_ptr<int>> {
            ran = true;
            co_return nullptr;
        };
        auto won = co_await rn::race(boxes(7), runs());
        CHECK(won.index() == 0);
        CHECK(*won.get<0>() == 7);
        const auto box = std::move(won).get<0>();
        CHECK(*box == 7);
        CHECK_FALSE(ran);
    });
}

TEST_CASE("race: it returns when the losers have ended, and their exceptions are kept") {
    in_virtual_time([]() -> rn::task<> {
        bool cleaned = false;
        const auto cleans_up = [&]() -> rn::task<rn::result<int>> {
            const auto slept = co_await rn::sleep_for(1h);
            co_await rn::shielded(rn::sleep_for(5ms));
            cleaned = true;
            co_return slept.error();
        };
        const auto fails_at_the_end = [&]() -> rn::task<> {
            co_await rn::sleep_for(1h);
            throw std::runtime_error("cleaning up");
        };
        const auto won = co_await rn::race(cleans_up(), gives_at(1ms, 1), fails_at_the_end());
        CHECK(won.index() == 1);
        CHECK(cleaned);
        if (won.failures().size() != 1) throw std::logic_error("one has failed");
        CHECK(won.failures()[0].index == 2);
        CHECK_THROWS_WITH(std::rethrow_exception(won.failures()[0].exception), "cleaning up");
    });
}

TEST_CASE("race_ok: the first that succeeds wins; those that failed before are told") {
    in_virtual_time([]() -> rn::task<> {
        const auto began = rn::clock::now();
        auto won = co_await rn::race_ok(throws_at(1ms, "one"), refuses_at(2ms, rn::errc::full),
                                        gives_at(3ms, 3), gives_at(1h, 4));
        CHECK(rn::clock::now() - began == 3ms);
        REQUIRE(won);
        CHECK(won.index() == 2);
        CHECK(*won.get<2>() == 3);
        CHECK_FALSE(won.error());
        if (won.failures().size() != 2) throw std::logic_error("two have failed");
        CHECK(won.failures()[0].index == 0);
        CHECK_THROWS_WITH(std::rethrow_exception(won.failures()[0].exception), "one");
        CHECK(won.failures()[1].index == 1);
        CHECK(won.failures()[1].error == rn::errc::full);
    });
}

TEST_CASE(
    "race_ok: when all fail nobody has won, and all failures are kept in the order in which they came") {
    in_virtual_time([]() -> rn::task<> {
        auto errors =
            co_await rn::race_ok(refuses_at(2ms, rn::errc::full), refuses_at(1ms, rn::errc::closed));
        CHECK_FALSE(errors);
        CHECK(errors.error() == rn::errc::closed);
        if (errors.failures().size() != 2) throw std::logic_error("both have failed");
        CHECK(errors.failures()[0].index == 1);
        CHECK(errors.failures()[1].error == rn::errc::full);
        CHECK_THROWS_AS((void)errors.value(), std::system_error);
        auto thrown = co_await rn::race_ok(refuses_at(2ms, rn::errc::full), throws_at(1ms, "thrown"));
        CHECK(thrown.error() == rn::errc::producer_failed);
        CHECK_THROWS_WITH((void)thrown.value(), "thrown");
    });
}

TEST_CASE("race: any number of tasks of one type") {
    in_virtual_time([]() -> rn::task<> {
        std::vector<rn::task<rn::result<int>>> tasks;
        for (int i = 0; i < 20; ++i) tasks.push_back(gives_at(std::chrono::milliseconds(20 - i), i));
        const auto won = co_await rn::race(std::move(tasks));
        CHECK(won.index() == 19);
        CHECK(won->value() == 19);
        std::vector<rn::task<rn::result<int>>> mixed;
        mixed.push_back(refuses_at(1ms, rn::errc::full));
        mixed.push_back(gives_at(2ms, 5));
        const auto ok = co_await rn::race_ok(std::move(mixed));
        CHECK(ok.index() == 1);
        std::vector<rn::task<>> voids;
        voids.push_back(ends_at(1h));
        voids.push_back(ends_at(1ms));
        const auto ended = co_await rn::race(std::move(voids));
        CHECK(ended.index() == 1);
    });
}

TEST_CASE("race: a cancel and a limit of the task that waits reach all of them") {
    in_virtual_time([]() -> rn::task<> {
        const auto late = co_await rn::with_timeout(1ms, rn::race(gives_at(1h, 1), gives_at(2h, 2)));
        REQUIRE(late);
        const auto how = std::visit([](const auto& end) { return end.error(); }, *late);
        CHECK(how == rn::errc::deadline_exceeded);
        const auto none = co_await rn::with_timeout(1ms, rn::race_ok(gives_at(1h, 1), gives_at(2h, 2)));
        CHECK_FALSE(none);
        CHECK(none.error() == rn::errc::timed_out);
    });
}

TEST_CASE("race: what one of them starts by go() lives on; children of a scope of it are cancelled") {
    in_virtual_time([]() -> rn::task<> {
        rn::join_handle<rn::result<int>> detached;
        std::atomic<int> cancelled{0};
        const auto starts = [&]() -> rn::task<> {
            detached = rn::go(gives_at, 5ms, 1);
            rn::scope s;
            const auto child = [&]() -> rn::task<> {
                const auto slept = co_await rn::sleep_for(1h);
                if (!slept) ++cancelled;
            };
            s.spawn(child);
            (void)co_await s.join();
        };
        const auto won = co_await rn::race(starts(), gives_at(1ms, 2));
        CHECK(won.index() == 1);
        CHECK(cancelled == 1);
        const auto end = co_await detached;
        CHECK(end.value() == 1);
    });
}

TEST_CASE("race: dropped unawaited the tasks die unrun") {
    counted_move_only::reset();
    const auto takes = [](counted_move_only) -> rn::task<> { co_return; };
    { const auto never = rn::race(takes(counted_move_only(1)), takes(counted_move_only(2))); }
    CHECK(counted_move_only::live() == 0);
    CHECK(counted_move_only::errors() == 0);
}

TEST_CASE("race: when there is no memory for it, it throws, and the tasks die unrun") {
    if (!support::memory_can_be_scarce()) return;
    run_on(1, []() -> rn::task<> {
        counted_move_only::reset();
        int ran = 0;
        const auto runs = [&ran](counted_move_only) -> rn::task<> {
            ++ran;
            co_return;
        };
        bool done = false;
        long enough = 0;
        for (; !done && enough < 20; ++enough) {
            const long before = support::allocated();
            try {
                const support::scarce_memory few(enough);
                auto race = rn::race(runs(counted_move_only(1)), runs(counted_move_only(2)));
                const auto won = co_await std::move(race);
                done = won.has_value();
            } catch (const std::bad_alloc&) {
                CHECK(ran == 0);
            }
            CHECK(support::allocated() == before);
            CHECK(counted_move_only::live() == 0);
        }
        CHECK(done);
        CHECK(enough > 3);
        CHECK(ran == 1);
    });
}

TEST_CASE("race: a value need not be assignable") {
    struct fixed {
        explicit fixed(int n) : number(n) {}
        const int number;
    };
    in_virtual_time([]() -> rn::task<> {
        const auto gives = [](int n) -> rn::task<fixed> { co_return fixed(n); };
        auto one = rn::race(gives(1), gives(2));
        const auto won = co_await std::move(one);
        CHECK(std::get<0>(*won).number == 1);
        std::vector<rn::task<fixed>> all;
        all.push_back(gives(3));
        auto many = rn::race(std::move(all));
        const auto same = co_await std::move(many);
        CHECK(same->number == 3);
    });
}

TEST_CASE("race: by every schedule exactly one wins, all have ended, and every value is destroyed once") {
    for (const bool any_end : {true, false}) {
        const auto all = testing::explore(scaled(3'000U, 100'000U), [any_end]() -> rn::task<> {
            counted_move_only::reset();
            {
                std::atomic<int> running{0};
                const auto runs = [&](int n) -> rn::task<rn::result<counted_move_only>> {
                    ++running;
                    const auto slept = co_await rn::sleep_for(1ms * testing::choose(3));
                    const auto then = co_await rn::yield();
                    --running;
                    if (!slept || !then) co_return rn::errc::cancelled;
                    if (testing::choose(3) == 1) co_return rn::errc::full;
                    co_return counted_move_only(n);
                };
                auto [ctx, cancel] = rn::with_cancel(rn::current_context());
                const auto cancels = [stop = cancel]() -> rn::task<> {
                    co_await rn::sleep_for(1ms * testing::choose(4));
                    stop();
                };
                auto canceller = rn::go(cancels);
                std::vector<rn::task<rn::result<counted_move_only>>> tasks;
                for (int n = 0; n < 4; ++n) tasks.push_back(runs(n));
                {
                    auto race = any_end ? rn::race(std::move(tasks)) : rn::race_ok(std::move(tasks));
                    auto won = co_await rn::with_context(ctx, std::move(race));
                    testing::expect(running == 0, "one runs on");
                    if (won) {
                        const bool ok = won->has_value();
                        testing::expect(counted_move_only::live() == (ok ? 1 : 0), "one value");
                        if (ok)
                            testing::expect((*won)->value() == static_cast<int>(won.index()), "whose it is");
                        testing::expect(ok || any_end, "a failure won");
                        testing::expect(won.failures().size() < 4);
                    } else {
                        testing::expect(!any_end && won.failures().size() == 4, "nobody won");
                    }
                    testing::expect(!rn::current_context().cancelled());
                }
                (void)co_await canceller;
            }
            testing::expect(counted_move_only::live() == 0, "destroyed");
            testing::expect(counted_move_only::errors() == 0);
        });
        CHECK_MESSAGE(all.ok(), all.what());
    }
}

TEST_CASE("race: on many workers exactly one wins, and the others have ended") {
    run_on(4, []() -> rn::task<> {
        for (int round = 0; round < scaled(1'000, 50'000); ++round) {
            std::atomic<int> running{0};
            rn::event door;
            const auto runs = [&](int n) -> rn::task<int> {
                ++running;
                if (n == 0) co_await door.wait();  // until it is cancelled
                if (n % 2 == 1) co_await rn::yield();
                --running;
                co_return n;
            };
            std::vector<rn::task<int>> tasks;
            for (int n = 0; n < 6; ++n) tasks.push_back(runs(n));
            const auto won = co_await rn::race(std::move(tasks));
            if (running != 0) throw std::logic_error("a loser runs on");
            if (*won != static_cast<int>(won.index())) throw std::logic_error("not the winner's value");
        }
    });
}

TEST_CASE("child: a race of nobody" * doctest::skip()) {
    run_on(1, []() -> rn::task<> { (void)co_await rn::race(std::vector<rn::task<int>>()); });
}
TEST_CASE("child: a race of a task that was moved from" * doctest::skip()) {
    run_on(1, []() -> rn::task<> {
        auto first = boxes(1);
        const auto taken = std::move(first);
        (void)co_await rn::race(boxes(2), std::move(first));
    });
}
TEST_CASE("race: misuse is said aloud") {
    CHECK(support::aborts_saying("child: a race of nobody", "race: of no tasks, nobody can win"));
    CHECK(support::aborts_saying("child: a race of a task that was moved from", "moved from"));
}
}
