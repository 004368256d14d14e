// shared_future: a value that comes once, for any number of waiters.
#include "runnel/shared_future.hpp"

#include <doctest/doctest.h>
#include <runnel/go.hpp>
#include <runnel/select.hpp>
#include <runnel/testing.hpp>
#include <runnel/time.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
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

TEST_CASE("shared_future: all who wait get the value and so does who comes later") {
    in_virtual_time([]() -> rn::task<> {
        rn::promise<std::string> loading;
        const auto waiter = [](rn::shared_future<std::string> of) -> rn::task<> {
            const auto got = co_await of;
            CHECK(got.value() == "loaded");
        };
        rn::task_set all;
        for (int i = 0; i < 3; ++i) all.spawn(waiter, loading.future());
        co_await settle();
        auto future = loading.future();
        CHECK_FALSE(future.is_ready());
        loading.set_value("loaded");
        CHECK(future.is_ready());
        (void)co_await all.join();
        CHECK((co_await future).value() == "loaded");
        CHECK(&future.value() == &loading.future().value());  // no copy
    });
}

TEST_CASE("shared_future: of nothing, of what cannot be copied, of an error, of an exception") {
    in_virtual_time([]() -> rn::task<> {
        rn::promise<> done;
        auto end = done.future();
        done.set_value();
        CHECK(co_await end);

        rn::promise<std::unique_ptr<int>> making;
        const auto made = making.future();
        making.set_value(std::make_unique<int>(5));
        CHECK(co_await made.ready());
        CHECK(*made.value() == 5);

        rn::promise<int> failing;
        auto failed = failing.future();
        failing.set_error(rn::errc::timed_out);
        CHECK((co_await failed).error() == rn::errc::timed_out);
        CHECK_THROWS_AS((void)failed.value(), std::system_error);

        rn::promise<int> throwing;
        auto thrown = throwing.future();
        throwing.set_exception(std::make_exception_ptr(std::runtime_error("no")));
        CHECK_THROWS_AS((void)co_await thrown, std::runtime_error);
        CHECK_THROWS_AS((void)co_await thrown.ready(), std::runtime_error);
        CHECK_THROWS_AS((void)thrown.value(), std::runtime_error);
    });
}

TEST_CASE("shared_future: one that is const can be waited for") {
    in_virtual_time([]() -> rn::task<> {
        rn::promise<int> making;
        const auto in_a_lambda = [made = making.future()]() -> rn::task<int> {
            const auto first = co_await made;
            const auto again = co_await rn::with_timeout(1ms, made);
            auto won = co_await rn::select(made, rn::sleep_for(1ms));
            co_return *first + *again + *won.take<0>();
        };
        auto end = rn::go(in_a_lambda);
        making.set_value(7);
        CHECK(*co_await end == 21);
    });
}

TEST_CASE("shared_future: an error that is none and an exception that is none are no value") {
    rn::promise<std::string> mistaken;
    mistaken.set_error({});
    CHECK_THROWS_AS((void)mistaken.future().value(), std::system_error);
    rn::promise<std::string> empty;
    empty.set_exception(nullptr);
    CHECK_THROWS_AS((void)empty.future().value(), std::system_error);
}

TEST_CASE("shared_future: a promise that goes without a word settles it, and says how it went") {
    in_virtual_time([]() -> rn::task<> {
        rn::promise<int> plain;
        auto closed = plain.future();
        plain = rn::promise<int>();
        CHECK((co_await closed).error() == rn::errc::closed);

        rn::promise<int> thrown;
        auto failed = thrown.future();
        try {
            const rn::promise<int> here = std::move(thrown);
            throw 1;
        } catch (int) {}
        CHECK((co_await failed).error() == rn::errc::producer_failed);

        rn::promise<int> given;
        auto cancelled = given.future();
        rn::task_set keeper;
        keeper.spawn([](rn::promise<int>) -> rn::task<> { (void)co_await rn::sleep_for(1h); },
                     std::move(given));
        co_await settle();
        keeper.cancel();
        CHECK((co_await cancelled).error() == rn::errc::producer_cancelled);
        (void)co_await keeper.join();
    });
}

