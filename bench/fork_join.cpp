// How fine may structured parallelism be cut: what does a branch of when_all cost, and do two workers share it?
//
// fib(n) forks at every call: 832,040 branches for 27, 7 million for 32; per branch. skynet is the tree of ten
// branches each and a million leaves: 1,111,111 tasks; per task.
#include <runnel/fork.hpp>

#include "measure.hpp"

namespace {
namespace rn = runnel;

rn::task<std::int64_t> fib(std::int64_t n) {
    if (n < 2) co_return n;
    auto [a, b] = co_await rn::when_all(fib(n - 1), fib(n - 2));
    co_return a + b;
}

rn::task<> run_fib(std::int64_t n) { benchmark::DoNotOptimize(co_await fib(n)); }

rn::task<std::int64_t> skynet(std::int64_t first, std::int64_t leaves) {
    if (leaves == 1) co_return first;
    const std::int64_t part = leaves / 10;
    std::vector<rn::task<std::int64_t>> branches;
    branches.reserve(10);
    for (std::int64_t i = 0; i < 10; ++i) branches.push_back(skynet(first + i * part, part));
    std::int64_t sum = 0;
    for (const std::int64_t value : co_await rn::when_all(std::move(branches))) sum += value;
    co_return sum;
}

rn::task<> run_skynet(std::int64_t leaves) { benchmark::DoNotOptimize(co_await skynet(0, leaves)); }

void fib_27(benchmark::State& state) { measure::batches(state, run_fib, 27, 832'040); }
void fib_32(benchmark::State& state) { measure::batches(state, run_fib, 32, 7'049'154); }
void skynet_1M(benchmark::State& state) { measure::batches(state, run_skynet, 1'000'000, 1'111'111); }
BENCHMARK(fib_27)->Apply(measure::with_1_and_2_workers);
BENCHMARK(fib_32)->Apply(measure::with_1_and_2_workers);
BENCHMARK(skynet_1M)->Apply(measure::with_1_and_2_workers);
}

RUNNEL_BENCHMARK_MAIN()
