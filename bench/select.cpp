// What does it cost to wait for one of several: a receive from 2 and from 8 channels?
//
// One producer per channel; unbuffered and with room for 128; per value received. any_…: the same number, known at
// run time only (select_any), where of 1000 channels one is sent into at a time, so that all the others are waited at
// in vain. try_empty: a select that does not wait and finds two channels empty; try_recv_empty: a receive that does not
// wait, the same with one. Floors: 15 ns for 2, 25 for 8; Go 169 and 443, for the last two 40 and 4.
#include <array>
#include <cstddef>
#include <utility>
#include <vector>

#include <runnel/channel.hpp>
#include <runnel/scope.hpp>
#include <runnel/select.hpp>
#include <runnel/select_any.hpp>

#include "measure.hpp"

namespace {
namespace rn = runnel;

rn::task<> produce(rn::sender<std::int64_t> out, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i)
        if (!co_await out.send(i)) co_return;
}

template <std::size_t... I>
rn::task<> consume(std::array<rn::receiver<std::int64_t>, sizeof...(I)> in, std::int64_t count,
                   std::index_sequence<I...>) {
    for (std::int64_t i = 0; i < count; ++i) {
        auto won = co_await rn::select(in[I].recv()...);
        if (!won) co_return;
        benchmark::DoNotOptimize(won);
    }
}

template <std::size_t Cases>
rn::task<> receive_from(std::int64_t count, std::size_t capacity) {
    std::array<rn::receiver<std::int64_t>, Cases> in;
    rn::task_set producers;
    for (auto& end : in) {
        auto [out, made] = rn::make_channel<std::int64_t>(capacity);
        end = std::move(made);
        // Each could send all of it: who is not chosen is not the bound. The end of the receivers stops them.
        producers.spawn(produce, std::move(out), count);
    }
    co_await consume(std::move(in), count, std::make_index_sequence<Cases>());
    co_await producers.join();
}

rn::task<> produce_in_turn(std::vector<rn::sender<std::int64_t>> out, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i)
        if (!co_await out[static_cast<std::size_t>(i * 7919) % out.size()].send(i)) co_return;
}

rn::task<> receive_from_any(std::size_t channels, std::int64_t count) {
    std::vector<rn::sender<std::int64_t>> out(channels);
    std::vector<rn::receiver<std::int64_t>> in(channels);
    std::vector<decltype(in[0].recv())> all;
    for (std::size_t i = 0; i < channels; ++i) {
        auto [to, from] = rn::make_channel<std::int64_t>(0);
        out[i] = std::move(to);
        in[i] = std::move(from);
        all.push_back(in[i].recv());
    }
    rn::task_set producers;
    if (channels > 8) {
        producers.spawn(produce_in_turn, std::move(out), count);
    } else {
        for (auto& each : out) producers.spawn(produce, std::move(each), count);
    }
    for (std::int64_t i = 0; i < count; ++i) {
        auto won = co_await rn::select_any(all);
        if (!won) co_return;
        benchmark::DoNotOptimize(won);
    }
    in.clear();
    co_await producers.join();
}

rn::task<> try_two(std::int64_t count) {
    auto [out1, in1] = rn::make_channel<std::int64_t>(0);
    auto [out2, in2] = rn::make_channel<std::int64_t>(0);
    for (std::int64_t i = 0; i < count; ++i) {
        auto won = rn::try_select(in1.recv(), in2.recv());
        benchmark::DoNotOptimize(won);
    }
    co_return;
}

rn::task<> try_one(std::int64_t count, std::size_t capacity) {
    auto [out, in] = rn::make_channel<std::int64_t>(capacity);
    for (std::int64_t i = 0; i < count; ++i) {
        auto value = in.try_recv();
        benchmark::DoNotOptimize(value);
    }
    co_return;
}

rn::task<> try_unbuffered(std::int64_t count) { return try_one(count, 0); }
rn::task<> try_buffered(std::int64_t count) { return try_one(count, 128); }
rn::task<> unbuffered_2(std::int64_t count) { return receive_from<2>(count, 0); }
rn::task<> unbuffered_8(std::int64_t count) { return receive_from<8>(count, 0); }
rn::task<> buffered_2(std::int64_t count) { return receive_from<2>(count, 128); }
rn::task<> buffered_8(std::int64_t count) { return receive_from<8>(count, 128); }
rn::task<> any_8(std::int64_t count) { return receive_from_any(8, count); }
rn::task<> any_1000(std::int64_t count) { return receive_from_any(1'000, count); }

void of_2(benchmark::State& state) { measure::batches(state, unbuffered_2, 1'000'000); }
void of_8(benchmark::State& state) { measure::batches(state, unbuffered_8, 1'000'000); }
void of_2_buffered(benchmark::State& state) { measure::batches(state, buffered_2, 1'000'000); }
void of_8_buffered(benchmark::State& state) { measure::batches(state, buffered_8, 1'000'000); }
void any_of_8(benchmark::State& state) { measure::batches(state, any_8, 1'000'000); }
void any_of_1000(benchmark::State& state) { measure::batches(state, any_1000, 5'000); }
void try_empty(benchmark::State& state) { measure::batches(state, try_two, 2'000'000); }
void try_recv_empty(benchmark::State& state) { measure::batches(state, try_unbuffered, 5'000'000); }
void try_recv_empty_buffered(benchmark::State& state) { measure::batches(state, try_buffered, 5'000'000); }
BENCHMARK(of_2)->Apply(measure::with_1_and_2_workers);
BENCHMARK(of_8)->Apply(measure::with_1_and_2_workers);
BENCHMARK(of_2_buffered)->Apply(measure::with_1_and_2_workers);
BENCHMARK(of_8_buffered)->Apply(measure::with_1_and_2_workers);
BENCHMARK(any_of_8)->Apply(measure::with_1_and_2_workers);
BENCHMARK(any_of_1000)->Apply(measure::with_1_and_2_workers);
BENCHMARK(try_empty)->Apply(measure::with_1_worker);
BENCHMARK(try_recv_empty)->Apply(measure::with_1_worker);
BENCHMARK(try_recv_empty_buffered)->Apply(measure::with_1_worker);
}

RUNNEL_BENCHMARK_MAIN()
