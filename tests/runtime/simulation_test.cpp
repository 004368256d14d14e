// Simulation: the same code under a seeded scheduler with virtual time.
#include "runnel/testing.hpp"

#include <doctest/doctest.h>
#include <runnel/blocking.hpp>
#include <runnel/fork.hpp>
#include <runnel/go.hpp>
#include <runnel/scope.hpp>
#include <runnel/sync.hpp>
#include <runnel/timer.hpp>

#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/child.hpp"
#include "support/counted.hpp"

namespace rn = runnel;
namespace testing = runnel::testing;
using namespace std::chrono_literals;

namespace {

/// Two tasks that each add to a number in three steps: what a lost update looks like.
rn::task<> add_one(int& total) {
    const int seen = total;
    co_await rn::yield();
    total = seen + 1;
}
rn::task<> two_counters() {
    int total = 0;
    co_await rn::scoped([&](rn::scope& both) -> rn::task<> {
        both.spawn(add_one, rn::borrow(total));
        both.spawn(add_one, rn::borrow(total));
        co_return;
    });
    testing::expect(total == 2, "an update is lost");
}

rn::task<> write_order(std::string& into, char letter) {
    for (int i = 0; i < 3; ++i) {
        into += letter;
        co_await rn::yield();
    }
}
std::string order_with(std::uint64_t seed, testing::strategy how = testing::strategy::mixed) {
    std::string order;
    const auto run = testing::simulate(testing::options().seed(seed).how(how), [&]() -> rn::task<> {
        rn::task_set all;
        for (char letter : {'a', 'b', 'c'}) all.spawn(write_order, rn::borrow(order), letter);
        co_await all.join();
    });
    CHECK_MESSAGE(run.ok(), run.what());
    return order;
}

TEST_CASE("simulate: runs a program to its end, in this thread") {
    std::thread::id ran_in;
    const auto run = testing::simulate(testing::options(), [&]() -> rn::task<> {
        co_await rn::yield();
        ran_in = std::this_thread::get_id();
    });
    CHECK_MESSAGE(run.ok(), run.what());
    CHECK(ran_in == std::this_thread::get_id());
    CHECK(run.what().empty());
}

TEST_CASE("simulate: time passes only while all wait, and exactly as long as they wait") {
    rn::clock::duration slept{};
    const auto run = testing::simulate(testing::options(), [&]() -> rn::task<> {
        const auto start = rn::clock::now();
        co_await rn::sleep_for(24h);
        slept = rn::clock::now() - start;
    });
    CHECK_MESSAGE(run.ok(), run.what());
    CHECK(slept == 24h);
    CHECK(run.time() == 24h);
}

TEST_CASE("simulate: the same seed gives the same run, another seed another") {
    CHECK(order_with(3) == order_with(3));
    std::set<std::string> orders;
    for (std::uint64_t seed = 1; seed <= 100; ++seed) orders.insert(order_with(seed));
    CHECK(orders.size() > 20);
    CHECK(order_with(1, testing::strategy::fifo) == "aaabbbccc");
}

TEST_CASE("simulate: an exception that nobody receives is a failure, in main and elsewhere") {
    const auto thrower = []() -> rn::task<> {
        throw std::runtime_error("kaboom");
        co_return;
    };
    const auto of_main = testing::simulate(testing::options(), thrower);
    CHECK(of_main.kind() == testing::failure::exception);
    CHECK(of_main.what().find("main, ended by an exception: kaboom") != std::string::npos);
    CHECK(of_main.what().find("RUNNEL_SEED=1") != std::string::npos);

    const auto of_child = testing::simulate(testing::options(), [&]() -> rn::task<> {
        rn::go(thrower);
        co_await rn::sleep_for(1s);
    });
    CHECK(of_child.kind() == testing::failure::exception);
}

TEST_CASE("simulate: an error that main returns is a failure") {
    const auto run = testing::simulate(testing::options(), []() -> rn::task<rn::result<int>> {
        co_return std::make_error_code(std::errc::address_in_use);
    });
    CHECK(run.kind() == testing::failure::error);
}

TEST_CASE("simulate: when nobody can ever go on it says who waits where") {
    rn::event never;
    const auto run = testing::simulate(testing::options(), [&]() -> rn::task<> {
        auto other = rn::go([](rn::event& e) -> rn::task<> { co_await e.wait(); }, rn::borrow(never));
        co_await other;
    });
    CHECK(run.kind() == testing::failure::deadlock);
    CHECK(run.what().find("all tasks are asleep: deadlock") != std::string::npos);
    CHECK(run.what().find("  started at simulation_test.cpp:") != std::string::npos);
    CHECK(run.what().find("  number 2\n") != std::string::npos);
}

TEST_CASE("simulate: a program that never waits does not stop the time for others") {
    const auto run = testing::simulate(testing::options(), []() -> rn::task<> {
        bool late = false;
        auto sleeper = rn::go(
            [](bool& flag) -> rn::task<> {
                co_await rn::sleep_for(1s);
                flag = true;
            },
            rn::borrow(late));
        while (!late) co_await rn::yield();
        co_await sleeper;
    });
    CHECK_MESSAGE(run.ok(), run.what());
}

TEST_CASE("simulate: a program that does not end is one that fails") {
    const auto run = testing::simulate(testing::options().points(1000), []() -> rn::task<> {
        for (;;) co_await rn::yield();
    });
    CHECK(run.kind() == testing::failure::endless);
}

TEST_CASE("simulate: what main leaves behind is cancelled; a task that ignores it is found") {
    bool cancelled = false;
    const auto polite = [&]() -> rn::task<> {
        rn::go([](bool& told) -> rn::task<> { told = !co_await rn::sleep_for(24h); }, rn::borrow(cancelled));
        co_await testing::wait_until_all_tasks_wait();
    };
    const auto stopped = testing::simulate(testing::options(), polite);
    CHECK_MESSAGE(stopped.ok(), stopped.what());
    CHECK(cancelled);
    CHECK(stopped.time() == 0s);

    const auto ignored = testing::simulate(testing::options(), []() -> rn::task<> {
        rn::go([]() -> rn::task<> {
            for (;;) co_await rn::sleep_for(1s);
        });
        co_await rn::yield();
    });
    CHECK(ignored.kind() == testing::failure::ignored_cancel);
}

TEST_CASE("simulate: an invariant is looked at after every point") {
    int money[2] = {100, 0};
    const auto nothing_lost = [&] { return money[0] + money[1] == 100; };
    const auto run = testing::simulate(testing::options().invariant(nothing_lost), [&]() -> rn::task<> {
        money[0] -= 10;
        co_await rn::yield();
        money[1] += 10;
    });
    CHECK(run.kind() == testing::failure::invariant);
}

TEST_CASE("simulate: blocking() calls run in this thread, and their end is awaited as ever") {
    std::thread::id ran_in;
    int answer = 0;
    const auto run = testing::simulate(testing::options(), [&]() -> rn::task<> {
        auto end = co_await rn::blocking(
            [](std::thread::id& in) { return in = std::this_thread::get_id(), 42; }, rn::borrow(ran_in));
        if (end) answer = *end;
    });
    CHECK_MESSAGE(run.ok(), run.what());
    CHECK(ran_in == std::this_thread::get_id());
    CHECK(answer == 42);
}

TEST_CASE("simulate: branches of when_all, tickers, contexts and locks are simulated as well") {
    const auto program = []() -> rn::task<> {
        int sum = 0;
        rn::mutex lock;
        auto branch = [](rn::mutex& m, int& total, int by) -> rn::task<> {
            auto held = co_await m.lock();
            const int seen = total;
            co_await rn::sleep_for(1ms);
            total = seen + by;
        };
        co_await rn::when_all(branch(lock, sum, 1), branch(lock, sum, 2), branch(lock, sum, 3));
        testing::expect(sum == 6);
        rn::ticker tick(1s);
        for (int i = 0; i < 3; ++i) (void)co_await tick.tick();
        auto late = co_await rn::with_timeout(1s, rn::sleep_for(1h));
        testing::expect(late.error() == rn::errc::timed_out);
    };
    const auto all = testing::explore(200, program);
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("explore: finds the schedule that loses an update, and shows a short one") {
    const auto all = testing::explore(1000, two_counters);
    CHECK_FALSE(all.ok());
    CHECK(all.first_failure().kind() == testing::failure::expectation);
    CHECK(all.what().find("an update is lost") != std::string::npos);
    CHECK(all.what().find("is interrupted") != std::string::npos);
    MESSAGE(all.what());
}

TEST_CASE("explore: a program whose every schedule is right passes") {
    const auto all = testing::explore(1000, []() -> rn::task<> {
        int total = 0;
        rn::mutex lock;
        auto add = [](rn::mutex& m, int& to) -> rn::task<> {
            auto held = co_await m.lock();
            const int seen = to;
            co_await rn::yield();
            to = seen + 1;
        };
        rn::task_set both;
        both.spawn(add, rn::borrow(lock), rn::borrow(total));
        both.spawn(add, rn::borrow(lock), rn::borrow(total));
        co_await both.join();
        testing::expect(total == 2);
    });
    CHECK_MESSAGE(all.ok(), all.what());
    CHECK(all.runs() == 1000);
}

TEST_CASE("explore: a program that depends on what an earlier run has left is found out") {
    int runs = 0;
    const auto all = testing::explore(10, [&]() -> rn::task<> {
        ++runs;
        for (int i = 0; i < runs; ++i) co_await rn::yield();
    });
    CHECK(all.first_failure().kind() == testing::failure::not_the_same);
}

TEST_CASE("exhaust: goes through all schedules with so many interruptions, and says how many there were") {
    const auto none = testing::exhaust(0, 100'000, two_counters);
    CHECK_MESSAGE(none.ok(), none.what());
    CHECK(none.complete());
    const auto one = testing::exhaust(1, 100'000, two_counters);
    CHECK_FALSE(one.ok());
    MESSAGE(
        none.runs() << " schedules without an interruption, the first failing of those with one is number "
                    << one.runs());
}

TEST_CASE("child: RUNNEL_SEED is set" * doctest::skip()) {
    const auto all = testing::explore(1000, two_counters);
    std::printf("%llu runs from seed %llu\n", static_cast<unsigned long long>(all.runs()),
                static_cast<unsigned long long>(testing::options().seed()));
    std::fflush(stdout);
    std::_Exit(0);
}
TEST_CASE("explore: RUNNEL_SEED chooses the seed, and only that one is run") {
    CHECK(support::child("child: RUNNEL_SEED is set", "RUNNEL_SEED=77").wait().said("1 runs from seed 77"));
}

TEST_CASE("child: a simulated program wakes a task by a thread" * doctest::skip()) {
    const auto run = testing::simulate(testing::options(), []() -> rn::task<> {
        rn::event set;
        auto waiter = rn::go([](rn::event& e) -> rn::task<> { co_await e.wait(); }, rn::borrow(set));
        co_await testing::wait_until_all_tasks_wait();
        std::thread([&] { set.set(); }).join();
        co_await waiter;
    });
    std::_Exit(run.ok() ? 0 : 1);
}
TEST_CASE("simulate: a thread of the program that wakes a task is found out") {
    const auto end = support::child("child: a simulated program wakes a task by a thread").wait();
    CHECK(end.killed_by(SIGABRT));
    CHECK(end.said("a task was woken by a thread of the program"));
}
}
