// Go's own rules of channels, as its programs in test/chan, test/ken and test/closedchan.go state them, written anew.
// docs/conformance/channels.md says which is which; go_rules_test.cpp has those of its runtime's tests.
#include <doctest/doctest.h>
#include <runnel/channel.hpp>
#include <runnel/select.hpp>
#include <runnel/time.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "support/level.hpp"
#include "tasks.hpp"

using namespace support;

namespace {
using ints = rn::channel<int>;

/// The ways to ask a channel that does not make anybody wait: alone, and as a case of selects.
constexpr int ways = 5;

rn::task<rn::result<int>> receive(int way, ints c) {
    const ints other(0);  // never ready
    if (way == 0) co_return co_await c.recv();
    if (way == 1) co_return c.try_recv();
    if (way == 2) {
        auto won = co_await rn::select(c.recv());
        co_return won.take<0>();
    }
    if (way == 3) {
        auto won = co_await rn::select(other.recv(), c.recv());
        co_return won.take<1>();
    }
    auto won = rn::try_select(other.recv(), c.recv());
    co_return won.take<1>();
}
rn::task<rn::result<>> send(int way, ints c) {
    const ints other(0);
    if (way == 0) co_return co_await c.send(2);
    if (way == 1) co_return c.try_send(2);
    if (way == 2) {
        auto won = co_await rn::select(c.send(2));
        co_return won.take<0>();
    }
    if (way == 3) {
        auto won = co_await rn::select(other.recv(), c.send(2));
        co_return won.take<1>();
    }
    auto won = rn::try_select(other.recv(), c.send(2));
    co_return won.take<1>();
}
}

TEST_CASE(
    "Go: a closed channel gives what it had and then its end and takes nothing; whatever way it is asked") {
    for (const std::size_t capacity : {0U, 2U})
        for (int way = 0; way < ways; ++way) {
            CAPTURE(capacity);
            CAPTURE(way);
            on_workers(1, [=]() -> rn::task<> {
                const ints c(capacity);
                if (capacity != 0) CHECK(co_await c.send(1));
                c.close();
                if (capacity != 0) CHECK((co_await receive(way, c)).value() == 1);
                for (int i = 0; i < 3; ++i) CHECK((co_await receive(way, c)).error() == rn::errc::closed);
                CHECK((co_await send(way, c)).error() == rn::errc::closed);
                CHECK((co_await receive(way, c)).error() == rn::errc::closed);  // nothing was sent
            });
        }
}

namespace {
/// A send and a receive that do not wait: they fail alone, and find whoever waits for them.
template <class T>
rn::task<> meet(std::size_t capacity, T value) {
    const rn::channel<T> c(capacity);
    CHECK(c.try_recv().error() == rn::errc::empty);
    if (capacity == 0) CHECK(c.try_send(value).error() == rn::errc::no_receiver);

    auto receiver =
        rn::go([](rn::channel<T> from) -> rn::task<rn::result<T>> { co_return co_await from.recv(); }, c);
    co_await settle();
    CHECK(c.try_send(value));
    const auto got = co_await receiver;
    CHECK(got.value() == value);

    auto sender = rn::go(
        [](rn::channel<T> to, T what) -> rn::task<> { CHECK(co_await to.send(rn::from(what))); }, c, value);
    co_await settle();
    CHECK(c.try_recv().value() == value);
    CHECK(co_await sender);
}
}

TEST_CASE("Go: what does not wait finds a partner that waits; for values of any size") {
    for (const std::size_t capacity : {0U, 1U}) {
        CAPTURE(capacity);
        on_workers(1, meet<std::int32_t>, capacity, 123);
        on_workers(1, meet<std::int64_t>, capacity, std::int64_t{1} << 40);
        on_workers(1, meet<bool>, capacity, true);
        on_workers(1, meet<std::string>, capacity, std::string(100, 's'));
    }
}

TEST_CASE("Go: a value goes through a chain of 10,000 tasks; and all of them end") {
    on_one_and_several([]() -> rn::task<> {
        const int length = scaled(2'000, 10'000);
        rn::scope all;
        const ints first(0);
        ints from = first;
        for (int i = 0; i < length; ++i) {
            const ints to(0);
            all.spawn(
                [](ints in, ints out) -> rn::task<> {
                    const auto got = co_await in.recv();
                    CHECK(co_await out.send(got.value() + 1));
                },
                from, to);
            from = to;
        }
        CHECK(co_await first.send(0));
        CHECK((co_await from.recv()).value() == length);
        CHECK(co_await all.join());
    });
}

