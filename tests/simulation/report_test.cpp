// What a report says of a schedule that fails: only what a reader has to follow.
#include <doctest/doctest.h>
#include <runnel/scope.hpp>
#include <runnel/sync.hpp>
#include <runnel/testing.hpp>

#include <string>
#include <string_view>

#include "planted.hpp"

namespace rn = runnel;
namespace testing = runnel::testing;

namespace {

std::size_t count(std::string_view what, std::string_view in) {
    std::size_t found = 0;
    for (std::size_t at = in.find(what); at != std::string_view::npos; at = in.find(what, at + 1)) ++found;
    return found;
}

rn::task<> add_one(int& to) {
    co_await support::work(10);
    const int before = to;
    co_await rn::yield();
    to = before + 1;
    co_await support::work(10);
}

rn::task<> lost_update() {
    int sum = 0;
    rn::task_set all;
    for (int i = 0; i < 3; ++i) all.spawn(add_one, rn::borrow(sum));
    co_await all.join();
    testing::expect(sum == 3, "an update is lost");
}

TEST_CASE(
    "report: it takes one interruption to lose an update, and from wherever it was found no more are shown") {
    for (const std::uint64_t start : {1U, 1'001U, 2'001U, 3'001U, 4'001U}) {
        const auto all = testing::explore(testing::options().seed(start), 10'000, lost_update);
        REQUIRE_FALSE(all.ok());
        CHECK_MESSAGE(count("is interrupted", all.what()) == 1, all.what());
    }
}

rn::task<> fails_in_any_order() {
    int steps = 0;
    rn::task_set both;
    both.spawn(
        [](int& n) -> rn::task<> {
            for (; n < 10; ++n) co_await rn::yield();
        },
        rn::borrow(steps));
    both.spawn(
        [](const int& n) -> rn::task<> {
            co_await rn::yield();
            if (n % 10 != 0)
                testing::expect(false, "in the middle");
            else
                testing::expect(false, "outside");
        },
        rn::borrow(steps));
    co_await both.join();
}

TEST_CASE("report: a shorter schedule that fails elsewhere does not explain this failure") {
    for (std::uint64_t seed = 1;; ++seed) {
        const auto how = testing::options().seed(seed);
        if (count("in the middle", testing::simulate(how, fails_in_any_order).what()) == 0) continue;
        const auto found = testing::explore(how, 1, fails_in_any_order);
        CHECK_MESSAGE(count("in the middle", found.what()) > 0, found.what());
        CHECK(count("outside", found.what()) == 0);
        break;
    }
}

TEST_CASE("report: turns of one task at one place are one line") {
    const auto run = testing::simulate(testing::options().keep_log(true),
                                       []() -> rn::task<> { co_await support::work(1'000); });
    CHECK(run.ok());
    CHECK_MESSAGE(count("(1000 times)", run.log()) == 1, run.log());
    CHECK(count("\n", run.log()) < 10);
}

TEST_CASE("report: it ends where the program failed, and not with how the tasks were ended after that") {
    rn::event never;
    std::size_t ended = 0;
    const auto run = testing::simulate(testing::options().keep_log(true), [&]() -> rn::task<> {
        rn::task_set all;
        for (int i = 0; i < 5; ++i)
            all.spawn(
                [](rn::event& set, std::size_t& count_ended) -> rn::task<> {
                    co_await set.wait();
                    co_await rn::shielded(rn::yield());
                    ++count_ended;
                },
                rn::borrow(never), rn::borrow(ended));
        co_await testing::wait_until_all_tasks_wait();
        testing::expect(false, "so it is");
        co_await all.join();
    });
    CHECK(run.kind() == testing::failure::expectation);
    CHECK(ended == 5);
    CHECK(run.points() > 20);
    const std::string_view last_line = std::string_view(run.log()).substr(run.log().rfind("  "));
    CHECK_MESSAGE(last_line.starts_with("  so it is (report_test.cpp:"), run.log());
    CHECK(run.what().find("explore.cpp") == std::string::npos);
}
}
