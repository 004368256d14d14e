// The code of docs/servers.md, compiled and run.
#include <runnel/connect.hpp>
#include <runnel/context.hpp>
#include <runnel/go.hpp>
#include <runnel/resolve.hpp>
#include <runnel/serve.hpp>
#include <runnel/tcp.hpp>
#include <runnel/testing.hpp>
#include <runnel/testing_network.hpp>
#include <runnel/time.hpp>

#include <chrono>
#include <cstdio>
#include <string>

namespace rn = runnel;
using namespace std::chrono_literals;

rn::task<> talk(rn::tcp_stream& peer, rn::context finish) {
    for (;;) {
        auto question = co_await rn::with_context(finish, peer.recv());  // until we are asked to finish
        if (!question) co_return;                                        // or the peer has, or was idle
        if (!co_await peer.write_all(*question)) co_return;
    }
}

rn::task<> serve_echo(rn::server& echo, rn::tcp_listener listener) {
    const rn::serve_report end = co_await echo.serve(std::move(listener), talk);
    std::printf("%llu connections; %zu were cut off\n", static_cast<unsigned long long>(end.counts.accepted),
                end.cut_off.size());
}

rn::serve_options how() {
    return rn::serve_options()
        .connections(10'000)    // the next one waits in the backlog
        .idle_timeout(60s, 64)  // each 64 bytes may take a minute
        .grace(10s)             // to finish by themselves
        .linger(2s);            // to read what is left, after our half-close
}

rn::task<> read_a_request(rn::tcp_stream& peer) {
    peer.set_read_deadline(rn::clock::now() + 5s);  // for all of it, however many reads that takes
    std::string request;
    while (request.find("\r\n\r\n") == std::string::npos) {
        auto chunk = co_await peer.recv();
        if (!chunk) co_return;  // timed_out: it was too slow
        request += chunk->text();
    }
    peer.set_read_deadline(std::nullopt);  // the next one may take its time
    (void)co_await peer.write_all("HTTP/1.1 204 No Content\r\n\r\n");
}

rn::task<rn::result<std::string>> ask(std::string server) {
    auto limited = rn::connect_to(server);
    auto peer = co_await rn::with_timeout(5s, std::move(limited));  // of lookup and all attempts together
    if (!peer) {
        std::fputs((peer.explain(server) + "\n").c_str(), stderr);
        co_return peer.error();
    }
    if (auto sent = co_await peer->write_all("hello"); !sent) co_return sent.error;
    if (auto done = peer->shutdown_write(); !done) co_return done.error();
    std::string answer;
    while (auto chunk = co_await peer->recv()) answer += chunk->text();
    co_return answer;
}

rn::task<> a_lame_ipv6_costs_a_quarter_of_a_second() {
    const auto six = rn::address::parse("[2001:db8::1]:7").value();
    const auto four = rn::address::parse("192.0.2.1:7").value();
    rn::testing::set_name("echo.test", {six, four}, 20ms);  // what a lookup finds, and how long it takes
    rn::testing::cut(six);
    rn::server echo(how());
    auto serving = rn::go(serve_echo, rn::borrow(echo), rn::tcp_listener::bind(four).value());
    const auto start = rn::clock::now();
    const auto answer = co_await ask("echo.test:7");
    rn::testing::expect(answer && *answer == "hello", "an answer");
    rn::testing::expect(rn::clock::now() - start < 300ms, "after one attempt that led nowhere");
    echo.stop();
    co_await serving;
}

rn::task<> a_slow_request() {
    auto listener = rn::tcp_listener::bind("10.0.0.1:80").value();
    auto peer = co_await rn::tcp_stream::connect("10.0.0.1:80");
    auto accepted = co_await listener.accept();
    const auto start = rn::clock::now();
    co_await read_a_request(*accepted);
    rn::testing::expect(rn::clock::now() - start == 5s, "in its time");
}

int main() {
    const auto first = rn::testing::explore(100, a_lame_ipv6_costs_a_quarter_of_a_second);
    const auto second = rn::testing::explore(10, a_slow_request);
    std::fputs((first.what() + second.what()).c_str(), stderr);
    return first.ok() && second.ok() ? 0 : 1;
}
