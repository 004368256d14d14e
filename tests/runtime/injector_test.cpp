// The queue of a whole runtime.
#include "runtime/injector.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "support/level.hpp"

using runnel::detail::injector;
using runnel::detail::task_block;

namespace {

TEST_CASE("injector: gives the oldest, as many as asked for or as there are, as a chain") {
    const auto all = std::make_unique<task_block[]>(5);
    injector queue;
    CHECK(queue.pop(3) == nullptr);
    for (std::size_t i = 0; i < 5; ++i) queue.push(all[i]);
    CHECK(queue.size() == 5);
    const task_block* three = queue.pop(3);
    CHECK(three == &all[0]);
    CHECK(three->queue_next == &all[1]);
    CHECK(three->queue_next->queue_next == &all[2]);
    CHECK(three->queue_next->queue_next->queue_next == nullptr);
    const task_block* rest = queue.pop(100);
    CHECK(rest == &all[3]);
    CHECK(rest->queue_next == &all[4]);
    CHECK(queue.size() == 0);
    CHECK(queue.pop(1) == nullptr);
}

TEST_CASE("injector: a chain goes in as it is, and the queue goes on after it") {
    const auto all = std::make_unique<task_block[]>(4);
    injector queue;
    all[0].queue_next = &all[1];
    all[1].queue_next = &all[2];
    all[2].queue_next = &all[3];  // of an older list: not part of the chain
    queue.push_chain(all[0], all[2], 3);
    queue.push(all[3]);
    CHECK(queue.size() == 4);
    for (std::size_t i = 0; i < 4; ++i) CHECK(queue.pop(1) == &all[i]);
}

TEST_CASE("injector: threads push and pop, and every task comes out once, each thread's in its order") {
    const std::size_t per_thread = support::scaled(50'000U, 2'000'000U);
    const auto all = std::make_unique<task_block[]>(2 * per_thread);
    injector queue;
    std::atomic<std::size_t> left{2 * per_thread};
    std::atomic<bool> in_order{true};
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < 2; ++t)
        threads.emplace_back([&, t] {
            for (std::size_t i = 0; i < per_thread; ++i) {
                all[t * per_thread + i].id = i + 1;
                queue.push(all[t * per_thread + i]);
            }
        });
    for (int t = 0; t < 2; ++t)
        threads.emplace_back([&] {
            std::uint64_t last[2] = {0, 0};
            while (left > 0) {
                for (task_block* each = queue.pop(3); each != nullptr; each = each->queue_next) {
                    const auto from = static_cast<std::size_t>(each - all.get()) / per_thread;
                    if (each->id <= last[from]) in_order = false;
                    last[from] = each->id;
                    --left;
                }
            }
        });
    for (std::thread& each : threads) each.join();
    CHECK(in_order);
    CHECK(queue.size() == 0);
}
}
