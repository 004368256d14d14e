// How long until a task on another thread goes on?
//
// A ping-pong over unbuffered channels between two runtimes of one worker each, so that every hand-over wakes a
// thread; per round trip. Sleeping dominates: floors 31,000 ns when the other processor halts, 5,000 for two
// threads on one processor, 400 to 640 when the waiter still spins. See options.spin (--spin_us=N).
#include <runnel/channel.hpp>

#include "measure.hpp"

namespace {
namespace rn = runnel;

rn::task<> echo_values(rn::receiver<std::int64_t> in, rn::sender<std::int64_t> out) {
    while (auto value = co_await in.recv())
        if (!co_await out.send(*value)) co_return;
}

rn::task<measure::elapsed> round_trips(rn::sender<std::int64_t> out, rn::receiver<std::int64_t> in,
                                       std::int64_t count) {
    const measure::stopwatch watch;
    for (std::int64_t i = 0; i < count; ++i) {
        if (!co_await out.send(i)) break;
        if (!co_await in.recv()) break;
    }
    co_return watch.read();
}

void ping_pong(benchmark::State& state) {
    constexpr std::int64_t count = 20'000;
    const auto alone = rn::options()
                           .workers(1)
                           .driver(rn::driver_kind::none)
                           .spin(std::chrono::microseconds(measure::spin_us));
    for (auto _ : state) {
        rn::runtime here(alone);
        rn::runtime there(alone);
        auto [ping_out, ping_in] = rn::make_channel<std::int64_t>(0);
        auto [pong_out, pong_in] = rn::make_channel<std::int64_t>(0);
        auto other = there.spawn(echo_values, std::move(ping_in), std::move(pong_out));
        auto mine = here.spawn(round_trips, std::move(ping_out), std::move(pong_in), count);
        measure::report(state, mine.wait().value(), count);
        other.wait().value();
    }
}
BENCHMARK(ping_pong)->UseManualTime()->Iterations(1)->Unit(benchmark::kMillisecond);
}

RUNNEL_BENCHMARK_MAIN()
