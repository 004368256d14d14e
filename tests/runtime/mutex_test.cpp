// The mutex: one owner, first come first served, and waits that can be ended.
#include <doctest/doctest.h>
#include <runnel/go.hpp>
#include <runnel/select.hpp>
#include <runnel/sync.hpp>
#include <runnel/time.hpp>

#include <optional>
#include <thread>
#include <vector>

#include "channel/tasks.hpp"
#include "support/dies.hpp"
#include "support/level.hpp"
#include "support/virtual_time.hpp"

using namespace std::chrono_literals;
using namespace support;

TEST_CASE("mutex: a free one is locked at once, and unlocked by the end of the guard") {
    in_virtual_time([]() -> rn::task<> {
        rn::mutex mutex;
        {
            const auto guard = co_await mutex.lock();
            CHECK(guard);
            CHECK(mutex.is_locked());
        }
        CHECK_FALSE(mutex.is_locked());
        auto guard = co_await mutex.lock();
        guard->unlock();
        guard->unlock();  // nothing any more
        CHECK_FALSE(mutex.is_locked());
    });
}

TEST_CASE("mutex: try_lock takes a free one only, also on a plain thread") {
    rn::mutex mutex;
    auto held = mutex.try_lock();
    REQUIRE(held);
    CHECK(mutex.try_lock().error() == rn::errc::not_available);
    rn::guard moved = *std::move(held);
    CHECK_FALSE(*held);
    CHECK(moved);
    moved.unlock();
    CHECK(mutex.try_lock());
}

TEST_CASE("mutex: waiters become owners in the order in which they came") {
    in_virtual_time([]() -> rn::task<> {
        rn::mutex mutex;
        std::vector<int> order, expected;
        const auto waiter = [&](int number) -> rn::task<> {
            const auto guard = co_await mutex.lock();
            order.push_back(number);
            (void)co_await rn::yield();
        };
        auto first = co_await mutex.lock();
        rn::task_set waiters;
        for (int i = 0; i < 20; ++i) {
            waiters.spawn(waiter, i);
            (void)co_await rn::yield();
            expected.push_back(i);
        }
        first->unlock();
        CHECK_FALSE(mutex.try_lock());  // it has passed to the first waiter already: nobody can jump in
        (void)co_await waiters.join();
        CHECK(order == expected);
    });
}

TEST_CASE("mutex: a wait that was cancelled leaves the queue, and the lock goes to the next") {
    in_virtual_time([]() -> rn::task<> {
        rn::mutex mutex;
        auto held = co_await mutex.lock();
        auto [ctx, cancel] = rn::with_cancel(rn::current_context());
        const auto waiter = [&]() -> rn::task<rn::result<>> { co_return (co_await mutex.lock()).error(); };
        const auto in_context = [&](rn::context under) -> rn::task<rn::result<>> {
            co_return co_await rn::with_context(under, waiter());
        };
        auto cancelled = rn::go(in_context, ctx);
        auto patient = rn::go(waiter);
        (void)co_await rn::yield();
        cancel();
        CHECK((co_await cancelled).error() == rn::errc::cancelled);
        held->unlock();
        CHECK(co_await patient);
        CHECK_FALSE(mutex.is_locked());
    });
}

TEST_CASE("mutex: is a cancel point even when it is free, and then is not locked") {
    in_virtual_time([]() -> rn::task<> {
        rn::mutex mutex;
        auto [ctx, cancel] = rn::with_cancel(rn::current_context());
        cancel();
        const auto guard = co_await rn::with_context(ctx, mutex.lock());
        CHECK(guard.error() == rn::errc::cancelled);
        CHECK_FALSE(mutex.is_locked());
    });
}

TEST_CASE("mutex: is a case of a select, and one that lost is not locked") {
    in_virtual_time([]() -> rn::task<> {
        rn::mutex a, b;
        const auto held = co_await a.lock();
        auto won = co_await rn::select(a.lock(), b.lock());
        REQUIRE(won.index() == 1);
        const auto second = won.take<1>();
        CHECK(second);
        const auto late = co_await rn::select(a.lock(), b.lock(), rn::sleep_for(1ms));
        CHECK(late.index() == 2);
    });
}

TEST_CASE("mutex: a guard may travel to another task") {
    in_virtual_time([]() -> rn::task<> {
        rn::mutex mutex;
        auto held = co_await mutex.lock();
        const auto later = [](rn::guard guard) -> rn::task<> {
            (void)co_await rn::sleep_for(1ms);
            guard.unlock();
        };
        auto end = rn::go(later, *std::move(held));
        CHECK(co_await mutex.lock());
        (void)co_await end;
    });
}

TEST_CASE("mutex: may be destroyed as soon as its last waiter has returned") {
    const int rounds = scaled(500, 50'000);
    on_workers(2, [rounds]() -> rn::task<> {
        for (int i = 0; i < rounds; ++i) {
            std::optional<rn::mutex> mutex(std::in_place);
            auto held = co_await mutex->lock();
            const auto unlock = [](rn::guard guard) -> rn::task<> {
                guard.unlock();
                co_return;
            };
            auto end = rn::go(unlock, *std::move(held));
            auto mine = co_await mutex->lock();
            mine->unlock();
            mutex.reset();
            (void)co_await end;
        }
    });
}

TEST_CASE("mutex: guards a plain number against tasks on several workers, cancelled ones among them") {
    const int rounds = scaled(500, 50'000);
    on_workers(3, [rounds]() -> rn::task<> {
        rn::mutex mutex;
        long sum = 0,
             expected = 0;  // plain on purpose: TSan reports it if the mutex does not order the accesses
        rn::task_set tasks;
        const auto worker = [&, rounds](int number) -> rn::task<> {
            for (int i = 0; i < rounds; ++i) {
                if ((i + number) % 7 == 0) {
                    const auto guard = co_await rn::with_timeout(1us, mutex.lock());
                    if (!guard) continue;
                    ++sum, ++expected;
                } else {
                    const auto guard = co_await mutex.lock();
                    ++sum, ++expected;
                    if (i % 5 == 0) (void)co_await rn::yield();
                }
            }
        };
        for (int i = 0; i < 6; ++i) tasks.spawn(worker, i);
        (void)co_await tasks.join();
        CHECK(sum == expected);
        CHECK_FALSE(mutex.is_locked());
    });
}

TEST_CASE("mutex: ending while it is held is reported") {
    CHECK(dies(
        [] {
            rn::result<rn::guard> held(rn::errc::not_available);
            rn::mutex mutex;
            held = mutex.try_lock();
        },
        "mutex: ends while it is held or waited for"));
}
