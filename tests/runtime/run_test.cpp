// run(): a program's whole life, and the status that it ends with. Each in a process of its own.
#include <doctest/doctest.h>
#include <runnel/runtime.hpp>
#include <runnel/sync.hpp>

#include <cstdio>
#include <stdexcept>

#include "support/child.hpp"
#include "support/runtimes.hpp"

namespace rn = runnel;
using namespace std::chrono_literals;
using support::child;

namespace {

rn::options quiet() { return rn::options().workers(2).driver(rn::driver_kind::none); }

void say(const char* text) {
    std::puts(text);
    std::fflush(stdout);
}

rn::task<> until_cancelled() {
    rn::event never;
    say("ready");
    (void)co_await never.wait();
    say("ended");
}

TEST_CASE("child: main returns 5" * doctest::skip()) {
    const auto main = [](int n) -> rn::task<int> { co_return n; };
    std::_Exit(rn::run(quiet(), main, 5));
}
TEST_CASE("child: main returns nothing" * doctest::skip()) {
    const auto main = []() -> rn::task<> { co_await rn::sleep_for(1ms); };
    std::_Exit(rn::run(quiet(), main));
}
TEST_CASE("child: main returns an error" * doctest::skip()) {
    const auto main = []() -> rn::task<rn::result<>> {
        co_return std::make_error_code(std::errc::address_in_use);
    };
    std::_Exit(rn::run(quiet(), main));
}
TEST_CASE("child: main returns an error code" * doctest::skip()) {
    const auto main = []() -> rn::task<std::error_code> {
        co_return std::make_error_code(std::errc::address_in_use);
    };
    std::_Exit(rn::run(quiet(), main));
}
TEST_CASE("child: main throws" * doctest::skip()) {
    const auto main = []() -> rn::task<> {
        throw std::runtime_error("kaboom");
        co_return;
    };
    std::_Exit(rn::run(quiet(), main));
}

TEST_CASE("run: the status is what main returns; 0 for nothing; 1 for an error, which is printed") {
    CHECK(child("child: main returns 5").wait().exited(5));
    CHECK(child("child: main returns nothing").wait().exited(0));
    for (const char* test : {"child: main returns an error", "child: main returns an error code"}) {
        child failed(test);
        CHECK(failed.wait().exited(1));
        CHECK(failed.wait().said("main ended with: Address already in use"));
    }
}

TEST_CASE("run: an exception that leaves main ends the program with a report") {
    child program("child: main throws");
    CHECK(program.wait().killed_by(SIGABRT));
    CHECK(program.wait().said("nobody can receive: kaboom"));
}

// --- Signals ---------------------------------------------------------------------------------------------

TEST_CASE("child: main waits" * doctest::skip()) { std::_Exit(rn::run(quiet(), until_cancelled)); }
TEST_CASE("child: main waits with an error" * doctest::skip()) {
    const auto main = []() -> rn::task<rn::result<>> {
        say("ready");
        co_return co_await rn::sleep_for(1h);
    };
    std::_Exit(rn::run(quiet(), main));
}
TEST_CASE("child: main waits for a joined thread's signal" * doctest::skip()) {
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, nullptr, &before);
    const auto main = []() -> rn::task<> { co_return; };
    rn::run(quiet(), main);
    pthread_sigmask(SIG_SETMASK, nullptr, &after);
    std::_Exit(sigismember(&before, SIGTERM) == sigismember(&after, SIGTERM) ? 0 : 1);
}

TEST_CASE("run: SIGTERM and SIGINT cancel the tasks, and the status is 0") {
    for (const int signal : {SIGTERM, SIGINT}) {
        child program("child: main waits");
        REQUIRE(program.wait_for("ready"));
        program.send(signal);
        CHECK(program.wait().exited(0));
        CHECK(program.wait().said("ended"));
    }
}

TEST_CASE("run: that main was cancelled by a signal is no error") {
    child program("child: main waits with an error");
    REQUIRE(program.wait_for("ready"));
    program.send(SIGTERM);
    CHECK(program.wait().exited(0));
    CHECK(!program.wait().said("main ended with"));
}

TEST_CASE("run: the signal mask of the caller is put back") {
    CHECK(child("child: main waits for a joined thread's signal").wait().exited(0));
}

TEST_CASE("child: main does not want to end" * doctest::skip()) {
    const auto main = []() -> rn::task<> {
        say("ready");
        (void)co_await rn::stopping();
        say("stopping");
        co_await rn::shielded(rn::sleep_for(1h));
    };
    std::_Exit(rn::run(quiet().grace(1h), main));
}

TEST_CASE("run: a second signal ends the program at once") {
    child program("child: main does not want to end");
    REQUIRE(program.wait_for("ready"));
    program.send(SIGINT);
    REQUIRE(program.wait_for("stopping"));
    program.send(SIGTERM);
    CHECK(program.wait().killed_by(SIGTERM));
}

// --- What does not stop --------------------------------------------------------------------------------

TEST_CASE("child: a task is left that does not stop" * doctest::skip()) {
    const auto main = []() -> rn::task<> {
        const auto stubborn = []() -> rn::task<> { co_await rn::shielded(rn::sleep_for(1h)); };
        rn::go(stubborn);
        co_return;
    };
    std::_Exit(rn::run(quiet().cancel_grace(20ms), main));
}
TEST_CASE("child: tasks are left that do stop" * doctest::skip()) {
    const auto main = []() -> rn::task<int> {
        for (int i = 0; i < 100; ++i) rn::go(until_cancelled);
        co_await rn::yield();
        co_return 4;
    };
    std::_Exit(rn::run(quiet(), main));
}

TEST_CASE("run: tasks that main left behind are cancelled") {
    child program("child: tasks are left that do stop");
    CHECK(program.wait().exited(4));
    CHECK(program.wait().times("ended") == 100);
}

TEST_CASE("run: a task that does not stop is reported with its place, and the status is 3") {
    child program("child: a task is left that does not stop");
    CHECK(program.wait().exited(3));
    CHECK(program.wait().said("run_test.cpp:"));
    CHECK(program.wait().said("did not stop"));
}
}
