// Go's own rules of select, as its programs in test/chan state them, written anew. docs/conformance/channels.md says
// which is which; go_rules_test.cpp has those of its runtime's tests.
#include <doctest/doctest.h>
#include <runnel/channel.hpp>
#include <runnel/select.hpp>
#include <runnel/sync.hpp>
#include <runnel/time.hpp>

#include <vector>

#include "support/level.hpp"
#include "support/scarce_memory.hpp"
#include "support/virtual_time.hpp"
#include "tasks.hpp"

using namespace std::chrono_literals;
using namespace support;

namespace {
using ints = rn::channel<int>;
}

TEST_CASE("Go: a select that does not wait finds a value that is in one of two channels at any time") {
    on_one_and_several([]() -> rn::task<> {
        for (int i = 0; i < scaled(2'000, 50'000); ++i) {
            const ints a(1);
            const ints b(1);
            CHECK(a.try_send(1));
            auto looks = rn::go(
                [](ints x, ints y) -> rn::task<bool> {
                    co_return static_cast<bool>(rn::try_select(x.recv(), y.recv()));
                },
                a, b);
            CHECK(b.try_send(1));  // from now on b has one,
            (void)a.try_recv();    // and a need not have one any more
            CHECK((co_await looks).value());
        }
    });
}

namespace {
rn::task<> send_to_one_of_four(std::vector<ints> to, int count) {
    for (int i = 0; i < count; ++i)
        (void)co_await rn::select(to[0].send(i), to[1].send(i), to[2].send(i), to[3].send(i));
    for (const ints& each : to) each.close();
}
rn::task<> forward(ints from, ints to) {
    while (auto value = co_await from.recv()) CHECK(co_await to.send(*value));
}
}

TEST_CASE("Go: a select that sends to one of four channels sends each value once") {
    on_one_and_several([]() -> rn::task<> {
        const int count = scaled(1'000, 100'000);
        std::vector<ints> four;
        for (int i = 0; i < 4; ++i) four.emplace_back(0U);
        const ints all(0);
        rn::scope tasks;
        tasks.spawn(send_to_one_of_four, four, count);
        for (const ints& each : four) tasks.spawn(forward, each, all);
        std::vector<int> seen(static_cast<std::size_t>(count), 0);
        for (int i = 0; i < count; ++i) ++seen[static_cast<std::size_t>((co_await all.recv()).value())];
        CHECK(seen == std::vector<int>(static_cast<std::size_t>(count), 1));
        CHECK(co_await tasks.join());  // and there is no other
    });
}

TEST_CASE(
    "Go: at a channel that is nil or has no partner every wait lasts for ever; and none is done at once") {
    in_virtual_time([]() -> rn::task<> {
        const ints nil;
        const ints alone(0);
        for (const ints* each : {&nil, &alone}) {
            const ints& c = *each;
            CHECK((co_await rn::with_timeout(24h, c.send(7))).error() == rn::errc::timed_out);
            CHECK((co_await rn::with_timeout(24h, c.recv())).error() == rn::errc::timed_out);
            CHECK((co_await rn::with_timeout(24h, rn::select(c.send(7)))).error() == rn::errc::timed_out);
            CHECK((co_await rn::with_timeout(24h, rn::select(c.recv()))).error() == rn::errc::timed_out);
            const auto both = co_await rn::with_timeout(24h, rn::select(c.recv(), c.send(7), nil.recv()));
            CHECK(both.error() == rn::errc::timed_out);
            CHECK_FALSE(rn::try_select(c.send(7)));
            CHECK_FALSE(rn::try_select(c.recv()));
            CHECK_FALSE(rn::try_select(c.recv(), c.send(7), nil.send(7)));
        }
    });
}