TEST_CASE("shared_future: a wait can be cancelled, and the others wait on") {
    in_virtual_time([]() -> rn::task<> {
        rn::promise<int> promise;
        auto future = promise.future();
        auto patient =
            rn::go([](rn::shared_future<int> of) -> rn::task<int> { co_return (co_await of).value(); },
                   promise.future());
        CHECK((co_await rn::with_timeout(1ms, future)).error() == rn::errc::timed_out);
        auto won = co_await rn::select(future, rn::sleep_for(1ms));
        CHECK(won.index() == 1);
        promise.set_value(7);
        const auto got = co_await patient;
        CHECK(got.value() == 7);
        auto ready = co_await rn::select(future, rn::sleep_for(1h));
        CHECK(ready.take<0>().value() == 7);
    });
}

TEST_CASE("shared_future: the promise knows whether anybody wants its value") {
    rn::promise<int> promise;
    CHECK_FALSE(promise.wanted());
    {
        const auto future = promise.future();
        CHECK(promise.wanted());
    }
    CHECK_FALSE(promise.wanted());
    rn::promise<int> moved = std::move(promise);
    moved.set_value(1);
    CHECK(moved.future().value() == 1);
}

struct throws_when_made {
    explicit throws_when_made(int) { throw std::runtime_error("not made"); }
    explicit throws_when_made(std::string) {}
};

TEST_CASE("shared_future: a value whose making throws does not settle it") {
    rn::promise<throws_when_made> promise;
    const auto future = promise.future();
    CHECK_THROWS_AS(promise.set_value(1), std::runtime_error);
    CHECK_FALSE(future.is_ready());
    promise.set_value(std::string("fine"));
    CHECK(future.is_ready());
}

TEST_CASE("shared_future: plain threads may wait, and a plain thread may settle it") {
    for (int round = 0; round < scaled(50, 5'000); ++round) {
        rn::promise<std::vector<int>>
            promise;  // plain data on purpose: TSan reports it if it is not published
        std::vector<std::thread> threads;
        for (int i = 0; i < 3; ++i)
            threads.emplace_back([of = promise.future()] { CHECK(of.wait().size() == 5); });
        if (round % 2 == 0) std::this_thread::yield();
        promise.set_value(5U, 1);
        for (std::thread& each : threads) each.join();
    }
    on_workers(2, []() -> rn::task<> {
        rn::promise<std::vector<int>> promise;
        auto future = promise.future();
        std::thread setter([settles = std::move(promise)]() mutable { settles.set_value(3U, 1); });
        CHECK((co_await future).value().size() == 3);
        setter.join();
    });
}

TEST_CASE("shared_future: a plain thread that has the value may drop the promise and all handles at once") {
    std::atomic<rn::promise<int>*> to_settle{nullptr};
    std::atomic<bool> all{false};
    std::thread settler([&] {
        while (!all) {
            if (rn::promise<int>* next = to_settle.exchange(nullptr)) next->set_value(3);
            std::this_thread::yield();
        }
    });
    for (int i = 0; i < scaled(2'000, 20'000); ++i) {
        auto making = std::make_unique<rn::promise<int>>();
        const auto made = making->future();
        to_settle = making.get();
        if (i % 2 == 0) {
            CHECK(made.wait() == 3);
        } else {
            while (!made.is_ready()) std::this_thread::yield();
        }
    }
    all = true;
    settler.join();
}

TEST_CASE("shared_future: under any schedule the last handle frees it, whoever has it") {
    const auto all = testing::explore(scaled(2'000U, 100'000U), []() -> rn::task<> {
        rn::promise<std::string> promise;
        rn::task_set tasks;
        for (int i = 0; i < 3; ++i)
            tasks.spawn(
                [](rn::shared_future<std::string> of, int patience) -> rn::task<> {
                    auto got = co_await rn::with_timeout(std::chrono::microseconds(patience), of);
                    testing::expect(got ? *got == "value" : got.error() == rn::errc::timed_out);
                },
                promise.future(), i);
        tasks.spawn(
            [](rn::promise<std::string> settles) -> rn::task<> {
                auto slept = co_await rn::sleep_for(1us);
                testing::expect(slept.has_value());
                settles.set_value("value");
            },
            std::move(promise));
        auto end = co_await tasks.join();
        testing::expect(end.has_value());
    });
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("shared_future: misuse is reported") {
    CHECK(dies([] { (void)rn::promise<int>().future().value(); },
               "shared_future: its value() was asked for before it is ready"));
    CHECK(dies([] { (void)rn::shared_future<int>().is_ready(); }, "shared_future: it stands for nothing"));
    CHECK(dies(
        [] {
            rn::promise<int> promise;
            promise.set_value(1);
            promise.set_value(2);
        },
        "promise: settled twice"));
}
}
