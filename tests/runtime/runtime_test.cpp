// A runtime's life: starting, stopping in phases, several at once, and what is left over: nothing.
#include "runnel/runtime.hpp"

#include <dirent.h>
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <runnel/metrics.hpp>
#include <runnel/scope.hpp>
#include <runnel/sync.hpp>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "runtime/task_slab.hpp"
#include "support/build_kind.hpp"
#include "support/child.hpp"
#include "support/counted.hpp"
#include "support/level.hpp"
#include "support/runtimes.hpp"

namespace rn = runnel;
using namespace std::chrono_literals;
using support::counted;
using support::run_on;
using support::workers;

namespace {

rn::task<int> gives(int n) { co_return n; }
rn::task<> sleeps(rn::clock::duration d) { co_await rn::sleep_for(d); }

/// The names of this process's threads.
std::vector<std::string> threads() {
    std::vector<std::string> names;
    DIR* all = opendir("/proc/self/task");
    while (const dirent* each = readdir(all)) {
        std::ifstream file("/proc/self/task/" + std::string(each->d_name) + "/comm");
        if (std::string name; std::getline(file, name)) names.push_back(name);
    }
    closedir(all);
    return names;
}

long count_of(const std::vector<std::string>& all, const std::string& name) {
    long count = 0;
    for (const std::string& each : all) count += each == name;
    return count;
}

TEST_CASE("runtime: its workers and its monitor have names") {
    rn::runtime here(workers(2).name("a_long_name_of_jobs"));
    auto names = threads();
    for (; count_of(names, "runnel/monitor") == 0; names = threads())
        std::this_thread::yield();  // names itself
    CHECK(count_of(names, "a_long_nam/0") == 1);
    CHECK(count_of(names, "a_long_nam/1") == 1);
    CHECK(here.workers() == 2);
    CHECK(here.driver_name() == std::string("futex"));
}

TEST_CASE("runtime: after the stop all its threads are gone") {
    const auto before = threads().size();
    run_on(3, []() -> rn::task<> { co_return; });
    CHECK(threads().size() == before);
}

TEST_CASE("runtime: several at once, and a task of one starts and joins a task of the other") {
    rn::runtime left(workers(1)), right(workers(2));
    const auto asks = [&]() -> rn::task<int> {
        int sum = 0;
        for (int i = 0; i < 100; ++i) {
            auto there = right.spawn(gives, i);
            const auto got = co_await there;
            sum += got.value();
        }
        co_return sum;
    };
    CHECK(left.spawn(asks).wait().value() == 4950);
    CHECK(right.spawn(gives, 5).wait().value() == 5);
}

TEST_CASE("runtime: counts what it did, and still knows it after the stop") {
    rn::runtime here(workers(2));
    for (int i = 0; i < 10; ++i) (void)here.spawn(gives, i).wait();
    here.stop().value();
    CHECK(here.metrics().total.polls == 10);
    CHECK(here.metrics().total.ended >= 10);  // started by this thread, ended by the workers
}

void start_and_stop(const rn::options& how, int round) {
    rn::runtime here(how);
    const auto busy = [](counted) -> rn::task<> {
        rn::task_set set;
        for (int i = 0; i < 5; ++i) set.spawn(sleeps, 1h);
        for (int i = 0; i < 5; ++i) set.spawn(gives, i);
        rn::event never;
        co_await rn::with_timeout(1h, never.wait());
        co_await set.join();
    };
    auto end = here.spawn(busy, counted(1));
    for (int i = 0; i < 5; ++i) here.spawn(busy, counted(2));
    if (round % 2 == 0) (void)here.spawn(gives, 1).wait();
    here.stop().value();
    CHECK(end.wait());
}

TEST_CASE("runtime: started and stopped again and again with tasks that run, sleep and wait") {
    counted::reset();
    for (unsigned count = 1; count <= 4; ++count)
        for (const rn::options& how : support::on_each_driver(count))
            for (int round = 0; round < support::scaled(15, 250); ++round) start_and_stop(how, round);
    CHECK(counted::live() == 0);
    CHECK(counted::errors() == 0);
}

TEST_CASE("runtime: task blocks are used again, not made anew") {
    const auto chunks = [] {
        int count = 0;
        for (const auto* chunk = rn::detail::all_blocks(); chunk != nullptr; chunk = chunk->next) ++count;
        return count;
    };
    for (int round = 0; round < 3; ++round) run_on(2, []() -> rn::task<> { co_await rn::yield(); });
    const int before = chunks();
    for (int round = 0; round < 100; ++round) {
        run_on(2, []() -> rn::task<> {
            for (int i = 0; i < 50; ++i) rn::go(gives, i);
            co_return;
        });
    }
    CHECK(chunks() <= before + 2);
}

TEST_CASE("runtime: threads that spawn while it stops are refused or served, never lost") {
    const int rounds = support::scaled(100, 3'000);
    for (int round = 0; round < rounds; ++round) {
        counted::reset();
        std::atomic<long> ran{0}, served{0}, refused{0};
        {
            rn::runtime here(workers(2));
            const auto counts = [&](counted) -> rn::task<> {
                ++ran;
                co_return;
            };
            std::vector<std::thread> spawners;
            for (int t = 0; t < 2; ++t)
                spawners.emplace_back([&] {
                    for (bool more = true; more;) {
                        auto end = here.spawn(counts, counted(1));
                        const auto got = end.wait();
                        more = got.has_value();
                        ++(more ? served : refused);
                    }
                });
            while (served < round % 5) std::this_thread::yield();
            here.stop().value();
            for (std::thread& each : spawners) each.join();
        }
        CHECK(refused == 2);
        CHECK(ran == served);
        CHECK(counted::live() == 0);
    }
}

TEST_CASE("runtime: a thread may wake its last task and the runtime may go: nobody is left at the door") {
    const int rounds = support::scaled(200, 5'000);
    for (int round = 0; round < rounds; ++round) {
        rn::event door;
        std::thread opener;
        rn::runtime here(workers(1).grace(10s));
        const auto waits = [&]() -> rn::task<> { co_await door.wait(); };
        auto end = here.spawn(waits);
        opener = std::thread([&] { door.set(); });
        here.stop().value();
        opener.join();
    }
}

// --- Phases -----------------------------------------------------------------------------------------------

TEST_CASE("stop: stopping() first, then grace, then the root is cancelled, with its reason") {
    std::string story;
    rn::runtime here(workers(1).grace(20ms));
    const auto body = [&]() -> rn::task<> {
        CHECK(co_await rn::stopping());
        story += "stopping ";
        CHECK(!rn::current_context().cancelled());
        const auto slept = co_await rn::sleep_for(1h);
        CHECK(slept.error() == rn::errc::cancelled);
        CHECK(rn::current_context().cause() == rn::errc::stopping);
        story += "cancelled";
    };
    auto end = here.spawn(body);
    const rn::context root = here.root();
    CHECK(!root.cancelled());
    here.stop().value();
    CHECK(root.cancelled());
    CHECK(story == "stopping cancelled");
}

TEST_CASE("stop: who ends within the grace is not cancelled; scopes may still spawn") {
    std::atomic<int> ended{0};
    rn::runtime here(workers(2).grace(30s));
    const auto body = [&]() -> rn::task<> {
        co_await rn::stopping();
        rn::scope s;
        const auto child = [&]() -> rn::task<> {
            if (co_await rn::sleep_for(1ms)) ++ended;
        };
        for (int i = 0; i < 3; ++i) s.spawn(child);
        co_await s.join();
    };
    auto end = here.spawn(body);
    here.stop().value();
    CHECK(ended == 3);
}

TEST_CASE("stop: a spawn afterwards is refused") {
    rn::runtime here(workers(1));
    here.stop().value();
    CHECK(here.spawn(gives, 1).wait().error() == rn::errc::stopping);
}

TEST_CASE("child: a task does not stop" * doctest::skip()) {
    auto* here = new rn::runtime(workers(2).cancel_grace(20ms).name("stubborn"));
    const auto spins = []() -> rn::task<> {
        for (;;) {}
        co_return;
    };
    const auto waits = []() -> rn::task<> {
        rn::event never;
        co_await rn::shielded(never.wait());
    };
    here->spawn(spins);
    auto end = here->spawn(waits);
    std::thread joiner([&] { std::printf("join: %s\n", end.wait().error().message().c_str()); });
    std::this_thread::sleep_for(20ms);
    const auto stopped = here->stop();
    std::printf("stop: %s\n", stopped.error().message().c_str());
    joiner.join();
    std::fflush(stdout);
    delete here;
    std::_Exit(7);
}

TEST_CASE("stop: a task that does not stop is reported, and given up") {
    support::child program("child: a task does not stop");
    const support::child_end& end = program.wait();
    CHECK(end.exited(7));
    CHECK(end.said("2 tasks of 'stubborn' did not stop"));
    CHECK(end.said("started at "));
    CHECK(end.said("runtime_test.cpp:"));
    CHECK(end.said("stop: " + make_error_code(rn::errc::timed_out).message()));
    CHECK(end.said("join: " + make_error_code(rn::errc::stopping).message()));
}

TEST_CASE("child: stop() on a worker" * doctest::skip()) {
    rn::runtime here(workers(1));
    const auto body = [&]() -> rn::task<> {
        here.stop();
        co_return;
    };
    (void)here.spawn(body).wait();
}
TEST_CASE("child: stop() twice" * doctest::skip()) {
    rn::runtime here(workers(1));
    here.stop();
    here.stop();
}

TEST_CASE("stop: misuse is said aloud") {
    CHECK(support::aborts_saying("child: stop() on a worker", "stopped by a task of its own"));
    CHECK(support::aborts_saying("child: stop() twice", "stopped twice"));
}

// --- Drivers -----------------------------------------------------------------------------------------------

TEST_CASE("child: what RUNNEL_DRIVER chooses" * doctest::skip()) {
    try {
        rn::runtime here(rn::options().workers(1));
        std::printf("driver: %s\n", here.driver_name());
    } catch (const std::exception& error) {
        std::printf("refused: %s\n", error.what());
    }
    std::fflush(stdout);
    std::_Exit(0);
}

TEST_CASE("runtime: RUNNEL_DRIVER chooses the driver; an unknown one is refused with what is known") {
    support::child none("child: what RUNNEL_DRIVER chooses", "RUNNEL_DRIVER=none");
    CHECK(none.wait().said("driver: futex"));
    support::child unknown("child: what RUNNEL_DRIVER chooses", "RUNNEL_DRIVER=abacus");
    CHECK(unknown.wait().said("refused: RUNNEL_DRIVER=abacus: unknown driver; use uring, epoll or none"));
}

struct broken_drivers final : rn::detail::driver_factory {
    std::unique_ptr<rn::detail::driver> make(unsigned worker) override {
        if (worker == 1) throw std::system_error(EPERM, std::system_category(), "io_uring_setup");
        return rn::detail::make_futex_drivers()->make(worker);
    }
    rn::detail::nanoseconds_t now() const noexcept override { return rn::detail::monotonic_now(); }
    const char* name() const noexcept override { return "broken"; }
};
std::unique_ptr<rn::detail::driver_factory> make_broken() { return std::make_unique<broken_drivers>(); }

TEST_CASE("runtime: when one worker's driver is refused, the others are stopped and the reason is thrown") {
    const auto before = threads().size();
    CHECK_THROWS_AS(rn::runtime(workers(3).drivers_from(make_broken)), std::system_error);
    CHECK(threads().size() == before);
}

// The room for threads is measured in address space, of which the sanitizers need more than there is.
TEST_CASE("child: a runtime in little room" * doctest::skip()) {
    const auto before = threads();
    const rlimit room{rlim_t{200} << 20, rlim_t{200} << 20};
    setrlimit(RLIMIT_AS, &room);
    try {
        rn::runtime here(workers(64));
        std::puts("started");
    } catch (const std::system_error& error) {
        std::printf("refused: %s; %s\n", error.what(), threads() == before ? "all stopped" : "some left");
    }
    rn::runtime(workers(1)).stop().value();
    std::puts("a smaller one starts");
    std::fflush(stdout);
    std::_Exit(0);
}

TEST_CASE(
    "runtime: when the system has no more threads, those that run are stopped, and it is said what to do") {
    if (support::sanitized) {
        MESSAGE("not run: sanitizers do not work with a limited address space");
        return;
    }
    const support::child_end end = support::child("child: a runtime in little room").wait();
    CHECK(end.said("runnel: no thread for worker "));
    CHECK(end.said("ulimit -u"));
    CHECK(end.said("; all stopped\n"));
    CHECK(end.said("a smaller one starts"));
}

TEST_CASE("runtime: more workers than it can number are refused") {
    CHECK_THROWS_WITH_AS(rn::runtime(workers(1024)),
                         "options::workers(1024): at most 1023 workers; use 0 for one per processor",
                         std::invalid_argument);
}
}
