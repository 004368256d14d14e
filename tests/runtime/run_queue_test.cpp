// The ready queue of a worker, against a deque, and with thieves.
#include "runtime/run_queue.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <deque>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "support/level.hpp"

using runnel::detail::run_queue;
using runnel::detail::task_block;

namespace {

/// Blocks that stand for tasks; told apart by their number.
class blocks {
public:
    explicit blocks(std::size_t count) : all_(std::make_unique<task_block[]>(count)) {
        for (std::size_t i = 0; i < count; ++i) all_[i].id = i;
    }
    task_block& operator[](std::size_t i) { return all_[i]; }

private:
    std::unique_ptr<task_block[]> all_;
};

TEST_CASE("run_queue: first in, first out, up to 256; then it is full") {
    blocks all(300);
    run_queue queue;
    CHECK(queue.pop() == nullptr);
    for (std::size_t i = 0; i < 256; ++i) CHECK(queue.push(all[i]));
    CHECK(!queue.push(all[256]));
    CHECK(queue.size() == 256);
    CHECK(queue.pop() == &all[0]);
    CHECK(queue.push(all[256]));
    for (std::size_t i = 1; i <= 256; ++i) CHECK(queue.pop() == &all[i]);
    CHECK(queue.pop() == nullptr);
}

TEST_CASE("run_queue: pop_half takes the older half of a full one, in order") {
    blocks all(256);
    run_queue queue;
    for (std::size_t i = 0; i < 256; ++i) queue.push(all[i]);
    task_block* out[128];
    CHECK(queue.pop_half(out) == 128);
    for (std::size_t i = 0; i < 128; ++i) CHECK(out[i] == &all[i]);
    CHECK(queue.pop() == &all[128]);
    CHECK(queue.size() == 127);
}

TEST_CASE("run_queue: a thief takes the older half, the larger of an odd number, and none without room") {
    blocks all(600);
    run_queue victim, thief;
    CHECK(victim.steal_into(thief) == 0);
    for (std::size_t i = 0; i < 5; ++i) victim.push(all[i]);
    CHECK(victim.steal_into(thief) == 3);
    CHECK(thief.pop() == &all[0]);
    CHECK(victim.pop() == &all[3]);
    CHECK(victim.size() == 1);
    run_queue crowded;
    for (std::size_t i = 100; i < 229; ++i) crowded.push(all[i]);
    CHECK(victim.steal_into(crowded) == 0);
    CHECK(crowded.pop() == &all[100]);
    CHECK(victim.steal_into(crowded) == 1);
}

TEST_CASE("run_queue: random acts agree with a deque, also when its counters wrap around the ring") {
    for (unsigned seed = 0; seed < support::scaled(50U, 2'000U); ++seed) {
        INFO("seed " << seed);
        std::minstd_rand random(seed);
        blocks all(4'000);
        run_queue queue, other;
        std::deque<task_block*> expected;
        std::size_t made = 0;
        while (made < 4'000) {
            const auto act = random() % 8;
            if (act < 5) {
                const bool room = expected.size() < run_queue::capacity;
                CHECK(queue.push(all[made]) == room);
                if (room) expected.push_back(&all[made]);
                ++made;
            } else if (act < 7) {
                task_block* wanted = expected.empty() ? nullptr : expected.front();
                CHECK(queue.pop() == wanted);
                if (wanted != nullptr) expected.pop_front();
            } else {
                for (std::uint32_t left = queue.steal_into(other); left > 0; --left) {
                    CHECK(other.pop() == expected.front());
                    expected.pop_front();
                }
            }
            CHECK(queue.size() == expected.size());
        }
    }
}

TEST_CASE(
    "run_queue: an owner and three thieves run every task once, with what was written before the push") {
    const std::size_t count = support::scaled(200'000U, 10'000'000U);
    blocks all(count);
    std::vector<std::atomic<int>> seen(count);
    std::atomic<std::size_t> left{count};
    run_queue queues[4];
    const auto run = [&](task_block& task) {
        // Plain reads and writes: ThreadSanitizer sees them when the queue does not synchronise.
        ++seen[task.id];
        task.refused = 1;
        --left;
    };
    std::vector<std::thread> threads;
    for (int t = 1; t < 4; ++t)
        threads.emplace_back([&, t] {
            run_queue& mine = queues[t];
            for (int victim = 0; left > 0; victim = (victim + 1) % 4) {
                if (victim != t) queues[victim].steal_into(mine);
                // Leaves some for the thieves of the thief.
                for (int i = 0; i < 40; ++i)
                    if (task_block* task = mine.pop(); task != nullptr) run(*task);
            }
        });
    for (std::size_t made = 0; left > 0;) {
        for (int i = 0; i < 100 && made < count; ++i, ++made) {
            all[made].refused = 0;
            if (!queues[0].push(all[made])) break;
        }
        for (int i = 0; i < 30; ++i)
            if (task_block* task = queues[0].pop(); task != nullptr) run(*task);
    }
    for (std::thread& each : threads) each.join();
    std::size_t once = 0;
    for (const auto& each : seen) once += each == 1;
    CHECK(once == count);
}
}
