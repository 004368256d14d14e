// select_any: a select over operations whose number is known at run time only, which can be waited for again.
#include <doctest/doctest.h>
#include <runnel/after_func.hpp>
#include <runnel/broadcast.hpp>
#include <runnel/channel.hpp>
#include <runnel/dump.hpp>
#include <runnel/select_any.hpp>
#include <runnel/sync.hpp>
#include <runnel/testing.hpp>
#include <runnel/watch.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "model.hpp"
#include "runtime/timers.hpp"
#include "support/counted.hpp"
#include "support/dies.hpp"
#include "support/level.hpp"
#include "support/runtimes.hpp"
#include "support/scarce_memory.hpp"
#include "support/virtual_time.hpp"
#include "tasks.hpp"

namespace testing = runnel::testing;
using namespace std::chrono_literals;
using namespace support;

namespace {

using channels = std::vector<rn::channel<int>>;
using receive = decltype(std::declval<rn::channel<int>&>().recv());
using send = decltype(std::declval<rn::channel<int>&>().send(std::declval<const int&>()));

channels make(std::size_t count, std::size_t capacity) {
    channels made;
    for (std::size_t i = 0; i < count; ++i) made.push_back(rn::channel<int>(capacity));
    return made;
}
std::vector<receive> receives(const channels& from) {
    std::vector<receive> all;
    for (const auto& each : from) all.push_back(each.recv());
    return all;
}
std::vector<send> sends(const channels& to, int value) {
    std::vector<send> all;
    for (const auto& each : to) all.push_back(each.send(value));
    return all;
}

/// Does nobody wait at any of them?
bool deserted(const channels& all) {
    for (const auto& each : all)
        if (each.try_send(0).error() != rn::errc::no_receiver || each.try_recv().error() != rn::errc::empty)
            return false;
    return true;
}

rn::task<> send_one(rn::channel<int> to, int value) { (void)co_await to.send(value); }

// --- One of many -----------------------------------------------------------------------------------------

TEST_CASE("select_any: the one that is ready happens and only that one") {
    on_workers(1, []() -> rn::task<> {
        const channels c = make(5, 1);
        CHECK(c[3].try_send(7));
        auto all = receives(c);
        auto won = co_await rn::select_any(all);
        REQUIRE(won);
        CHECK(won.index() == 3);
        CHECK(won.take().value() == 7);
        CHECK(rn::try_select_any(all).error() == rn::errc::not_available);
    });
}

TEST_CASE("select_any: parks until one can happen and those that lost stand in no queue") {
    on_workers(1, []() -> rn::task<> {
        for (const std::size_t count : {1U, 2U, 16U, 17U, 300U}) {
            CAPTURE(count);
            const channels c = make(count, 0);
            auto all = receives(c);
            for (std::size_t i = 0; i < count; i += 1 + count / 7) {
                rn::go(send_one, c[i], static_cast<int>(i));
                auto won = co_await rn::select_any(std::span(all));
                REQUIRE(won.index() == i);
                CHECK(won.get().value() == static_cast<int>(i));
                CHECK(deserted(c));
            }
        }
    });
}

TEST_CASE("select_any: a vector or a span or an array of operations will do") {
    on_workers(1, []() -> rn::task<> {
        rn::channel<int> a(1);
        rn::channel<int> b(1);
        std::array<receive, 2> fixed{a.recv(), b.recv()};
        receive plain[] = {a.recv(), b.recv()};
        CHECK(b.try_send(1));
        auto first = co_await rn::select_any(fixed);
        CHECK(first.index() == 1);
        CHECK(a.try_send(2));
        auto second = co_await rn::select_any(plain);
        CHECK(second.index() == 0);
    });
}

TEST_CASE("select_any: in_order prefers the first") {
    on_workers(1, []() -> rn::task<> {
        const channels c = make(20, 1);
        auto all = receives(c);
        for (std::size_t i = 20; i-- > 0;) CHECK(c[i].try_send(1));
        for (std::size_t i = 0; i < 20; i += 2) {
            auto won = co_await rn::select_any(rn::in_order, all);
            CHECK(won.index() == i);
            CHECK(rn::try_select_any(rn::in_order, all).index() == i + 1);
        }
    });
}

TEST_CASE("select_any: of none it waits until it is cancelled") {
    in_virtual_time([]() -> rn::task<> {
        std::vector<receive> none;
        CHECK(rn::try_select_any(none).error() == rn::errc::not_available);
        auto limited = co_await rn::with_timeout(1h, rn::select_any(none));
        CHECK(limited.error() == rn::errc::timed_out);
        rn::task_set waits;
        waits.spawn([]() -> rn::task<> {
            std::vector<receive> nothing;
            auto won = co_await rn::select_any(nothing);
            CHECK(won.error() == rn::errc::cancelled);
        });
        co_await settle();
        CHECK(waits.size() == 1);
        waits.cancel();
        CHECK(co_await waits.join());
    });
}

// --- Again and again (A1, A2) ----------------------------------------------------------------------------

TEST_CASE("select_any: receives are made once and leave no value behind") {
    counted::reset();
    on_workers(1, []() -> rn::task<> {
        std::vector<rn::channel<counted>> c;
        std::vector<decltype(c[0].recv())> all;
        for (int i = 0; i < 20; ++i) c.emplace_back(2U);
        for (auto& each : c) all.push_back(each.recv());
        for (int i = 0; i < 100; ++i) {
            const auto at = static_cast<std::size_t>(i % 20);
            CHECK(c[at].try_send(counted(i)));
            {
                auto won = co_await rn::select_any(all);
                CHECK(won.index() == at);
                CHECK(won.take().value().value() == i);
            }
            CHECK(counted::live() == 0);
        }
        std::vector<decltype(c[0].recv())> moved = std::move(all);
        CHECK(c[1].try_send(counted(1)));
        CHECK(rn::try_select_any(moved).index() == 1);
    });
    CHECK(counted::live() == 0);
    CHECK(counted::errors() == 0);
}

TEST_CASE("select_any: a send that happened is never ready again until it is made anew") {
    counted::reset();
    on_workers(1, []() -> rn::task<> {
        rn::channel<counted> c(10);
        std::vector<decltype(c.send(std::declval<const counted&>()))> copied;
        std::vector<decltype(c.send(rn::from(std::declval<counted&>())))> lent;
        counted kept[3] = {counted(10), counted(11), counted(12)};
        for (int i = 0; i < 3; ++i) copied.push_back(c.send(std::as_const(kept[i])));
        for (int i = 0; i < 3; ++i) lent.push_back(c.send(rn::from(kept[i])));

        for (int i = 0; i < 3; ++i) CHECK(rn::try_select_any(copied).get());
        CHECK(rn::try_select_any(copied).error() == rn::errc::not_available);
        CHECK(c.len() == 3);
        copied.reserve(copied.capacity() + 1);  // moves those that have no value any more
        copied[1] = c.send(std::as_const(kept[1]));
        auto again = co_await rn::select_any(copied);
        CHECK(again.index() == 1);

        auto first = co_await rn::select_any(rn::in_order, lent);
        CHECK(first.index() == 0);
        CHECK(kept[0].value() == counted::moved_from);
        auto second = co_await rn::select_any(rn::in_order, lent);
        CHECK(second.index() == 1);
        CHECK(kept[2].value() == 12);  // it has not been chosen
        lent.erase(lent.begin(), lent.begin() + 2);
        CHECK(rn::try_select_any(lent).index() == 0);
        CHECK(c.len() == 7);
        CHECK(!co_await rn::with_timeout(0ms, rn::select_any(lent)));
    });
    CHECK(counted::live() == 0);
    CHECK(counted::errors() == 0);
}

TEST_CASE("select_any: a closed channel is ready again and again so it is taken out") {
    on_workers(1, []() -> rn::task<> {
        channels c = make(3, 4);
        for (int i = 0; i < 3; ++i)
            for (int n = 0; n <= i; ++n) CHECK(c[static_cast<std::size_t>(i)].try_send(n));
        for (auto& each : c) each.close();
        auto all = receives(c);
        int values = 0;
        while (!all.empty()) {
            auto won = co_await rn::select_any(all);
            if (won.take())
                ++values;
            else
                all.erase(all.begin() + static_cast<std::ptrdiff_t>(won.index()));
        }
        CHECK(values == 6);
        auto last = sends(c, 1);
        for (int i = 0; i < 3; ++i)
            CHECK(rn::try_select_any(rn::in_order, last).get().error() == rn::errc::closed);
    });
}

TEST_CASE("select_any: a send that found no room and was not to wait is made anew by nobody") {
    rn::channel<int> c(rn::channel_options<int>(1).overflow(rn::overflow::fail));
    const int five = 5;
    std::vector<send> all;
    all.push_back(c.send(five));
    CHECK(c.try_send(1));
    CHECK(rn::try_select_any(all).get().error() == rn::errc::full);
    CHECK(c.try_recv().value() == 1);
    CHECK(rn::try_select_any(all).get());
    CHECK(c.try_recv().value() == 5);
}

TEST_CASE("select_any: tasks that end one after the other and each is told once") {
    in_virtual_time([]() -> rn::task<> {
        std::vector<rn::join_handle<int>> tasks;
        std::vector<rn::join_operation<int>> ends;
        const auto works = [](int i) -> rn::task<int> {
            (void)co_await rn::sleep_for(std::chrono::milliseconds((i * 7) % 20));
            if (i == 13) throw std::runtime_error("unlucky");
            co_return i;
        };
        for (int i = 0; i < 20; ++i) tasks.push_back(rn::go(works, i));
        for (auto& each : tasks) ends.push_back(each.join());
        int before = -1;
        for (int n = 0; n < 20; ++n) {
            bool failed = false;
            try {
                auto won = co_await rn::select_any(ends);
                const int which = won.get().value();
                CHECK(won.index() == static_cast<std::size_t>(which));
                CHECK(which * 7 % 20 > before);
                before = which * 7 % 20;
            } catch (const std::runtime_error&) {
                failed = true;
            }
            if (failed) {
                CHECK(!tasks[13].joinable());
                before = 13 * 7 % 20;
            }
        }
        CHECK(rn::try_select_any(ends).error() == rn::errc::not_available);
        ends[0] = rn::join_operation<int>(tasks[0] = rn::go(works, 4));
        auto once_more = co_await rn::select_any(ends);
        CHECK(once_more.take().value() == 4);
    });
}

TEST_CASE("select_any: sleeps and events and locks can be waited for again as they are") {
    in_virtual_time([]() -> rn::task<> {
        std::vector<decltype(rn::sleep_for(1ms))> sleeps;
        for (int i = 3; i > 0; --i) sleeps.push_back(rn::sleep_for(std::chrono::milliseconds(i)));
        const auto start = rn::clock::now();
        for (int i = 0; i < 5; ++i) {
            auto won = co_await rn::select_any(sleeps);
            CHECK(won.index() == 2);
        }
        CHECK(rn::clock::now() - start == 5ms);

        rn::event doors[2];
        std::vector<decltype(doors[0].wait())> open;
        for (auto& each : doors) open.push_back(each.wait());
        doors[1].set();
        for (int i = 0; i < 3; ++i) CHECK(rn::try_select_any(open).index() == 1);

        rn::mutex locks[2];
        std::vector<decltype(locks[0].lock())> either;
        for (auto& each : locks) either.push_back(each.lock());
        for (int i = 0; i < 3; ++i) {
            auto first = co_await rn::select_any(either);
            auto second = co_await rn::select_any(either);
            CHECK(first.index() + second.index() == 1);
            CHECK(rn::try_select_any(either).error() == rn::errc::not_available);
        }
    });
}

TEST_CASE("select_any: receivers of broadcasts and watchers can be waited for again as they are") {
    in_virtual_time([]() -> rn::task<> {
        auto [out, first] = rn::make_broadcast<int>(4);
        auto second = out.subscribe();
        std::vector<decltype(first.recv())> either;
        either.push_back(first.recv());
        either.push_back(second.recv());
        for (int i = 0; i < 3; ++i) {
            CHECK(out.try_send(i));
            int sum = 0;
            for (int n = 0; n < 2; ++n) {
                auto won = co_await rn::select_any(either);
                sum += won.take().value();
            }
            CHECK(sum == 2 * i);
            CHECK(rn::try_select_any(either).error() == rn::errc::not_available);
        }
        std::vector<decltype(out.send(1))> messages;
        const int kept = 8;
        messages.push_back(out.send(kept));
        CHECK(rn::try_select_any(messages).get().value() == 2);
        CHECK(rn::try_select_any(messages).error() == rn::errc::not_available);

        auto [set, seen] = rn::make_watch<int>(0);
        std::vector<decltype(seen.next())> changes;
        changes.push_back(seen.next());
        for (int i = 1; i < 4; ++i) {
            CHECK(set.send(i));
            auto won = co_await rn::select_any(changes);
            CHECK(won.take().value() == i);
            CHECK(rn::try_select_any(changes).error() == rn::errc::not_available);
        }
    });
}

// --- Beside others ---------------------------------------------------------------------------------------

TEST_CASE("select_any: in a select beside other groups and single operations") {
    in_virtual_time([]() -> rn::task<> {
        const channels in = make(20, 0);
        const channels out = make(3, 0);
        rn::channel<std::string> other(1);
        auto froms = receives(in);
        auto tos = sends(out, 5);
        auto limit =
            co_await rn::select(rn::select_any(froms), rn::select_any(tos), other.recv(), rn::sleep_for(5s));
        CHECK(limit.index() == 3);
        CHECK(deserted(in));

        rn::go(send_one, in[19], 6);
        auto received = co_await rn::select(rn::select_any(tos), rn::select_any(froms), rn::sleep_for(5s));
        REQUIRE(received.index() == 1);
        CHECK(received.get<1>().index() == 19);
        CHECK(received.take<1>().take().value() == 6);

        rn::go([](rn::channel<int> from) -> rn::task<> { CHECK((co_await from.recv()).value() == 5); },
               out[2]);
        auto sent = co_await rn::select(rn::sleep_for(5s), rn::select_any(tos), rn::select_any(froms));
        REQUIRE(sent.index() == 1);
        CHECK(sent.get<1>().index() == 2);

        CHECK(rn::try_select(rn::select_any(froms), other.recv()).error() == rn::errc::not_available);
        CHECK(other.try_send("here"));
        auto after = rn::try_select(rn::select_any(froms), other.recv());
        REQUIRE(after.index() == 1);
        CHECK(after.take<1>().value() == "here");
        co_await settle();
    });
}

TEST_CASE("select_any: elements may be selects and limits themselves") {
    in_virtual_time([]() -> rn::task<> {
        const channels c = make(6, 0);
        std::vector<decltype(rn::select(c[0].recv(), c[1].recv()))> pairs;
        for (std::size_t i = 0; i < 6; i += 2) pairs.push_back(rn::select(c[i].recv(), c[i + 1].recv()));
        for (std::size_t i = 0; i < 6; ++i) {
            rn::go(send_one, c[i], 1);
            auto won = co_await rn::select_any(pairs);
            CHECK(won.index() == i / 2);
            CHECK(won.get().index() == i % 2);
        }
        std::vector<decltype(rn::with_timeout(1ms, c[0].recv()))> limited;
        for (int i = 3; i > 0; --i)
            limited.push_back(rn::with_timeout(std::chrono::milliseconds(i), c[0].recv()));
        for (int i = 0; i < 3; ++i) {
            auto won = co_await rn::select_any(limited);
            CHECK(won.index() == 2);
            CHECK(won.get().error() == rn::errc::timed_out);
        }
        rn::go(send_one, c[0], 4);
        auto in_time = co_await rn::select_any(limited);
        CHECK(in_time.take().value() == 4);
        rn::go(send_one, c[0], 5);
        auto again = co_await rn::select_any(limited);
        CHECK(again.take().value() == 5);
    });
}

TEST_CASE("select_any: a limit around it and a cancel leave all as it was") {
    in_virtual_time([]() -> rn::task<> {
        for (const std::size_t count : {1U, 16U, 40U}) {
            const channels c = make(count, 0);
            auto all = receives(c);
            auto late = co_await rn::with_timeout(1s, rn::select_any(all));
            CHECK(late.error() == rn::errc::timed_out);
            CHECK(deserted(c));

            auto [ctx, cancel] = rn::with_cancel(rn::background());
            const auto stops = [](rn::cancel_function stop) -> rn::task<> {
                stop();
                co_return;
            };
            rn::after_func(1ms, stops, cancel);
            auto cancelled = co_await rn::with_context(ctx, rn::select_any(all));
            CHECK(cancelled.error() == rn::errc::cancelled);
            auto refused = co_await rn::with_context(ctx, rn::select_any(all));
            CHECK(refused.error() == rn::errc::cancelled);
            CHECK(deserted(c));

            rn::go(send_one, c.back(), 3);
            auto won = co_await rn::with_timeout(1s, rn::select_any(all));
            CHECK(won.index() == count - 1);
            CHECK(won.take().value() == 3);
        }
    });
}

// --- Fair --------------------------------------------------------------------------------------------------

TEST_CASE("select_any: of those that are ready each is as likely") {
    on_workers(1, []() -> rn::task<> {
        constexpr int count = 8;
        const int rounds = scaled(8'000, 400'000);
        const channels c = make(count, 1);
        auto all = receives(c);
        int won_by[count] = {};
        for (int i = 0; i < rounds; ++i) {
            for (auto& each : c) (void)each.try_send(i);
            auto won = co_await rn::select_any(all);
            ++won_by[won.index()];
        }
        const double expected = rounds / double(count);
        double chi_square = 0;
        for (const int n : won_by) chi_square += (n - expected) * (n - expected) / expected;
        CAPTURE(chi_square);
        CHECK(chi_square < 40.5);  // seven degrees of freedom: passed by 999,999 of 1,000,000 fair choosers
    });
}

TEST_CASE("select_any: of those that wait in the same queue each is as likely") {
    on_workers(1, []() -> rn::task<> {
        const int rounds = scaled(4'000, 400'000);
        rn::channel<int> c(0);
        const auto waits = [](rn::channel<int> from, int* seconds) -> rn::task<> {
            receive both[] = {from.recv(), from.recv()};
            for (bool more = true; more;) {
                auto won = co_await rn::select_any(both);
                more = won.get().has_value();
                if (more) *seconds += won.index() == 1;
            }
        };
        int seconds = 0;
        rn::go(waits, c, &seconds);
        for (int i = 0; i < rounds; ++i) {
            (void)co_await rn::yield();
            CHECK(c.try_send(i));
        }
        (void)co_await rn::yield();
        c.close();
        co_await settle();
        CAPTURE(seconds);
        CHECK(std::abs(seconds - rounds / 2.0) < 2.5 * std::sqrt(rounds));  // 5 sigma
    });
}

// --- Facing each other -------------------------------------------------------------------------------------

TEST_CASE("select_any: the same channel several times and in both directions never meets itself") {
    in_virtual_time([]() -> rn::task<> {
        rn::channel<int> c(0);
        const channels same = {c, c, c};
        auto in = receives(same);
        auto out = sends(same, 1);
        CHECK(!rn::try_select(rn::select_any(in), rn::select_any(out)));
        auto won = co_await rn::with_timeout(1ms, rn::select(rn::select_any(out), rn::select_any(in)));
        CHECK(won.error() == rn::errc::timed_out);
        rn::go(send_one, c, 6);
        auto received = co_await rn::select(rn::select_any(out), rn::select_any(in));
        CHECK(received.take<1>().take().value() == 6);
        CHECK(deserted(same));
    });
}

/// Meets as often as told, through either channel, and counts what went each way.
rn::task<> meets(rn::channel<int> a, rn::channel<int> b, int rounds, long* sum) {
    for (int i = 0; i < rounds; ++i) {
        auto won = co_await rn::select(a.send(1), b.recv());
        if (won.index() == 1)
            *sum += won.take<1>().value();
        else
            *sum -= 1;
    }
}
rn::task<> meets_any(rn::channel<int> a, rn::channel<int> b, int rounds, long* sum) {
    const channels to = {a, a};
    auto out = sends(to, 1);
    auto in = receives({b, b, b});
    for (int i = 0; i < rounds; ++i) {
        auto won = co_await rn::select(rn::select_any(in), rn::select_any(out));
        if (won.index() == 0) {
            *sum += won.take<0>().take().value();
        } else {
            *sum -= 1;
            out[won.get<1>().index()] = a.emplace(1);
        }
    }
}

TEST_CASE("select_any: faces a select and another of its kind on channels without room and they meet") {
    const auto both_meet = [](int rounds, bool both_any) -> rn::task<> {
        long sums[2] = {};
        rn::channel<int> a(0);
        rn::channel<int> b(0);
        rn::scope both;
        both.spawn(meets_any, a, b, rounds, &sums[0]);
        both.spawn(both_any ? meets_any : meets, b, a, rounds, &sums[1]);
        const auto ended = co_await both.join();
        testing::expect(ended.has_value());
        testing::expect(sums[0] + sums[1] == 0, "each meeting is a send for one and a recv for the other");
    };
    for (const bool both_any : {false, true}) {
        for (const unsigned workers : {1U, 2U, 4U})
            on_workers(workers, both_meet, scaled(2'000, 200'000), both_any);
        const auto all = testing::explore(scaled(300U, 30'000U), [&] { return both_meet(5, both_any); });
        CHECK_MESSAGE(all.ok(), all.what());
    }
}

// --- Many ----------------------------------------------------------------------------------------------------

TEST_CASE("select_any: 10000 cases of which each can win") {
    on_workers(2, []() -> rn::task<> {
        const channels c = make(10'000, 0);
        auto all = receives(c);
        std::minstd_rand random(1);
        for (int i = 0; i < scaled(20, 2'000); ++i) {
            const std::size_t at = random() % c.size();
            rn::go(send_one, c[at], i);
            auto won = co_await rn::select_any(all);
            REQUIRE(won.index() == at);
            CHECK(won.take().value() == i);
        }
        CHECK(deserted(c));
        auto late = co_await rn::with_timeout(1ms, rn::select_any(all));
        CHECK(late.error() == rn::errc::timed_out);
        CHECK(deserted(c));
    });
}

TEST_CASE("select_any: who always finds one of many ready lets others run before long") {
    on_workers(1, []() -> rn::task<> {
        const channels c = make(1'280, 0);
        auto all = receives(c);
        c[0].set_capacity(rn::unbounded);
        bool others_ran = false;
        rn::go([](bool* ran) -> rn::task<> { co_return void(*ran = true); }, &others_ran);
        int rounds = 0;
        for (;; ++rounds) {
            if (others_ran) break;
            CHECK(c[0].try_send(1));
            (void)co_await rn::select_any(all);
        }
        CHECK(rounds <= 128 / 10);
        CHECK(rounds >= 2);
    });
}

TEST_CASE("select_any: more than 32752 cases are check()ed") {
    std::vector<receive> most = receives(channels(32'752, rn::channel<int>()));
    CHECK(rn::try_select_any(most).error() == rn::errc::not_available);
    most.push_back(rn::channel<int>().recv());
    CHECK(dies([&] { (void)rn::try_select_any(most); }, "more than 32,752 cases"));
}

TEST_CASE("select_any: a dump shows the first of many") {
    on_workers(1, []() -> rn::task<> {
        for (const std::size_t count : {20U, 1'000U}) {
            const channels c = make(count, 0);
            rn::task_set waits;
            waits.spawn(
                [](channels from) -> rn::task<> {
                    auto all = receives(from);
                    (void)co_await rn::select_any(all);
                },
                c);
            co_await settle();
            const std::string text = rn::dump_tasks();
            CAPTURE(text);
            CHECK(text.find("waiting to receive (of select_any_test.cpp") != std::string::npos);
            CHECK(text.find(" or " + std::to_string(count - 8) + " more") != std::string::npos);
            waits.cancel();
            (void)co_await waits.join();
        }
    });
}

TEST_CASE("select_any: without memory for many it throws and nothing has happened") {
    if (!memory_can_be_scarce()) return;
    on_workers(1, []() -> rn::task<> {
        const channels c = make(100, 1);
        CHECK(c[50].try_send(1));
        auto all = receives(c);
        bool threw = false;
        try {
            const scarce_memory none(0);
            (void)co_await rn::select_any(all);
        } catch (const std::bad_alloc&) {
            threw = true;
        }
        CHECK(threw);
        CHECK(c[50].len() == 1);
        auto won = co_await rn::select_any(all);
        CHECK(won.index() == 50);
        CHECK(c[5].try_send(1));
        const scarce_memory none(0);
        std::span<receive> few = std::span(all).first(16);
        auto small = co_await rn::select_any(few);
        CHECK(small.index() == 5);
    });
}

// --- Against the model -------------------------------------------------------------------------------------

/// Operations that are used again and again: all the sends, then all the receives, tried as written.
struct hand {
    std::vector<one_case> cases;
    std::vector<send> out;
    std::vector<receive> in;
    std::shared_ptr<operation> now = std::make_shared<operation>(operation{0, {}, true});
    std::optional<rn::cancel_function> cancel;

    auto all() { return rn::select(rn::in_order, rn::select_any(out), rn::select_any(in)); }
};

class comparison {
public:
    explicit comparison(unsigned seed)
        : random_(seed), capacities_{below(3), below(3), 0, 1}, expected_(capacities_), hands_(6) {
        for (const std::size_t capacity : capacities_) channels_.emplace_back(capacity);
        for (hand& each : hands_) {
            for (std::size_t n = below(5); n > 0; --n) {
                each.cases.push_back({below(channels_.size()), ++last_value_});
                each.out.push_back(channels_[each.cases.back().channel].send(last_value_));
            }
            for (std::size_t n = below(25); n > 0; --n) {
                each.cases.push_back({below(channels_.size()), -1});
                each.in.push_back(channels_[each.cases.back().channel].recv());
            }
        }
    }

    rn::task<> run(int steps) {
        for (int step = 0; step < steps && !differs_; ++step) {
            act();
            co_await settle();
            compare();
        }
        for (hand& each : hands_) {
            if (each.cancel) (*each.cancel)();
            expected_.cancel(each.now);
        }
        co_await settle();
        compare();
    }
    bool differs() const { return differs_; }
    std::size_t ends() const { return ended_.size(); }

private:
    std::size_t below(std::size_t bound) { return random_() % bound; }

    void act() {
        hand& with = hands_[below(hands_.size())];
        const std::size_t dice = below(100);
        if (dice < 2) {
            close(below(channels_.size()));
        } else if (!with.now->over) {
            if (dice < 30) cancel(with);
        } else if (dice < 70) {
            start(with);
        } else {
            attempt(with);
        }
    }

    void take_up(hand& with) {
        with.now = std::make_shared<operation>(operation{++last_id_, with.cases, false});
    }

    void start(hand& with) {
        take_up(with);
        auto [ctx, cancel] = rn::with_cancel(rn::background());
        with.cancel = cancel;
        const auto wait = [](comparison* self, hand* its, rn::context under) -> rn::task<> {
            auto won = co_await rn::with_context(under, its->all());
            self->ended_[its->now->id] = won ? self->say_and_renew(*its, won) : "cancelled";
        };
        rn::go(wait, this, &with, ctx);
        expected_.start(with.now, true);
    }
    void attempt(hand& with) {
        take_up(with);
        auto won = with.all().try_once();
        if (won) ended_[with.now->id] = say_and_renew(with, won);
        if (!expected_.start(with.now, false)) with.now->over = true;
    }
    void cancel(hand& with) {
        (*with.cancel)();
        expected_.cancel(with.now);
    }
    void close(std::size_t channel) { differs_ |= channels_[channel].close() != expected_.close(channel); }

    template <class Selected>
    std::string say_and_renew(hand& with, Selected& won) {
        if (won.index() == 1) {
            const std::size_t at = won.template get<1>().index() + with.out.size();
            return std::to_string(at) + ": " + say(won.template take<1>().take());
        }
        const std::size_t at = won.template get<0>().index();
        const std::string how = say(won.template take<0>().take());
        if (how == "sent") {
            with.cases[at].value = ++last_value_;
            with.out[at] = channels_[with.cases[at].channel].send(last_value_);
        }
        return std::to_string(at) + ": " + how;
    }

    void compare() {
        differs_ |= ended_ != expected_.ended;
        for (std::size_t i = 0; i < channels_.size(); ++i) differs_ |= channels_[i].len() != expected_.len(i);
        CHECK(ended_ == expected_.ended);
    }

    std::minstd_rand random_;
    std::vector<std::size_t> capacities_;
    model expected_;
    channels channels_;
    std::vector<hand> hands_;
    std::map<int, std::string> ended_;
    int last_id_ = 0;
    int last_value_ = 0;
    bool differs_ = false;
};

TEST_CASE("select_any: does what the model does for every seed with operations used again and again") {
    std::size_t ends = 0;
    for (unsigned seed = 1; seed <= scaled(150U, 10'000U); ++seed) {
        CAPTURE(seed);
        const bool differs = on_workers(
            1,
            [](unsigned s, std::size_t* sum) -> rn::task<bool> {
                comparison both(s);
                co_await both.run(80);
                *sum += both.ends();
                co_return both.differs();
            },
            seed, &ends);
        REQUIRE(!differs);
    }
    CHECK(ends > scaled(150U, 10'000U) * 30);  // else the programs try too little
}

// --- Under any schedule, and on real threads -----------------------------------------------------------------

/// Sends first, first + 1, …, each by whichever channel takes it.
rn::task<> produce(channels to, int first, int count) {
    auto out = sends(to, first);
    for (int i = 1; i <= count; ++i) {
        auto won = co_await rn::select_any(out);
        testing::expect(won && won.get());
        for (std::size_t k = 0; k < to.size(); ++k) out[k] = to[k].emplace(first + i);
    }
}

/// Receives what comes until all channels are closed; sometimes it gives up for a while.
rn::task<> consume(channels from, std::vector<int>* into) {
    auto in = receives(from);
    for (int i = 0; !in.empty(); ++i) {
        auto won =
            co_await rn::select(rn::select_any(in), rn::sleep_for(std::chrono::microseconds(1 + i % 3)));
        testing::expect(static_cast<bool>(won), "nobody cancels");
        if (won.index() == 1) continue;
        auto got = won.take<0>();
        if (got.get())
            into->push_back(got.take().value());
        else
            in.erase(in.begin() + static_cast<std::ptrdiff_t>(got.index()));
    }
}

rn::task<> traffic(std::size_t how_many, std::size_t capacity, int producers, int count) {
    const channels c = make(how_many, capacity);
    std::vector<int> had[3];
    rn::task_set consumers;
    for (auto& each : had) consumers.spawn(consume, c, &each);
    rn::task_set senders;
    for (int i = 0; i < producers; ++i) senders.spawn(produce, c, i * count, count);
    const auto sent = co_await senders.join();
    testing::expect(sent.has_value());
    for (const auto& each : c) each.close();
    const auto received = co_await consumers.join();
    testing::expect(received.has_value());
    std::vector<int> all;
    for (const auto& each : had) all.insert(all.end(), each.begin(), each.end());
    std::sort(all.begin(), all.end());
    testing::expect(all.size() == static_cast<std::size_t>(producers * count),
                    "a value is missing, or came twice");
    for (std::size_t i = 0; i < all.size(); ++i) testing::expect(all[i] == static_cast<int>(i));
}

TEST_CASE("select_any: under any schedule every value arrives once") {
    for (const std::size_t capacity : {0U, 1U}) {
        const auto all = testing::explore(testing::options().slow_turns(4, 5us), scaled(300U, 30'000U),
                                          [=] { return traffic(3, capacity, 3, 4); });
        CHECK_MESSAGE(all.ok(), all.what());
    }
}

TEST_CASE("select_any: on real threads every value arrives once") {
    for (const std::size_t how_many : {3U, 50U, 500U})
        for (const std::size_t capacity : {0U, 2U}) {
            CAPTURE(how_many);
            CAPTURE(capacity);
            const int count = scaled(100'000, 10'000'000) / (20 + 50 * static_cast<int>(how_many));
            on_workers(4, traffic, how_many, capacity, 4, count);
        }
}
}

/// Its limits wait in the timers of the worker that it runs on, each time another.
rn::task<> wait_here_and_there(unsigned first, unsigned rounds) {
    const channels silent = make(2, 1);
    std::vector<decltype(rn::with_timeout(1us, silent[0].recv()))> limited;
    for (const auto& each : silent) limited.push_back(rn::with_timeout(20us, each.recv()));
    std::array sleeps{rn::sleep_for(10us), rn::sleep_for(15us)};
    for (unsigned i = first; i < first + rounds; ++i) {
        co_await support::move_to(i % 4);
        const rn::detail::wait_object* const timers = &rn::detail::current_timers();
        for (auto& each : sleeps) testing::expect(each.object() == timers, "the timers of another worker");
        auto won = co_await rn::select(rn::select_any(limited), rn::select_any(sleeps));
        testing::expect(static_cast<bool>(won), "nobody cancels");
    }
}

TEST_CASE("select_any: limits and sleeps are waited for again on another worker than before") {
    on_workers(4, [] {
        return rn::scoped([](rn::scope& s) -> rn::task<> {
            for (unsigned i = 0; i < 8; ++i) s.spawn(wait_here_and_there, i, scaled(300U, 30'000U));
            co_return;
        });
    });
}
