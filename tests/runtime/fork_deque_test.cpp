// The deque of forks, against a std::deque, and with thieves.
#include "runtime/fork_deque.hpp"

#include <doctest/doctest.h>
#include <runnel/fork.hpp>

#include <atomic>
#include <deque>
#include <random>
#include <thread>
#include <vector>

#include "support/level.hpp"

using runnel::detail::fork_branch;
using runnel::detail::fork_deque;

namespace {

TEST_CASE("fork_deque: the owner takes the newest, thieves the oldest") {
    fork_branch all[4];
    fork_deque deque;
    CHECK(deque.pop() == nullptr);
    CHECK(deque.steal() == nullptr);
    for (fork_branch& each : all) CHECK(deque.push(each));
    CHECK(deque.newest_is(all[3]));
    CHECK(!deque.newest_is(all[2]));
    CHECK(deque.steal() == &all[0]);
    CHECK(deque.pop() == &all[3]);
    CHECK(deque.steal() == &all[1]);
    CHECK(deque.pop() == &all[2]);
    CHECK(deque.empty());
    CHECK(deque.pop() == nullptr);
    CHECK(!deque.newest_is(all[2]));
}

TEST_CASE("fork_deque: full at 1,024") {
    std::vector<fork_branch> all(1025);
    fork_deque deque;
    for (std::size_t i = 0; i < 1024; ++i) CHECK(deque.push(all[i]));
    CHECK(!deque.push(all[1024]));
    CHECK(deque.steal() == &all[0]);
    CHECK(deque.push(all[1024]));
    CHECK(deque.pop() == &all[1024]);
}

TEST_CASE("fork_deque: random acts agree with a std::deque, also when the ring wraps") {
    std::vector<fork_branch> all(64);
    for (unsigned seed = 0; seed < support::scaled(50U, 2'000U); ++seed) {
        INFO("seed " << seed);
        std::minstd_rand random(seed);
        fork_deque deque;
        std::deque<fork_branch*> expected;
        for (int step = 0; step < 5'000; ++step) {
            const auto act = random() % 4;
            if (act < 2 && expected.size() < 1024) {
                fork_branch& any = all[random() % all.size()];
                CHECK(deque.push(any));
                expected.push_back(&any);
            } else if (act == 2) {
                fork_branch* wanted = expected.empty() ? nullptr : expected.back();
                CHECK(deque.pop() == wanted);
                if (wanted != nullptr) expected.pop_back();
            } else {
                fork_branch* wanted = expected.empty() ? nullptr : expected.front();
                CHECK(deque.steal() == wanted);
                if (wanted != nullptr) expected.pop_front();
            }
            CHECK(deque.empty() == expected.empty());
        }
    }
}

TEST_CASE("fork_deque: an owner and three thieves take every branch once, most often fighting for the last") {
    const std::size_t count = support::scaled(200'000U, 10'000'000U);
    std::vector<fork_branch> all(count);
    std::vector<std::atomic<int>> taken(count);
    std::atomic<bool> over{false};
    fork_deque deque;
    const auto note = [&](fork_branch* branch) {
        if (branch == nullptr) return;
        ++taken[static_cast<std::size_t>(branch - all.data())];
        branch->join = nullptr;  // plain: ThreadSanitizer sees it when the deque does not synchronise
    };
    std::vector<std::thread> thieves;
    for (int t = 0; t < 3; ++t)
        thieves.emplace_back([&] {
            while (!over) note(deque.steal());
        });
    std::minstd_rand random(1);
    for (std::size_t made = 0; made < count;) {
        for (auto n = 1 + random() % 3; n > 0 && made < count; --n) deque.push(all[made++]);
        for (auto n = random() % 4; n > 0; --n) note(deque.pop());
        if (made % 1000 < 3)
            while (fork_branch* left = deque.pop()) note(left);
    }
    while (fork_branch* left = deque.pop()) note(left);
    while (!deque.empty()) std::this_thread::yield();
    over = true;
    for (std::thread& each : thieves) each.join();
    std::size_t once = 0;
    for (const auto& each : taken) once += each == 1;
    CHECK(once == count);
}
}
