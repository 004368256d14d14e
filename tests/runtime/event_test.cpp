// The event: a door that all pass once it is open.
#include <doctest/doctest.h>
#include <runnel/go.hpp>
#include <runnel/select.hpp>
#include <runnel/sync.hpp>
#include <runnel/time.hpp>

#include <atomic>
#include <optional>
#include <thread>
#include <vector>

#include "channel/tasks.hpp"
#include "support/level.hpp"
#include "support/virtual_time.hpp"

using namespace std::chrono_literals;
using namespace support;

TEST_CASE("event: set lets all pass who wait, in the order in which they came, and all who come later") {
    in_virtual_time([]() -> rn::task<> {
        rn::event event;
        std::vector<int> order, expected;
        const auto waiter = [&](int number) -> rn::task<> {
            CHECK(co_await event.wait());
            order.push_back(number);
        };
        rn::task_set waiters;
        for (int i = 0; i < 200; ++i) {
            waiters.spawn(waiter, i);
            (void)co_await rn::yield();
            expected.push_back(i);
        }
        CHECK(order.empty());
        CHECK(event.set());
        CHECK_FALSE(event.set());
        (void)co_await waiters.join();
        CHECK(order == expected);
        CHECK(co_await event.wait());
    });
}

TEST_CASE("event: reset closes the door for those who come later") {
    in_virtual_time([]() -> rn::task<> {
        rn::event event;
        CHECK_FALSE(event.is_set());
        event.set();
        CHECK(event.is_set());
        event.reset();
        CHECK_FALSE(event.is_set());
        CHECK((co_await rn::with_timeout(1ms, event.wait())).error() == rn::errc::timed_out);
    });
}

TEST_CASE("event: who was let in before the reset has passed") {
    in_virtual_time([]() -> rn::task<> {
        rn::event event;
        const auto waiter = [&]() -> rn::task<bool> { co_return static_cast<bool>(co_await event.wait()); };
        auto end = rn::go(waiter);
        (void)co_await rn::yield();
        event.set();
        event.reset();
        CHECK((co_await end).value());
    });
}

TEST_CASE("event: a wait is ended by its context, at once when that is cancelled already") {
    in_virtual_time([]() -> rn::task<> {
        rn::event event;
        auto [ctx, cancel] = rn::with_cancel(rn::current_context());
        const auto canceller = [](rn::cancel_function cancel_it) -> rn::task<> {
            cancel_it();
            co_return;
        };
        rn::go(canceller, cancel);
        CHECK((co_await rn::with_context(ctx, event.wait())).error() == rn::errc::cancelled);
        event.set();
        CHECK((co_await rn::with_context(ctx, event.wait())).error() == rn::errc::cancelled);
    });
}

TEST_CASE("event: is a case of a select, several times the same one too") {
    in_virtual_time([]() -> rn::task<> {
        rn::event a, b;
        const auto setter = [&]() -> rn::task<> {
            (void)co_await rn::sleep_for(1ms);
            b.set();
        };
        rn::go(setter);
        const auto won = co_await rn::select(a.wait(), b.wait(), a.wait());
        CHECK(won.index() == 1);
    });
}

TEST_CASE("event: a plain thread may set it") {
    on_workers(2, []() -> rn::task<> {
        rn::event event;
        int mail = 0;  // plain on purpose: TSan reports it if set() does not publish it
        std::thread sender([&] {
            mail = 42;
            event.set();
        });
        CHECK(co_await event.wait());
        CHECK(mail == 42);
        sender.join();
    });
}

TEST_CASE(
    "event: may be destroyed as soon as its last waiter has returned, while set() is still on its way out") {
    const int rounds = scaled(300, 20'000);
    on_workers(3, [rounds]() -> rn::task<> {
        for (int round = 0; round < rounds; ++round) {
            std::optional<rn::event> event(std::in_place);
            std::atomic<int> left{100};
            rn::event all_gone;
            const auto waiter = [&](int number) -> rn::task<> {
                if (number % 4 == 0)
                    (void)co_await rn::with_timeout(10us, event->wait());
                else
                    (void)co_await event->wait();
                if (left.fetch_sub(1) == 1) all_gone.set();
            };
            rn::task_set waiters;
            for (int i = 0; i < 100; ++i) waiters.spawn(waiter, i);
            const auto setter = [&]() -> rn::task<> {
                event->set();
                co_return;
            };
            waiters.spawn(setter);
            (void)co_await all_gone.wait();
            event.reset();
            (void)co_await waiters.join();
        }
    });
}
