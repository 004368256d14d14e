// What does a deadline cost: set and taken out again, and set and met?
//
// set_and_drop: with_timeout around a wait that ends at once otherwise, while 10,000 other deadlines stand, as
// they do in a server; per wait. limit_of_ready: with_timeout around what is there already, while as many stand;
// no_limit_of_ready: the same wait without it. sleepers: tasks that sleep up to 1 s each (up to 100 ms for 100,000);
// `op` is what each costs beyond the time slept: (wall time - longest sleep) / tasks.
#include <chrono>

#include <runnel/scope.hpp>
#include <runnel/sync.hpp>
#include <runnel/time.hpp>

#include "measure.hpp"

namespace {
namespace rn = runnel;
using namespace std::chrono_literals;

rn::task<> sleep(std::int64_t nanoseconds) { co_await rn::sleep_for(std::chrono::nanoseconds(nanoseconds)); }

rn::task<> hand_over(rn::event& mine, rn::event& yours, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
        co_await rn::with_timeout(10s, mine.wait());
        mine.reset();
        yours.set();
    }
}

rn::task<> waits_with_limit(std::int64_t count) {
    rn::event ping;
    rn::event pong;
    rn::task_set others;
    for (std::int64_t i = 0; i < 10'000; ++i) others.spawn(sleep, 3'600'000'000'000 + i);
    rn::task_set both;
    both.spawn(hand_over, rn::borrow(ping), rn::borrow(pong), count / 2);
    both.spawn(hand_over, rn::borrow(pong), rn::borrow(ping), count / 2);
    ping.set();
    co_await both.join();
    others.cancel();
    co_await others.join();
}

template <bool Limited>
rn::task<> waits_for_what_is_there(std::int64_t count) {
    rn::event open;
    open.set();
    rn::task_set others;
    for (std::int64_t i = 0; i < 10'000; ++i) others.spawn(sleep, 3'600'000'000'000 + i);
    for (std::int64_t i = 0; i < count; ++i) {
        if constexpr (Limited)
            co_await rn::with_timeout(10s, open.wait());
        else
            co_await open.wait();
    }
    others.cancel();
    co_await others.join();
}

rn::task<measure::elapsed> overrun(std::int64_t count, std::int64_t longest_ns) {
    const measure::stopwatch watch;
    rn::task_set sleepers;
    for (std::int64_t i = 0; i < count; ++i)  // a permutation, near enough to random
        sleepers.spawn(sleep, i * 7'919 % count * (longest_ns / count) + 1);
    co_await sleepers.join();
    measure::elapsed took = watch.read();
    took.wall -= static_cast<double>(longest_ns) * 1e-9;
    co_return took;
}

void overruns(benchmark::State& state, std::int64_t count, std::int64_t longest_ns) {
    for (auto _ : state) {
        rn::runtime rt(
            rn::options().workers(static_cast<unsigned>(state.range(0))).driver(rn::driver_kind::none));
        measure::report(state, rt.spawn(overrun, count, longest_ns).wait().value(), count);
    }
}

void set_and_drop(benchmark::State& state) { measure::batches(state, waits_with_limit, 1'000'000); }
void limit_of_ready(benchmark::State& state) {
    measure::batches(state, waits_for_what_is_there<true>, 10'000'000);
}
void no_limit_of_ready(benchmark::State& state) {
    measure::batches(state, waits_for_what_is_there<false>, 10'000'000);
}
void sleepers_100k(benchmark::State& state) { overruns(state, 100'000, 100'000'000); }
void slow_sleepers_1M(benchmark::State& state) { overruns(state, 1'000'000, 1'000'000'000); }
BENCHMARK(set_and_drop)->Apply(measure::with_1_and_2_workers);
BENCHMARK(limit_of_ready)->Apply(measure::with_1_worker);
BENCHMARK(no_limit_of_ready)->Apply(measure::with_1_worker);
BENCHMARK(sleepers_100k)->Apply(measure::with_1_and_2_workers);
BENCHMARK(slow_sleepers_1M)->Apply(measure::with_1_and_2_workers);
}

RUNNEL_BENCHMARK_MAIN()
