// Who sleeps and who searches: the counts, and that no work is left while everybody sleeps.
#include "runtime/idle.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <semaphore>
#include <thread>
#include <utility>
#include <vector>

#include "support/level.hpp"

using runnel::detail::idle_set;

namespace {

TEST_CASE("idle: while all are awake nobody is woken") {
    idle_set idle(2);
    CHECK(idle.worker_to_wake() == -1);
    CHECK(idle.any_sleeper() == -1);
    CHECK(!idle.worth_waking());
    CHECK(idle.awake_now() == 2);
}

TEST_CASE("idle: the last to sleep is the first to be woken, and then one searches: nobody else is woken") {
    idle_set idle(3);
    idle.sleep(0, false);
    idle.sleep(2, false);
    CHECK(idle.awake_now() == 1);
    CHECK(idle.worth_waking());
    CHECK(idle.worker_to_wake() == 2);
    CHECK(idle.awake_now() == 2);
    CHECK(!idle.worth_waking());
    CHECK(idle.worker_to_wake() == -1);  // 2 searches
    CHECK(idle.any_sleeper() == 0);      // but help may be needed all the same
    CHECK(!idle.stop_searching());
    CHECK(idle.stop_searching());  // the last: it wakes the next if it found something
}

TEST_CASE("idle: at most half of those awake search") {
    idle_set idle(4);
    CHECK(idle.start_searching());
    CHECK(idle.start_searching());
    CHECK(!idle.start_searching());
    idle.sleep(3, true);
    CHECK(idle.start_searching());
}

TEST_CASE("idle: who comes back by itself is no sleeper any more; who was taken is told so") {
    idle_set idle(2);
    idle.sleep(1, false);
    CHECK(idle.come_back(1, false));
    CHECK(idle.awake_now() == 2);
    CHECK(idle.worker_to_wake() == -1);
    idle.sleep(1, false);
    CHECK(idle.worker_to_wake() == 1);
    CHECK(!idle.come_back(1, false));  // counted awake and searching by the waker
    CHECK(idle.stop_searching());
    CHECK(idle.awake_now() == 2);
}

TEST_CASE("idle: a searcher that finds work at its last look searches still, so that it wakes another for "
          "the rest") {
    idle_set idle(3);
    CHECK(idle.start_searching());
    idle.sleep(2, true);
    CHECK(idle.come_back(2, true));
    CHECK(idle.awake_now() == 3);
    CHECK(idle.stop_searching());
}

TEST_CASE("idle: threads that publish work and threads that fall asleep lose none of it") {
    const long rounds = support::scaled(20'000L, 2'000'000L);
    constexpr unsigned workers = 3;
    idle_set idle(workers);
    std::atomic<long> queued{0}, done{0};
    std::counting_semaphore<> doors[workers] = {std::counting_semaphore<>(0), std::counting_semaphore<>(0),
                                                std::counting_semaphore<>(0)};
    const auto wake_one = [&] {
        if (const int sleeper = idle.worker_to_wake(); sleeper >= 0) doors[sleeper].release();
    };
    const auto take = [&] {
        long seen = queued;
        while (seen > 0)
            if (queued.compare_exchange_weak(seen, seen - 1)) return true;
        return false;
    };
    std::vector<std::thread> threads;
    for (unsigned w = 0; w < workers; ++w)
        threads.emplace_back([&, w] {
            bool searching = false;
            while (done < 2 * rounds) {
                if (!searching) searching = idle.start_searching();
                if (take()) {
                    if (std::exchange(searching, false) && idle.stop_searching()) wake_one();
                    if (++done == 2 * rounds)
                        for (auto& each : doors) each.release(2);
                    continue;
                }
                idle.sleep(w, searching);
                const bool found = queued != 0 || done >= 2 * rounds;
                if (!found) doors[w].acquire();
                searching = searching && found;  // I4
                if (!idle.come_back(w, searching)) searching = true;
            }
        });
    for (int t = 0; t < 2; ++t)
        threads.emplace_back([&] {
            for (long i = 0; i < rounds; ++i) {
                ++queued;
                wake_one();
                if (i % 7 == 0) std::this_thread::yield();
                while (queued > 100) std::this_thread::yield();
            }
        });
    for (std::thread& each : threads) each.join();  // the watchdog fires here if work was left to sleepers
    CHECK(done == 2 * rounds);
    CHECK(queued == 0);
}
}
