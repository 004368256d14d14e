// How many values go through one channel, from one producer to one consumer and from four to four?
//
// Unbuffered, and with room for 128; per value.
#include <runnel/channel.hpp>
#include <runnel/scope.hpp>

#include "measure.hpp"

namespace {
namespace rn = runnel;

rn::task<> produce(rn::sender<std::int64_t> out, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i)
        if (!co_await out.send(i)) co_return;
}

rn::task<> consume(rn::receiver<std::int64_t> in) {
    std::int64_t sum = 0;
    while (auto value = co_await in.recv()) sum += *value;
    benchmark::DoNotOptimize(sum);
}

rn::task<> transfer(std::int64_t count, std::size_t capacity, int pairs) {
    auto [out, in] = rn::make_channel<std::int64_t>(capacity);
    rn::task_set all;
    for (int i = 0; i < pairs; ++i) {
        all.spawn(produce, out.share(), count / pairs);
        all.spawn(consume, in.share());
    }
    out.reset();
    in.reset();
    co_await all.join();
}
rn::task<> unbuffered_1(std::int64_t count) { return transfer(count, 0, 1); }
rn::task<> unbuffered_4(std::int64_t count) { return transfer(count, 0, 4); }
rn::task<> buffered_1(std::int64_t count) { return transfer(count, 128, 1); }
rn::task<> buffered_4(std::int64_t count) { return transfer(count, 128, 4); }

void unbuffered_1P1C(benchmark::State& state) { measure::batches(state, unbuffered_1, 2'000'000); }
void unbuffered_4P4C(benchmark::State& state) { measure::batches(state, unbuffered_4, 2'000'000); }
void buffered_1P1C(benchmark::State& state) { measure::batches(state, buffered_1, 5'000'000); }
void buffered_4P4C(benchmark::State& state) { measure::batches(state, buffered_4, 5'000'000); }
BENCHMARK(unbuffered_1P1C)->Apply(measure::with_1_and_2_workers);
BENCHMARK(unbuffered_4P4C)->Apply(measure::with_1_and_2_workers);
BENCHMARK(buffered_1P1C)->Apply(measure::with_1_and_2_workers);
BENCHMARK(buffered_4P4C)->Apply(measure::with_1_and_2_workers);
}

RUNNEL_BENCHMARK_MAIN()
