// select: exactly one case happens, the others do not; which one is fair; what may be a case.
#include <doctest/doctest.h>
#include <runnel/channel.hpp>
#include <runnel/select.hpp>
#include <runnel/sync.hpp>

#include <cmath>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "support/dies.hpp"
#include "support/level.hpp"
#include "tasks.hpp"

using namespace std::chrono_literals;
using namespace support;

namespace {
rn::task<> send_one(rn::channel<int> to, int value) { (void)co_await to.send(value); }
rn::task<> recv_one(rn::channel<int> from, int* into) { *into = (co_await from.recv()).value_or(-1); }

/// A channel that has a value already.
rn::channel<int> ready(int value) {
    rn::channel<int> made(1);
    (void)made.try_send(value);
    return made;
}
}

TEST_CASE("select: the case that is ready happens, and only that one") {
    on_workers(1, []() -> rn::task<> {
        rn::channel<int> empty(1);
        auto full = ready(7);
        auto won = co_await rn::select(empty.recv(), full.send(8), full.recv());
        REQUIRE(won);
        CHECK(won.index() == 2);
        CHECK(won.get<2>().value() == 7);
        CHECK(full.len() == 0);  // the send did not happen
    });
}

TEST_CASE("select: parks until a case can happen") {
    on_workers(1, []() -> rn::task<> {
        rn::channel<int> a(0);
        rn::channel<std::string> b(0);
        rn::go(send_one, a, 5);
        auto won = co_await rn::select(b.recv(), a.recv());
        REQUIRE(won.index() == 1);
        CHECK(won.take<1>().value() == 5);
    });
}

TEST_CASE("select: a parked send case hands its value to whoever receives") {
    on_workers(1, []() -> rn::task<> {
        rn::channel<int> a(0);
        rn::channel<int> b(0);
        int got = 0;
        rn::go(recv_one, b, &got);
        auto won = co_await rn::select(a.send(1), b.send(2), a.recv());
        CHECK(won.index() == 1);
        CHECK(won.get<1>());
        co_await settle();
        CHECK(got == 2);
    });
}

TEST_CASE("select: losers take nothing and their places in the queues are gone") {
    on_workers(1, []() -> rn::task<> {
        rn::channel<int> a(0);
        rn::channel<int> b(0);
        rn::channel<std::unique_ptr<int>> c(0);
        auto kept = std::make_unique<int>(9);
        rn::go(send_one, a, 5);
        auto won = co_await rn::select(a.recv(), b.recv(), c.send(rn::from(kept)));
        CHECK(won.index() == 0);
        CHECK(*kept == 9);
        CHECK(b.try_send(1).error() == rn::errc::no_receiver);  // nobody waits there to receive
        CHECK(c.try_recv().error() == rn::errc::empty);         // nor there to send
        CHECK(a.try_send(1).error() == rn::errc::no_receiver);
    });
}

TEST_CASE("select: a place that lost is skipped by whoever finds it before it has left the queue") {
    on_workers(1, []() -> rn::task<> {
        rn::channel<int> a(0);
        rn::channel<int> b(0);
        rn::go(
            [](rn::channel<int> x, rn::channel<int> y) -> rn::task<> {
                auto won = co_await rn::select(x.recv(), y.recv());
                CHECK(won.index() == 0);
            },
            a, b);
        co_await settle();
        CHECK(a.try_send(1));                                   // wins; the other task has not run since
        CHECK(b.try_send(2).error() == rn::errc::no_receiver);  // finds its place, and loses
        CHECK(a.try_send(3).error() == rn::errc::no_receiver);
        co_await settle();
    });
}

TEST_CASE("select: a closed channel is a case that is ready, with the cause") {
    on_workers(1, []() -> rn::task<> {
        rn::channel<int> open(0);
        rn::channel<int> closed(0);
        closed.close();
        auto won = co_await rn::select(open.recv(), closed.recv());
        REQUIRE(won);
        CHECK(won.index() == 1);
        CHECK(won.take<1>().error() == rn::errc::closed);
        auto sent = co_await rn::select(open.recv(), closed.send(1));
        CHECK(sent.get<1>().error() == rn::errc::closed);
    });
}