TEST_CASE(
    "Go: at a channel that has room or is closed no wait lasts; nor does it beside cases that never come") {
    in_virtual_time([]() -> rn::task<> {
        const auto began = rn::clock::now();
        const ints nil;
        const ints room(1);
        for (int i = 0; i < 10; ++i) {
            CHECK(co_await room.send(7));
            CHECK((co_await room.recv()).value() == 7);
            CHECK((co_await rn::select(nil.recv(), room.send(7))).index() == 1);
            CHECK((co_await rn::select(nil.send(7), room.recv())).index() == 1);
        }
        const ints closed(0);
        closed.close();
        for (int i = 0; i < 10; ++i) {
            CHECK_FALSE(co_await closed.recv());
            CHECK_FALSE(co_await closed.send(7));  // an error, no panic
            CHECK((co_await rn::select(nil.recv(), closed.recv())).index() == 1);
            CHECK((co_await rn::select(nil.recv(), closed.send(7))).index() == 1);
        }
        CHECK(rn::clock::now() == began);
    });
}

TEST_CASE("Go: a select that does not wait fills what has room and then says that there is none") {
    const ints a(1);
    const ints b(1);
    const auto fill = [](ints one, ints other) {
        int sent = 0;
        while (auto won = rn::try_select(one.send(1 << sent), other.send(1 << sent))) {
            ++sent;
            (won.index() == 0 ? one : other).reset();  // nil from now on
        }
        return sent;
    };
    CHECK(fill(a, b) == 2);
    const int from_a = a.try_recv().value();
    CHECK((from_a | b.try_recv().value()) == 3);
    CHECK(fill(a, ints()) == 1);
}

TEST_CASE("Go: a select that won elsewhere leaves a queue in which others stand before it as it was") {
    on_workers(1, []() -> rn::task<> {
        const ints queue(0);
        const ints other(0);
        int received = 0;
        const auto receive = [&]() -> rn::task<> {
            CHECK(co_await queue.recv());
            ++received;
        };
        const auto select_then_receive = [&]() -> rn::task<> {
            auto won = co_await rn::select(queue.recv(), other.recv());
            CHECK(won.index() == 1);
            CHECK(co_await queue.recv());
            ++received;
        };
        rn::scope all;
        all.spawn(receive);
        co_await settle();
        all.spawn(select_then_receive);
        co_await settle();
        CHECK(co_await other.send(1));
        co_await settle();
        CHECK(co_await queue.send(1));
        CHECK(co_await queue.send(1));
        CHECK(co_await all.join());
        CHECK(received == 2);
    });
}

namespace {
/// Alone, as the one case of a select, and as one of two.
rn::task<> send_somehow(int how, ints c) {
    const ints never(0);
    if (how == 0) CHECK(co_await c.send(1));
    if (how == 1) CHECK((co_await rn::select(c.send(1))).index() == 0);
    if (how == 2) CHECK((co_await rn::select(c.send(1), never.send(1))).index() == 0);
}
rn::task<> receive_somehow(int how, ints c) {
    const ints never(0);
    if (how == 0) (void)co_await c.recv();  // the value is nobody's
    if (how == 1) (void)co_await rn::select(c.recv());
    if (how == 2) (void)co_await rn::select(c.recv(), never.recv());
}
}

TEST_CASE("Go: each way to send meets each way to receive; also when the value is thrown away") {
    for (int sends = 0; sends < 3; ++sends)
        for (int receives = 0; receives < 3; ++receives) {
            CAPTURE(sends);
            CAPTURE(receives);
            on_one_and_several([=]() -> rn::task<> {
                const ints c(0);
                rn::scope both;
                both.spawn(receive_somehow, receives, c);
                (void)co_await rn::yield();
                both.spawn(send_somehow, sends, c);
                CHECK(co_await both.join());
            });
        }
}

TEST_CASE("Go: selects beside a case that never comes leave nothing at it and need no memory") {
    if (!memory_can_be_scarce()) return;
    on_workers(1, []() -> rn::task<> {
        const ints c(0);
        const ints never(0);
        const int count = scaled(2'000, 100'000);
        const auto sender = [](ints to, int n) -> rn::task<> {
            for (int i = 0; i < n; ++i) CHECK(co_await to.send(i));
        };
        auto end = rn::go(sender, c, count);
        const long before = allocated();
        for (int i = 0; i < count; ++i) {
            auto won = co_await rn::select(c.recv(), never.recv());
            CHECK(won.index() == 0);
        }
        CHECK(allocated() <= before);
        CHECK(never.stats().waiting_receivers == 0);
        (void)co_await end;
    });
}
