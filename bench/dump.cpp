// How long does a dump of a million tasks take, and how long does it hold up those that run meanwhile?
//
// million: one dump of a million tasks that wait, per task. meanwhile: the same by another thread, while one task gives
// way again and again; `longest` is the longest time between two of its turns, `alone` the same without a dump. (On a
// machine with as many processors as workers the dump takes one away: the kernel's slices are in `longest`.)
#include <algorithm>
#include <atomic>
#include <thread>

#include <runnel/dump.hpp>
#include <runnel/go.hpp>
#include <runnel/scope.hpp>
#include <runnel/sync.hpp>
#include <runnel/time.hpp>

#include "measure.hpp"

namespace {
namespace rn = runnel;

constexpr std::int64_t tasks = 1'000'000;

rn::task<> wait(rn::event& end) { co_await end.wait(); }

rn::task<> keep(rn::event& ready, rn::event& end) {
    rn::task_set all;
    for (std::int64_t i = 0; i < tasks; ++i) {
        all.spawn(wait, rn::borrow(end));
        if (i % 1000 == 0) co_await rn::yield();
    }
    for (int i = 0; i < 20'000; ++i) co_await rn::yield();
    ready.set();
    co_await all.join();
}

rn::task<> wait_for(rn::event& what) { co_await what.wait(); }

/// A million tasks that wait, until they need not any more.
class waiting_tasks {
public:
    explicit waiting_tasks(rn::runtime& in) : keeper_(in.spawn(keep, rn::borrow(ready_), rn::borrow(end_))) {
        in.spawn(wait_for, rn::borrow(ready_)).wait();
    }
    ~waiting_tasks() {
        end_.set();
        keeper_.wait();
    }
    waiting_tasks(const waiting_tasks&) = delete;
    waiting_tasks& operator=(const waiting_tasks&) = delete;

private:
    rn::event ready_, end_;
    rn::join_handle<> keeper_;
};

void million(benchmark::State& state) {
    for (auto _ : state) {
        rn::runtime rt(rn::options().workers(1).driver(rn::driver_kind::none));
        waiting_tasks all(rt);
        const measure::stopwatch watch;
        benchmark::DoNotOptimize(rt.dump_tasks().size());
        measure::report(state, watch.read(), tasks);
    }
}

using seconds = std::chrono::duration<double>;

rn::task<> give_way(const std::atomic<bool>& over, seconds& longest) {
    auto before = std::chrono::steady_clock::now();
    while (!over.load()) {
        co_await rn::yield();
        const auto now = std::chrono::steady_clock::now();
        longest = std::max<seconds>(longest, now - before);
        before = now;
    }
}

double longest_pause_during(rn::runtime& rt, const auto& act) {
    std::atomic<bool> over{false};
    seconds longest{0};
    auto end = rt.spawn(give_way, rn::borrow(over), rn::borrow(longest));
    act();
    over = true;
    end.wait();
    return longest.count();
}

void meanwhile(benchmark::State& state) {
    for (auto _ : state) {
        rn::runtime rt(rn::options().workers(1).driver(rn::driver_kind::none));
        waiting_tasks all(rt);
        const measure::stopwatch watch;
        state.counters["longest"] =
            longest_pause_during(rt, [&] { benchmark::DoNotOptimize(rt.dump_tasks().size()); });
        const measure::elapsed took = watch.read();
        state.counters["alone"] =
            longest_pause_during(rt, [&] { std::this_thread::sleep_for(seconds(took.wall)); });
        measure::report(state, took, tasks);
    }
}
BENCHMARK(million)->UseManualTime()->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(meanwhile)->UseManualTime()->Iterations(1)->Unit(benchmark::kMillisecond);
}

RUNNEL_BENCHMARK_MAIN()
