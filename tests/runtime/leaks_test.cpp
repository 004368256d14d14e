// Leaks: contexts, timers and tasks that are left when all has ended. Channels and sockets are in their own folders.
#include "runnel/testing_leaks.hpp"

#include <doctest/doctest.h>
#include <runnel/context.hpp>
#include <runnel/go.hpp>
#include <runnel/label.hpp>
#include <runnel/runtime.hpp>
#include <runnel/scope.hpp>
#include <runnel/sync.hpp>
#include <runnel/testing.hpp>
#include <runnel/timer.hpp>

#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/census.hpp"
#include "support/child.hpp"
#include "support/level.hpp"
#include "support/runtimes.hpp"

namespace rn = runnel;
namespace testing = runnel::testing;
using namespace std::chrono_literals;

namespace {

constexpr rn::context_key<int> number;

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

std::string place_of(unsigned line) { return "leaks_test.cpp:" + std::to_string(line); }

rn::task<int> give_seven() { co_return 7; }
rn::task<> give_way() { co_await rn::yield(); }

rn::task<> clean() {
    auto [ctx, cancel] = rn::with_cancel(rn::current_context());
    const rn::context child = rn::with_value(ctx, number, 3);
    rn::timer once(1s);
    rn::ticker often(100ms);
    auto seven = rn::go(give_seven);
    auto tick = co_await often.tick();
    testing::expect(tick.has_value());
    (void)co_await rn::with_timeout(1s, give_way());
    (void)co_await rn::with_context(child, give_way());
    co_await rn::scoped([](rn::scope& both) -> rn::task<> {
        both.spawn(give_way);
        both.spawn(give_way);
        co_return;
    });
    auto got = co_await seven.join();
    testing::expect(got && *got == 7);
    cancel();
}

TEST_CASE("leaks: a program that leaves nothing is none under every schedule") {
    const auto all = testing::explore(support::scaled(200U, 10'000U), clean);
    CHECK_MESSAGE(all.ok(), all.what());
}

// --- Each kind, by its place -----------------------------------------------------------------------

/// What a run keeps until the test ends, and where that was made.
struct kept_context {
    rn::context ctx;
    unsigned line = 0;
};

rn::task<> keep(kept_context& kept) {
    kept.ctx = rn::current_context();
    co_return;
}

using context_maker = rn::task<> (*)(kept_context&);
constexpr context_maker makers[] = {
    [](kept_context& kept) -> rn::task<> {
        kept.line = __LINE__ + 1;
        kept.ctx = rn::with_cancel(rn::background()).ctx;
        co_return;
    },
    [](kept_context& kept) -> rn::task<> {
        kept.line = __LINE__ + 1;
        kept.ctx = rn::with_deadline(rn::background(), rn::clock::now() + 1h).ctx;
        co_return;
    },
    [](kept_context& kept) -> rn::task<> {
        kept.line = __LINE__ + 1;
        kept.ctx = rn::with_timeout(rn::background(), 1h).ctx;
        co_return;
    },
    [](kept_context& kept) -> rn::task<> {
        kept.line = __LINE__ + 1;
        kept.ctx = rn::with_value(rn::background(), number, 3);
        co_return;
    },
    [](kept_context& kept) -> rn::task<> {
        kept.line = __LINE__ + 1;
        kept.ctx = rn::without_cancel(rn::background());
        co_return;
    },
    [](kept_context& kept) -> rn::task<> {
        kept.line = __LINE__ + 1;
        co_await rn::with_timeout(1h, keep(kept));
    },
    [](kept_context& kept) -> rn::task<> {
        kept.line = __LINE__ + 1;
        co_await rn::shielded(keep(kept));
    },
    [](kept_context& kept) -> rn::task<> {
        kept.line = __LINE__ + 1;
        rn::task_set children;
        children.spawn(keep, rn::borrow(kept));
        co_await children.join();
    },
};

TEST_CASE("leaks: a context that is kept is told by who made it whatever made it") {
    for (const context_maker make : makers) {
        kept_context kept;
        const auto run = testing::simulate(testing::options(), [&] { return make(kept); });
        CAPTURE(run.what());
        CHECK(run.kind() == testing::failure::leak);
        CHECK(contains(run.what(), "is left:\n    1 context made at " + place_of(kept.line) + "\n"));
    }
}

TEST_CASE("leaks: a context keeps those that it is in") {
    kept_context kept;
    const auto run = testing::simulate(testing::options(), [&]() -> rn::task<> {
        auto [ctx, cancel] = rn::with_cancel(rn::background());
        kept.ctx = rn::with_value(ctx, number, 3);
        co_return;
    });
    CHECK(run.what().find("1 context made at ") != run.what().rfind("1 context made at "));
}

TEST_CASE("leaks: timers and tickers") {
    // Their end needs the runtime that they were made in, so these never end.
    alignas(rn::timer) static std::byte timers[2][sizeof(rn::timer)];
    alignas(rn::ticker) static std::byte ticker[sizeof(rn::ticker)];
    unsigned line = 0;
    const auto run = testing::simulate(testing::options(), [&]() -> rn::task<> {
        line = __LINE__ + 1;
        for (auto& each : timers) ::new (each) rn::timer(1h);
        ::new (ticker) rn::ticker(1h);
        co_return;
    });
    CAPTURE(run.what());
    CHECK(run.kind() == testing::failure::leak);
    CHECK(contains(run.what(), "    2 timers made at " + place_of(line) + "\n"));
    CHECK(contains(run.what(), "    1 ticker made at " + place_of(line + 1) + "\n"));
}

TEST_CASE("leaks: a task that has ended is left while its join_handle is kept and is told once") {
    std::vector<rn::join_handle<int>> kept;
    unsigned line = 0;
    const auto keep_two = [&]() -> rn::task<> {
        line = __LINE__ + 1;
        for (int i = 0; i < 2; ++i) kept.push_back(rn::go(give_seven));
        co_await testing::wait_until_all_tasks_wait();
    };
    const auto run = testing::simulate(testing::options(), keep_two);
    CAPTURE(run.what());
    CHECK(run.kind() == testing::failure::leak);
    CHECK(
        contains(run.what(), "    2 ended tasks started at " + place_of(line) + ", kept by a join_handle\n"));
    const auto next = testing::simulate(testing::options(), clean);
    CHECK_MESSAGE(next.ok(), next.what());
    CHECK(kept[0].wait().value() == 7);
}

TEST_CASE("leaks: a task that an earlier run has left is not told again by a later one at the same address") {
    std::vector<rn::join_handle<int>> kept;
    for (int i = 0; i < 20; ++i) {
        const auto run = testing::simulate(testing::options(), [&]() -> rn::task<> {
            kept.push_back(rn::go(give_seven));
            co_await testing::wait_until_all_tasks_wait();
        });
        CHECK_MESSAGE(contains(run.what(), "    1 ended task started at "), run.what());
    }
}

TEST_CASE("leaks: a scope that is left without join ends with its children and is none") {
    const auto all = testing::explore(3, []() -> rn::task<> {
        rn::task_set children;
        children.spawn([]() -> rn::task<> { (void)co_await rn::sleep_for(1h); });
        co_await rn::yield();
    });
    CHECK_MESSAGE(all.ok(), all.what());
}

// --- What counts -----------------------------------------------------------------------------------

TEST_CASE("leaks: what was made before the run and what ends in it though it was is not looked at") {
    const rn::context before = rn::with_cancel(rn::background()).ctx;
    rn::context ends_in_it = rn::with_cancel(rn::background()).ctx;
    const auto run = testing::simulate(testing::options(), [&]() -> rn::task<> {
        const rn::context child = rn::with_value(before, number, 3);
        ends_in_it = rn::background();
        co_return;
    });
    CHECK_MESSAGE(run.ok(), run.what());
}

TEST_CASE("leaks: what main returns is none and neither is what an earlier run has left") {
    kept_context kept;
    CHECK_FALSE(testing::simulate(testing::options(), [&] { return makers[0](kept); }));
    const auto run = testing::simulate(testing::options(), []() -> rn::task<rn::result<rn::context>> {
        co_return rn::with_cancel(rn::background()).ctx;
    });
    CHECK_MESSAGE(run.ok(), run.what());
}

TEST_CASE("leaks: the report can be turned off and any other failure comes first") {
    kept_context kept;
    const auto off =
        testing::simulate(testing::options().leak_report(false), [&] { return makers[0](kept); });
    CHECK_MESSAGE(off.ok(), off.what());
    const auto other = testing::simulate(testing::options(), [&]() -> rn::task<> {
        co_await makers[0](kept);
        testing::expect(false, "something else");
    });
    CHECK(other.kind() == testing::failure::expectation);
}

TEST_CASE("leaks: one that only some schedules leave is found and shortened as what it is") {
    rn::context kept;
    unsigned line = 0;
    const auto all = testing::explore(testing::options().seed(1), 10'000, [&]() -> rn::task<> {
        kept = rn::background();
        bool first_is_there = false;
        rn::task_set both;
        both.spawn([&]() -> rn::task<> {
            for (int i = 0; i < 3; ++i) co_await rn::yield();
            first_is_there = true;
        });
        both.spawn([&]() -> rn::task<> {
            for (int i = 0; i < 6; ++i) co_await rn::yield();
            line = __LINE__ + 1;
            rn::context mine = rn::with_cancel(rn::background()).ctx;
            if (!first_is_there) kept = std::move(mine);
        });
        co_await both.join();
    });
    CAPTURE(all.what());
    CHECK(all.first_failure().kind() == testing::failure::leak);
    CHECK(contains(all.what(), "1 context made at " + place_of(line)));
    CHECK(contains(all.what(), "RUNNEL_SEED="));
}

// --- Threads and runtimes --------------------------------------------------------------------------

rn::task<rn::context> make_context() { co_return rn::with_cancel(rn::background()).ctx; }

TEST_CASE("leaks: objects end on other threads before and after the end of the runtime that made them") {
    const unsigned rounds = support::scaled(30U, 1'000U);
    for (unsigned round = 0; round < rounds; ++round) {
        std::vector<rn::context> last;
        testing::leak_region region;
        {
            rn::runtime makes(support::workers(2).leak_report(true)),
                takes(support::workers(1).leak_report(true));
            for (int i = 0; i < 20; ++i) {
                auto made = makes.spawn(make_context).wait();
                auto dropped = takes.spawn([](rn::context) -> rn::task<> { co_return; }, std::move(*made));
                auto also = makes.spawn(make_context).wait();
                std::thread drops([&also] { *also = rn::background(); });
                drops.join();
                CHECK(dropped.wait().has_value());
            }
            last.push_back(makes.spawn(make_context).wait().value());
            CHECK(contains(region.left(), "1 context made at leaks_test.cpp"));
            last.push_back(takes.spawn(make_context).wait().value());
            std::thread drops([&last] { last.pop_back(); });
            drops.join();
            last.clear();
        }
        CHECK(region.left().empty());
    }
}

TEST_CASE("leaks: what outlives its runtime is dropped while others count") {
    std::vector<rn::context> left;
    for (unsigned round = 0; round < support::scaled(20U, 500U); ++round) {
        std::thread drops([mine = std::exchange(left, {})]() mutable { mine.clear(); });
        std::thread runs([] {
            for (int i = 0; i < 5; ++i) CHECK(testing::simulate(testing::options(), clean));
        });
        const auto run = testing::simulate(testing::options(), [&]() -> rn::task<> {
            for (int i = 0; i < 50; ++i) left.push_back(rn::with_cancel(rn::background()).ctx);
            co_return;
        });
        CHECK(contains(run.what(), "    50 contexts made at "));
        drops.join();
        runs.join();
    }
}

rn::task<int> named_seven() {
    rn::name_task("seven");
    co_return 7;
}

std::size_t censuses() {
    std::size_t count = 0;
    for (auto* each = rn::detail::census::newest(); each != nullptr; each = each->older) ++count;
    return count;
}

TEST_CASE("leaks: what is kept for those that are left is used again once they are gone") {
    kept_context kept;
    const auto leave_one = [&] {
        CHECK_FALSE(testing::simulate(testing::options(), [&] { return makers[0](kept); }));
    };
    for (int i = 0; i < 3; ++i) leave_one();
    const std::size_t before = censuses();
    for (int i = 0; i < 100; ++i) leave_one();
    CHECK(censuses() == before);
}

TEST_CASE("child: runtimes and what they leave" * doctest::skip()) {
    std::vector<rn::context> kept;
    rn::join_handle<int> handle;
    {
        rn::runtime quiet(support::workers(2).name("quiet"));
        rn::runtime tidy(support::workers(2).name("tidy").leak_report(true));
        rn::runtime messy(support::workers(2).name("messy").leak_report(true));
        for (int i = 0; i < 3; ++i) {
            kept.push_back(messy.spawn(make_context).wait().value());
            kept.push_back(quiet.spawn(make_context).wait().value());
            (void)tidy.spawn(make_context).wait().value();
        }
        handle = messy.spawn(named_seven);
        CHECK(handle.wait().value() == 7);
        (void)tidy.spawn([](rn::context) -> rn::task<> { co_return; }, kept[0]).wait();
    }
    kept.clear();
    std::_Exit(rn::run(support::workers(2).name("program").leak_report(true), [&]() -> rn::task<> {
        kept.push_back(rn::with_cancel(rn::background()).ctx);
        co_return;
    }));
}

TEST_CASE("leaks: a runtime that is told to prints what it leaves when it is destroyed") {
    const auto end = support::child("child: runtimes and what they leave").wait();
    CAPTURE(end.printed);
    CHECK(end.exited(0));
    CHECK(end.said("runnel: 'messy' has stopped; of what its tasks made is left:\n  1 ended task started at "
                   "leaks_test.cpp:"));
    CHECK(end.said(" ('seven'), kept by a join_handle\n  3 contexts made at leaks_test.cpp:"));
    CHECK(end.said("runnel: 'program' has stopped; of what its tasks made is left:\n  1 context made at "
                   "leaks_test.cpp:"));
    CHECK(end.times("is left:") == 2);
}

// --- Regions ---------------------------------------------------------------------------------------

TEST_CASE("leaks: a region sees what is made after its beginning by whomever") {
    std::vector<rn::context> before(3, rn::with_cancel(rn::background()).ctx);
    const testing::leak_region outer;
    const rn::context by_a_thread = rn::with_cancel(rn::background()).ctx;
    const testing::leak_region inner;
    before.clear();  // was not counted, and is not subtracted
    CHECK(inner.left().empty());
    CHECK(contains(outer.left(), "  1 context made at leaks_test.cpp:"));
    {
        rn::runtime one(support::workers(2)), other(support::workers(2).leak_report(true));
        std::vector<rn::context> kept;
        kept.push_back(one.spawn(make_context).wait().value());
        kept.push_back(other.spawn(make_context).wait().value());
        CHECK(contains(inner.left(), "  2 contexts made at leaks_test.cpp:"));
    }
    CHECK(inner.left().empty());
}

TEST_CASE("leaks: a region sees the tasks that were started in it and have not ended or have kept handles") {
    rn::event go_on;
    rn::runtime here(support::workers(2));
    const auto wait_for_it = [](rn::event& it) -> rn::task<> { co_await it.wait(); };
    auto earlier = here.spawn(wait_for_it, rn::borrow(go_on));
    const testing::leak_region region;
    const unsigned line = __LINE__ + 1;
    auto task = here.spawn(wait_for_it, rn::borrow(go_on));
    CHECK(region.left() == "  1 task started at " + place_of(line) + "\n");
    go_on.set();
    CHECK(task.wait().has_value());
    CHECK(region.left() == "  1 ended task started at " + place_of(line) + ", kept by a join_handle\n");
    task.detach();
    CHECK(region.left().empty());
    CHECK(earlier.wait().has_value());
}

TEST_CASE("leaks: a region of a simulation sees what this one makes and no other region sees that") {
    const testing::leak_region outside;
    std::string left_inside, left_outside;
    const auto run = testing::simulate(testing::options().leak_report(false), [&]() -> rn::task<> {
        const rn::context before = rn::with_cancel(rn::background()).ctx;
        const testing::leak_region region;
        const rn::context within = rn::with_value(rn::background(), number, 3);
        auto task = rn::go(give_seven);
        left_inside = region.left();
        left_outside = outside.left();
        co_await rn::yield();
    });
    CHECK(run.ok());
    CHECK(contains(left_inside, "  1 task started at "));
    CHECK(contains(left_inside, "  1 context made at "));
    CHECK(left_outside.empty());
}

TEST_CASE("leaks: what a simulation has left is nothing to a region outside of it also when it has ended") {
    const testing::leak_region outside;
    std::vector<rn::join_handle<int>> handles;
    std::vector<rn::context> contexts;
    const auto run = testing::simulate(testing::options(), [&]() -> rn::task<> {
        handles.push_back(rn::go(give_seven));
        contexts.push_back(rn::with_cancel(rn::background()).ctx);
        co_await testing::wait_until_all_tasks_wait();
    });
    CHECK(run.kind() == testing::failure::leak);
    CHECK(outside.left() == "");
    CHECK(handles[0].wait().value() == 7);
}

TEST_CASE("expect_no_leaks: is content with what leaves nothing on threads and in tasks") {
    testing::expect_no_leaks([] { CHECK(rn::run(support::workers(2), clean) == 0); });
    rn::runtime lasting(support::workers(1));
    testing::expect_no_leaks([&lasting] {  // the task is on its way when this returns
        lasting.spawn([]() -> rn::task<> { (void)co_await rn::sleep_for(5ms); }).detach();
    });
    support::run_on(2, []() -> rn::task<> {
        co_await testing::expect_no_leaks(clean);
        co_await testing::expect_no_leaks([]() -> rn::task<> {
            rn::go([]() -> rn::task<> { (void)co_await rn::sleep_for(5ms); });
            co_return;
        });
    });
    const auto all = testing::explore(100, []() -> rn::task<> { co_await testing::expect_no_leaks(clean); });
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("expect_no_leaks: in a simulation what is left fails the run") {
    unsigned line = 0;
    const auto run = testing::simulate(testing::options(), [&]() -> rn::task<> {
        rn::context kept;
        line = __LINE__ + 1;
        co_await testing::expect_no_leaks([&]() -> rn::task<> {
            kept = rn::with_cancel(rn::background()).ctx;
            co_return;
        });
    });
    CAPTURE(run.what());
    CHECK(run.kind() == testing::failure::expectation);
    CHECK(contains(run.what(), "of what was made is left:\n  1 context made at " + place_of(line + 1)));
    CHECK(contains(run.what(), "(" + place_of(line) + ")"));
}

TEST_CASE("child: a test that leaves a context" * doctest::skip()) {
    rn::context kept;
    testing::expect_no_leaks([&kept] { kept = rn::with_cancel(rn::background()).ctx; });
}

TEST_CASE("child: a task that leaves a context" * doctest::skip()) {
    support::run_on(2, []() -> rn::task<> {
        rn::context kept;
        co_await testing::expect_no_leaks([&]() -> rn::task<> {
            kept = rn::with_cancel(rn::background()).ctx;
            co_return;
        });
    });
}

TEST_CASE("expect_no_leaks: elsewhere it ends the program with a report") {
    for (const char* test : {"child: a test that leaves a context", "child: a task that leaves a context"}) {
        const auto end = support::child(test).wait();
        CAPTURE(end.printed);
        CHECK(end.killed_by(SIGABRT));
        CHECK(end.said("of what was made is left:\n  1 context made at leaks_test.cpp:"));
        CHECK(end.times("1 context made at") == 1);
        CHECK(end.said("expect_no_leaks: "));  // and who expected it, however long the list is
    }
}
}
