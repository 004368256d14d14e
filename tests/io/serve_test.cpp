// serve(): places, failures, the phases of stopping; in virtual time where time matters, and on sockets.
#include "runnel/serve.hpp"

#include <runnel/go.hpp>
#include <runnel/stopping.hpp>
#include <runnel/testing.hpp>
#include <runnel/testing_network.hpp>
#include <runnel/unix.hpp>

#include <atomic>
#include <optional>

#include "loopback.hpp"
#include "support/level.hpp"

namespace testing = runnel::testing;
using namespace test;

namespace {

const rn::address here = rn::address::parse("10.0.0.1:80").value();

testing::options world() {
    return testing::options().seed(1).network(testing::network().latency(1ms, 1ms).short_transfers(false));
}

template <class F>
void in_world(F story, const testing::options& how = world()) {
    const auto run = testing::simulate(how, story);
    CHECK_MESSAGE(run.ok(), run.what());
}

rn::tcp_listener listen() { return rn::tcp_listener::bind(here).value(); }

rn::task<rn::tcp_stream> client() {
    auto peer = co_await rn::tcp_stream::connect(here);
    co_return std::move(peer).value();
}

// --- Handlers ---

rn::task<> echo_all(rn::tcp_stream& peer) {
    while (auto chunk = co_await peer.recv())
        if (!co_await peer.write_all(*chunk)) co_return;
}

/// Ends when it is asked to.
rn::task<> echo_politely(rn::tcp_stream& peer, rn::context finish) {
    for (;;) {
        auto chunk = co_await rn::with_context(finish, peer.recv());
        if (!chunk) co_return;
        if (!co_await peer.write_all(*chunk)) co_return;
    }
}

rn::task<> fails(rn::tcp_stream& peer) {
    (void)co_await peer.recv();
    throw std::runtime_error("this one fails");
}

/// Reads on, whatever it is told.
rn::task<> stubborn(rn::tcp_stream& peer, rn::context) {
    for (int i = 0; i < 3; ++i) {
        (void)co_await rn::shielded(rn::sleep_for(20s));
    }
    (void)co_await peer.recv();
}

/// A server in a task of its own.
struct running {
    explicit running(const rn::serve_options& how = {}) : server(how) {}

    template <class Handler>
    void start(Handler handler) {
        task.emplace(rn::go(
            [](rn::server& of, rn::tcp_listener listener, Handler what) -> rn::task<rn::serve_report> {
                co_return co_await of.serve(std::move(listener), what);
            },
            rn::borrow(server), listen(), handler));
    }
    rn::task<rn::serve_report> end() {
        auto report = co_await *task;
        co_return std::move(report).value();
    }

    rn::server server;
    std::optional<rn::join_handle<rn::serve_report>> task;
};

rn::task<bool> echoes(rn::tcp_stream& peer, std::string text) {
    if (!co_await peer.write_all(text)) co_return false;
    std::string heard;
    while (heard.size() < text.size()) {
        auto chunk = co_await peer.recv();
        if (!chunk) co_return false;
        heard += chunk->text();
    }
    co_return heard == text;
}
}

TEST_CASE("serve: each connection has a handler of its own and they are counted") {
    in_world([]() -> rn::task<> {
        running one;
        one.start(echo_politely);
        rn::tcp_stream a = co_await client();
        rn::tcp_stream b = co_await client();
        const bool first = co_await echoes(a, "first");
        const bool second = co_await echoes(b, "second");
        testing::expect(first && second, "served");
        testing::expect(one.server.counts().accepted == 2 && one.server.counts().active == 2, "two");
        a.close();
        (void)co_await rn::sleep_for(10ms);
        testing::expect(one.server.counts().active == 1, "one has ended");
        one.server.stop();
        const auto end = co_await one.end();
        testing::expect(!end.error && end.counts.accepted == 2 && end.counts.active == 0, "all have");
        testing::expect(end.half_closed == 0 && end.cut_off.empty(), "by themselves");
    });
}

TEST_CASE("serve: at the limit nobody is accepted until somebody has left") {
    in_world([]() -> rn::task<> {
        running one(rn::serve_options().connections(2));
        one.start(echo_politely);
        rn::tcp_stream a = co_await client();
        rn::tcp_stream b = co_await client();
        rn::tcp_stream c = co_await client();  // stands in the backlog
        testing::expect(static_cast<bool>(co_await c.write_all("hello")), "the system takes it");
        const auto nothing = co_await rn::with_timeout(1min, c.recv());
        testing::expect(nothing.error() == rn::errc::timed_out, "nobody serves it");
        testing::expect(one.server.counts().active == 2 && one.server.counts().limited == 1, "two at once");
        a.close();
        const auto echoed = co_await c.recv();
        testing::expect(echoed && echoed->text() == "hello", "now it has its turn");
        one.server.stop();
        const auto end = co_await one.end();
        testing::expect(end.counts.accepted == 3, "three in all");
    });
}

