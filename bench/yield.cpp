// What does a turn of the scheduler cost: a task gives way and is resumed?
//
// Alone, and among 100 tasks that all do so; per turn. Floor: a queue that only links and resumes 9.4 ns.
#include <runnel/scope.hpp>
#include <runnel/time.hpp>

#include "measure.hpp"

namespace {
namespace rn = runnel;

rn::task<> give_way(std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) co_await rn::yield();
}

constexpr std::int64_t tasks = 100;

rn::task<> give_way_among(std::int64_t count) {
    rn::task_set children;
    for (std::int64_t i = 0; i < tasks; ++i) children.spawn(give_way, count / tasks);
    co_await children.join();
}

void alone(benchmark::State& state) { measure::batches(state, give_way, 2'000'000); }
void among_100(benchmark::State& state) { measure::batches(state, give_way_among, 2'000'000); }
BENCHMARK(alone)->Apply(measure::with_1_worker);
BENCHMARK(among_100)->Apply(measure::with_1_and_2_workers);
}

RUNNEL_BENCHMARK_MAIN()
