// What does it cost to hand a value to another task and get one back?
//
// Two tasks, two channels, unbuffered and with room for 128; per round trip. With two workers as well: the pair
// should stay on one of them. Floor: 12.8 ns on one thread, 110 between two that spin; Go 236 and 245.
#include <runnel/channel.hpp>
#include <runnel/scope.hpp>

#include "measure.hpp"

namespace {
namespace rn = runnel;

rn::task<> echo_values(rn::receiver<std::int64_t> in, rn::sender<std::int64_t> out) {
    while (auto value = co_await in.recv())
        if (!co_await out.send(*value)) co_return;
}

rn::task<> round_trips(std::int64_t count, std::size_t capacity) {
    auto [ping_out, ping_in] = rn::make_channel<std::int64_t>(capacity);
    auto [pong_out, pong_in] = rn::make_channel<std::int64_t>(capacity);
    rn::task_set other;
    other.spawn(echo_values, std::move(ping_in), std::move(pong_out));
    for (std::int64_t i = 0; i < count; ++i) {
        if (!co_await ping_out.send(i)) break;
        if (!co_await pong_in.recv()) break;
    }
    ping_out.reset();
    co_await other.join();
}
rn::task<> round_trips_unbuffered(std::int64_t count) { return round_trips(count, 0); }
rn::task<> round_trips_buffered(std::int64_t count) { return round_trips(count, 128); }

void unbuffered(benchmark::State& state) { measure::batches(state, round_trips_unbuffered, 1'000'000); }
void buffered_128(benchmark::State& state) { measure::batches(state, round_trips_buffered, 1'000'000); }
BENCHMARK(unbuffered)->Apply(measure::with_1_and_2_workers);
BENCHMARK(buffered_128)->Apply(measure::with_1_and_2_workers);
}

RUNNEL_BENCHMARK_MAIN()