TEST_CASE("select: closing wakes a select that waits") {
    on_workers(1, []() -> rn::task<> {
        rn::channel<int> a(0);
        rn::channel<int> b(0);
        rn::go(
            [](rn::channel<int> x) -> rn::task<> {
                co_await settle();
                x.close();
            },
            b);
        auto won = co_await rn::select(a.recv(), b.recv(), a.send(1));
        CHECK(won.index() == 1);
        CHECK(won.get<1>().error() == rn::errc::closed);
    });
}

TEST_CASE("select: a nil channel is never ready, so reset() switches a case off") {
    on_workers(1, []() -> rn::task<> {
        auto [out_a, a] = rn::make_channel<int>(1);
        auto [out_b, b] = rn::make_channel<int>(1);
        CHECK(out_a.try_send(1));
        CHECK(out_b.try_send(2));
        out_a.reset();
        out_b.reset();
        int sum = 0;
        while (a || b) {
            auto won = co_await rn::select(a.recv(), b.recv());
            if (won.index() == 0) {
                if (auto n = won.take<0>())
                    sum += *n;
                else
                    a.reset();
            } else {
                if (auto n = won.take<1>())
                    sum += *n;
                else
                    b.reset();
            }
        }
        CHECK(sum == 3);
    });
}

TEST_CASE("select: the answer is false when the wait itself is cancelled, and no case has happened") {
    on_workers(1, []() -> rn::task<> {
        rn::channel<int> a(0);
        rn::channel<int> b(1);
        CHECK(b.try_send(1));
        rn::scope waiters;
        waiters.spawn(
            [](rn::channel<int> x, rn::channel<int> y) -> rn::task<> {
                auto parked = co_await rn::select(x.recv(), x.send(1), y.send(2));
                CHECK(!parked);
                CHECK(parked.error() == rn::errc::cancelled);
                auto refused = co_await rn::select(y.recv(), x.recv());  // ready, but cancelled comes first
                CHECK(!refused);
                CHECK(refused.error() == rn::errc::cancelled);
            },
            a, b);
        co_await settle();
        waiters.cancel();
        (void)co_await waiters.join();
        CHECK(b.len() == 1);
        CHECK(a.try_recv().error() == rn::errc::empty);
    });
}

TEST_CASE("select: in_order prefers the first as written") {
    on_workers(1, []() -> rn::task<> {
        for (int i = 0; i < 50; ++i) {
            auto low = ready(1);
            auto high = ready(2);
            auto won = co_await rn::select(rn::in_order, high.recv(), low.recv());
            CHECK(won.index() == 0);
            auto now = rn::try_select(rn::in_order, high.recv(), low.recv());
            CHECK(now.index() == 1);
        }
    });
}

TEST_CASE("select: of those that are ready, each is as likely") {
    on_workers(1, []() -> rn::task<> {
        const int rounds = scaled(4'000, 400'000);
        rn::channel<int> c[4] = {rn::channel<int>(1), rn::channel<int>(1), rn::channel<int>(1),
                                 rn::channel<int>(1)};
        int won_by[4] = {};
        for (int i = 0; i < rounds; ++i) {
            for (auto& each : c) (void)each.try_send(i);
            auto won = co_await rn::select(c[0].recv(), c[1].recv(), c[2].recv(), c[3].recv());
            ++won_by[won.index()];
        }
        const double expected = rounds / 4.0;
        double chi_square = 0;
        for (const int n : won_by) chi_square += (n - expected) * (n - expected) / expected;
        CAPTURE(chi_square);
        CHECK(chi_square < 27.9);  // three degrees of freedom: passed by 999,996 of 1,000,000 fair choosers
    });
}

namespace {
/// Of so many fair coins, would this be the number of heads? 5 sigma: of 1,700,000 fair ones one would not pass.
bool looks_fair(int heads, int coins) { return std::abs(heads - coins / 2.0) < 2.5 * std::sqrt(coins); }

rn::task<> send_0_or_1(rn::channel<int> to) {
    for (bool more = true; more;) {
        auto won = co_await rn::select(to.send(0), to.send(1));
        more = won.index() == 0 ? won.get<0>().has_value() : won.get<1>().has_value();
    }
}
rn::task<> recv_in_either(rn::channel<int> from, int* seconds) {
    for (bool more = true; more;) {
        auto won = co_await rn::select(from.recv(), from.recv());
        more = won.index() == 0 ? won.get<0>().has_value() : won.get<1>().has_value();
        if (more) *seconds += won.index() == 1;
    }
}
}

