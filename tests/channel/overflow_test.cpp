// What a send does when there is no room, and who is told of what was dropped.
#include <doctest/doctest.h>
#include <runnel/channel.hpp>
#include <runnel/go.hpp>
#include <runnel/select.hpp>
#include <runnel/testing.hpp>
#include <runnel/time.hpp>

#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "support/counted.hpp"
#include "support/level.hpp"
#include "support/virtual_time.hpp"
#include "tasks.hpp"

namespace testing = runnel::testing;
using namespace std::chrono_literals;
using namespace support;
using rn::overflow;

namespace {

/// What hooks are told.
struct told {
    std::vector<int> values;
    std::vector<rn::dropped> reasons;

    rn::channel_options<int> of(std::size_t capacity, overflow how) {
        return rn::channel_options<int>(capacity).overflow(how).on_drop([this](int&& value, rn::dropped why) {
            values.push_back(value);
            reasons.push_back(why);
        });
    }
};

std::vector<int> all_in(rn::receiver<int>& in) {
    std::vector<int> values;
    while (auto got = in.try_recv()) values.push_back(*got);
    return values;
}

TEST_CASE("overflow: fail gives an error and the value stays the caller's") {
    in_virtual_time([]() -> rn::task<> {
        auto [out, in] =
            rn::make_channel<std::string>(rn::channel_options<std::string>(1).overflow(overflow::fail));
        CHECK(co_await out.send("first"));
        std::string second = "second";
        const auto sent = co_await out.send(rn::from(second));
        CHECK(sent.error() == rn::errc::full);
        CHECK(second == "second");
        CHECK((co_await in.recv()).value() == "first");
        CHECK(out.stats().dropped == 0);
    });
}

TEST_CASE(
    "overflow: drop_newest keeps what is there, drop_oldest makes room, and the hook gets what is dropped") {
    in_virtual_time([]() -> rn::task<> {
        told newest;
        auto [a, from_a] = rn::make_channel<int>(newest.of(2, overflow::drop_newest));
        for (int i = 0; i < 5; ++i) CHECK(co_await a.send(i));
        CHECK(newest.values == std::vector<int>{2, 3, 4});
        CHECK(newest.reasons == std::vector<rn::dropped>(3, rn::dropped::newest));
        CHECK(a.stats().dropped == 3);
        CHECK(all_in(from_a) == std::vector<int>{0, 1});
        CHECK(a.stats().received == 2);

        told oldest;
        auto [b, from_b] = rn::make_channel<int>(oldest.of(2, overflow::drop_oldest));
        for (int i = 0; i < 5; ++i) CHECK(b.try_send(i));
        CHECK(oldest.values == std::vector<int>{0, 1, 2});
        CHECK(oldest.reasons == std::vector<rn::dropped>(3, rn::dropped::oldest));
        CHECK(all_in(from_b) == std::vector<int>{3, 4});
    });
}

TEST_CASE("overflow: keep_latest has room for one") {
    told dropped;
    auto [out, in] = rn::make_channel<int>(dropped.of(10, overflow::keep_latest));
    CHECK(out.capacity() == 1);
    for (int i = 0; i < 3; ++i) CHECK(out.try_send(i));
    CHECK(all_in(in) == std::vector<int>{2});
    CHECK(dropped.values == std::vector<int>{0, 1});
}

TEST_CASE("overflow: close ends a channel whose receiver is too slow, and what is there can be received") {
    in_virtual_time([]() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(rn::channel_options<int>(2).overflow(overflow::close));
        for (int i = 0; i < 2; ++i) CHECK(co_await out.send(i));
        int third = 2;
        const auto sent = co_await out.send(rn::from(third));
        CHECK(sent.error() == rn::errc::too_slow);
        CHECK(out.closed());
        CHECK((co_await in.recv()).value() == 0);
        CHECK((co_await in.recv()).value() == 1);
        CHECK((co_await in.recv()).error() == rn::errc::too_slow);
    });
}

TEST_CASE("overflow: without room a value is dropped unless somebody waits for it") {
    in_virtual_time([]() -> rn::task<> {
        for (const overflow how : {overflow::drop_newest, overflow::drop_oldest}) {
            told dropped;
            auto [out, in] = rn::make_channel<int>(dropped.of(0, how));
            CHECK(co_await out.send(1));
            auto receiver = rn::go(
                [](rn::receiver<int> from) -> rn::task<int> { co_return (co_await from.recv()).value(); },
                in.share());
            co_await settle();
            CHECK(co_await out.send(2));
            const auto got = co_await receiver;
            CHECK(got.value() == 2);
            CHECK(dropped.values == std::vector<int>{1});
        }
    });
}

TEST_CASE("overflow: a send that need not wait is always ready in a select") {
    in_virtual_time([]() -> rn::task<> {
        told dropped;
        auto [out, in] = rn::make_channel<int>(dropped.of(1, overflow::drop_oldest));
        rn::channel<int> silent;
        for (int i = 0; i < 3; ++i) {
            auto won = co_await rn::select(out.send(i), silent.recv());
            REQUIRE(won.index() == 0);
            CHECK(won.take<0>());
        }
        CHECK(dropped.values == std::vector<int>{0, 1});
    });
}

