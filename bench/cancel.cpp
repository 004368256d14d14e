// How fast does a cancel reach 100,000 contexts?
//
// flat: all children of one; tree: ten children each; per context. parked: 100,000 tasks of one scope wait, and
// the scope is cancelled; per task, until the last has ended.
#include <vector>

#include <runnel/context.hpp>
#include <runnel/scope.hpp>
#include <runnel/time.hpp>

#include "measure.hpp"

namespace {
namespace rn = runnel;
using namespace std::chrono_literals;

constexpr std::int64_t contexts = 100'000;

/// `fan_out` children per context, breadth first.
std::vector<rn::context> build(const rn::context& top, std::size_t fan_out) {
    std::vector<rn::context> made;
    made.reserve(contexts + 1);
    made.push_back(top);
    while (made.size() <= contexts) made.push_back(rn::with_cancel(made[(made.size() - 1) / fan_out]).ctx);
    return made;
}

void cancel_contexts(benchmark::State& state, std::size_t fan_out) {
    for (auto _ : state) {
        const auto top = rn::with_cancel(rn::background());
        const auto made = build(top.ctx, fan_out);
        const measure::stopwatch watch;
        top.cancel();
        measure::report(state, watch.read(), contexts);
    }
}

void build_contexts(benchmark::State& state) {
    for (auto _ : state) {
        const auto top = rn::with_cancel(rn::background());
        const measure::stopwatch watch;
        const auto made = build(top.ctx, 10);
        measure::report(state, watch.read(), contexts);
    }
}

rn::task<> wait() { co_await rn::sleep_for(1h); }

rn::task<measure::elapsed> cancel_tasks(std::int64_t count) {
    rn::task_set waiting;
    for (std::int64_t i = 0; i < count; ++i) waiting.spawn(wait);
    for (int i = 0; i < 2000; ++i) co_await rn::yield();
    const measure::stopwatch watch;
    waiting.cancel();
    co_await waiting.join();
    co_return watch.read();
}

void flat(benchmark::State& state) { cancel_contexts(state, contexts); }
void tree(benchmark::State& state) { cancel_contexts(state, 10); }
void parked(benchmark::State& state) {
    for (auto _ : state) {
        rn::runtime rt(
            rn::options().workers(static_cast<unsigned>(state.range(0))).driver(rn::driver_kind::none));
        measure::report(state, rt.spawn(cancel_tasks, contexts).wait().value(), contexts);
    }
}
BENCHMARK(flat)->UseManualTime()->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(tree)->UseManualTime()->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(build_contexts)->UseManualTime()->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(parked)->Apply(measure::with_1_and_2_workers);
}

RUNNEL_BENCHMARK_MAIN()
