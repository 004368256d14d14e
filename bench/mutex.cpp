// What does a mutex cost: nobody else wants it, 100 tasks want it, and its holder gives way inside?
//
// Per lock and unlock. Without a wait inside, tasks of one worker never meet; with two workers they do.
#include <runnel/scope.hpp>
#include <runnel/sync.hpp>
#include <runnel/time.hpp>

#include "measure.hpp"

namespace {
namespace rn = runnel;

constexpr std::int64_t tasks = 100;

rn::task<> add(rn::mutex& lock, std::int64_t& sum, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
        auto held = co_await lock.lock();
        ++sum;
    }
}

rn::task<> add_and_yield(rn::mutex& lock, std::int64_t& sum, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
        auto held = co_await lock.lock();
        ++sum;
        co_await rn::yield();
    }
}

rn::task<> by_one(std::int64_t count) {
    rn::mutex lock;
    std::int64_t sum = 0;
    co_await add(lock, sum, count);
}

rn::task<> by_many(std::int64_t count, rn::task<> (*how)(rn::mutex&, std::int64_t&, std::int64_t)) {
    rn::mutex lock;
    std::int64_t sum = 0;
    rn::task_set children;
    for (std::int64_t i = 0; i < tasks; ++i)
        children.spawn(how, rn::borrow(lock), rn::borrow(sum), count / tasks);
    co_await children.join();
}
rn::task<> by_100(std::int64_t count) { return by_many(count, add); }
rn::task<> by_100_yielding(std::int64_t count) { return by_many(count, add_and_yield); }

void alone(benchmark::State& state) { measure::batches(state, by_one, 5'000'000); }
void contended(benchmark::State& state) { measure::batches(state, by_100, 2'000'000); }
void held_over_yield(benchmark::State& state) { measure::batches(state, by_100_yielding, 500'000); }
BENCHMARK(alone)->Apply(measure::with_1_worker);
BENCHMARK(contended)->Apply(measure::with_1_and_2_workers);
BENCHMARK(held_over_yield)->Apply(measure::with_1_and_2_workers);
}

RUNNEL_BENCHMARK_MAIN()
