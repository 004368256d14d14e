// The deadlock report of run(): when nothing can ever run again, the program says so and ends with status 2.
#include <doctest/doctest.h>
#include <runnel/blocking.hpp>
#include <runnel/runtime.hpp>
#include <runnel/sync.hpp>
#include <runnel/time.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>

#include "runtime/task_dump.hpp"
#include "support/child.hpp"
#include "support/runtimes.hpp"

namespace rn = runnel;
using namespace std::chrono_literals;
using support::child;

namespace {

rn::options quiet(unsigned workers = 2) {
    constexpr unsigned watchdog = 1;
    return rn::options().workers(workers).driver(rn::driver_kind::none).bystander_threads(watchdog);
}
rn::task<> locks_both(rn::mutex& first, rn::mutex& second, rn::event& has_first, rn::event& other_has_first) {
    auto held = co_await first.lock();
    has_first.set();
    co_await other_has_first.wait();
    auto held_too = co_await second.lock();
}

TEST_CASE("child: two tasks lock two locks in opposite order" * doctest::skip()) {
    std::_Exit(rn::run(quiet(), []() -> rn::task<> {
        rn::mutex a, b;
        rn::event a_is_held, b_is_held;
        auto one =
            rn::go(locks_both, rn::borrow(a), rn::borrow(b), rn::borrow(a_is_held), rn::borrow(b_is_held));
        auto other =
            rn::go(locks_both, rn::borrow(b), rn::borrow(a), rn::borrow(b_is_held), rn::borrow(a_is_held));
        co_await one;
        co_await other;
    }));
}
TEST_CASE("deadlock: all tasks asleep for ever ends the program with the dump and status 2") {
    const auto end = child("child: two tasks lock two locks in opposite order").wait();
    CHECK(end.exited(2));
    CHECK(end.said("runnel: all tasks are asleep: deadlock"));
    CHECK(end.times("  in locks_both\n") == 2);
    CHECK(end.said("these wait for each other: task "));
    CHECK(end.times(" for a lock of task ") == 2);
}

TEST_CASE("deadlock: the ring of those that wait for each other is found, and who waits outside of it is not "
          "in it") {
    using rn::detail::find_cycle;
    CHECK(find_cycle({}).empty());
    CHECK(find_cycle({{1, 2, "x"}, {2, 3, "x"}}).empty());
    const auto ring = find_cycle({{1, 5, "x"}, {5, 7, "x"}, {7, 3, "x"}, {3, 5, "x"}, {9, 9, "x"}});
    REQUIRE(ring.size() == 3);
    CHECK(ring[0].from == 3);
    CHECK(ring[1].from == 5);
    CHECK(ring[2].from == 7);
    REQUIRE(find_cycle({{9, 9, "x"}}).size() == 1);
}

TEST_CASE("child: main waits for ever and nobody wants to know" * doctest::skip()) {
    std::_Exit(rn::run(quiet(1).deadlock_report(false), []() -> rn::task<> {
        rn::event never;
        std::puts("ready");
        std::fflush(stdout);
        co_await never.wait();
    }));
}
TEST_CASE("deadlock: the report can be turned off") {
    child program("child: main waits for ever and nobody wants to know");
    REQUIRE(program.wait_for("ready"));
    std::this_thread::sleep_for(50ms);  // the report would come after 4
    program.send(SIGTERM);
    const auto end = program.wait();
    CHECK(end.exited(0));
    CHECK_FALSE(end.said("deadlock"));
}

TEST_CASE("child: all wait for ever before a blocking call that nobody waits for has ended" *
          doctest::skip()) {
    std::_Exit(rn::run(quiet(1), []() -> rn::task<> {
        std::atomic<bool> all_wait{false};
        auto late = rn::with_timeout(1ms, rn::blocking([&] {
                                         while (!all_wait) std::this_thread::yield();
                                         std::this_thread::sleep_for(500ms);  // the monitor has given up
                                     }));
        CHECK((co_await std::move(late)).error() == rn::errc::timed_out);
        all_wait = true;
        rn::event never;
        co_await never.wait();
    }));
}
TEST_CASE("deadlock: it is seen though a blocking call was still running when all had gone to sleep") {
    const auto end =
        child("child: all wait for ever before a blocking call that nobody waits for has ended").wait();
    CHECK(end.exited(2));
    CHECK(end.said("runnel: all tasks are asleep: deadlock"));
}

TEST_CASE("child: all wait but not for ever" * doctest::skip()) {
    std::_Exit(rn::run(quiet(2), []() -> rn::task<> {
        co_await rn::sleep_for(30ms);  // a deadline
        (void)co_await rn::blocking([] { std::this_thread::sleep_for(30ms); });
        rn::event set;
        std::thread other([&] {
            std::this_thread::sleep_for(30ms);
            set.set();
        });
        co_await set.wait();  // a thread of the program
        other.join();
        std::puts("went on");
        std::fflush(stdout);
    }));
}
TEST_CASE("deadlock: deadlines, blocking calls and threads of the program are no deadlock") {
    const auto end = child("child: all wait but not for ever").wait();
    CHECK(end.exited(0));
    CHECK(end.said("went on"));
}
}
