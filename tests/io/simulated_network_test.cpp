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
    const auto all = testing::explore(on(testing::network().buffer(64)), support::scaled(300U, 10'000U),
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

// --- What Linux does, the simulation does ----------------------------------------------------------------

/// What happens to both ends of a connection, in words: the same on the system's sockets and on simulated ones.
template <class F>
void check_as_on_linux(F story, const char* expected) {
    std::string real;
    test::run_on(1, [&]() -> rn::task<> { real = co_await story(); });
    CHECK(real == expected);
    const auto main = [&]() -> rn::task<> {
        const std::string simulated = co_await story();
        testing::expect(simulated == expected, simulated.c_str());
    };
    const auto all = testing::explore(on(testing::network().short_transfers(false)), 50, main);
    CHECK_MESSAGE(all.ok(), all.what());
}

std::string word(std::error_code error) {
    if (!error) return "ok";
    if (error == rn::errc::end_of_stream) return "end";
    if (error == rn::errc::closed) return "closed";
    if (error == std::errc::connection_reset) return "reset";
    if (error == std::errc::broken_pipe) return "pipe";
    if (error == std::errc::not_connected) return "unconnected";
    if (error == std::errc::connection_refused) return "refused";
    if (error == std::errc::address_in_use) return "in use";
    return error.message();
}

rn::task<std::string> reads(rn::tcp_stream& from) {
    auto chunk = co_await from.recv();
    co_return chunk ? std::string(chunk->text()) + " " : word(chunk.error()) + " ";
}
rn::task<std::string> writes(rn::tcp_stream& to, std::string_view text) {
    const auto sent = co_await to.write_all(text);
    co_return word(sent.error) + " ";
}

rn::task<std::string> one_closes() {
    auto [near, far] = co_await test::connected_pair();
    std::string told = co_await writes(near, "bye");
    near.close();
    told += co_await reads(far);
    told += co_await reads(far);
    told += co_await reads(far);
    co_return told;
}
TEST_CASE(
    "simulated network: what was written before a close is read, then the end of the stream, for ever") {
    check_as_on_linux(one_closes, "ok bye end end ");
}

rn::task<std::string> one_writes_to_the_closed() {
    auto [near, far] = co_await test::connected_pair();
    near.close();
    std::string told = co_await reads(far);
    told += co_await writes(far, "anybody there?");   // is answered by a reset
    while (far.peer_address()) co_await rn::yield();  // until that is here
    told += co_await writes(far, "hello?");
    told += co_await reads(far);
    told += word(far.shutdown_write().error());
    co_return told;
}
TEST_CASE("simulated network: who writes to a closed peer learns it with the next write") {
    check_as_on_linux(one_writes_to_the_closed, "end ok pipe end unconnected");
}

rn::task<std::string> one_closes_on_unread_bytes() {
    auto [near, far] = co_await test::connected_pair();
    std::string told = co_await writes(near, "for you");
    told += co_await writes(far, "unread");
    auto there = co_await near.readable();
    auto here = co_await far.readable();  // else what is under way may be lost
    told += word(there.error()) + " " + word(here.error()) + " ";
    near.close();
    while (far.peer_address()) co_await rn::yield();  // the reset is here
    told += co_await reads(far);
    told += co_await reads(far);
    told += co_await reads(far);
    told += co_await writes(far, "hello?");
    co_return told;
}
TEST_CASE("simulated network: closing on unread bytes resets; what had arrived can be read, one call fails") {
    check_as_on_linux(one_closes_on_unread_bytes, "ok ok ok ok for you reset end pipe ");
}

rn::task<std::string> one_half_closes() {
    auto [near, far] = co_await test::connected_pair();
    std::string told = co_await writes(near, "question");
    told += word(near.shutdown_write().error()) + " ";
    told += co_await writes(near, "more");
    told += co_await reads(far);
    told += co_await reads(far);
    told += co_await writes(far, "answer");
    far.close();
    told += co_await reads(near);
    told += co_await reads(near);
    co_return told;
}
TEST_CASE("simulated network: half a connection can be closed, and the other half goes on") {
    check_as_on_linux(one_half_closes, "ok ok pipe question end ok answer end ");
}

rn::task<std::string> a_listener_closes() {
    auto listener = rn::tcp_listener::bind("127.0.0.1:0").value();
    const rn::address at = listener.local_address();
    auto queued = co_await rn::tcp_stream::connect(at);
    listener.close();
    std::string told = co_await reads(*queued);
    auto late = co_await rn::tcp_stream::connect(at);
    co_return told + word(late.error());
}
TEST_CASE(
    "simulated network: a listener that closes resets who waits in its backlog, and refuses who comes") {
    check_as_on_linux(a_listener_closes, "reset refused");
}

rn::task<std::string> several_listen() {
    const auto bind = [](const rn::address& on, bool shared) {
        return rn::tcp_listener::bind(on, rn::tcp_options().reuse_port(shared));
    };
    auto first = bind(rn::address::loopback_ipv4(0), false);
    const std::uint16_t port = first->local_address().port();
    std::string told = word(bind(first->local_address(), false).error()) + ", ";
    told += word(bind(first->local_address(), true).error()) + ", ";
    told += word(bind(rn::address::any_ipv4(port), false).error()) + ", ";
    first->close();
    auto shared = bind(rn::address::loopback_ipv4(port), true);
    auto other = bind(rn::address::loopback_ipv4(port), true);
    told += word(shared.error()) + " and " + word(other.error());
    co_return told;
}
TEST_CASE("simulated network: an address belongs to one listener, or to several that share its port") {
    check_as_on_linux(several_listen, "in use, in use, in use, ok and ok");
}

rn::task<std::string> a_connection_outlives_its_listener() {
    auto listener = rn::tcp_listener::bind("127.0.0.1:0").value();
    const rn::address at = listener.local_address();
    auto near = co_await rn::tcp_stream::connect(at);
    auto far = co_await listener.accept();
    listener.close();
    std::string told =
        word(rn::tcp_listener::bind(at, rn::tcp_options().reuse_address(false)).error()) + ", ";
    told += word(rn::tcp_listener::bind(at).error());
    co_return told;
}
TEST_CASE("simulated network: a port with old connections can be listened at again only with reuse_address") {
    check_as_on_linux(a_connection_outlives_its_listener, "in use, ok");
}

rn::task<std::string> a_closed_stream_is_read() {
    auto [near, far] = co_await test::connected_pair();
    auto reader = rn::go([](rn::tcp_stream& from) { return reads(from); }, rn::borrow(near));
    for (int i = 0; i < 10; ++i) co_await rn::yield();
    near.close();
    auto ended = co_await reader;
    std::string told = ended.value();
    told += co_await writes(near, "more");
    told += co_await reads(far);
    co_return told;
}
TEST_CASE("simulated network: closing a stream ends who reads it, and the peer sees the end of the stream") {
    check_as_on_linux(a_closed_stream_is_read, "closed closed end ");
}

rn::task<std::string> addresses_of(const char* listen_at, const char* connect_to) {
    auto listener = rn::tcp_listener::bind(listen_at).value();
    const std::uint16_t port = listener.local_address().port();
    const rn::address to = rn::address::parse(connect_to).value().with_port(port);
    auto near = co_await rn::tcp_stream::connect(to);
    if (!near) co_return word(near.error());
    auto far = co_await listener.accept();
    const auto host = [](const rn::result<rn::address>& a) {
        return to_string(a.value().with_port(0)) + " ";
    };
    std::string told = host(near->local_address()) + host(near->peer_address());
    told += host(far->local_address()) + host(far->peer_address());
    const bool same = near->local_address()->port() == far->peer_address()->port();
    co_return told + (same && far->local_address()->port() == port ? "same ports" : "other ports");
}
TEST_CASE("simulated network: both ends know both addresses") {
    check_as_on_linux([] { return addresses_of("127.0.0.1:0", "127.0.0.1:0"); },
                      "127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 same ports");
    check_as_on_linux([] { return addresses_of("0.0.0.0:0", "0.0.0.0:0"); },
                      "127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 same ports");
}
TEST_CASE("simulated network: IPv6, and a listener that takes both" * doctest::skip(!test::has_ipv6())) {
    check_as_on_linux([] { return addresses_of("[::1]:0", "[::1]:0"); },
                      "[::1]:0 [::1]:0 [::1]:0 [::1]:0 same ports");
    check_as_on_linux([] { return addresses_of("[::]:0", "127.0.0.1:0"); },
                      "127.0.0.1:0 127.0.0.1:0 [::ffff:127.0.0.1]:0 [::ffff:127.0.0.1]:0 same ports");
    check_as_on_linux([] { return addresses_of("0.0.0.0:0", "[::1]:0"); }, "refused");
}
}
