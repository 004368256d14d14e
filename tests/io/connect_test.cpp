// Connecting to a name: addresses in turns, attempts 250 ms apart, one winner; told in virtual time.
#include "runnel/connect.hpp"

#include <runnel/context.hpp>
#include <runnel/go.hpp>
#include <runnel/resolve.hpp>
#include <runnel/testing.hpp>
#include <runnel/testing_network.hpp>

#include "loopback.hpp"

namespace testing = runnel::testing;
using namespace test;

namespace {

rn::address at(const char* text) { return rn::address::parse(text).value(); }
const rn::address six_a = at("[2001:db8::1]:443"), six_b = at("[2001:db8::2]:443");
const rn::address four_a = at("10.0.0.1:443"), four_b = at("10.0.0.2:443");

/// Everything takes a millisecond to the other side.
testing::options world(std::uint64_t seed = 1) {
    return testing::options().seed(seed).network(testing::network().latency(1ms, 1ms));
}

template <class F>
void in_world(F story) {
    const auto run = testing::simulate(world(), story);
    CHECK_MESSAGE(run.ok(), run.what());
}

rn::tcp_listener listen(const rn::address& where) { return rn::tcp_listener::bind(where).value(); }

rn::task<rn::clock::duration> time_to_connect(const rn::address expected) {
    const auto start = rn::clock::now();
    auto peer = co_await rn::connect_to("db.test:443");
    testing::expect(peer.has_value(), "connected");
    testing::expect(peer->peer_address().value() == expected, "to the one that was expected");
    co_return rn::clock::now() - start;
}
}

TEST_CASE("connect: the first address that answers is taken and the others are left alone") {
    in_world([]() -> rn::task<> {
        testing::set_name("db.test", {six_a, four_a});
        const auto server = listen(six_a);
        const auto took = co_await time_to_connect(six_a);
        testing::expect(took == 2ms, "there and back");
    });
}

TEST_CASE("connect: when IPv6 leads nowhere the next attempt begins 250 ms later and is one over IPv4") {
    in_world([]() -> rn::task<> {
        testing::set_name("db.test", {six_a, six_b, four_a});
        testing::cut(six_a);
        testing::cut(six_b);
        const auto server = listen(four_a);
        const auto took = co_await time_to_connect(four_a);
        testing::expect(took == 252ms, "one delay, not two");
    });
}

TEST_CASE("connect: a refusal starts the next attempt at once") {
    in_world([]() -> rn::task<> {
        testing::set_name("db.test", {six_a, four_a, six_b});
        const auto server = listen(six_b);
        const auto took = co_await time_to_connect(six_b);
        testing::expect(took == 6ms, "three attempts without a delay");
    });
}

TEST_CASE("connect: a slow first address may still win after others were tried") {
    in_world([]() -> rn::task<> {
        testing::set_name("db.test", {six_a, four_a});
        testing::cut(six_a);
        testing::cut(four_a);
        const auto server = listen(six_a);
        rn::go([]() -> rn::task<> {
            (void)co_await rn::sleep_for(500ms);
            testing::heal(six_a);
        });
        auto peer = co_await rn::connect_to("db.test:443");
        testing::expect(peer.has_value() && peer->peer_address().value() == six_a, "healed, and won");
        testing::expect(peer.failures().empty(), "the loser was cancelled: no failure");
    });
}

TEST_CASE("connect: when none answers all errors are told and the most useful one is the error") {
    in_world([]() -> rn::task<> {
        testing::set_name("db.test", {six_a, four_a});
        testing::cut(six_a);  // ETIMEDOUT, after the 127 s of Linux; the other is refused
        auto peer = co_await rn::connect_to("db.test:443");
        testing::expect(peer.error() == std::errc::connection_refused, "there is a machine");
        testing::expect(peer.failures().size() == 2, "both are told");
        testing::expect(peer.failures()[0].to == four_a, "in the order of their coming");
        testing::expect(peer.failures()[1].error == std::errc::timed_out, "with their own errors");
        const std::string text = peer.explain("db.test:443");
        testing::expect(text.find("connect to db.test:443: Connection refused\n") == 0, "in words");
        testing::expect(text.find("  10.0.0.1:443: Connection refused") != text.npos, "each address");
    });
}

