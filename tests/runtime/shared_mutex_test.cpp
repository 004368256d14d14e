// shared_mutex: many readers or one writer, in the order in which they came.
#include "runnel/shared_mutex.hpp"

#include <doctest/doctest.h>
#include <runnel/go.hpp>
#include <runnel/select.hpp>
#include <runnel/testing.hpp>
#include <runnel/time.hpp>

#include <optional>
#include <random>
#include <string>

#include "channel/tasks.hpp"
#include "support/dies.hpp"
#include "support/level.hpp"
#include "support/virtual_time.hpp"

namespace testing = runnel::testing;
using namespace std::chrono_literals;
using namespace support;

namespace {

/// Writes its name when it has the lock, and holds it for a millisecond.
rn::task<> read(rn::shared_mutex& mutex, std::string& order, char name) {
    const auto guard = co_await mutex.lock_shared();
    if (!guard) co_return;
    order += name;
    (void)co_await rn::sleep_for(1ms);
}
rn::task<> write(rn::shared_mutex& mutex, std::string& order, char name) {
    const auto guard = co_await mutex.lock();
    if (!guard) co_return;
    order += name;
    (void)co_await rn::sleep_for(1ms);
}

TEST_CASE("shared_mutex: readers are in together and a writer alone") {
    in_virtual_time([]() -> rn::task<> {
        rn::shared_mutex mutex;
        std::string order;
        const auto began = rn::clock::now();
        rn::task_set all;
        for (const char name : {'a', 'b', 'c'}) all.spawn(read, rn::borrow(mutex), rn::borrow(order), name);
        (void)co_await all.join();
        CHECK(rn::clock::now() - began == 1ms);
        for (const char name : {'W', 'X'}) all.spawn(write, rn::borrow(mutex), rn::borrow(order), name);
        (void)co_await all.join();
        CHECK(rn::clock::now() - began == 3ms);
        CHECK(order.find_first_of("WX") == 3);
    });
}

TEST_CASE(
    "shared_mutex: a reader that comes after a writer waits for it and readers side by side go in together") {
    in_virtual_time([]() -> rn::task<> {
        rn::shared_mutex mutex;
        std::string order;
        const auto began = rn::clock::now();
        rn::task_set all;
        const auto come = [&](auto how, char name) -> rn::task<> {
            all.spawn(how, rn::borrow(mutex), rn::borrow(order), name);
            co_await settle();
        };
        for (const char name : {'a', 'W', 'b', 'c', 'X', 'd'}) co_await come(name < 'a' ? write : read, name);
        CHECK(order == "a");
        CHECK(mutex.try_lock_shared().error() == rn::errc::not_available);  // somebody waits
        (void)co_await all.join();
        CHECK(order == "aWbcXd");
        CHECK(rn::clock::now() - began == 5ms);
    });
}

TEST_CASE("shared_mutex: when a writer gives up the readers behind it go in") {
    in_virtual_time([]() -> rn::task<> {
        rn::shared_mutex mutex;
        std::string order;
        auto reading = co_await mutex.lock_shared();
        auto impatient = rn::go([&]() -> rn::task<rn::result<>> {
            const auto guard = co_await rn::with_timeout(1ms, mutex.lock());
            co_return guard.error();
        });
        co_await settle();
        auto reader = rn::go(read, rn::borrow(mutex), rn::borrow(order), 'r');
        CHECK((co_await impatient).error() == rn::errc::timed_out);
        (void)co_await reader;
        CHECK(order == "r");
    });
}

TEST_CASE("shared_mutex: try_lock and try_lock_shared on a plain thread") {
    rn::shared_mutex mutex;
    auto first = mutex.try_lock_shared();
    auto second = mutex.try_lock_shared();
    CHECK(second);
    CHECK(mutex.try_lock().error() == rn::errc::not_available);
    first->unlock();
    second->unlock();
    second->unlock();  // nothing any more
    CHECK_FALSE(*second);
    auto alone = mutex.try_lock();
    REQUIRE(alone);
    CHECK(mutex.try_lock_shared().error() == rn::errc::not_available);
    rn::exclusive_guard moved = *std::move(alone);
    CHECK_FALSE(*alone);
    moved.unlock();
    CHECK(mutex.try_lock());
}

TEST_CASE("shared_mutex: a writer becomes a reader without letting another writer in between") {
    in_virtual_time([]() -> rn::task<> {
        rn::shared_mutex mutex;
        std::string order;
        auto writing = co_await mutex.lock();
        rn::task_set all;
        all.spawn(read, rn::borrow(mutex), rn::borrow(order), 'a');
        co_await settle();
        all.spawn(write, rn::borrow(mutex), rn::borrow(order), 'W');
        co_await settle();
        auto reading = std::move(*writing).downgrade();
        CHECK_FALSE(*writing);
        CHECK(reading);
        CHECK(co_await rn::sleep_for(5ms));
        CHECK(order == "a");
        reading.unlock();
        (void)co_await all.join();
        CHECK(order == "aW");
    });
}

TEST_CASE("shared_mutex: both locks are cases of a select and cancel points") {
    in_virtual_time([]() -> rn::task<> {
        rn::shared_mutex a;
        rn::shared_mutex b;
        const auto held = co_await a.lock_shared();
        auto won = co_await rn::select(a.lock(), b.lock());
        REQUIRE(won.index() == 1);
        auto late = co_await rn::select(a.lock(), b.lock_shared(), rn::sleep_for(1ms));
        CHECK(late.index() == 2);
        won.take<1>()->unlock();
        auto [ctx, cancel] = rn::with_cancel(rn::current_context());
        cancel();
        const auto refused = co_await rn::with_context(ctx, b.lock_shared());
        CHECK(refused.error() == rn::errc::cancelled);
        CHECK(b.try_lock());
    });
}

struct table {
    rn::shared_mutex mutex;
    int readers = 0;
    int writers = 0;