TEST_CASE("serve: it stops also while it waits for a place") {
    in_world([]() -> rn::task<> {
        running one(rn::serve_options().connections(1));
        one.start(echo_politely);
        rn::tcp_stream a = co_await client();
        (void)co_await rn::sleep_for(1s);
        one.server.stop();
        const auto end = co_await one.end();
        testing::expect(end.counts.accepted == 1 && end.cut_off.empty(), "ended");
    });
}

TEST_CASE("serve: a handler that throws ends its own connection and is told") {
    in_world([]() -> rn::task<> {
        std::string told;
        const auto note = [](std::exception_ptr what, std::string_view peer, void* to) {
            try {
                std::rethrow_exception(what);
            } catch (const std::exception& error) {
                *static_cast<std::string*>(to) = std::string(peer) + ": " + error.what();
            }
        };
        running one(rn::serve_options().on_failure(note, &told));
        one.start(fails);
        rn::tcp_stream a = co_await client();
        rn::tcp_stream b = co_await client();
        (void)co_await rn::sleep_for(10ms);
        testing::expect(static_cast<bool>(co_await a.write_all("x")), "sent");
        const auto gone = co_await a.recv();
        testing::expect(!gone, "closed");
        testing::expect(told == to_string(a.local_address().value()) + ": this one fails", "told");
        testing::expect(one.server.counts().failed == 1 && one.server.counts().active == 1, "alone");
        b.close();
        one.server.stop();
        (void)co_await one.end();
    });
}

TEST_CASE(
    "serve: after the grace what is left is half-closed and handlers that see the end are not cut off") {
    in_world([]() -> rn::task<> {
        running one(rn::serve_options().grace(10s).linger(5s));
        one.start(echo_all);  // does not look at `finish`
        rn::tcp_stream a = co_await client();
        const bool first = co_await echoes(a, "before");
        const auto start = rn::clock::now();
        one.server.stop();
        (void)co_await rn::sleep_for(9s);
        const bool later = co_await echoes(a, "in its grace");
        testing::expect(first && later, "served on");
        const auto end_of_stream = co_await a.recv();
        testing::expect(end_of_stream.error() == rn::errc::end_of_stream, "half-closed");
        a.close();
        const auto end = co_await one.end();
        testing::expect(end.half_closed == 1 && end.cut_off.empty(), "ended by itself then");
        const auto took = rn::clock::now() - start;
        testing::expect(took >= 10s && took < 10s + 10ms, "at once");
        auto refused = co_await rn::tcp_stream::connect(here);
        testing::expect(refused.error() == std::errc::connection_refused, "nobody listens any more");
    });
}

TEST_CASE("serve: who stays through grace and linger is cut off and told") {
    in_world([]() -> rn::task<> {
        running one(rn::serve_options().grace(10s).linger(5s));
        one.start(echo_all);
        rn::tcp_stream a = co_await client();  // never closes
        const auto start = rn::clock::now();
        (void)co_await rn::sleep_for(1s);
        one.server.stop();
        const auto end = co_await one.end();
        testing::expect(rn::clock::now() - start == 16s, "grace and linger");
        testing::expect(end.half_closed == 1 && end.cut_off.size() == 1, "told");
        testing::expect(end.cut_off[0].peer == to_string(a.local_address().value()), "who it was");
        testing::expect(end.cut_off[0].age > 15s && end.cut_off[0].age < 17s, "how long it was there");
        testing::expect(end.not_stopped.empty(), "and has ended");
    });
}

TEST_CASE("serve: it waits for a handler that goes on although it is cancelled and says so") {
    in_world([]() -> rn::task<> {
        running one(rn::serve_options().grace(1s).linger(1s));
        one.start(stubborn);
        rn::tcp_stream a = co_await client();
        const auto start = rn::clock::now();
        (void)co_await rn::sleep_for(1s);
        one.server.stop();
        const auto end = co_await one.end();
        const auto took = rn::clock::now() - start;
        testing::expect(took > 59s && took < 61s, "until it has ended");
        testing::expect(end.not_stopped.size() == 1, "told");
        testing::expect(end.not_stopped[0].peer == to_string(a.local_address().value()), "by its peer");
        testing::expect(end.tasks.find("in stubborn") != end.tasks.npos, "and where it is");
    });
}

