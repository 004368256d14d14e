// What does it cost to tell many: a message of a broadcast to 1, 10 and 1000 receivers?
//
// One sender, for whose receivers it waits; per message received. watch: a value that one task changes and another
// waits for, per change.
#include <runnel/broadcast.hpp>
#include <runnel/scope.hpp>
#include <runnel/watch.hpp>

#include "measure.hpp"

namespace {
namespace rn = runnel;

rn::task<> take_all(rn::broadcast_receiver<std::int64_t> in) {
    std::int64_t sum = 0;
    while (auto value = co_await in.recv()) sum += *value;
    benchmark::DoNotOptimize(sum);
}

rn::task<> tell(std::int64_t count, std::int64_t receivers) {
    auto [out, first] = rn::make_broadcast<std::int64_t>(128, rn::slow_receiver::wait);
    rn::task_set all;
    for (std::int64_t i = 1; i < receivers; ++i) all.spawn(take_all, out.subscribe(rn::slow_receiver::wait));
    all.spawn(take_all, std::move(first));
    for (std::int64_t i = 0; i < count / receivers; ++i)
        if (!co_await out.send(i)) co_return;
    out.reset();
    co_await all.join();
}
rn::task<> tell_1(std::int64_t count) { return tell(count, 1); }
rn::task<> tell_10(std::int64_t count) { return tell(count, 10); }
rn::task<> tell_1000(std::int64_t count) { return tell(count, 1000); }

rn::task<> watch_all(rn::watcher<std::int64_t> in) {
    while (auto value = co_await in.next()) benchmark::DoNotOptimize(*value);
}
rn::task<> change(std::int64_t count) {
    auto [out, in] = rn::make_watch<std::int64_t>(0);
    rn::task_set all;
    all.spawn(watch_all, std::move(in));
    for (std::int64_t i = 0; i < count; ++i) {
        auto sent = out.send(i);
        if (!sent) co_return;
        co_await rn::yield();
    }
    out.reset();
    co_await all.join();
}

void to_1(benchmark::State& state) { measure::batches(state, tell_1, 2'000'000); }
void to_10(benchmark::State& state) { measure::batches(state, tell_10, 2'000'000); }
void to_1000(benchmark::State& state) { measure::batches(state, tell_1000, 2'000'000); }
void watched(benchmark::State& state) { measure::batches(state, change, 1'000'000); }
BENCHMARK(to_1)->Apply(measure::with_1_and_2_workers);
BENCHMARK(to_10)->Apply(measure::with_1_and_2_workers);
BENCHMARK(to_1000)->Apply(measure::with_1_and_2_workers);
BENCHMARK(watched)->Apply(measure::with_1_and_2_workers);
}

RUNNEL_BENCHMARK_MAIN()
