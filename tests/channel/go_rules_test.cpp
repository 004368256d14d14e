// Go's own rules of channels and select, as the tests of its runtime state them, written anew for tasks.
#include <doctest/doctest.h>
#include <runnel/channel.hpp>
#include <runnel/select.hpp>

#include <array>
#include <cstdlib>
#include <initializer_list>
#include <numeric>
#include <vector>

#include "support/level.hpp"
#include "tasks.hpp"

using namespace support;

namespace {
using ints = rn::channel<int>;

constexpr int tasks = 4;
constexpr int values = 250;

using capacities = std::initializer_list<std::size_t>;

/// The same for a channel of each of these capacities.
template <class F>
void for_channels_of(capacities each, F rule) {
    for (const std::size_t capacity : each) {
        CAPTURE(capacity);
        on_one_and_several([=]() -> rn::task<> { co_await rule(ints(capacity)); });
    }
}
/// On one worker alone, where settle() can be used.
template <class F>
void for_channels_on_one_worker(capacities each, F rule) {
    for (const std::size_t capacity : each) {
        CAPTURE(capacity);
        on_workers(1, rule, ints(capacity));
    }
}
}

TEST_CASE("Go: a receive from an empty channel, and a send to a full one, wait") {
    for_channels_on_one_worker({0U, 1U, 3U, 10U}, [](ints c) -> rn::task<> {
        bool received = false;
        rn::go(
            [](ints from, bool* done) -> rn::task<> {
                (void)co_await from.recv();
                *done = true;
            },
            c, &received);
        co_await settle();
        CHECK(!received);
        CHECK(co_await c.send(0));
        co_await settle();
        CHECK(received);

        for (std::size_t i = 0; i < c.capacity(); ++i) CHECK(co_await c.send(0));
        bool sent = false;
        rn::go(
            [](ints to, bool* done) -> rn::task<> {
                (void)co_await to.send(0);
                *done = true;
            },
            c, &sent);
        co_await settle();
        CHECK(!sent);
        CHECK(c.try_send(0).error() == (c.capacity() == 0 ? rn::errc::no_receiver : rn::errc::full));
        CHECK(co_await c.recv());
        co_await settle();
        CHECK(sent);
    });
}

TEST_CASE("Go: a closed channel gives what it has, and then says so again and again") {
    for_channels_on_one_worker({1U, 3U, 10U}, [](ints c) -> rn::task<> {
        for (std::size_t i = 0; i < c.capacity(); ++i) CHECK(co_await c.send(static_cast<int>(i)));
        c.close();
        for (std::size_t i = 0; i < c.capacity(); ++i)
            CHECK((co_await c.recv()).value() == static_cast<int>(i));
        for (int i = 0; i < 3; ++i) CHECK((co_await c.recv()).error() == rn::errc::closed);
    });
}

TEST_CASE("Go: 100 values pass in order between two tasks") {
    for_channels_of({0U, 1U, 10U}, [](ints c) -> rn::task<> {
        rn::go(
            [](ints to) -> rn::task<> {
                for (int i = 0; i < 100; ++i) (void)co_await to.send(i);
            },
            c);
        for (int i = 0; i < 100; ++i) CHECK((co_await c.recv()).value() == i);
    });
}

TEST_CASE("Go: several senders and several receivers: every value arrives, each as often as it was sent") {
    for_channels_of({0U, 1U, 10U}, [](ints c) -> rn::task<> {
        std::array<std::array<int, values>, tasks> seen{};
        rn::scope all;
        for (std::size_t t = 0; t < tasks; ++t) {
            all.spawn(
                [](ints to) -> rn::task<> {
                    for (int i = 0; i < values; ++i) CHECK(co_await to.send(i));
                },
                c);
            all.spawn(
                [](ints from, std::array<int, values>* mine) -> rn::task<> {
                    for (int i = 0; i < values; ++i)
                        ++(*mine)[static_cast<std::size_t>((co_await from.recv()).value())];
                },
                c, &seen[t]);
        }
        CHECK(co_await all.join());
        for (std::size_t v = 0; v < values; ++v)
            CHECK(std::accumulate(seen.begin(), seen.end(), 0,
                                  [&](int sum, auto& s) { return sum + s[v]; }) == tasks);
    });
}

TEST_CASE("Go: a receive that does not wait finds the value or the end while the channel is being closed") {
    on_one_and_several([]() -> rn::task<> {
        for (int i = 0; i < scaled(2'000, 50'000); ++i) {
            ints c(1);
            (void)c.try_send(1);
            auto looks = rn::go(
                [](ints from) -> rn::task<bool> { co_return from.try_recv().error() != rn::errc::empty; }, c);
            c.close();
            (void)c.try_recv();
            CHECK((co_await looks).value());
        }
    });
}

TEST_CASE("Go: a select that does not wait finds one of two channels, of which one is ready at any time") {
    on_one_and_several([]() -> rn::task<> {
        for (int i = 0; i < scaled(2'000, 50'000); ++i) {
            ints a(1);
            ints b(1);
            (void)a.try_send(1);
            auto looks = rn::go(
                [](ints x, ints y) -> rn::task<bool> {
                    co_return static_cast<bool>(rn::try_select(x.recv(), y.recv()));
                },
                a, b);
            b.close();           // from now on b is ready
            (void)a.try_recv();  // and a need not be any more
            CHECK((co_await looks).value());
        }
    });
}

