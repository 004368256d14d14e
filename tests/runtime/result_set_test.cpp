// result_set: children that give values, taken as they come or in the order in which they were spawned.
#include <doctest/doctest.h>
#include <runnel/go.hpp>
#include <runnel/result_set.hpp>
#include <runnel/scope.hpp>
#include <runnel/select.hpp>
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
#include "support/virtual_time.hpp"

namespace rn = runnel;
namespace testing = runnel::testing;
using namespace std::chrono_literals;
using support::counted;
using support::counted_move_only;
using support::in_virtual_time;
using support::run_on;
using support::scaled;

namespace {

rn::task<int> gives_after(rn::clock::duration time, int n) {
    co_await rn::sleep_for(time);
    co_return n;
}
/// A value, or an error when it is cancelled meanwhile.
rn::task<rn::result<int>> may_give(rn::clock::duration time, int n) {
    const auto slept = co_await rn::sleep_for(time);
    if (!slept) co_return slept.error();
    co_return n;
}
rn::task<rn::result<int>> refuses_after(rn::clock::duration time, rn::errc why) {
    co_await rn::sleep_for(time);
    co_return why;
}
rn::task<int> throws_after(rn::clock::duration time) {
    co_await rn::sleep_for(time);
    throw std::runtime_error("thrown");
}

TEST_CASE("result_set: next() gives the results as they come, and then says that there are no more") {
    in_virtual_time([]() -> rn::task<> {
        rn::result_set<int> set;
        for (const int n : {3, 1, 2}) set.spawn(gives_after, std::chrono::milliseconds(n), n);
        std::vector<int> got;
        while (auto one = co_await set.next()) got.push_back(*one);
        CHECK(got == std::vector<int>{1, 2, 3});
        const auto more = co_await set.next();
        CHECK(more.error() == rn::errc::closed);
        CHECK(co_await set.join());
    });
}

TEST_CASE("result_set: in_order() gives them in the order in which they were spawned") {
    in_virtual_time([]() -> rn::task<> {
        rn::result_set<int> set;
        for (const int n : {3, 1, 2}) set.spawn(may_give, std::chrono::milliseconds(n), n);
        const auto all = co_await set.in_order();
        CHECK(all.value() == std::vector<int>{3, 1, 2});
        const auto none = co_await set.in_order();
        CHECK(none.value().empty());
        set.spawn(gives_after, 1ms, 4);  // and may be filled again
        const auto again = co_await set.in_order();
        CHECK(again.value() == std::vector<int>{4});
    });
}

TEST_CASE("result_set: in_order() gives those that next() has not given") {
    in_virtual_time([]() -> rn::task<> {
        rn::result_set<std::unique_ptr<int>> set;
        const auto boxes = [](int n) -> rn::task<std::unique_ptr<int>> {
            co_await rn::sleep_for(std::chrono::milliseconds(n));
            co_return std::make_unique<int>(n);
        };
        for (const int n : {3, 1, 2}) set.spawn(boxes, n);
        const auto first = co_await set.next();
        CHECK(**first == 1);
        const auto rest = co_await set.in_order();
        CHECK(rest->size() == 2);
        CHECK(*(*rest)[0] == 3);
        CHECK(*(*rest)[1] == 2);
    });
}

TEST_CASE("result_set: an empty one has no next result, and in_order() is empty") {
    in_virtual_time([]() -> rn::task<> {
        rn::result_set<int> set;
        const auto none = co_await set.next();
        CHECK(none.error() == rn::errc::closed);
        const auto all = co_await set.in_order();
        CHECK(all->empty());
    });
}

TEST_CASE("result_set: the first that fails cancels the others; what came before is still given") {
    in_virtual_time([]() -> rn::task<> {
        rn::result_set<int> set;
        set.spawn(may_give, 1ms, 1);
        set.spawn(refuses_after, 2ms, rn::errc::full);
        set.spawn(may_give, 1h, 3);
        const auto began = rn::clock::now();
        const auto all = co_await set.in_order();
        CHECK(all.error() == rn::errc::full);
        CHECK(rn::clock::now() - began == 2ms);
        const auto one = co_await set.next();
        CHECK(one.value() == 1);
        const auto more = co_await set.next();
        CHECK(more.error() == rn::errc::closed);
        CHECK(set.failures() == 1);
    });
}

TEST_CASE("result_set: an exception comes out of join() and in_order(), and never out of next()") {
    in_virtual_time([]() -> rn::task<> {
        for (const bool ordered : {false, true}) {
            rn::result_set<int> set;
            set.spawn(throws_after, 1ms);
            set.spawn(may_give, 1h, 1);
            const auto none = co_await set.next();
            CHECK(none.error() == rn::errc::closed);
            if (ordered)
                CHECK_THROWS_WITH((void)co_await set.in_order(), "thrown");
            else
                CHECK_THROWS_WITH(co_await set.join(), "thrown");
        }
    });
}

TEST_CASE("result_set: of results each child fails for itself") {
    in_virtual_time([]() -> rn::task<> {
        rn::result_set<rn::result<int>> set;
        set.spawn(refuses_after, 1ms, rn::errc::full);
        set.spawn(may_give, 2ms, 2);
        const auto first = co_await set.next();
        REQUIRE(first);
        CHECK(first->error() == rn::errc::full);
        const auto second = co_await set.next();
        CHECK(**second == 2);
        CHECK(co_await set.join());
    });
}

TEST_CASE("result_set: next() ends with the task's context and can be limited; then nothing is lost") {
    in_virtual_time([]() -> rn::task<> {
        rn::result_set<int> set;
        set.spawn(gives_after, 2ms, 1);
        const auto late = co_await rn::with_timeout(1ms, set.next());
        CHECK(late.error() == rn::errc::timed_out);
        auto [ctx, cancel] = rn::with_cancel(rn::current_context());
        cancel();
        const auto refused = co_await rn::with_context(ctx, set.next());
        CHECK(refused.error() == rn::errc::cancelled);
        auto other = co_await rn::select(set.next(), rn::after(0ms));
        CHECK(other.index() == 1);
        auto won = co_await rn::select(set.next(), rn::after(1h));
        REQUIRE(won.index() == 0);
        CHECK(won.take<0>().value() == 1);
    });
}

TEST_CASE("result_set: a cancel of the waiting task reaches the children") {
    in_virtual_time([]() -> rn::task<> {
        const auto collects = []() -> rn::task<rn::result<std::vector<int>>> {
            rn::result_set<int> set;
            set.spawn(may_give, 1h, 1);
            auto all = co_await set.in_order();
            co_return all;
        };
        const auto late = co_await rn::with_timeout(1ms, collects());
        CHECK(late.error() == rn::errc::timed_out);
    });
}

TEST_CASE("result_set: with a limit, children begin as others end, whether their results are taken or not") {
    in_virtual_time([]() -> rn::task<> {
        rn::result_set<int> set;
        set.set_limit(2);
        const auto began = rn::clock::now();
        for (int n = 0; n < 6; ++n) {
            const auto started = co_await set.when_free().spawn(gives_after, 1ms, n);
            CHECK(started);
        }
        CHECK(set.if_free().spawn(gives_after, 1ms, 6).error() == rn::errc::not_available);
        const auto all = co_await set.in_order();
        CHECK(all.value() == std::vector<int>{0, 1, 2, 3, 4, 5});
        CHECK(rn::clock::now() - began == 3ms);
    });
}

TEST_CASE("result_set: by every schedule each result is given once, whoever asks, whatever ends the asking") {
    const auto all = testing::explore(scaled(3'000U, 100'000U), []() -> rn::task<> {
        counted_move_only::reset();
        {
            rn::result_set<counted_move_only> set;
            const auto gives = [](int n) -> rn::task<counted_move_only> {
                co_await rn::sleep_for(1ms * testing::choose(3));
                co_return counted_move_only(n);
            };
            std::vector<int> times(5);
            rn::task_set takers;
            const auto takes = [&](rn::clock::duration patience) -> rn::task<> {
                for (int i = 0; i < 3; ++i) {
                    const auto one = co_await rn::with_timeout(patience, set.next());
                    if (one) ++times[static_cast<std::size_t>(one->value())];
                }
            };
            for (int n = 0; n < 5; ++n) set.spawn(gives, n);
            for (int i = 0; i < 2; ++i) takers.spawn(takes, rn::clock::duration(1ms * testing::choose(3)));
            (void)co_await takers.join();
            const auto rest = co_await set.in_order();
            testing::expect(rest.has_value());
            for (const auto& one : *rest) ++times[static_cast<std::size_t>(one.value())];
            testing::expect(times == std::vector<int>(5, 1), "each once");
        }
        testing::expect(counted_move_only::live() == 0, "destroyed");
        testing::expect(counted_move_only::errors() == 0);
    });
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE(
    "result_set: results that nobody takes die with it, joined or left, and those that come later at once") {
    counted::reset();
    in_virtual_time([]() -> rn::task<> {
        const auto gives = [](rn::clock::duration time) -> rn::task<counted> {
            co_await rn::shielded(rn::sleep_for(time));
            co_return counted(1);
        };
        const auto leaves = [&](bool with_children) -> rn::task<> {
            {
                rn::result_set<counted> set;
                for (int i = 0; i < 3; ++i) set.spawn(gives, 0ms);
                CHECK(co_await set.join());
                CHECK(counted::live() == 3);
                if (with_children)
                    for (const auto time : {5ms, 50ms}) set.spawn(gives, time);
            }
            CHECK(counted::live() == 0);
        };
        co_await rn::go(leaves, false);
        auto left = rn::go(leaves, true);
        co_await rn::sleep_for(10ms);
        CHECK(counted::live() == 0);  // one child has ended since, and one lives
        co_await left;
        CHECK(counted::live() == 0);
    });
    CHECK(counted::errors() == 0);
}

TEST_CASE("result_set: on many workers nothing is lost between children that end and tasks that take") {
    run_on(4, []() -> rn::task<> {
        const int count = scaled(3'000, 200'000);
        std::atomic<long> sum{0};
        std::atomic<int> taken{0};
        rn::result_set<int> set;
        set.set_limit(50);
        const auto gives = [](int n) -> rn::task<int> {
            if (n % 3 == 0) co_await rn::yield();
            co_return n;
        };
        const auto takes = [&]() -> rn::task<> {
            while (auto one = co_await set.next()) {
                sum += *one;
                ++taken;
            }
        };
        const auto spawns = [&]() -> rn::task<> {
            for (int n = 1; n <= count; ++n) {
                const auto started = co_await set.when_free().spawn(gives, n);
                if (!started) throw std::logic_error("refused");
            }
        };
        auto spawner = rn::go(spawns);
        rn::task_set takers;
        for (int i = 0; i < 3; ++i)
            takers.spawn(takes);  // they may end early, when no child lives for a moment
        (void)co_await spawner;
        takers.spawn(takes);
        co_await takers.join();
        CHECK(co_await set.join());
        const auto rest = co_await set.in_order();
        for (const int one : *rest) {
            sum += one;
            ++taken;
        }
        CHECK(taken == count);
        CHECK(sum == static_cast<long>(count) * (count + 1) / 2);
    });
}

TEST_CASE("child: a result_set ends while a task waits for a result" * doctest::skip()) {
    run_on(1, []() -> rn::task<> {
        auto set = std::make_unique<rn::result_set<int>>();
        set->spawn(gives_after, 1h, 1);
        const auto takes = [&]() -> rn::task<> { (void)co_await set->next(); };
        rn::go(takes);
        co_await rn::yield();
        set.reset();
    });
}
TEST_CASE("result_set: that it ends while a task waits for a result of it is said aloud") {
    CHECK(support::aborts_saying("child: a result_set ends while a task waits for a result",
                                 "result_set: ends while a task waits for a result of it"));
}
}