TEST_CASE("select: of two cases that wait in the same queue, each is as likely") {
    on_workers(1, []() -> rn::task<> {
        const int rounds = scaled(4'000, 400'000);
        rn::channel<int> c(0);
        rn::go(send_0_or_1, c);
        int ones = 0;
        for (int i = 0; i < rounds; ++i) {
            (void)co_await rn::yield();  // now it waits
            ones += c.try_recv().value();
        }
        c.close();
        CAPTURE(ones);
        CHECK(looks_fair(ones, rounds));

        rn::channel<int> d(0);
        int seconds = 0;
        rn::go(recv_in_either, d, &seconds);
        for (int i = 0; i < rounds; ++i) {
            (void)co_await rn::yield();
            d.try_send(i).value();
        }
        (void)co_await rn::yield();
        d.close();
        CAPTURE(seconds);
        CHECK(looks_fair(seconds, rounds));
        co_await settle();
    });
}

TEST_CASE("select: in_order, of two cases that wait in the same queue, the first is found first") {
    on_workers(1, []() -> rn::task<> {
        rn::channel<int> c(0);
        const auto send_in_order = [](rn::channel<int> to) -> rn::task<> {
            for (int i = 0; i < 50; ++i) {
                auto won = co_await rn::select(rn::in_order, to.send(0), to.send(1));
                CHECK(won.index() == 0);
            }
        };
        auto end = rn::go(send_in_order, c);
        for (int i = 0; i < 50; ++i) {
            (void)co_await rn::yield();
            CHECK(c.try_recv().value() == 0);
        }
        co_await end;
    });
}

TEST_CASE("select: the same channel may stand in several cases, as sender and as receiver") {
    on_workers(1, []() -> rn::task<> {
        rn::channel<int> c(0);
        int got = 0;
        rn::go(recv_one, c, &got);
        co_await settle();
        auto sent = co_await rn::select(c.recv(), c.send(1), c.recv(), c.send(2));
        CHECK((sent.index() == 1 || sent.index() == 3));
        co_await settle();
        CHECK(got == (sent.index() == 1 ? 1 : 2));

        rn::go(send_one, c, 6);
        auto received = co_await rn::select(c.recv(), c.recv());
        CHECK((received.index() == 0 ? received.take<0>() : received.take<1>()).value() == 6);
        CHECK(c.try_send(1).error() == rn::errc::no_receiver);  // neither place is left
    });
}

TEST_CASE("select: never meets itself") {
    on_workers(1, []() -> rn::task<> {
        rn::channel<int> c(0);
        CHECK(!rn::try_select(c.send(1), c.recv()));
        auto won = co_await rn::with_timeout(1ms, rn::select(c.send(1), c.recv()));
        CHECK(won.error() == rn::errc::timed_out);
    });
}

namespace {
/// Meets as often as told, through either channel, and counts what went each way.
rn::task<> meet(rn::channel<int> a, rn::channel<int> b, int rounds, long* sum) {
    for (int i = 0; i < rounds; ++i) {
        auto won = co_await rn::select(a.send(1), b.recv());
        if (won.index() == 1)
            *sum += won.take<1>().value();
        else
            *sum -= 1;
    }
}
}

TEST_CASE("select: two that face each other on channels without room meet, on one worker and on several") {
    for (const unsigned workers : {1U, 2U, 4U}) {
        CAPTURE(workers);
        const int rounds = scaled(2'000, 200'000);
        long sums[2] = {};
        on_workers(
            workers,
            [](int n, long* sum) -> rn::task<> {
                rn::channel<int> a(0);
                rn::channel<int> b(0);
                rn::scope both;
                both.spawn(meet, a, b, n, sum);
                both.spawn(meet, b, a, n, sum + 1);
                CHECK(co_await both.join());
            },
            rounds, &sums[0]);
        CHECK(sums[0] + sums[1] == 0);  // each meeting is a send for one and a recv for the other
    }
}

