// What does a datagram cost over loopback, one by one and many at once?
//
// 64 bytes from one socket to another in one task: as many as the receiver's buffer holds are sent, then received;
// per datagram, which is sent and received. `singly`: send_to and recv_from; `leased`: recv; `together`: send_many and
// recv_many of 32; `to_four` has them go to four sockets in turn, so that the kernel cannot take several as one
// (UDP_SEGMENT); `coalesced` asks for UDP_GRO too. ping_pong: there and back between two tasks, which wait.
#include <array>
#include <cstdlib>
#include <vector>

#include <runnel/scope.hpp>
#include <runnel/udp.hpp>

#include "measure.hpp"

namespace {
namespace rn = runnel;

constexpr std::size_t at_once = 32;
using payload = std::array<std::byte, 64>;

rn::udp_socket bound(const rn::udp_options& how = {}) {
    return rn::udp_socket::bind("127.0.0.1:0", how).value();
}

/// On loopback nothing is lost while the receiver has room.
void must(bool went_well) {
    if (!went_well) std::abort();
}

rn::task<> singly(std::int64_t count) {
    rn::udp_socket near = bound(), far = bound();
    const rn::address to = far.local_address().value();
    payload out{}, in{};
    for (std::int64_t done = 0; done < count; done += at_once) {
        for (std::size_t i = 0; i < at_once; ++i) must((co_await near.send_to(out, to)).has_value());
        for (std::size_t i = 0; i < at_once; ++i) must((co_await far.recv_from(in)).has_value());
    }
}

rn::task<> leased(std::int64_t count) {
    rn::udp_socket near = bound(), far = bound();
    const rn::address to = far.local_address().value();
    payload out{};
    for (std::int64_t done = 0; done < count; done += at_once) {
        for (std::size_t i = 0; i < at_once; ++i) must((co_await near.send_to(out, to)).has_value());
        for (std::size_t i = 0; i < at_once; ++i) must((co_await far.recv()).has_value());
    }
}

rn::task<> in_batches(std::int64_t count, std::size_t receivers, bool coalesce) {
    rn::udp_socket near = bound();
    std::vector<rn::udp_socket> far;
    for (std::size_t i = 0; i < receivers; ++i) far.push_back(bound(rn::udp_options().coalesce(coalesce)));
    payload bytes{};
    std::vector<payload> room(at_once);
    std::vector<rn::outgoing> out;
    std::vector<rn::incoming> in;
    for (std::size_t i = 0; i < at_once; ++i) {
        out.emplace_back(bytes, far[i % receivers].local_address().value());
        in.emplace_back(room[i]);
    }
    for (std::int64_t done = 0; done < count; done += at_once) {
        for (std::size_t sent = 0; sent < at_once;) {
            const rn::sent_many some = co_await near.send_many(std::span(out).subspan(sent));
            must(static_cast<bool>(some));
            sent += some.count;
        }
        for (std::size_t received = 0; received < at_once;) {
            rn::udp_socket& next = far[received / (at_once / receivers)];
            const std::size_t most = at_once / receivers;
            const auto some = co_await next.recv_many(std::span(in).first(most - received % most));
            must(some.has_value());
            received += *some;
        }
    }
}
rn::task<> together(std::int64_t count) { return in_batches(count, 1, false); }
rn::task<> coalesced(std::int64_t count) { return in_batches(count, 1, true); }
rn::task<> to_four(std::int64_t count) { return in_batches(count, 4, false); }

rn::task<> answer(rn::udp_socket& socket) {
    while (auto question = co_await socket.recv()) co_await socket.send_to(question->bytes, question->from);
}

rn::task<> ping_pong(std::int64_t count) {
    rn::udp_socket near = bound(), far = bound();
    const rn::address to = far.local_address().value();
    rn::task_set server;
    server.spawn(answer, rn::borrow(far));
    payload out{}, in{};
    for (std::int64_t i = 0; i < count; ++i) {
        must((co_await near.send_to(out, to)).has_value());
        must((co_await near.recv_from(in)).has_value());
    }
    far.close();
    co_await server.join();
}

constexpr auto any = rn::driver_kind::automatic;  // RUNNEL_DRIVER=uring|epoll chooses
void one_by_one(benchmark::State& state) { measure::batches(state, any, singly, 320'000); }
void by_lease(benchmark::State& state) { measure::batches(state, any, leased, 320'000); }
void many(benchmark::State& state) { measure::batches(state, any, together, 640'000); }
void many_coalesced(benchmark::State& state) { measure::batches(state, any, coalesced, 640'000); }
void many_to_four(benchmark::State& state) { measure::batches(state, any, to_four, 640'000); }
void there_and_back(benchmark::State& state) { measure::batches(state, any, ping_pong, 50'000); }
BENCHMARK(one_by_one)->Apply(measure::with_1_worker);
BENCHMARK(by_lease)->Apply(measure::with_1_worker);
BENCHMARK(many)->Apply(measure::with_1_worker);
BENCHMARK(many_coalesced)->Apply(measure::with_1_worker);
BENCHMARK(many_to_four)->Apply(measure::with_1_worker);
BENCHMARK(there_and_back)->Apply(measure::with_1_worker);
}

RUNNEL_BENCHMARK_MAIN()
