// Leaks of sockets and listeners: the system's and simulated ones.
#include <doctest/doctest.h>
#include <runnel/testing.hpp>
#include <runnel/testing_leaks.hpp>

#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "loopback.hpp"
#include "support/child.hpp"
#include "support/level.hpp"

namespace rn = runnel;
namespace testing = runnel::testing;
using namespace std::chrono_literals;

namespace {

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

std::string place_of(unsigned line) { return "leaks_test.cpp:" + std::to_string(line); }

/// What a test keeps, and the line of its listener; that of connect() is the next, that of accept() the one after.
struct kept_sockets {
    std::optional<rn::tcp_listener> listener;
    std::vector<rn::tcp_stream> streams;
    unsigned line = 0;
};

rn::task<> connect(kept_sockets& kept) {
    kept.line = __LINE__ + 1;
    kept.listener = rn::tcp_listener::bind("127.0.0.1:0").value();
    auto near = co_await rn::tcp_stream::connect(kept.listener->local_address());
    auto far = co_await kept.listener->accept();
    kept.streams.push_back(std::move(*near));
    kept.streams.push_back(std::move(*far));
}

void check_all_are_told(const std::string& text, unsigned line) {
    CAPTURE(text);
    CHECK(contains(text, "  1 listener made at " + place_of(line) + "\n"));
    CHECK(contains(text, "  1 socket made at " + place_of(line + 1) + "\n"));
    CHECK(contains(text, "  1 socket made at " + place_of(line + 2) + "\n"));
}

rn::task<> clean() {
    kept_sockets mine;
    co_await connect(mine);
    auto refused = co_await rn::with_timeout(1s, rn::tcp_stream::connect("127.0.0.1:1"));
    testing::expect(!refused);
    auto limited = co_await rn::with_timeout(1ms, mine.streams[0].recv());
    testing::expect(!limited);
    rn::tcp_stream moved = std::move(mine.streams[1]);
    mine.streams[0] = std::move(moved);
}

TEST_CASE("leaks: simulated sockets that are left are told by their places") {
    auto kept = std::make_unique<kept_sockets>();
    const auto run = testing::simulate(testing::options(), [&]() -> rn::task<> {
        co_await connect(*kept);
        co_await clean();
    });
    CHECK(run.kind() == testing::failure::leak);
    check_all_are_told(run.what(), kept->line);
    // Given back here, their numbers mean nothing to the system: it knows of none with a million.
}

TEST_CASE("leaks: sockets that were closed are none though the objects are there") {
    kept_sockets kept;
    const auto run = testing::simulate(testing::options(), [&]() -> rn::task<> {
        co_await connect(kept);
        for (auto& each : kept.streams) each.close();
        kept.listener->close();
        co_await clean();
    });
    CHECK_MESSAGE(run.ok(), run.what());
}

TEST_CASE("leaks: a program that closes all its sockets leaves none under every schedule and with faults") {
    const auto network = testing::network().resets(20).refusals(20);
    const auto all = testing::explore(
        testing::options().network(network), support::scaled(200U, 5'000U), []() -> rn::task<> {
            auto listener = rn::tcp_listener::bind("10.0.0.1:7000").value();
            const rn::address server = listener.local_address();
            rn::go(
                [](rn::tcp_listener on) -> rn::task<> {
                    rn::task_set connections;
                    while (auto peer = co_await on.accept()) connections.spawn(test::echo, std::move(*peer));
                    co_await connections.join();
                },
                std::move(listener));
            rn::task_set clients;
            for (int i = 0; i < 6; ++i)
                clients.spawn(
                    [](rn::address to) -> rn::task<> {
                        auto peer = co_await rn::with_timeout(1s, rn::tcp_stream::connect(to));
                        if (!peer) co_return;
                        auto sent = co_await peer->write_all("hello");
                        if (sent) (void)co_await rn::with_timeout(1s, peer->recv());
                    },
                    server);
            co_await clients.join();
        });
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("leaks: a region sees the system's sockets until they are closed") {
    kept_sockets kept;
    const testing::leak_region region;
    test::run_on(2, connect, rn::borrow(kept));
    check_all_are_told(region.left(), kept.line);
    for (auto& each : kept.streams) each.close();
    CHECK_FALSE(contains(region.left(), "socket"));
    kept.listener.reset();
    CHECK(region.left().empty());
    testing::expect_no_leaks([] { test::run_on(2, clean); });
    testing::expect_no_leaks([] { CHECK(rn::tcp_listener::bind("127.0.0.1:0").has_value()); });
}

TEST_CASE("child: a program that keeps its sockets" * doctest::skip()) {
    kept_sockets kept;
    const int status = rn::run(rn::options().workers(2).leak_report(true), connect, rn::borrow(kept));
    std::_Exit(status);
}

TEST_CASE("leaks: a runtime prints which sockets are still open when it ends") {
    const auto end = support::child("child: a program that keeps its sockets").wait();
    CAPTURE(end.printed);
    CHECK(end.exited(0));
    CHECK(end.said("of what its tasks made is left:\n  1 listener made at leaks_test.cpp:"));
    CHECK(end.times("  1 socket made at leaks_test.cpp:") == 2);
}
}