TEST_CASE("select: one case is that operation") {
    on_workers(1, []() -> rn::task<> {
        auto c = ready(3);
        auto won = co_await rn::select(c.recv());
        CHECK(won.index() == 0);
        CHECK(won.take<0>().value() == 3);
        static_assert(decltype(rn::select(c.recv()))::case_count == 1);
        rn::go(send_one, c, 4);
        auto parked = co_await rn::select(c.recv());
        CHECK(parked.get<0>().value() == 4);
    });
}

TEST_CASE("try_select: does what is ready, or says that nothing is") {
    rn::channel<int> a(1);
    rn::channel<int> b(1);
    auto none = rn::try_select(a.recv(), b.recv());
    CHECK(!none);
    CHECK(none.error() == rn::errc::not_available);
    CHECK(b.try_send(4));
    auto some = rn::try_select(a.recv(), b.recv());
    REQUIRE(some);
    CHECK(some.index() == 1);
    CHECK(some.take<1>().value() == 4);
}

TEST_CASE("try_select: stopping() is ready once the runtime begins to stop; on a plain thread never") {
    CHECK(!rn::try_select(rn::stopping()));
    rn::channel<int> silent(0);
    CHECK(rn::try_select(rn::stopping(), silent.recv()).error() == rn::errc::not_available);
    rn::runtime here(rn::options().workers(1).driver(rn::driver_kind::none));
    const auto looks = []() -> rn::task<bool> {
        co_return static_cast<bool>(rn::try_select(rn::stopping()));
    };
    CHECK(!here.spawn(looks).wait().value());
    auto last = here.spawn([looks]() -> rn::task<bool> {
        (void)co_await rn::shielded(rn::stopping());
        co_return co_await looks();
    });
    here.stop().value();
    CHECK(last.wait().value());
}

TEST_CASE("try_select: ends a select that waits on the other side") {
    on_workers(1, []() -> rn::task<> {
        rn::channel<int> c(0);
        rn::channel<int> other(0);
        rn::go(
            [](rn::channel<int> x, rn::channel<int> y) -> rn::task<> {
                auto won = co_await rn::select(x.recv(), y.recv());
                CHECK(won.index() == 0);
                CHECK(won.take<0>().value() == 5);
            },
            c, other);
        co_await settle();
        auto won = rn::try_select(other.recv(), c.send(5));
        CHECK(won.index() == 1);
        co_await settle();
    });
}

// --- Cases of other kinds ------------------------------------------------------------------------------

TEST_CASE("select: sleeping is a case, so a select has a time limit of its own") {
    on_workers(1, []() -> rn::task<> {
        rn::channel<int> silent(0);
        auto won = co_await rn::select(silent.recv(), rn::sleep_for(1ms));
        CHECK(won.index() == 1);
        CHECK(won.get<1>());
        CHECK(silent.try_send(1).error() == rn::errc::no_receiver);
    });
}

TEST_CASE("select: the end of another context, and the end of a task, are cases") {
    on_workers(1, []() -> rn::task<> {
        rn::channel<int> silent(0);
        auto [ctx, cancel] = rn::with_cancel(rn::background());
        rn::go(
            [](rn::cancel_function stop) -> rn::task<> {
                co_await settle();
                stop();
            },
            cancel);
        auto told = co_await rn::select(silent.recv(), ctx.done());
        CHECK(told.index() == 1);

        auto task = rn::go([]() -> rn::task<int> { co_return 42; });
        auto joined = co_await rn::select(silent.recv(), task.join());
        REQUIRE(joined.index() == 1);
        CHECK(joined.take<1>().value() == 42);
    });
}