namespace {
constexpr std::size_t lanes = 4;
constexpr int values = 75;
using lane_array = std::array<ints, lanes>;

rn::task<> send_one_by_one(ints to) {
    for (int i = 0; i < values; ++i) CHECK(co_await to.send(i));
}
rn::task<> receive_one_by_one(ints from) {
    for (int i = 0; i < values; ++i) CHECK((co_await from.recv()).value() == i);
}
rn::task<> send_selecting(lane_array to) {
    std::array<int, lanes> next{};
    for (int n = 0; n < values * static_cast<int>(lanes); ++n) {
        auto won = co_await rn::select(to[0].send(next[0]), to[1].send(next[1]), to[2].send(next[2]),
                                       to[3].send(next[3]));
        if (++next[won.index()] == values) to[won.index()].reset();  // nil from now on
    }
}
template <std::size_t... N, class Won>
int value_of(Won& won, std::index_sequence<N...>) {
    int value = 0;
    ((won.index() == N ? void(value = won.template get<N>().value()) : void()), ...);
    return value;
}
rn::task<> receive_selecting(lane_array from) {
    std::array<int, lanes> next{};
    for (int n = 0; n < values * static_cast<int>(lanes); ++n) {
        auto won = co_await rn::select(from[0].recv(), from[1].recv(), from[2].recv(), from[3].recv());
        CHECK(value_of(won, std::make_index_sequence<lanes>()) == next[won.index()]++);
    }
}
}

TEST_CASE("Go: each of four channels keeps its order in a select of one side or of both") {
    for (const std::size_t capacity : {0U, 1U, 10U, 100U})
        for (const auto& [sender_selects, receiver_selects] :
             {std::pair(true, false), std::pair(false, true), std::pair(true, true)}) {
            CAPTURE(capacity);
            CAPTURE(sender_selects);
            CAPTURE(receiver_selects);
            on_one_and_several(
                [capacity, senders = sender_selects, receivers = receiver_selects]() -> rn::task<> {
                    const lane_array c = {ints(capacity), ints(capacity), ints(capacity), ints(capacity)};
                    rn::scope all;
                    if (senders) all.spawn(send_selecting, c);
                    if (receivers) all.spawn(receive_selecting, c);
                    for (const ints& each : c) {
                        if (!senders) all.spawn(send_one_by_one, each);
                        if (!receivers) all.spawn(receive_one_by_one, each);
                    }
                    CHECK(co_await all.join());
                });
        }
}

namespace {
rn::task<> work(ints jobs, ints done, int number) {
    while (auto job = co_await jobs.recv()) {
        if (*job % 5 == number) (void)co_await rn::yield();  // one is slower than the others
        CHECK(co_await done.send(*job));
    }
}
rn::task<> feed(ints jobs, ints done, int count) {
    rn::scope workers;
    for (int number = 0; number < 5; ++number) workers.spawn(work, jobs, done, number);
    for (int i = 0; i < count; ++i) CHECK(co_await jobs.send(i));
    jobs.close();  // no more work,
    CHECK(co_await workers.join());
    done.close();  // and so no more results
}
}

TEST_CASE("Go: many workers take from one channel and give to another; and what goes in comes out") {
    on_one_and_several([]() -> rn::task<> {
        const int count = scaled(2'000, 200'000);
        const ints jobs(9);
        const ints done(9);
        rn::scope all;
        all.spawn(feed, jobs, done, count);
        int seen = 0;
        std::int64_t sum = 0;
        while (auto result = co_await done.recv()) {
            ++seen;
            sum += *result;
        }
        CHECK(seen == count);
        CHECK(sum == std::int64_t{count} * (count - 1) / 2);
        CHECK(co_await all.join());
    });
}

namespace {
/// A power series is the channel of its coefficients.
using series = rn::channel<double>;

rn::task<> integrate(series of, double constant, series into) {
    auto more = co_await into.send(constant);
    for (int n = 1; more; ++n) {
        auto coefficient = co_await of.recv();
        if (!coefficient) co_return;
        more = co_await into.send(*coefficient / n);
    }
}
rn::task<> split(series of, series one, series other) {
    while (auto coefficient = co_await of.recv()) {
        const auto first = co_await one.send(*coefficient);
        const auto second = co_await other.send(*coefficient);
        if (!first || !second) co_return;
    }
}
}

TEST_CASE("Go: a network of tasks that feeds on its own results computes the series of e to the x") {
    on_one_and_several([]() -> rn::task<> {
        const series e(0);
        const series back(0);
        const series out(0);
        rn::scope network;
        network.spawn(integrate, back, 1.0, e);  // e' = e
        network.spawn(split, e, back, out);
        double factorial = 1;
        for (int n = 0; n < 20; ++n) {
            if (n > 0) factorial *= n;
            CHECK((co_await out.recv()).value() == doctest::Approx(1 / factorial));
        }
        network.cancel();
        (void)co_await network.join();
    });
}
