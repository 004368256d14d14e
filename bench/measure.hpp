// measure: how every benchmark here is taken.
//
// One batch: a runtime of its own with so many workers starts, runs the body once so that frames, blocks
// and caches are warm, runs it again between two looks at the clock, and stops. Only what lies between
// the two looks counts (manual time), so neither threads nor the first page faults do. A figure is the
// time of one operation, on the wall and of the processors (all threads together); the second says more
// on a busy machine. bench/run takes the median of several batches.
//
// `--count=N` instead makes every body run once, without the first round, for N operations: what
// bench/instructions counts the instructions of. `--spin_us=N` is options.spin.
//
//   M1  a body does `count` operations of the thing its file asks about, and as little else as it can;
//   M2  a program that was built without optimisation, or for a sanitizer, reports nothing.
#pragma once

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include <runnel/runtime.hpp>

namespace measure {

namespace rn = runnel;

using body = rn::task<> (*)(std::int64_t count);
inline std::int64_t fixed_count = 0;  // of --count
inline std::int64_t spin_us = 0;      // of --spin_us

/// Seconds on the wall, and of processor time in all threads of this process.
struct elapsed {
    double wall = 0;
    double cpu = 0;

    static double cpu_seconds() noexcept {
        timespec used;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
        return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
    }
};

class stopwatch {
public:
    elapsed read() const noexcept {
        const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - wall_;
        return {wall.count(), elapsed::cpu_seconds() - cpu_};
    }

private:
    std::chrono::steady_clock::time_point wall_ = std::chrono::steady_clock::now();
    double cpu_ = elapsed::cpu_seconds();
};

inline rn::task<elapsed> timed(body run, std::int64_t count) {
    if (fixed_count == 0) co_await run(count);
    const stopwatch watch;
    co_await run(count);
    co_return watch.read();
}

/// Reports what `operations` took: `op` and `cpu` are the times of one, `per_second` how many that are.
inline void report(benchmark::State& state, elapsed took, std::int64_t operations) {
    state.SetIterationTime(took.wall);
    const auto items = static_cast<double>(operations);
    state.counters["per_second"] = items / took.wall;
    state.counters["op"] = took.wall / items;
    state.counters["cpu"] = took.cpu / items;
}

/// One batch per iteration of `run(count)`, which does so many operations (`count`, when not said).
/// The first argument of the benchmark is the number of workers.
inline void batches(benchmark::State& state, rn::driver_kind driver, body run, std::int64_t count,
                    std::int64_t operations = 0) {
    if (fixed_count != 0) count = fixed_count;
    for (auto _ : state) {
        rn::runtime rt(rn::options()
                           .workers(static_cast<unsigned>(state.range(0)))
                           .driver(driver)
                           .spin(std::chrono::microseconds(spin_us)));
        const elapsed took = rt.spawn(timed, run, count).wait().value();
        report(state, took, operations != 0 ? operations : count);
    }
}
inline void batches(benchmark::State& state, body run, std::int64_t count, std::int64_t operations = 0) {
    batches(state, rn::driver_kind::none, run, count, operations);
}

/// With 1 and with 2 workers; one batch, unless more repetitions are asked for.
inline void with_1_and_2_workers(benchmark::internal::Benchmark* of) {
    of->ArgName("workers")->Arg(1)->Arg(2)->UseManualTime()->Iterations(1)->Unit(benchmark::kMillisecond);
}
inline void with_1_worker(benchmark::internal::Benchmark* of) {
    of->ArgName("workers")->Arg(1)->UseManualTime()->Iterations(1)->Unit(benchmark::kMillisecond);
}
inline void with_2_workers(benchmark::internal::Benchmark* of) {
    of->ArgName("workers")->Arg(2)->UseManualTime()->Iterations(1)->Unit(benchmark::kMillisecond);
}

#if !defined(__OPTIMIZE__)
inline constexpr const char* refused = "built without optimisation";
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr const char* refused = "built for a sanitizer";
#else
inline constexpr const char* refused = nullptr;
#endif

/// Takes what is ours out of the arguments.
inline void take_options(int& argc, char** argv) {
    const auto taken = [](const char* argument, const char* flag, std::int64_t& into) {
        const std::size_t length = std::strlen(flag);
        if (std::strncmp(argument, flag, length) != 0) return false;
        into = std::strtoll(argument + length, nullptr, 10);
        return true;
    };
    int kept = 1;
    for (int i = 1; i < argc; ++i)
        if (!taken(argv[i], "--count=", fixed_count) && !taken(argv[i], "--spin_us=", spin_us))
            argv[kept++] = argv[i];
    argc = kept;
}

inline int main(int argc, char** argv) {
    if (refused != nullptr) {
        std::fprintf(stderr, "%s: %s: its figures would mean nothing; see bench/run\n", argv[0], refused);
        return 77;  // M2; for meson: skipped
    }
    take_options(argc, argv);
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
}
}

#define RUNNEL_BENCHMARK_MAIN() \
    int main(int argc, char** argv) { return measure::main(argc, argv); }
