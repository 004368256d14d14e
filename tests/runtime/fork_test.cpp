// when_all: several tasks as parts of the one that waits for them.
#include <doctest/doctest.h>
#include <runnel/fork.hpp>
#include <runnel/scope.hpp>
#include <runnel/sync.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/build_kind.hpp"
#include "support/child.hpp"
#include "support/counted.hpp"
#include "support/level.hpp"
#include "support/runtimes.hpp"

namespace rn = runnel;
using namespace std::chrono_literals;
using support::counted;
using support::run_on;

namespace {

rn::task<int> gives(int n) { co_return n; }
rn::task<std::unique_ptr<int>> boxes(int n) { co_return std::make_unique<int>(n); }
rn::task<> notes(std::vector<int>& order, int n) {
    order.push_back(n);
    co_return;
}
rn::task<int> fails(const char* what) {
    throw std::runtime_error(what);
    co_return 0;
}

TEST_CASE("when_all: gives the values in order, nothing for a task<void>, references as they are") {
    run_on(1, []() -> rn::task<> {
        std::vector<int> order;
        auto [a, none, b] = co_await rn::when_all(gives(1), notes(order, 0), boxes(2));
        static_assert(std::is_same_v<decltype(none), rn::nothing>);
        CHECK(a == 1);
        CHECK(*b == 2);
        int there = 3;
        auto refers = [](int& n) -> rn::task<int&> { co_return n; };
        auto [same] = co_await rn::when_all(refers(there));
        CHECK(&same == &there);
        co_await rn::when_all();
    });
}

TEST_CASE("when_all: on one worker the branches begin in order") {
    run_on(1, []() -> rn::task<> {
        std::vector<int> order;
        co_await rn::when_all(notes(order, 0), notes(order, 1), notes(order, 2), notes(order, 3));
        CHECK(order == std::vector<int>{0, 1, 2, 3});
    });
}

TEST_CASE("when_all: any number of tasks, none too") {
    run_on(2, []() -> rn::task<> {
        std::vector<rn::task<int>> many;
        for (int i = 0; i < 5000; ++i) many.push_back(gives(i));  // more than the deque holds
        const auto values = co_await rn::when_all(std::move(many));
        CHECK(values.size() == 5000);
        for (int i = 0; i < 5000; ++i)
            if (values[static_cast<std::size_t>(i)] != i) CHECK(values[static_cast<std::size_t>(i)] == i);
        const auto none = co_await rn::when_all(std::vector<rn::task<int>>());
        CHECK(none.empty());
        const auto none_shielded = co_await rn::shielded(rn::when_all(std::vector<rn::task<int>>()));
        CHECK(none_shielded.empty());
        std::vector<int> order;
        std::vector<rn::task<>> voids;
        voids.push_back(notes(order, 1));
        co_await rn::when_all(std::move(voids));
        CHECK(order.size() == 1);
    });
}

TEST_CASE("when_all: dropped unawaited, the tasks die unrun") {
    counted::reset();
    const auto takes = [](counted) -> rn::task<> { co_return; };
    {
        const auto never = rn::when_all(takes(counted(1)), takes(counted(2)));
        std::vector<rn::task<>> more;
        more.push_back(takes(counted(3)));
        const auto nor_these = rn::when_all(std::move(more));
    }
    CHECK(counted::live() == 0);
    CHECK(counted::errors() == 0);
}

TEST_CASE("when_all: the first exception in order is thrown, after all have ended") {
    for (const unsigned workers : {1U, 4U}) {
        run_on(workers, []() -> rn::task<> {
            std::atomic<int> ended{0};
            const auto slow = [&]() -> rn::task<int> {
                co_await rn::sleep_for(2ms);
                ++ended;
                co_return 1;
            };
            CHECK_THROWS_WITH(co_await rn::when_all(slow(), fails("a"), slow(), fails("b")), "a");
            CHECK(ended == 2);
        });
    }
}

TEST_CASE("when_all: branches that park let their siblings and the rest run") {
    for (const unsigned workers : {1U, 2U, 8U}) {
        run_on(workers, []() -> rn::task<> {
            rn::event opened;
            const auto waits = [&]() -> rn::task<int> {
                co_await opened.wait();
                co_return 1;
            };
            const auto opens = [&]() -> rn::task<int> {
                co_await rn::yield();
                opened.set();
                co_return 2;
            };
            auto [a, b, c] = co_await rn::when_all(waits(), waits(), opens());
            CHECK(a + b + c == 4);
        });
    }
}

TEST_CASE("when_all: a branch cancels with its task") {
    run_on(2, []() -> rn::task<> {
        const auto sleeps = []() -> rn::task<bool> {
            const auto got = co_await rn::sleep_for(1h);
            co_return got.error() == rn::errc::deadline_exceeded;
        };
        const auto both = [&]() -> rn::task<bool> {
            auto [a, b] = co_await rn::when_all(sleeps(), sleeps());
            co_return a&& b;
        };
        CHECK(co_await rn::with_timeout(2ms, both()));
    });
}

TEST_CASE("when_all: a branch begins under the context of its task, whatever its siblings do meanwhile") {
    run_on(4, []() -> rn::task<> {
        const rn::context expected = rn::current_context();
        const auto swaps = []() -> rn::task<int> {
            const auto inside = []() -> rn::task<> { co_await rn::yield(); };
            for (int i = 0; i < 3; ++i) co_await rn::with_timeout(1h, inside());
            co_return 0;
        };
        const auto looks = [&]() -> rn::task<int> { co_return rn::current_context() == expected ? 0 : 1; };
        int wrong = 0;
        for (int i = 0; i < support::scaled(2'000, 100'000); ++i) {
            auto [a, b, c, d] = co_await rn::when_all(swaps(), looks(), looks(), looks());
            wrong += a + b + c + d;
        }
        CHECK(wrong == 0);
    });
}

TEST_CASE("when_all: a branch that left a scope arrives when the scope's children have ended") {
    run_on(2, []() -> rn::task<> {
        std::atomic<int> ended{0};
        const auto child = [&]() -> rn::task<> {
            co_await rn::shielded(rn::sleep_for(3ms));
            ++ended;
        };
        const auto leaves = [&]() -> rn::task<int> {
            co_await rn::yield();
            rn::scope s;
            s.spawn(child);
            co_return 1;
        };
        const auto forks = [&]() -> rn::task<> { co_await rn::when_all(leaves(), leaves(), leaves()); };
        auto end = rn::go(forks);
        co_await end;
        CHECK(ended == 3);
    });
}

TEST_CASE("child: a branch was moved from" * doctest::skip()) {
    run_on(1, []() -> rn::task<> {
        auto a = gives(1);
        const auto taken = std::move(a);
        co_await rn::when_all(gives(2), std::move(a));
    });
}
TEST_CASE("child: one of many branches was moved from" * doctest::skip()) {
    run_on(1, []() -> rn::task<> {
        std::vector<rn::task<int>> many;
        for (int i = 0; i < 3; ++i) many.push_back(gives(i));
        const auto taken = std::move(many[1]);
        co_await rn::when_all(std::move(many));
    });
}

TEST_CASE("when_all: a task that was moved from is misuse, said aloud") {
    for (const char* test : {"child: a branch was moved from", "child: one of many branches was moved from"})
        CHECK(support::aborts_saying(test, "started after it was moved from"));
}

// --- Trees ---------------------------------------------------------------------------------------------

rn::task<long> fib(long n) {
    if (n < 2) co_return n;
    auto [a, b] = co_await rn::when_all(fib(n - 1), fib(n - 2));
    co_return a + b;
}

TEST_CASE("when_all: fib, on 1, 2 and 8 workers") {
    const long n = support::scaled(support::sanitized ? 15L : 20L, 25L);
    const long expected = *run_on(1, [n]() -> rn::task<long> { co_return co_await fib(n); });
    long a = 0;
    for (long i = 0, b = 1; i < n; ++i) a = std::exchange(b, a + b);
    CHECK(expected == a);
    for (const unsigned workers : {2U, 8U})
        for (int round = 0; round < support::scaled(3, 50); ++round)
            CHECK(*run_on(workers, [n]() -> rn::task<long> { co_return co_await fib(n); }) == expected);
}

rn::task<long> skynet(long first, long size, bool parks) {
    if (parks && first % 7 == 0) co_await rn::yield();
    if (size == 1) co_return first;
    std::vector<rn::task<long>> parts;
    for (long i = 0; i < 10; ++i)
        parts.push_back(skynet(first + i * size / 10, size / 10, parts.empty() && parks));
    long sum = 0;
    for (const long part : co_await rn::when_all(std::move(parts))) sum += part;
    co_return sum;
}

TEST_CASE("when_all: skynet adds up, also when branches park on the way") {
    const long size = support::full() ? 1'000'000 : support::sanitized ? 1'000 : 10'000;  // a power of ten
    for (const unsigned workers : {1U, 2U, 8U})
        for (const bool parks : {false, true})
            CHECK(*run_on(workers, [=]() -> rn::task<long> { co_return co_await skynet(0, size, parks); }) ==
                  size * (size - 1) / 2);
}

rn::task<int> left_deep(int depth) {
    if (depth == 0) co_return 1;
    auto [a, b] = co_await rn::when_all(left_deep(depth - 1), gives(1));
    co_return a + b;
}
rn::task<int> right_deep(int depth) {
    if (depth == 0) co_return 1;
    auto [a, b] = co_await rn::when_all(gives(1), right_deep(depth - 1));
    co_return a + b;
}

TEST_CASE("when_all: trees 20,000 deep to either side") {  // deeper than the deque is long
    for (const unsigned workers : {1U, 2U}) {
        CHECK(*run_on(workers, []() -> rn::task<int> { co_return co_await left_deep(20'000); }) == 20'001);
        CHECK(*run_on(workers, []() -> rn::task<int> { co_return co_await right_deep(20'000); }) == 20'001);
    }
}

TEST_CASE("when_all: while one branch is busy, others take its siblings") {
    run_on(2, []() -> rn::task<> {
        std::atomic<bool> ran{false};
        const auto spins = [&]() -> rn::task<unsigned> {
            while (!ran) {}
            co_return support::worker_index();
        };
        const auto is_taken = [&]() -> rn::task<unsigned> {
            ran = true;
            co_return support::worker_index();
        };
        auto [a, b] = co_await rn::when_all(spins(), is_taken());
        CHECK(a != b);
    });
}
}