TEST_CASE("serve: a cancel of its context is a request to stop and not the end of the handlers") {
    in_world([]() -> rn::task<> {
        auto [ctx, cancel] = rn::with_cancel(rn::current_context());
        auto server = rn::go(
            [](rn::context under) -> rn::task<rn::serve_report> {
                auto serving = rn::serve(listen(), echo_all, rn::serve_options().grace(10s));
                co_return co_await rn::with_context(under, std::move(serving));
            },
            ctx);
        rn::tcp_stream a = co_await client();
        (void)co_await rn::sleep_for(1s);
        cancel();
        (void)co_await rn::sleep_for(5s);
        const bool served = co_await echoes(a, "in its grace");
        testing::expect(served, "still served");
        a.close();
        const auto end = co_await server;
        testing::expect(end.value().half_closed == 0, "ended before the half-close");
    });
}

TEST_CASE("serve: when the runtime begins to stop the handlers have the runtime's grace") {
    std::optional<rn::serve_report> end;
    const auto story = [&]() -> rn::task<> {
        rn::go(
            [](std::optional<rn::serve_report>& to) -> rn::task<> {
                auto report = co_await rn::serve(listen(), echo_politely);
                to.emplace(std::move(report));
            },
            rn::borrow(end));
        rn::go([]() -> rn::task<> {
            rn::tcp_stream peer = co_await client();
            (void)co_await rn::stopping();
            const auto over = co_await peer.recv();
            testing::expect(over.error() == rn::errc::end_of_stream, "closed in order");
        });
        (void)co_await rn::sleep_for(1s);
    };
    in_world(story, world().grace(20s));
    REQUIRE(end);
    CHECK(!end->error);
    CHECK(end->cut_off.empty());
    CHECK(end->counts.accepted == 1);
}

TEST_CASE("serve: when the runtime's grace is over the phases are cut short") {
    std::optional<rn::serve_report> end;
    const auto story = [&]() -> rn::task<> {
        rn::go(
            [](std::optional<rn::serve_report>& to) -> rn::task<> {
                auto report = co_await rn::serve(listen(), echo_all, rn::serve_options().grace(1h));
                to.emplace(std::move(report));
            },
            rn::borrow(end));
        rn::go([]() -> rn::task<> {
            rn::tcp_stream peer = co_await client();
            (void)co_await peer.recv();
        });
        (void)co_await rn::sleep_for(1s);
    };
    const auto run = testing::simulate(world().grace(3s), story);
    CHECK_MESSAGE(run.ok(), run.what());
    REQUIRE(end);
    CHECK(end->cut_off.size() <= 1);
    CHECK(run.time() < 10s);
}

TEST_CASE("serve: stop_now() skips what is left of the phases") {
    in_world([]() -> rn::task<> {
        running one(rn::serve_options().grace(1h));
        one.start(echo_all);
        rn::tcp_stream a = co_await client();
        (void)co_await rn::sleep_for(1s);
        one.server.stop();
        (void)co_await rn::sleep_for(1s);
        one.server.stop_now();
        const auto end = co_await one.end();
        testing::expect(end.cut_off.size() == 1 && end.half_closed == 0, "cut off at once");
    });
}

TEST_CASE("serve: a server that was told to stop before it serves ends at once") {
    in_world([]() -> rn::task<> {
        running one;
        one.server.stop();
        one.start(echo_all);
        const auto end = co_await one.end();
        testing::expect(end.counts.accepted == 0 && !end.error, "nothing was accepted");
    });
}

TEST_CASE("serve: silent and vanished peers and slow ones are ended by the idle timeout") {
    in_world([]() -> rn::task<> {
        running one(rn::serve_options().idle_timeout(30s, 16));
        one.start(echo_all);
        rn::tcp_stream silent = co_await client();
        rn::tcp_stream vanished = co_await client();
        testing::vanish(vanished.local_address().value());
        rn::tcp_stream loris = co_await client();
        rn::tcp_stream busy = co_await client();
        for (int i = 0; i < 12; ++i) {  // a minute
            (void)co_await rn::sleep_for(5s);
            (void)co_await loris.write_all("x");  // 2 bytes with the echo, and 12 in half a minute
            const bool served = co_await echoes(busy, "many bytes of a busy client");
            testing::expect(served, "the busy one is served all the time");
        }
        testing::expect(one.server.counts().active == 1, "the others have ended");
        one.server.stop();
        busy.close();
        (void)co_await one.end();
    });
}