    void come(bool alone) {
        ++(alone ? writers : readers);
        testing::expect(writers == 0 || (writers == 1 && readers == 0), "a writer is not alone");
    }
    void go(bool alone) { --(alone ? writers : readers); }
};

/// Reads or writes; gives up at times.
rn::task<> visitor(table& of, unsigned number) {
    std::mt19937 random(number);
    for (int i = 0; i < 8; ++i) {
        const bool alone = random() % 3 == 0;
        const auto patience = std::chrono::microseconds(random() % 2 == 0 ? random() % 30 : 1'000'000);
        auto won = co_await rn::select(rn::sleep_for(patience), of.mutex.lock_shared());
        testing::expect(static_cast<bool>(won));
        if (won.index() == 0) continue;
        of.come(false);
        auto slept = co_await rn::sleep_for(std::chrono::microseconds(random() % 20));
        of.go(false);
        won.take<1>()->unlock();
        if (!alone) continue;
        auto writing = co_await rn::with_timeout(patience, of.mutex.lock());
        if (!writing) continue;
        of.come(true);
        auto given_way = co_await rn::yield();
        testing::expect(slept.has_value() && given_way.has_value());
        of.go(true);
    }
}

TEST_CASE("shared_mutex: under any schedule a writer is alone and nobody is forgotten") {
    const auto all = testing::explore(support::scaled(2'000U, 100'000U), []() -> rn::task<> {
        table of;
        rn::task_set visitors;
        for (unsigned i = 0; i < 4; ++i) visitors.spawn(visitor, rn::borrow(of), i);
        auto end = co_await visitors.join();
        testing::expect(end.has_value());
        testing::expect(of.mutex.try_lock().has_value(), "somebody still has it");
    });
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("shared_mutex: orders what readers and writers on several workers do") {
    const int rounds = scaled(500, 50'000);
    on_workers(3, [rounds]() -> rn::task<> {
        rn::shared_mutex mutex;
        long sum = 0;  // plain on purpose: TSan reports it if the mutex does not order the accesses
        long expected = 0;
        rn::task_set tasks;
        const auto worker = [&, rounds](int number) -> rn::task<> {
            for (int i = 0; i < rounds; ++i) {
                if ((i + number) % 3 == 0) {
                    const auto guard = co_await rn::with_timeout(1us, mutex.lock());
                    if (!guard) continue;
                    ++sum, ++expected;
                } else {
                    const auto guard = co_await mutex.lock_shared();
                    CHECK(sum == expected);
                    if (i % 5 == 0) (void)co_await rn::yield();
                }
            }
        };
        for (int i = 0; i < 5; ++i) tasks.spawn(worker, i);
        (void)co_await tasks.join();
        CHECK(sum == expected);
        CHECK(mutex.try_lock());
    });
}

TEST_CASE("shared_mutex: may be destroyed as soon as its last waiter has returned") {
    const int rounds = scaled(300, 20'000);
    on_workers(3, [rounds]() -> rn::task<> {
        for (int i = 0; i < rounds; ++i) {
            std::optional<rn::shared_mutex> mutex(std::in_place);
            auto held = co_await mutex->lock();
            const auto unlock = [](rn::exclusive_guard guard) -> rn::task<> {
                guard.unlock();
                co_return;
            };
            const auto quitter = [&]() -> rn::task<> { (void)co_await rn::with_timeout(1us, mutex->lock()); };
            auto gone = rn::go(quitter);
            auto end = rn::go(unlock, *std::move(held));
            auto mine = co_await mutex->lock_shared();
            mine->unlock();
            (void)co_await gone;
            mutex.reset();
            (void)co_await end;
        }
    });
}

TEST_CASE("shared_mutex: ending while it is held is reported") {
    CHECK(dies(
        [] {
            rn::result<rn::shared_guard> held(rn::errc::not_available);
            rn::shared_mutex mutex;
            held = mutex.try_lock_shared();
        },
        "shared_mutex: ends while it is held or waited for"));
}
}
