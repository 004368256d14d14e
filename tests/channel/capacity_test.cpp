// Room: channels that grow, limits, another capacity while in use, and what a channel says of itself.
#include <doctest/doctest.h>
#include <runnel/channel.hpp>
#include <runnel/go.hpp>
#include <runnel/select.hpp>
#include <runnel/testing.hpp>
#include <runnel/time.hpp>

#include <memory>
#include <new>
#include <string>
#include <vector>

#include "support/counted.hpp"
#include "support/level.hpp"
#include "support/virtual_time.hpp"
#include "tasks.hpp"

namespace testing = runnel::testing;
using namespace std::chrono_literals;
using namespace support;

namespace {

TEST_CASE("channel: an unbounded one always has room and keeps the order") {
    auto [out, in] = rn::make_channel<std::unique_ptr<int>>(rn::unbounded);
    CHECK(out.capacity() == rn::unbounded);
    for (int round = 0; round < 3; ++round) {
        for (int i = 0; i < 10'000; ++i) CHECK(out.try_send(std::make_unique<int>(i)));
        CHECK(in.len() == 10'000);
        for (int i = 0; i < 10'000; ++i) CHECK(**in.try_recv() == i);
        CHECK(in.try_recv().error() == rn::errc::empty);
    }
}

TEST_CASE("channel: an unbounded one whose ring has turned keeps the order when it grows") {
    auto [out, in] = rn::make_channel<int>(rn::unbounded);
    int sent = 0;
    int received = 0;
    for (int step = 1; step < 200; ++step) {
        for (int i = 0; i < step; ++i) CHECK(out.try_send(sent++));
        for (int i = 0; i < step / 2; ++i) CHECK(*in.try_recv() == received++);
    }
    while (received < sent) CHECK(*in.try_recv() == received++);
}

TEST_CASE("channel: a hard limit makes senders wait and memory is there for what there is only") {
    in_virtual_time([]() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(rn::channel_options<int>(rn::unbounded).hard_limit(3));
        for (int i = 0; i < 3; ++i) CHECK(out.try_send(i));
        CHECK(out.try_send(3).error() == rn::errc::full);
        auto sender =
            rn::go([](rn::sender<int> to) -> rn::task<> { CHECK(co_await to.send(3)); }, out.share());
        co_await settle();
        for (int i = 0; i < 4; ++i) CHECK((co_await in.recv()).value() == i);
        CHECK(co_await sender);
        // More than any machine has: of a bounded channel this would be std::bad_alloc.
        auto [far, near] =
            rn::make_channel<int>(rn::channel_options<int>(rn::unbounded).hard_limit(SIZE_MAX / 2));
        CHECK(far.try_send(1));
        CHECK(near.try_recv());
        CHECK_THROWS_AS((void)rn::make_channel<int>(SIZE_MAX / 2), std::bad_alloc);
    });
}

TEST_CASE("channel: a soft limit of one is told each time that there is something") {
    int told = 0;
    auto [out, in] =
        rn::make_channel<int>(rn::channel_options<int>(4).soft_limit(1, [&](std::size_t) { ++told; }));
    for (int i = 0; i < 3; ++i) {
        CHECK(out.try_send(i));
        CHECK(out.try_send(i));
        while (in.try_recv()) {}
    }
    CHECK(told == 3);
}

TEST_CASE("channel: the soft limit is told once and again after half of it is gone") {
    std::vector<std::size_t> told;
    auto [out, in] =
        rn::make_channel<int>(rn::channel_options<int>(rn::unbounded).soft_limit(4, [&](std::size_t items) {
            told.push_back(items);
        }));
    for (int i = 0; i < 10; ++i) CHECK(out.try_send(i));
    CHECK(told == std::vector<std::size_t>{4});
    for (int i = 0; i < 7; ++i) CHECK(in.try_recv());
    CHECK(out.try_send(1));  // four again, but it was never below two
    CHECK(told.size() == 1);
    for (int i = 0; i < 3; ++i) CHECK(in.try_recv());
    for (int i = 0; i < 3; ++i) CHECK(out.try_send(i));
    CHECK(told == std::vector<std::size_t>{4, 4});
}

TEST_CASE("channel: with more capacity the senders that wait go on, in their order") {
    in_virtual_time([]() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(1);
        CHECK(out.try_send(0));
        rn::task_set senders;
        for (int i = 1; i <= 100; ++i) {
            senders.spawn([](rn::sender<int> to, int value) -> rn::task<> { CHECK(co_await to.send(value)); },
                          out.share(), i);
            (void)co_await rn::yield();
        }
        in.set_capacity(51);
        co_await settle();
        CHECK(in.len() == 51);
        CHECK(in.stats().waiting_senders == 50);
        for (int i = 0; i <= 100; ++i) CHECK((co_await in.recv()).value() == i);
        CHECK(co_await senders.join());
    });
}

TEST_CASE("channel: with less capacity nothing is lost and it takes no more until so much is gone") {
    auto [out, in] = rn::make_channel<int>(4);
    for (int i = 0; i < 4; ++i) CHECK(out.try_send(i));
    out.set_capacity(2);
    CHECK(out.capacity() == 2);
    CHECK(in.len() == 4);
    for (int i = 0; i < 2; ++i) {
        CHECK(*in.try_recv() == i);
        CHECK(out.try_send(9).error() == rn::errc::full);
    }
    CHECK(*in.try_recv() == 2);
    CHECK(out.try_send(4));
    out.set_capacity(0);
    CHECK(*in.try_recv() == 3);
    CHECK(*in.try_recv() == 4);
    CHECK(out.try_send(5).error() == rn::errc::no_receiver);
    out.set_capacity(rn::unbounded);
    for (int i = 0; i < 100; ++i) CHECK(out.try_send(i));
    out.close();
    out.set_capacity(0);  // nothing any more
    CHECK(out.capacity() == rn::unbounded);
    CHECK_THROWS_AS(rn::channel<int>(1).set_capacity(SIZE_MAX / 2), std::bad_alloc);
    rn::channel<int>().set_capacity(5);
}

TEST_CASE("channel: with less capacity a sender that waits goes on when there is room again") {
    in_virtual_time([]() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(3);
        for (int i = 0; i < 3; ++i) CHECK(out.try_send(i));
        auto sender =
            rn::go([](rn::sender<int> to) -> rn::task<> { CHECK(co_await to.send(3)); }, out.share());
        co_await settle();
        out.set_capacity(1);
        for (int i = 0; i < 2; ++i) {
            CHECK((co_await in.recv()).value() == i);
            CHECK(out.stats().waiting_senders == 1);
        }
        CHECK((co_await in.recv()).value() == 2);
        CHECK(out.stats().waiting_senders == 0);
        CHECK((co_await in.recv()).value() == 3);
        CHECK(co_await sender);
    });
}

TEST_CASE("channel: under any schedule a capacity that changes all the time loses nothing and stops nobody") {
    const auto how = testing::options().slow_turns(8, 5us);
    const auto all = testing::explore(how, scaled(2'000U, 100'000U), []() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(0);
        rn::task_set tasks;
        for (int producer = 0; producer < 2; ++producer)
            tasks.spawn(
                [](rn::sender<int> to, int first) -> rn::task<> {
                    for (int i = 0; i < 6;) {
                        auto sent = co_await rn::with_timeout(std::chrono::microseconds(1 + i % 3),
                                                              to.send(first + i));
                        testing::expect(sent || sent.error() == rn::errc::timed_out);
                        i += sent.has_value();
                    }
                },
                out.share(), 100 * producer);
        tasks.spawn(
            [](rn::sender<int> of) -> rn::task<> {
                for (const std::size_t capacity : {3U, 1U, 0U, 2U, 0U, 5U, 1U}) {
                    of.set_capacity(capacity);
                    auto slept = co_await rn::sleep_for(1us);
                    testing::expect(slept.has_value());
                }
                of.set_capacity(rn::unbounded);
            },
            std::move(out));
        int next[2] = {0, 0};
        for (auto got = co_await in.recv(); got; got = co_await in.recv())
            testing::expect(*got % 100 == next[*got / 100]++, "out of order");
        testing::expect(next[0] == 6 && next[1] == 6, "lost");
        auto end = co_await tasks.join();
        testing::expect(end.has_value());
    });
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("channel: says what it holds and has seen") {
    in_virtual_time([]() -> rn::task<> {
        auto [out, in] = rn::make_channel<std::string>(2);
        auto second = in.share();
        CHECK(out.try_send("a"));
        (void)co_await rn::sleep_for(100ms);
        CHECK(out.try_send("b"));
        auto sender = rn::go([](rn::sender<std::string> to) -> rn::task<> { (void)co_await to.send("c"); },
                             out.share());
        (void)co_await rn::sleep_for(50ms);
        rn::channel_stats now = out.stats();
        CHECK(now.items == 2);
        CHECK(now.high_water == 2);
        CHECK(now.sent == 2);
        CHECK(now.received == 0);
        CHECK(now.waiting_senders == 1);
        CHECK(now.waiting_receivers == 0);
        CHECK(now.senders == 2);
        CHECK(now.receivers == 2);
        CHECK(now.oldest_age_ms >= 148);
        CHECK(now.oldest_age_ms <= 152);
        CHECK(co_await in.recv());
        now = in.stats();
        CHECK(now.sent == 3);
        CHECK(now.received == 1);
        CHECK(now.oldest_age_ms >= 48);
        CHECK(now.oldest_age_ms <= 52);
        (void)co_await sender;
        CHECK(co_await in.recv());
        CHECK(co_await in.recv());
        CHECK(in.stats().oldest_age_ms == 0);
        CHECK(out.try_send("d"));
        (void)co_await rn::sleep_for(100ms);
        out.set_capacity(10);  // into another ring
        CHECK(in.stats().oldest_age_ms >= 98);
        CHECK(in.stats().oldest_age_ms <= 102);
        CHECK(in.stats().high_water == 2);
        CHECK(rn::receiver<int>().stats().items == 0);
    });
}

struct nothing {};

TEST_CASE("channel: carries things that have no size") {
    auto [out, in] = rn::make_channel<nothing>(3);
    for (int i = 0; i < 3; ++i) CHECK(out.try_send(nothing()));
    CHECK(out.try_send(nothing()).error() == rn::errc::full);
    for (int i = 0; i < 3; ++i) CHECK(in.try_recv());
    CHECK(in.len() == 0);
}
}