TEST_CASE("connect: a limit around it is for the whole and tells whom we were waiting for") {
    in_world([]() -> rn::task<> {
        testing::set_name("db.test", {six_a, four_a, four_b}, 100ms);
        for (const auto& each : {six_a, four_a, four_b}) testing::cut(each);
        const auto start = rn::clock::now();
        auto all = rn::connect_to("db.test:443");
        auto peer = co_await rn::with_timeout(1s, std::move(all));
        testing::expect(peer.error() == rn::errc::timed_out, "timed out");
        testing::expect(rn::clock::now() - start == 1s, "at once");
        testing::expect(peer.failures().size() == 3, "three attempts were under way");
    });
}

TEST_CASE("connect: a name without an address is the error of the lookup") {
    in_world([]() -> rn::task<> {
        auto peer = co_await rn::connect_to("nobody.test:443");
        testing::expect(peer.error() == rn::resolve_errc::not_found, "not found");
        testing::expect(peer.failures().empty(), "nothing was tried");
        auto none = co_await rn::connect_to(std::vector<rn::address>());
        testing::expect(none.error() == std::errc::invalid_argument, "no address");
    });
}

TEST_CASE("connect: cancelled it closes its attempts before it returns") {
    in_world([]() -> rn::task<> {
        testing::set_name("db.test", {six_a, four_a});
        testing::cut(six_a);
        testing::cut(four_a);
        auto [ctx, cancel] = rn::with_cancel(rn::current_context());
        auto client = rn::go(
            [](rn::context under) -> rn::task<std::error_code> {
                auto both = rn::connect_to("db.test:443");
                auto peer = co_await rn::with_context(under, std::move(both));
                co_return peer.error();
            },
            ctx);
        (void)co_await rn::sleep_for(400ms);
        cancel();
        const auto why = co_await client;
        testing::expect(why.value() == rn::errc::cancelled,
                        "cancelled");  // and what is left open fails the run
    });
}

TEST_CASE("connect: whatever the addresses do one connection comes out if one can") {
    const auto story = []() -> rn::task<> {
        testing::set_name("db.test", {six_a, six_b, four_a, four_b});
        std::vector<rn::tcp_listener> listeners;
        for (const auto& each : {six_a, six_b, four_a, four_b}) {
            const auto fate = testing::choose(3);
            if (fate == 0) listeners.push_back(listen(each));
            if (fate == 1) testing::cut(each);
        }
        auto peer = co_await rn::connect_to("db.test:443");
        testing::expect(peer.has_value() == !listeners.empty(), "connected if anybody listens");
    };
    const auto how = testing::options().network(testing::network().latency(0ms, 600ms));
    const auto all = testing::explore(how, 300, story);
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("connect: localhost is reached by whichever family somebody listens at") {
    const auto story = [](std::string where) -> rn::task<> {
        rn::tcp_listener listener = rn::tcp_listener::bind(where).value();
        const std::string name = "localhost:" + std::to_string(listener.local_address().port());
        auto peer = co_await rn::connect_to(name);
        REQUIRE(peer);
        auto other = co_await listener.accept();
        REQUIRE(other);
        CHECK(co_await peer->write_all("hello"));
        const auto heard = co_await other->recv();
        CHECK(heard->text() == "hello");
    };
    run_on(2, story, "127.0.0.1:0");
    // Whether "localhost" has an IPv6 address is the machine's business, so that is not asked for here.
}

TEST_CASE("connect: a port of localhost at which nobody listens is refused by every family") {
    const auto story = []() -> rn::task<> {
        auto peer = co_await rn::connect_to("localhost:1");
        CHECK(peer.error() == std::errc::connection_refused);
        CHECK(!peer.failures().empty());
    };
    run_on(1, story);
}
