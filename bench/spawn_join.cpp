// What does a task cost that does nothing: started, run, and its end waited for?
//
// One after the other (go, then await the handle), and a million at once in a task_set; per task. A second
// worker must not make the first case slower: one short task is no reason to wake anybody.
#include <runnel/scope.hpp>

#include "measure.hpp"

namespace {
namespace rn = runnel;

rn::task<> nothing() { co_return; }

rn::task<> go_and_await(std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
        auto started = rn::go(nothing);
        co_await started;
    }
}

rn::task<> spawn_all(std::int64_t count) {
    rn::task_set children;
    for (std::int64_t i = 0; i < count; ++i) children.spawn(nothing);
    co_await children.join();
}

void sequential(benchmark::State& state) { measure::batches(state, go_and_await, 2'000'000); }
void all_at_once(benchmark::State& state) { measure::batches(state, spawn_all, 1'000'000); }
BENCHMARK(sequential)->Apply(measure::with_1_and_2_workers);
BENCHMARK(all_at_once)->Apply(measure::with_1_and_2_workers);
}

RUNNEL_BENCHMARK_MAIN()
