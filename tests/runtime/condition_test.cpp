// condition: a change of what a mutex guards.
#include "runnel/condition.hpp"

#include <doctest/doctest.h>
#include <runnel/go.hpp>
#include <runnel/select.hpp>
#include <runnel/testing.hpp>
#include <runnel/time.hpp>

#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "channel/tasks.hpp"
#include "support/dies.hpp"
#include "support/level.hpp"
#include "support/virtual_time.hpp"

namespace testing = runnel::testing;
using namespace std::chrono_literals;
using namespace support;

namespace {

TEST_CASE("condition: wait unlocks, is notified, and has locked again when it returns") {
    in_virtual_time([]() -> rn::task<> {
        rn::mutex lock;
        rn::condition changed;
        int value = 0;
        auto other = rn::go([&]() -> rn::task<> {
            auto held = co_await lock.lock();
            while (value == 0) CHECK(co_await changed.wait(*held));
            CHECK(*held);
            CHECK(lock.is_locked());
            value = 2;
        });
        co_await settle();
        CHECK(changed.notify_one());  // nothing has changed: it looks, and waits again
        co_await settle();
        auto held = co_await lock.lock();
        value = 1;
        CHECK(changed.notify_one());
        CHECK_FALSE(changed.notify_one());
        held->unlock();
        (void)co_await other;
        CHECK(value == 2);
        CHECK_FALSE(lock.is_locked());
    });
}

TEST_CASE("condition: notify_one wakes the one that has waited longest and notify_all wakes all") {
    in_virtual_time([]() -> rn::task<> {
        rn::mutex lock;
        rn::condition changed;
        std::vector<int> order;
        const auto waiter = [&](int number) -> rn::task<> {
            auto held = co_await lock.lock();
            CHECK(co_await changed.wait(*held));
            order.push_back(number);
        };
        rn::task_set all;
        for (int i = 0; i < 4; ++i) {
            all.spawn(waiter, i);
            co_await settle();
        }
        CHECK(changed.notify_one());
        co_await settle();
        CHECK(order == std::vector<int>{0});
        CHECK(changed.notify_all() == 3);
        CHECK(changed.notify_all() == 0);
        (void)co_await all.join();
        CHECK(order == std::vector<int>{0, 1, 2, 3});
    });
}

TEST_CASE("condition: a wait that is cancelled locks again and then reports") {
    in_virtual_time([]() -> rn::task<> {
        rn::mutex lock;
        rn::condition changed;
        auto held = co_await lock.lock();
        const auto late = co_await rn::with_timeout(1ms, changed.wait(*held));
        CHECK(late.error() == rn::errc::timed_out);
        CHECK(*held);
        auto [ctx, cancel] = rn::with_cancel(rn::current_context());
        cancel();
        const auto refused = co_await rn::with_context(ctx, changed.wait(*held));
        CHECK(refused.error() == rn::errc::cancelled);
        CHECK(*held);
        CHECK_FALSE(changed.notify_one());
    });
}

TEST_CASE("condition: a loop that ignores its cancellation is braked and ended by an exception and then has "
          "locked") {
    in_virtual_time([]() -> rn::task<> {
        rn::mutex lock;
        rn::condition changed;
        auto [ctx, cancel] = rn::with_cancel(rn::current_context());
        int turns = 0;
        bool ended = false;
        const auto loop = [&]() -> rn::task<> {
            auto held = co_await lock.lock();
            try {
                for (; turns < 1000; ++turns) (void)co_await changed.wait(*held);
            } catch (const rn::cancellation_ignored&) {
                ended = static_cast<bool>(*held);
            }
        };
        const auto loop_in = [&](rn::context under) -> rn::task<> {
            co_await rn::with_context(under, loop());
        };
        auto waiter = rn::go(loop_in, ctx);
        co_await settle();
        cancel();
        (void)co_await waiter;
        CHECK(ended);
        CHECK(turns <= 256);
        CHECK_FALSE(lock.is_locked());
    });
}

TEST_CASE("condition: whoever is notified between its unlocking and its sleep does not sleep") {
    in_virtual_time([]() -> rn::task<> {
        rn::condition changed;
        rn::detail::notified_operation first(changed);  // wait() unlocks the mutex here
        rn::detail::notified_operation second(changed);
        CHECK(changed.notify_one());
        CHECK(co_await std::move(first));
        CHECK(changed.notify_one());
        const auto cancelled = [&]() -> rn::task<rn::result<>> { co_return co_await std::move(second); };
        auto [ctx, cancel] = rn::with_cancel(rn::current_context());
        cancel();
        CHECK(co_await rn::with_context(ctx, cancelled()));  // O2: or the notification would be lost
        CHECK_FALSE(changed.notify_one());
    });
}

/// A bounded queue of numbers, the classic: one condition for each direction.
struct bounded_queue {
    rn::mutex lock;
    rn::condition filled;
    rn::condition emptied;
    std::vector<int> items;

