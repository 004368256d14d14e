// What does a wait cost that really waits: a task parks, and another wakes it?
//
// two_tasks: two tasks of one scope wake each other by events, per wait. all: 100,000 tasks park on one event,
// which is then set; per task, start and end of the task included.
#include <memory>
#include <vector>

#include <runnel/scope.hpp>
#include <runnel/sync.hpp>

#include "measure.hpp"

namespace {
namespace rn = runnel;

rn::task<> take_turns(rn::event& mine, rn::event& yours, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
        co_await mine.wait();
        mine.reset();
        yours.set();
    }
}

rn::task<> wake_each_other(std::int64_t count) {
    rn::event ping;
    rn::event pong;
    rn::task_set both;
    both.spawn(take_turns, rn::borrow(ping), rn::borrow(pong), count / 2);
    both.spawn(take_turns, rn::borrow(pong), rn::borrow(ping), count / 2);
    ping.set();
    co_await both.join();
}

rn::task<> wait_for(rn::event& start) { co_await start.wait(); }

rn::task<> wake_many(std::int64_t count) {
    rn::event start;
    rn::task_set waiting;
    for (std::int64_t i = 0; i < count; ++i) waiting.spawn(wait_for, rn::borrow(start));
    for (int i = 0; i < 1000; ++i) co_await rn::yield();
    start.set();
    co_await waiting.join();
}

void two_tasks(benchmark::State& state) { measure::batches(state, wake_each_other, 2'000'000); }
void all(benchmark::State& state) { measure::batches(state, wake_many, 100'000); }
BENCHMARK(two_tasks)->Apply(measure::with_1_and_2_workers);
BENCHMARK(all)->Apply(measure::with_1_and_2_workers);
}

RUNNEL_BENCHMARK_MAIN()