TEST_CASE("Go: two tasks that send to and receive from the same channel get each other's values") {
    for_channels_of({0U, 10U}, [](ints c) -> rn::task<> {
        rn::scope both;
        for (int me = 0; me < 2; ++me) {
            both.spawn(
                [](ints shared, int mine, bool hands_over) -> rn::task<> {
                    for (int i = 0; i < scaled(500, 50'000); ++i) {
                        auto won = co_await rn::select(shared.recv(), shared.send(mine));
                        if (won.index() == 0 && hands_over) CHECK(won.take<0>().value() != mine);
                    }
                    // The other may still need a partner: with nobody left it finds the channel closed.
                    shared.close();
                },
                c, me, c.capacity() == 0);
        }
        (void)co_await both.join();
    });
}

namespace {
constexpr std::size_t lanes = 4;
using lane_array = std::array<ints, lanes>;

/// Sends `count` to each lane by selects over those that are not done.
rn::task<> select_senders(lane_array c, int count) {
    std::array<int, lanes> left;
    left.fill(count);
    for (int n = 0; n < count * static_cast<int>(lanes); ++n) {
        auto won = co_await rn::select(c[3].send(1), c[2].send(1), c[0].send(1), c[1].send(1));
        const std::size_t order[] = {3U, 2U, 0U, 1U};
        const std::size_t lane = order[won.index()];
        if (--left[lane] == 0) c[lane].reset();
    }
}
rn::task<> select_receivers(lane_array c, int count) {
    std::array<int, lanes> left;
    left.fill(count);
    for (int n = 0; n < count * static_cast<int>(lanes); ++n) {
        auto won = co_await rn::select(c[0].recv(), c[1].recv(), c[2].recv(), c[3].recv());
        if (--left[won.index()] == 0) c[won.index()].reset();
    }
}
}

TEST_CASE("Go: plain sends and receives, and selects over four channels, all end with all values passed") {
    on_one_and_several([]() -> rn::task<> {
        const int count = scaled(500, 50'000);
        const lane_array c = {ints(0), ints(0), ints(2), ints(3)};
        rn::scope all;
        for (std::size_t lane = 0; lane < lanes; ++lane) {
            all.spawn(
                [](ints to, int n) -> rn::task<> {
                    for (int i = 0; i < n; ++i) CHECK(co_await to.send(1));
                },
                c[lane], count);
            all.spawn(
                [](ints from, int n) -> rn::task<> {
                    for (int i = 0; i < n; ++i) CHECK(co_await from.recv());
                },
                c[lane], count);
        }
        all.spawn(select_senders, c, count);
        all.spawn(select_receivers, c, count);
        CHECK(co_await all.join());
        for (const ints& each : c) CHECK(each.len() == 0);
    });
}

TEST_CASE("Go: a select between sending 0 and sending 1 sends both, again and again") {
    for_channels_of({0U, 1U, 10U}, [](ints c) -> rn::task<> {
        rn::go(
            [](ints to) -> rn::task<> {
                while (!to.closed()) (void)co_await rn::select(to.send(0), to.send(1));
            },
            c);
        int ones = 0;
        const int count = 2'000;
        for (int i = 0; i < count; ++i) ones += (co_await c.recv()).value();
        c.close();
        CAPTURE(ones);
        CHECK(std::abs(ones - count / 2) < 112);  // 5 sigma
    });
}

TEST_CASE("Go: fair between a channel that is always ready and others") {
    on_one_and_several([]() -> rn::task<> {
        ints busy(20);
        ints slow(20);
        ints end(0);
        int from[2] = {};
        for (int i = 0; i < 4'000; ++i) {
            while (busy.try_send(1)) {}
            while (slow.try_send(1)) {}
            auto won = co_await rn::select(busy.recv(), slow.recv(), end.recv());
            ++from[won.index()];
        }
        CHECK(std::min(from[0], from[1]) * 10 > 4'000 * 4);
    });
}

TEST_CASE("Go: the same channel twice in a select, woken on one of its places, is still served on others") {
    on_one_and_several([]() -> rn::task<> {
        ints c(0);
        ints d(0);
        ints e(0);
        rn::go(
            [](ints x, ints y, ints z) -> rn::task<> {
                (void)co_await rn::select(x.recv(), x.recv(), y.recv());
                (void)co_await z.recv();
            },
            c, d, e);
        rn::go([](ints z) -> rn::task<> { (void)co_await z.recv(); }, e);
        CHECK(co_await d.send(7));  // wakes the select by its third case: both places at c are left
        CHECK(co_await e.send(8));
        CHECK(co_await e.send(9));
    });
}

TEST_CASE("Go: a sieve of chained channels finds the primes") {
    on_one_and_several([]() -> rn::task<> {
        rn::scope filters;
        ints numbers(0);
        filters.spawn(
            [](ints to) -> rn::task<> {
                for (int i = 2; co_await to.send(i); ++i) {}
            },
            numbers);
        std::vector<int> primes;
        while (primes.size() < 25) {
            const int prime = (co_await numbers.recv()).value();
            primes.push_back(prime);
            ints rest(0);
            filters.spawn(
                [](ints from, ints to, int p) -> rn::task<> {
                    while (auto n = co_await from.recv())
                        if (*n % p != 0 && !co_await to.send(*n)) break;
                },
                numbers, rest, prime);
            numbers = rest;
        }
        CHECK(primes.back() == 97);
        filters.cancel();
        (void)co_await filters.join();
    });
}