TEST_CASE("select: what is waited for by its name stands for itself: a handle for its join, an event for its "
          "wait") {
    on_workers(1, []() -> rn::task<> {
        rn::channel<int> silent(0);
        rn::event ready;
        auto task = rn::go([]() -> rn::task<int> { co_return 42; });
        auto joined = co_await rn::select(silent.recv(), task, ready);
        REQUIRE(joined.index() == 1);
        CHECK(joined.take<1>().value() == 42);
        CHECK(!task.joinable());

        auto waits = rn::go([](rn::event& door) -> rn::task<> { co_await door; }, rn::borrow(ready));
        CHECK(!rn::try_select(waits, ready));
        const auto opens = [](rn::event& door) -> rn::task<> { co_return void(door.set()); };
        rn::go(opens, rn::borrow(ready));
        auto opened = co_await rn::select(rn::in_order, ready, silent.recv(), waits);
        CHECK(opened.index() == 0);
        CHECK(rn::try_select(ready).get<0>());
        CHECK(co_await rn::select(waits));
    });
}

TEST_CASE("select: an error code that a task gives is its value, also through a select") {
    on_workers(1, []() -> rn::task<> {
        rn::channel<int> silent(0);
        auto task = rn::go([]() -> rn::task<std::error_code> { co_return make_error_code(rn::errc::full); });
        auto joined = co_await rn::select(silent.recv(), task.join());
        REQUIRE(joined.index() == 1);
        CHECK(joined.take<1>().value() == rn::errc::full);
    });
}

TEST_CASE("select: with_timeout() around one case, around all, and both") {
    on_workers(1, []() -> rn::task<> {
        rn::channel<int> silent(0);
        auto one = co_await rn::select(silent.recv(), rn::with_timeout(1ms, silent.recv()));
        CHECK(one.index() == 1);
        CHECK(one.take<1>().error() == rn::errc::timed_out);

        auto all = co_await rn::with_timeout(1ms, rn::select(silent.recv(), silent.send(1)));
        CHECK(!all);
        CHECK(all.error() == rn::errc::timed_out);

        auto in_time =
            co_await rn::with_timeout(1h, rn::select(silent.recv(), rn::with_timeout(1ms, silent.recv())));
        CHECK(in_time.index() == 1);

        auto c = ready(1);
        auto ready_first = co_await rn::with_timeout(0ms, rn::select(c.recv()));
        CHECK(ready_first.index() == 0);
    });
}

TEST_CASE("select: a select may be a case of a select") {
    on_workers(1, []() -> rn::task<> {
        rn::channel<int> a(0);
        auto b = ready(2);
        auto won = co_await rn::select(a.recv(), rn::select(rn::in_order, a.send(1), b.recv()), a.send(3));
        REQUIRE(won.index() == 1);
        auto inner = won.take<1>();
        REQUIRE(inner.index() == 1);
        CHECK(inner.take<1>().value() == 2);
    });
}

namespace {
auto receive_of_8(const rn::channel<int>* c) {
    return rn::select(c[0].recv(), c[1].recv(), c[2].recv(), c[3].recv(), c[4].recv(), c[5].recv(),
                      c[6].recv(), c[7].recv());
}
auto receive_of_64(const rn::channel<int>* c) {
    return rn::select(receive_of_8(c), receive_of_8(c + 8), receive_of_8(c + 16), receive_of_8(c + 24),
                      receive_of_8(c + 32), receive_of_8(c + 40), receive_of_8(c + 48), receive_of_8(c + 56));
}
}

TEST_CASE("select: 64 cases, each of which can win") {
    on_workers(1, []() -> rn::task<> {
        std::vector<rn::channel<int>> c;
        for (int i = 0; i < 64; ++i) c.emplace_back(0U);
        static_assert(decltype(receive_of_64(c.data()))::case_count == 64);
        for (std::size_t i = 0; i < c.size(); ++i) {
            rn::go(send_one, c[i], 1);
            auto won = co_await receive_of_64(c.data());
            CHECK(won.index() == i / 8);
        }
    });
}

// --- Misuse --------------------------------------------------------------------------------------------

TEST_CASE("select: asking for a case that did not happen is check()ed, and the report names the line") {
    auto c = ready(1);
    rn::channel<int> other(1);
    auto won = rn::try_select(c.recv(), other.recv());
    CHECK(dies([&] { (void)won.get<1>(); }, "not the case that happened"));
    CHECK(dies([&] { (void)won.take<1>(); }, "select_test.cpp"));
    auto none = rn::try_select(other.recv());
    CHECK(dies([&] { (void)none.index(); }, "no case happened"));
    CHECK(dies([&] { (void)none.get<0>(); }, "not the case that happened"));
}
