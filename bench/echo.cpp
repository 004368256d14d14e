// How long does a request take over loopback, with client and server in one runtime?
//
// 64 bytes there and back on 1, 50 and 200 connections at once; per request. `cpu` is the processor time of both
// sides and of the kernel's part in it. The figures of whole servers, with the load apart, are made elsewhere.
#include <string>

#include <runnel/scope.hpp>
#include <runnel/tcp.hpp>

#include "measure.hpp"

namespace {
namespace rn = runnel;

rn::task<> serve_one(rn::tcp_stream peer) {
    while (auto chunk = co_await peer.recv())
        if (!co_await peer.write_all(*chunk)) co_return;
}

rn::task<> serve(rn::tcp_listener& listener) {
    rn::task_set connections;
    while (auto peer = co_await listener.accept()) connections.spawn(serve_one, std::move(*peer));
    co_await connections.join();
}

rn::task<> ask(rn::address where, std::int64_t count) {
    const std::string request(64, 'x');
    auto server = co_await rn::tcp_stream::connect(where);
    if (!server) co_return;
    for (std::int64_t i = 0; i < count; ++i) {
        if (!co_await server->write_all(request)) co_return;
        for (std::size_t left = request.size(); left > 0;) {
            auto chunk = co_await server->recv();
            if (!chunk) co_return;
            left -= chunk->size();
        }
    }
}

rn::task<> requests(std::int64_t count, std::int64_t clients) {
    auto listener = rn::tcp_listener::bind("127.0.0.1:0").value();
    rn::task_set server;
    server.spawn(serve, rn::borrow(listener));
    rn::task_set asking;
    for (std::int64_t i = 0; i < clients; ++i) asking.spawn(ask, listener.local_address(), count / clients);
    co_await asking.join();
    listener.close();
    co_await server.join();
}
rn::task<> requests_1(std::int64_t count) { return requests(count, 1); }
rn::task<> requests_50(std::int64_t count) { return requests(count, 50); }
rn::task<> requests_200(std::int64_t count) { return requests(count, 200); }

constexpr auto any = rn::driver_kind::automatic;  // RUNNEL_DRIVER=uring|epoll chooses
void of_1(benchmark::State& state) { measure::batches(state, any, requests_1, 20'000); }
void of_50(benchmark::State& state) { measure::batches(state, any, requests_50, 100'000); }
void of_200(benchmark::State& state) { measure::batches(state, any, requests_200, 100'000); }
BENCHMARK(of_1)->Apply(measure::with_1_and_2_workers);
BENCHMARK(of_50)->Apply(measure::with_1_and_2_workers);
BENCHMARK(of_200)->Apply(measure::with_1_and_2_workers);
}

RUNNEL_BENCHMARK_MAIN()
