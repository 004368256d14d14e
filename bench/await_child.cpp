// What does it cost to call a coroutine instead of a function: to await a child that does not wait?
//
// Floor: 5.4 ns with pooled frames, 14 with malloc. Deep: one chain of 100 calls, per call.
#include "measure.hpp"

namespace {
namespace rn = runnel;

rn::task<std::int64_t> child(std::int64_t value) { co_return value; }

rn::task<> call_children(std::int64_t count) {
    std::int64_t sum = 0;
    for (std::int64_t i = 0; i < count; ++i) sum += co_await child(i);
    benchmark::DoNotOptimize(sum);
}

constexpr std::int64_t depth = 100;

rn::task<std::int64_t> descend(std::int64_t levels) {
    if (levels == 0) co_return 0;
    co_return 1 + co_await descend(levels - 1);
}

rn::task<> call_deep(std::int64_t count) {
    for (std::int64_t i = 0; i < count; i += depth) benchmark::DoNotOptimize(co_await descend(depth - 1));
}

void ready(benchmark::State& state) { measure::batches(state, call_children, 10'000'000); }
void deep(benchmark::State& state) { measure::batches(state, call_deep, 10'000'000); }
BENCHMARK(ready)->Apply(measure::with_1_worker);
BENCHMARK(deep)->Apply(measure::with_1_worker);
}

RUNNEL_BENCHMARK_MAIN()
