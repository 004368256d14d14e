// The simulated network: unchanged code on sockets that are none, in virtual time, by the seed.
#include "runnel/testing_network.hpp"

#include <doctest/doctest.h>
#include <runnel/testing.hpp>

#include <set>
#include <string>

#include "loopback.hpp"
#include "support/level.hpp"

namespace rn = runnel;
namespace testing = runnel::testing;
using namespace std::chrono_literals;
using test::pattern;
using test::read_all;
using test::stream_pair;

namespace {

testing::options on(const testing::network& how) { return testing::options().network(how); }

rn::task<> serve_echo(rn::tcp_listener listener) {
    rn::task_set connections;
    while (auto peer = co_await listener.accept()) connections.spawn(test::echo, std::move(*peer));
    co_await connections.join();
}

rn::task<> say_and_hear(rn::address server, std::size_t bytes, unsigned seed) {
    auto peer = co_await rn::tcp_stream::connect(server);
    testing::expect(peer.has_value(), "connected");
    const std::string text = pattern(bytes, seed);
    auto writer = rn::go(
        [](rn::tcp_stream& to, const std::string& what) -> rn::task<> {
            const auto sent = co_await to.write_all(what);
            testing::expect(sent.bytes == what.size(), "all is sent");
            testing::expect(to.shutdown_write().has_value(), "half-closed");
        },
        rn::borrow(*peer), rn::borrow(text));
    const std::string heard = co_await read_all(*peer);
    co_await writer;
    testing::expect(heard == text, "the echo is what was said");
}

/// A server and three clients, who say different things.
rn::task<> echo_of(std::size_t bytes) {
    rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:7000").value();
    const rn::address server = listener.local_address();
    rn::go(serve_echo, std::move(listener));
    rn::task_set clients;
    for (unsigned seed : {1U, 2U, 3U}) clients.spawn(say_and_hear, server, bytes, seed);
    co_await clients.join();
}

TEST_CASE("simulated network: an echo server and its clients, under every seed") {
    const auto all = testing::explore(on(testing::network().buffer(64)), support::scaled(300, 10'000),
                                      [] { return echo_of(500); });
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("simulated network: the same seed gives the same run, another seed another") {
    const auto hash_of = [](std::uint64_t seed) {
        const auto run = testing::simulate(testing::options().seed(seed), [] { return echo_of(2000); });
        CHECK_MESSAGE(run.ok(), run.what());
        return run.hash();
    };
    std::set<std::uint64_t> hashes;
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
        hashes.insert(hash_of(seed));
        CHECK(hash_of(seed) == hash_of(seed));
    }
    CHECK(hashes.size() == 50);
}
}