TEST_CASE("serve: whenever it is stopped nothing is left and every client hears of it") {
    const auto story = []() -> rn::task<> {
        running one(rn::serve_options().connections(2).grace(20ms).linger(20ms));
        one.start(testing::choose(2) == 0 ? echo_politely
                                          : [](rn::tcp_stream& peer, rn::context) { return echo_all(peer); });
        rn::task_set clients;
        for (int i = 0; i < 4; ++i)
            clients.spawn([]() -> rn::task<> {
                auto peer = co_await rn::tcp_stream::connect(here);
                if (!peer) co_return;
                for (int times = 0; times < 3; ++times) {
                    const bool served = co_await echoes(*peer, "hello");
                    if (!served) co_return;
                }
                while (testing::choose(2) == 1) {
                    const auto more = co_await peer->recv();
                    if (!more) co_return;
                }
            });
        (void)co_await rn::sleep_for(testing::choose(8) * 1ms);
        one.server.stop();
        if (testing::choose(4) == 1) one.server.stop_now();
        const auto end = co_await one.end();
        testing::expect(end.counts.active == 0 && end.not_stopped.empty(), "all have ended");
        (void)co_await clients.join();
    };
    const auto all = testing::explore(support::scaled(300U, 5000U), story);
    CHECK_MESSAGE(all.ok(), all.what());
}

// --- On sockets --------------------------------------------------------------------------------------------

TEST_CASE("serve: on sockets clients are served and the server ends when it is told to") {
    const auto story = []() -> rn::task<> {
        rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
        const rn::address where = listener.local_address();
        rn::server one(rn::serve_options().connections(8).idle_timeout(10s));
        auto serving = rn::go(
            [](rn::server& of, rn::tcp_listener on) -> rn::task<rn::serve_report> {
                co_return co_await of.serve(std::move(on), echo_politely);
            },
            rn::borrow(one), std::move(listener));
        std::atomic<int> served = 0;
        rn::task_set clients;
        for (int i = 0; i < 40; ++i)
            clients.spawn(
                [](rn::address to, std::atomic<int>& count) -> rn::task<> {
                    auto peer = co_await rn::tcp_stream::connect(to);
                    REQUIRE(peer);
                    const bool heard = co_await echoes(*peer, pattern(10'000));
                    if (heard) ++count;
                },
                where, rn::borrow(served));
        CHECK(co_await clients.join());
        CHECK(served == 40);
        auto last = co_await rn::tcp_stream::connect(where);
        const bool heard = co_await echoes(*last, "last");
        CHECK(heard);
        one.stop();
        const auto end = co_await serving;
        CHECK(end.value().counts.accepted == 41);
        CHECK(end.value().cut_off.empty());
        const auto over = co_await last->recv();
        CHECK(over.error() == rn::errc::end_of_stream);
    };
    run_on(2, story);
}

TEST_CASE("serve: on sockets who does not end is cut off") {
    const auto story = []() -> rn::task<> {
        rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
        const rn::address where = listener.local_address();
        rn::server one(rn::serve_options().grace(10ms).linger(10ms));
        auto serving = rn::go(
            [](rn::server& of, rn::tcp_listener on) -> rn::task<rn::serve_report> {
                co_return co_await of.serve(std::move(on), echo_all);
            },
            rn::borrow(one), std::move(listener));
        auto peer = co_await rn::tcp_stream::connect(where);
        const bool heard = co_await echoes(*peer, "hello");
        CHECK(heard);
        one.stop();
        const auto end = co_await serving;
        CHECK(end.value().half_closed == 1);
        CHECK(end.value().cut_off.size() == 1);
    };
    run_on(2, story);
}

TEST_CASE("serve: a listener of Unix sockets is served in the same way") {
    in_world([]() -> rn::task<> {
        rn::unix_listener listener = rn::unix_listener::bind("@echo").value();
        rn::server one(rn::serve_options().idle_timeout(10s));
        const auto talk = [](rn::unix_stream& peer) -> rn::task<> {
            while (auto chunk = co_await peer.recv())
                if (!co_await peer.write_all(*chunk)) co_return;
        };
        auto serving = rn::go(
            [](rn::server& of, rn::unix_listener on, auto what) -> rn::task<rn::serve_report> {
                co_return co_await of.serve(std::move(on), what);
            },
            rn::borrow(one), std::move(listener), talk);
        auto peer = co_await rn::unix_stream::connect("@echo");
        const auto sent = co_await peer->write_all("hello");
        const auto heard = co_await peer->recv();
        testing::expect(sent && heard && heard->text() == "hello", "served");
        const auto idle = co_await peer->recv();
        testing::expect(idle.error() == rn::errc::end_of_stream, "ended when it is idle");
        one.stop();
        const auto end = co_await serving;
        testing::expect(end.value().counts.accepted == 1, "one");
    });
}
