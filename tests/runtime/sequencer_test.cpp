// sequencer: steps of different tasks in one order.
#include "runnel/testing_sequencer.hpp"

#include <doctest/doctest.h>
#include <runnel/go.hpp>
#include <runnel/runtime.hpp>
#include <runnel/scope.hpp>
#include <runnel/select.hpp>
#include <runnel/testing.hpp>

#include <string>
#include <vector>

#include "support/child.hpp"
#include "support/level.hpp"
#include "support/runtimes.hpp"

namespace rn = runnel;
namespace testing = runnel::testing;
using namespace std::chrono_literals;

namespace {

rn::task<> write_steps(testing::sequencer& order, std::vector<std::uint32_t>& into, std::uint32_t first,
                       std::uint32_t last, std::uint32_t stride) {
    for (std::uint32_t step = first; step <= last; step += stride) {
        auto reached = co_await order.reach(step);
        if (!reached) co_return;
        into.push_back(step);  // nobody else writes until we have reached the next step
        auto over = co_await order.reach(step + 1);
        if (!over) co_return;
    }
}

TEST_CASE(
    "sequencer: what is done before a step happens before what is done after a later one, on any workers") {
    testing::sequencer order;
    std::vector<std::uint32_t> written;
    const std::uint32_t rounds = support::scaled(200U, 20'000U);
    support::run_on(4, [&]() -> rn::task<> {
        rn::task_set all;
        for (std::uint32_t i = 0; i < 4; ++i)
            all.spawn(
                [&, i]() -> rn::task<> { co_await write_steps(order, written, 2 * i + 1, 8 * rounds, 8); });
        co_await all.join();
    });
    REQUIRE(written.size() == 4 * rounds);
    for (std::size_t i = 0; i < written.size(); ++i) CHECK(written[i] == 2 * i + 1);
    CHECK(order.reached() == 8 * rounds);
}

TEST_CASE("sequencer: in whatever order the tasks come, under every schedule") {
    const auto all = testing::exhaust(3, 100'000, []() -> rn::task<> {
        testing::sequencer order;
        std::string written;
        rn::task_set three;
        for (const std::uint32_t step : {3U, 1U, 2U})
            three.spawn([&order, &written, step]() -> rn::task<> {
                auto reached = co_await order.reach(step);
                testing::expect(reached.has_value());
                written += static_cast<char>('0' + step);
            });
        co_await three.join();
        testing::expect(written == "123", "out of order");
    });
    CHECK_MESSAGE(all.ok(), all.what());
    CHECK(all.complete());
}

TEST_CASE("sequencer: a wait for a step that was cancelled has not reached it, and others still can") {
    const auto all = testing::explore(1'000, []() -> rn::task<> {
        testing::sequencer order;
        rn::task_set waits;
        int refused = 0;
        waits.spawn([&]() -> rn::task<> {
            auto reached = co_await order.reach(2);
            refused += !reached;
        });
        co_await testing::wait_until_all_tasks_wait();
        waits.cancel();
        co_await waits.join();
        testing::expect(refused == 1);
        auto first = co_await order.reach(1);
        auto second = co_await order.reach(2);
        testing::expect(first && second && order.reached() == 2);
    });
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("sequencer: a step is a case of a select, and one that lost has not been reached") {
    const auto run = testing::simulate(testing::options(), []() -> rn::task<> {
        testing::sequencer order;
        auto chosen = co_await rn::select(order.reach(2), rn::after(1s));
        testing::expect(chosen.index() == 1);
        auto first = co_await order.reach(1);
        testing::expect(first && order.reached() == 1);
    });
    CHECK_MESSAGE(run.ok(), run.what());
}

TEST_CASE("sequencer: who waits for a step that nobody makes possible is shown in the report") {
    const auto run = testing::simulate(testing::options(), []() -> rn::task<> {
        testing::sequencer order;
        (void)co_await order.reach(2);
    });
    CHECK(run.kind() == testing::failure::deadlock);
    CHECK_MESSAGE(run.what().find("waiting for its step of a sequencer") != std::string::npos, run.what());
}

TEST_CASE("child: a step is reached again" * doctest::skip()) {
    support::run_on(1, []() -> rn::task<> {
        testing::sequencer order;
        (void)co_await order.reach(1);
        (void)co_await order.reach(1);
    });
}

TEST_CASE("sequencer: a step that has been reached already is misuse, said aloud") {
    CHECK(support::aborts_saying("child: a step is reached again", "this step has been reached already"));
}
}
