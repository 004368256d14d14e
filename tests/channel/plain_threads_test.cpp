// Plain threads that wait for what tasks wait for: block_on().
#include <doctest/doctest.h>
#include <runnel/block_on.hpp>
#include <runnel/blocking.hpp>
#include <runnel/channel.hpp>
#include <runnel/context.hpp>
#include <runnel/go.hpp>
#include <runnel/runtime.hpp>
#include <runnel/select.hpp>
#include <runnel/shared_future.hpp>
#include <runnel/sync.hpp>
#include <runnel/testing.hpp>
#include <runnel/time.hpp>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "support/child.hpp"
#include "support/level.hpp"
#include "support/runtimes.hpp"

namespace rn = runnel;
namespace testing = runnel::testing;
using namespace std::chrono_literals;
using support::child;
using support::scaled;

namespace {

rn::task<> double_them(rn::receiver<int> in, rn::sender<int> out) {
    for (auto n = co_await in.recv(); n; n = co_await in.recv()) {
        auto sent = co_await out.send(2 * *n);
        if (!sent) co_return;
    }
}

int take_one(rn::receiver<int> in) { return rn::block_on(in.recv()).value(); }

/// Until so many wait to receive.
template <class End>
void await_receivers(const End& end, std::size_t count) {
    while (end.stats().waiting_receivers != count) std::this_thread::yield();
}
template <class End>
void await_senders(const End& end, std::size_t count) {
    while (end.stats().waiting_senders != count) std::this_thread::yield();
}

// --- Channels --------------------------------------------------------------------------------------

TEST_CASE("block_on: a plain thread sends to a task and receives from it") {
    for (std::size_t capacity : {0U, 1U, 3U}) {
        auto [out, questions] = rn::make_channel<int>(capacity);
        auto [answers, in] = rn::make_channel<int>(capacity);
        rn::runtime runtime(support::workers(2));
        auto end = runtime.spawn(double_them, std::move(questions), std::move(answers));
        std::thread asking([to = std::move(out)] {
            for (int i = 0; i < 1000; ++i) CHECK(rn::block_on(to.send(i)));
        });
        for (int i = 0; i < 1000; ++i) CHECK(rn::block_on(in.recv()).value() == 2 * i);
        asking.join();
        CHECK(end.wait());
    }
}

TEST_CASE("block_on: two plain threads meet without any runtime") {
    auto [out, in] = rn::make_channel<std::string>(0);
    std::thread other([&from = in] {
        CHECK(rn::block_on(from.recv()).value() == "hello");
        CHECK(rn::block_on(from.recv()).error() == rn::errc::closed);
    });
    CHECK(rn::block_on(out.emplace("hello")));
    await_receivers(in, 1);
    out.close();
    other.join();
}

TEST_CASE("block_on: a thread that waits is woken by the close from whichever side it comes") {
    auto [out, in] = rn::make_channel<int>(1);
    CHECK(out.try_send(1));
    std::thread sends([&to = out] {
        auto sent = rn::block_on(to.send(2));
        CHECK(sent.error() == rn::errc::closed);
    });
    std::thread reserves([&to = out] {
        auto place = rn::block_on(to.reserve());
        CHECK(place.error() == rn::errc::closed);
    });
    await_senders(out, 2);
    in.reset();
    sends.join();
    reserves.join();
}

TEST_CASE("block_on: a permit that was reserved by a thread is used by a task") {
    auto [out, in] = rn::make_channel<int>(1);
    CHECK(out.try_send(0));
    rn::runtime runtime(support::workers(1));
    std::thread makes_room([&from = in] {
        await_senders(from, 1);
        CHECK(*from.try_recv() == 0);
    });
    auto place = rn::block_on(out.reserve());
    REQUIRE(place);
    makes_room.join();
    auto use = [](rn::send_permit<int> held) -> rn::task<> {
        CHECK(held.send(7));
        co_return;
    };
    CHECK(runtime.spawn(use, *std::move(place)).wait());
    CHECK(rn::block_on(in.recv()).value() == 7);
}

// --- Limits ----------------------------------------------------------------------------------------

TEST_CASE("block_on: a limit ends the wait and what is ready wins over one that has passed") {
    auto [out, in] = rn::make_channel<int>(1);
    const auto start = rn::clock::now();
    CHECK(rn::block_on(rn::with_timeout(20ms, in.recv())).error() == rn::errc::timed_out);
    CHECK(rn::clock::now() - start >= 20ms);
    CHECK(out.stats().waiting_receivers == 0);
    CHECK(out.try_send(1));
    CHECK(rn::block_on(rn::with_timeout(-1s, in.recv())).value() == 1);
    CHECK(rn::block_on(rn::with_timeout(0s, in.recv())).error() == rn::errc::timed_out);
    CHECK(rn::block_on(rn::sleep_for(2ms)));
    const auto until = rn::clock::now() + 3ms;
    CHECK(rn::block_on(rn::sleep_until(until)));
    CHECK(rn::clock::now() >= until);
}

TEST_CASE("block_on: a limit far away is no reason to wait for it") {
    auto [out, in] = rn::make_channel<int>(0);
    std::thread sends([&to = out, &from = in] {
        await_receivers(from, 1);
        CHECK(to.try_send(5));
    });
    auto won = rn::block_on(rn::select(rn::after(24h), rn::with_timeout(1h, in.recv())));
    REQUIRE(won.index() == 1);
    CHECK(won.get<1>().value() == 5);
    sends.join();
}

// --- Select ----------------------------------------------------------------------------------------

TEST_CASE("block_on: of a select exactly one case happens and the others have lost nothing") {
    auto [out_a, in_a] = rn::make_channel<int>(0);
    auto [out_b, in_b] = rn::make_channel<int>(1);
    std::thread sends([&to = out_a, &from = in_a] {
        await_receivers(from, 1);
        CHECK(rn::block_on(to.send(1)));
    });
    int value = 9;
    auto won = rn::block_on(rn::select(in_a.recv(), in_b.recv(), rn::receiver<int>().recv()));
    REQUIRE(won.index() == 0);
    CHECK(won.get<0>().value() == 1);
    CHECK(in_b.stats().waiting_receivers == 0);
    sends.join();
    auto sent = rn::block_on(rn::select(rn::in_order, out_b.send(rn::from(value)), in_b.recv()));
    CHECK(sent.index() == 0);
    CHECK(*in_b.try_recv() == 9);
}

TEST_CASE("block_on: two selects of two threads that face each other meet") {
    auto [out_a, in_a] = rn::make_channel<int>(0);
    auto [out_b, in_b] = rn::make_channel<int>(0);
    const int rounds = scaled(300, 20'000);
    std::atomic<int> there{0}, back{0};
    std::thread other([&to = out_b, &from = in_a, &back, rounds] {
        for (int i = 0; i < rounds; ++i) {
            auto won = rn::block_on(rn::select(to.send(i), from.recv()));
            back += won.index() == 0 ? 1 : 0;
        }
    });
    for (int i = 0; i < rounds; ++i) {
        auto won = rn::block_on(rn::select(out_a.send(i), in_b.recv()));
        there += won.index() == 1 ? 1 : 0;
    }
    other.join();
    CHECK(there == back);
}

TEST_CASE("block_on: the end of a context ends a select of it") {
    auto [out, in] = rn::make_channel<int>(0);
    auto [ctx, cancel] = rn::with_cancel(rn::background());
    std::thread other([&from = in, stop = cancel] {
        await_receivers(from, 1);
        stop();
    });
    auto won = rn::block_on(rn::select(in.recv(), ctx.done()));
    CHECK(won.index() == 1);
    other.join();
}

// --- Whatever else can be waited for ---------------------------------------------------------------

TEST_CASE("block_on: locks, events, futures and the ends of tasks") {
    rn::runtime runtime(support::workers(2));
    rn::mutex lock;
    rn::event opened;
    rn::promise<int> answer;
    auto task = runtime.spawn(
        [](rn::mutex& m, rn::event& e, rn::promise<int> a) -> rn::task<int> {
            auto held = co_await m.lock();
            e.set();
            a.set_value(6);
            co_return 7;
        },
        rn::borrow(lock), rn::borrow(opened),
        [&] {
            auto future = answer.future();
            CHECK_FALSE(future.is_ready());
            return std::exchange(answer, rn::promise<int>());
        }());
    CHECK(rn::block_on(opened));
    CHECK(rn::block_on(lock.lock()));
    CHECK(rn::block_on(task).value() == 7);
}

TEST_CASE("block_on: a thread of blocking() may wait for tasks") {
    support::run_on(1, []() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(0);
        auto reads = rn::go(
            [](rn::receiver<int> from) -> rn::task<int> {
                auto got = co_await rn::blocking(take_one, std::move(from));
                co_return got.value();
            },
            std::move(in));
        CHECK(co_await out.send(3));
        CHECK(*co_await reads == 3);
    });
}

TEST_CASE("block_on: a dump shows the thread and what it waits for") {
    auto [out, in] = rn::make_channel<int>(0);
    in.label("numbers");
    std::thread waits([&from = in] { CHECK(rn::block_on(from.recv()).value() == 1); });
    await_receivers(in, 1);
    rn::runtime runtime(support::workers(1));
    const std::string text = runtime.dump_tasks();
    CAPTURE(text);
    CHECK(text.find("(a plain thread) waiting to receive ('numbers'") != std::string::npos);
    CHECK(out.try_send(1));
    waits.join();
}

// --- Misuse ----------------------------------------------------------------------------------------

TEST_CASE("child: a worker blocks itself" * doctest::skip()) {
    rn::run([]() -> rn::task<> {
        rn::event never;
        (void)rn::block_on(never);
        co_return;
    });
}
TEST_CASE("block_on: on a worker it is found out") {
    const auto end = child("child: a worker blocks itself").wait();
    CHECK(end.said("a worker must not wait in a blocking call: co_await it instead"));
}

TEST_CASE("child: a simulated task wakes a thread" * doctest::skip()) {
    auto [out, in] = rn::make_channel<int>(0);
    std::thread waits([&from = in] { (void)rn::block_on(from.recv()); });
    await_receivers(in, 1);
    auto send = [&to = out]() -> rn::task<> { (void)co_await to.send(1); };
    (void)testing::simulate(testing::options(), send);
}
TEST_CASE("block_on: a simulated task that wakes a thread of the program is found out") {
    const auto end = child("child: a simulated task wakes a thread").wait();
    CHECK(end.said("a task woke a thread of the program, which no seed repeats"));
}

// --- Many ------------------------------------------------------------------------------------------

TEST_CASE("block_on: threads and tasks at the same channel lose nothing and keep each sender's order") {
    const int each = scaled(400, 30'000);
    for (std::size_t capacity : {0U, 2U}) {
        auto [out, in] = rn::make_channel<std::pair<int, int>>(capacity);
        rn::runtime runtime(support::workers(2));
        std::vector<std::vector<std::pair<int, int>>> got(4);
        std::vector<std::thread> threads;
        std::vector<rn::join_handle<>> tasks;
        for (int i = 0; i < 2; ++i) {
            threads.emplace_back([to = out.share(), i, each] {
                for (int n = 0; n < each; ++n) {
                    if (n % 3 == 0) {
                        auto place = rn::block_on(to.reserve());
                        if (place) {
                            CHECK(place->emplace(i, n));
                            continue;
                        }
                        CHECK(place.error() == rn::errc::no_places);
                    }
                    std::pair<int, int> value(i, n);
                    // A limit that passes now and then, and is then tried again: nothing must be sent twice.
                    auto sent = rn::block_on(rn::with_timeout(1us, to.send(rn::from(value))));
                    while (!sent) {
                        CHECK(sent.error() == rn::errc::timed_out);
                        sent = rn::block_on(rn::with_timeout(1ms, to.send(rn::from(value))));
                    }
                }
            });
            tasks.push_back(runtime.spawn(
                [](rn::sender<std::pair<int, int>> to, int who, int count) -> rn::task<> {
                    for (int n = 0; n < count; ++n) {
                        auto sent = co_await to.emplace(who, n);
                        CHECK(sent);
                    }
                },
                out.share(), i + 2, each));
            threads.emplace_back([from = in.share(), &to = got[static_cast<std::size_t>(i)]] {
                for (auto value = rn::block_on(from.recv()); value; value = rn::block_on(from.recv()))
                    to.push_back(*value);
            });
            tasks.push_back(runtime.spawn(
                [](rn::receiver<std::pair<int, int>> from, auto& to) -> rn::task<> {
                    for (auto value = co_await from.recv(); value; value = co_await from.recv())
                        to.push_back(*value);
                },
                in.share(), rn::borrow(got[static_cast<std::size_t>(i) + 2])));
        }
        out.reset();
        in.reset();
        for (std::thread& thread : threads) thread.join();
        for (auto& task : tasks) CHECK(task.wait());
        std::vector<std::vector<bool>> seen(4, std::vector<bool>(static_cast<std::size_t>(each)));
        for (const auto& values : got) {
            int last[4] = {-1, -1, -1, -1};
            for (auto [who, n] : values) {
                CHECK(n > last[who]);
                last[who] = n;
                CHECK_FALSE(seen[static_cast<std::size_t>(who)][static_cast<std::size_t>(n)]);
                seen[static_cast<std::size_t>(who)][static_cast<std::size_t>(n)] = true;
            }
        }
        std::size_t total = 0;
        for (const auto& values : got) total += values.size();
        CHECK(total == 4 * static_cast<std::size_t>(each));
    }
}

}