    rn::task<bool> put(int item, bool patient) {
        auto held = co_await lock.lock();
        while (items.size() == 2) {
            const auto patience = patient ? rn::clock::duration(1h) : rn::clock::duration(3us);
            const auto waited = co_await rn::with_timeout(patience, emptied.wait(*held));
            if (!waited) co_return false;
        }
        items.push_back(item);
        filled.notify_one();
        co_return true;
    }
    rn::task<int> take(bool patient) {
        auto held = co_await lock.lock();
        while (items.empty()) {
            const auto patience = patient ? rn::clock::duration(1h) : rn::clock::duration(3us);
            const auto waited = co_await rn::with_timeout(patience, filled.wait(*held));
            if (!waited) co_return 0;
        }
        const int item = items.front();
        items.erase(items.begin());
        emptied.notify_one();
        co_return item;
    }
};

rn::task<> producer(bounded_queue& queue, int first) {
    for (int item = first; item < first + 5;) {
        const bool put = co_await queue.put(item, item % 2 == 0);
        item += put;
    }
}
rn::task<> consumer(bounded_queue& queue, int& sum, int count) {
    while (count > 0) {
        const int item = co_await queue.take(count % 2 == 0);
        sum += item;
        count -= item != 0;
    }
}

TEST_CASE("condition: a bounded queue loses nothing and stops nobody under any schedule") {
    const auto all = testing::explore(support::scaled(3'000U, 100'000U), []() -> rn::task<> {
        bounded_queue queue;
        int sum = 0;
        rn::task_set tasks;
        tasks.spawn(producer, rn::borrow(queue), 1);
        tasks.spawn(producer, rn::borrow(queue), 11);
        tasks.spawn(consumer, rn::borrow(queue), rn::borrow(sum), 5);
        tasks.spawn(consumer, rn::borrow(queue), rn::borrow(sum), 5);
        auto end = co_await tasks.join();
        testing::expect(end.has_value());
        testing::expect(sum == 15 + 65, "something is lost");
    });
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("condition: tasks on several workers hand numbers over") {
    const int rounds = scaled(50, 5'000);
    on_workers(3, [rounds]() -> rn::task<> {
        for (int i = 0; i < rounds; ++i) {
            bounded_queue queue;
            int sum = 0;
            rn::task_set tasks;
            tasks.spawn(producer, rn::borrow(queue), 1);
            tasks.spawn(producer, rn::borrow(queue), 11);
            tasks.spawn(consumer, rn::borrow(queue), rn::borrow(sum), 10);
            (void)co_await tasks.join();
            CHECK(sum == 15 + 65);
        }
    });
}

TEST_CASE("condition: a plain thread may notify") {
    on_workers(2, []() -> rn::task<> {
        rn::mutex lock;
        rn::condition changed;
        std::atomic<bool> over{false};
        std::thread notifier([&] {
            while (!over) changed.notify_all();
        });
        auto held = co_await lock.lock();
        for (int i = 0; i < 100; ++i) CHECK(co_await changed.wait(*held));
        over = true;
        notifier.join();
    });
}

TEST_CASE("condition: waiting with a guard that holds nothing is reported") {
    CHECK(dies(
        [] {
            rn::mutex lock;
            rn::condition changed;
            auto held = lock.try_lock();
            held->unlock();
            auto wait = changed.wait(*held);
        },
        "condition: wait() with a guard that holds nothing"));
}
}
