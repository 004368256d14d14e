// The queue of a whole runtime.
#include "runtime/injector.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "support/level.hpp"

using runnel::detail::injector;
using runnel::detail::task_block;

namespace {

TEST_CASE("injector: gives the oldest, as many as asked for or as there are") {
    const auto all = std::make_unique<task_block[]>(5);
    injector queue;
    task_block* out[100] = {};
    CHECK(queue.pop(out, 3) == 0);
    for (std::size_t i = 0; i < 5; ++i) queue.push(all[i]);
    CHECK(queue.size() == 5);
    CHECK(queue.pop(out, 3) == 3);
    for (std::size_t i = 0; i < 3; ++i) CHECK(out[i] == &all[i]);
    CHECK(queue.pop(out, 100) == 2);
    CHECK(out[0] == &all[3]);
    CHECK(out[1] == &all[4]);
    CHECK(queue.size() == 0);
    CHECK(queue.pop(out, 1) == 0);
}

TEST_CASE("injector: many that are pushed together come out in order, before what is pushed after them") {
    constexpr std::size_t count = 1'000;  // several chunks
    const auto all = std::make_unique<task_block[]>(count + 1);
    std::vector<task_block*> together;
    for (std::size_t i = 0; i < count; ++i) together.push_back(&all[i]);
    injector queue;
    for (int round = 0; round < 2; ++round) {  // the second in chunks that are used again
        queue.push(together.data(), count);
        queue.push(all[count]);
        CHECK(queue.size() == count + 1);
        std::size_t next = 0;
        task_block* out[7];
        while (const std::uint32_t got = queue.pop(out, 7))
            for (std::uint32_t i = 0; i < got; ++i) REQUIRE(out[i] == &all[next++]);
        CHECK(next == count + 1);
    }
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
                task_block* out[3];
                const std::uint32_t got = queue.pop(out, 3);
                for (task_block* each : std::span(out, got)) {
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
