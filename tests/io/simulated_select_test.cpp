// Sockets in selects, under seeds: whoever wins, every byte arrives once and in order, and no connection is lost.
#include <runnel/channel.hpp>
#include <runnel/select.hpp>
#include <runnel/testing.hpp>
#include <runnel/testing_network.hpp>

#include <array>

#include "loopback.hpp"
#include "support/level.hpp"

using namespace test;
namespace testing = rn::testing;

namespace {

rn::task<> tick(rn::sender<int> out) {
    for (int i = 0; co_await out.send(i); ++i)
        if (!co_await rn::sleep_for(300us)) co_return;
}

rn::task<> dribble(rn::tcp_stream to, std::string text) {
    for (std::size_t at = 0; at < text.size(); at += 100) {
        CHECK(co_await to.write_all(std::string_view(text).substr(at, 100)));
        if (at % 300 == 0) CHECK(co_await rn::sleep_for(1ms));
    }
}

/// Reads by selects and without, in turn, until the end.
rn::task<std::string> read_between_ticks(rn::tcp_stream& from, rn::receiver<int> ticks) {
    std::string all;
    std::array<std::byte, 30> room;
    for (int turn = 0;; ++turn) {
        if (turn % 3 == 2) {
            const auto some = co_await from.read_some(room);
            if (!some) co_return all;
            all.append(reinterpret_cast<const char*>(room.data()), *some);
            continue;
        }
        auto won = co_await rn::select(from.recv(), ticks.recv(), rn::sleep_for(200us));
        if (won.index() != 0) continue;
        auto chunk = won.take<0>();
        if (!chunk) co_return all;
        all += chunk->text();
    }
}

rn::task<> bytes_between_ticks() {
    auto [near, far] = co_await connected_pair();
    auto [out, in] = rn::make_channel<int>(1);
    const std::string text = pattern(2000);
    rn::go(tick, std::move(out));
    rn::go(dribble, std::move(far), text);
    const std::string got = co_await read_between_ticks(near, std::move(in));
    CHECK(got == text);
}
}

TEST_CASE("simulated select: bytes that arrive between other cases arrive once and in order") {
    const auto all = testing::explore(support::scaled(300U, 20'000U), bytes_between_ticks);
    CHECK_MESSAGE(all.ok(), all.what());
}

namespace {

/// Until the deadline nobody has come for a while.
rn::task<> accept_now_and_then(rn::tcp_listener& at, int& taken, std::chrono::microseconds patience) {
    for (int lost = 0; lost < 200;) {
        auto won = co_await rn::select(at.accept(), rn::sleep_for(patience));
        if (won.index() == 0) {
            CHECK(won.get<0>());
            ++taken;
        } else {
            ++lost;
        }
    }
}

rn::task<> connect_now_and_then(rn::address to, int times) {
    std::vector<rn::tcp_stream> open;
    for (int i = 0; i < times; ++i) {
        open.push_back((co_await rn::tcp_stream::connect(to)).value());
        CHECK(co_await rn::sleep_for(std::chrono::microseconds(i % 4 * 400)));
    }
    CHECK(co_await rn::sleep_for(1s));
}

rn::task<> three_acceptors() {
    rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
    int taken = 0;
    rn::task_set tasks;
    for (int i = 0; i < 3; ++i)
        tasks.spawn(accept_now_and_then, rn::borrow(listener), rn::borrow(taken),
                    std::chrono::microseconds(100 + 150 * i));
    for (int i = 0; i < 2; ++i) tasks.spawn(connect_now_and_then, listener.local_address(), 10);
    CHECK(co_await tasks.join());
    CHECK(taken == 20);
}
}

TEST_CASE("simulated select: three acceptors that come and go miss no connection") {
    const auto all = testing::explore(support::scaled(200U, 20'000U), three_acceptors);
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("simulated select: a stream that is closed under a select ends it, wherever that happens") {
    const auto story = []() -> rn::task<> {
        auto [near, far] = co_await connected_pair();
        auto closer = rn::go(
            [](rn::tcp_stream& stream) -> rn::task<> {
                for (int i = 0; i < 5; ++i) CHECK(co_await rn::yield());
                stream.close();
            },
            rn::borrow(near));
        for (;;) {
            auto won = co_await rn::select(near.recv(), rn::sleep_for(1us));
            if (won.index() == 1) continue;
            CHECK(won.get<0>().error() == rn::errc::closed);
            break;
        }
        CHECK(co_await closer);
    };
    const auto all = testing::explore(support::scaled(300U, 20'000U), story);
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("simulated select: a task that waits for ever in one is found as a deadlock, with what it waits for") {
    const auto run = testing::simulate(testing::options(), []() -> rn::task<> {
        rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
        rn::tcp_stream near = (co_await rn::tcp_stream::connect(listener.local_address())).value();
        auto [out, in] = rn::make_channel<int>(0);
        auto won = co_await rn::select(near.recv(), in.recv());
        CHECK(!won);
    });
    CHECK(!run.ok());
    const std::string what = run.what();
    CHECK_MESSAGE(what.find("to receive") != std::string::npos, what);
}
