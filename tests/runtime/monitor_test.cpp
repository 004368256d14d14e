// The monitor: a task that holds its worker for long is named.
#include <doctest/doctest.h>
#include <runnel/runtime.hpp>

#include <chrono>

#include "support/child.hpp"
#include "support/runtimes.hpp"

namespace rn = runnel;
using namespace std::chrono_literals;

namespace {

void spin_for(std::chrono::milliseconds time) {
    const auto end = std::chrono::steady_clock::now() + time;
    while (std::chrono::steady_clock::now() < end) {}
}

TEST_CASE("child: a task that holds its worker twice" * doctest::skip()) {
    rn::runtime here(support::workers(1));
    here.spawn([]() -> rn::task<> {
            for (int i = 0; i < 2; ++i) {
                spin_for(250ms);
                co_await rn::yield();
            }
            co_await rn::sleep_for(150ms);  // waiting is not holding
        })
        .wait();
    std::_Exit(0);
}
TEST_CASE("monitor: a task that holds its worker for long is named, once each time that it does") {
    const auto end = support::child("child: a task that holds its worker twice").wait();
    CHECK(end.times("has held worker 0 of 'runnel' for 1") == 2);  // 100 ms and something
    CHECK(end.said("started at "));
    CHECK(end.said("monitor_test.cpp:"));
}

TEST_CASE("child: main holds its worker" * doctest::skip()) {
    std::_Exit(rn::run(support::workers(1), []() -> rn::task<> {
        spin_for(250ms);
        co_return;
    }));
}
TEST_CASE("monitor: main is told as main and not by a place in the library") {
    const auto end = support::child("child: main holds its worker").wait();
    CHECK(end.said("runnel: task 1024, main, has held worker 0 of 'runnel' for 1"));
    CHECK_FALSE(end.said("started at"));
}

TEST_CASE("child: a task that may hold its worker" * doctest::skip()) {
    rn::runtime here(support::workers(1).slow_turn(0ms));
    here.spawn([]() -> rn::task<> {
            spin_for(150ms);
            co_return;
        })
        .wait();
    std::_Exit(0);
}
TEST_CASE("monitor: options::slow_turn(0) wants no such report") {
    CHECK_FALSE(support::child("child: a task that may hold its worker").wait().said("has held"));
}
}