TEST_CASE("overflow: what was sent and nobody is left to receive goes to the hook") {
    told dropped;
    {
        auto [out, in] = rn::make_channel<int>(dropped.of(5, overflow::wait));
        for (int i = 0; i < 3; ++i) CHECK(out.try_send(i));
        in.reset();
        CHECK(dropped.values == std::vector<int>{0, 1, 2});
        CHECK(dropped.reasons == std::vector<rn::dropped>(3, rn::dropped::undelivered));
        CHECK(out.stats().dropped == 3);
    }
    {
        rn::channel<int> joint(dropped.of(5, overflow::wait));
        CHECK(joint.try_send(3));
    }
    CHECK(dropped.values == std::vector<int>{0, 1, 2, 3});
}

TEST_CASE("overflow: a hook may use the channel") {
    rn::receiver<int> in;
    std::vector<int> taken;
    auto made = rn::make_channel<int>(
        rn::channel_options<int>(1).overflow(overflow::drop_oldest).on_drop([&](int&& value, rn::dropped) {
            taken.push_back(value);
            if (auto got = in.try_recv()) taken.push_back(*got);
        }));
    in = std::move(made.second);
    CHECK(made.first.try_send(1));
    CHECK(made.first.try_send(2));
    CHECK(taken == std::vector<int>{1, 2});
    CHECK(in.len() == 0);
}

TEST_CASE("overflow: every value is destroyed once, whatever becomes of it") {
    counted::reset();
    for (const overflow how : {overflow::fail, overflow::drop_newest, overflow::drop_oldest,
                               overflow::keep_latest, overflow::close}) {
        auto [out, in] = rn::make_channel<counted>(rn::channel_options<counted>(2).overflow(how));
        for (int i = 0; i < 6; ++i) (void)out.try_send(counted(i));
        for (int i = 0; i < 6; ++i) {
            counted named(i);
            (void)out.try_send(rn::from(named));
            (void)out.try_send(named);
        }
        (void)in.try_recv();
    }
    CHECK(counted::live() == 0);
    CHECK(counted::errors() == 0);
}

TEST_CASE("overflow: under any schedule each value is received or given to the hook, once, in its order") {
    for (const overflow how : {overflow::drop_newest, overflow::drop_oldest, overflow::fail}) {
        const auto all = testing::explore(scaled(1'000U, 50'000U), [how]() -> rn::task<> {
            told dropped;
            auto [out, in] = rn::make_channel<int>(dropped.of(2, how));
            rn::task_set producers;
            std::vector<int> refused;
            for (int p = 0; p < 2; ++p)
                producers.spawn(
                    [](rn::sender<int> to, std::vector<int>& failed, int first) -> rn::task<> {
                        for (int i = first; i < first + 6; ++i) {
                            auto sent = co_await to.send(i);
                            if (!sent) failed.push_back(i);
                        }
                    },
                    out.share(), rn::borrow(refused), 100 * p);
            out.reset();
            std::vector<int> received;
            for (auto got = co_await in.recv(); got; got = co_await in.recv()) received.push_back(*got);
            auto end = co_await producers.join();
            testing::expect(end.has_value());
            testing::expect(refused.empty() || how == overflow::fail);
            std::vector<int> seen(200, 0);
            int last[2] = {-1, -1};
            for (const int value : received) {
                testing::expect(value % 100 > last[value / 100], "out of order");
                last[value / 100] = value % 100;
                ++seen[static_cast<std::size_t>(value)];
            }
            for (const int value : dropped.values) ++seen[static_cast<std::size_t>(value)];
            for (const int value : refused) ++seen[static_cast<std::size_t>(value)];
            for (std::size_t i = 0; i < 6; ++i)
                testing::expect(seen[i] == 1 && seen[100 + i] == 1, "not once");
        });
        CHECK_MESSAGE(all.ok(), all.what());
    }
}

TEST_CASE("overflow: threads and tasks that drop at the same time lose count of nothing") {
    const int rounds = scaled(2'000, 200'000);
    on_workers(3, [rounds]() -> rn::task<> {
        std::atomic<int> dropped{0};
        auto [out, in] = rn::make_channel<std::string>(
            rn::channel_options<std::string>(3)
                .overflow(overflow::drop_oldest)
                .on_drop([&](std::string&& value, rn::dropped) { dropped += value.size() == 40; }));
        rn::task_set tasks;
        for (int t = 0; t < 3; ++t)
            tasks.spawn(
                [](rn::sender<std::string> to, int count) -> rn::task<> {
                    for (int i = 0; i < count; ++i) CHECK(co_await to.send(std::string(40, 'x')));
                },
                out.share(), rounds);
        std::thread plain([to = std::move(out), rounds] {
            for (int i = 0; i < rounds; ++i) CHECK(to.try_send(std::string(40, 'x')));
        });
        int received = 0;
        for (auto got = co_await in.recv(); got; got = co_await in.recv()) ++received;
        plain.join();
        CHECK(co_await tasks.join());
        CHECK(received + dropped == 4 * rounds);
    });
}
}
