// A try that would fail is found out by a look, without the lock; and it is never wrong.
#include <doctest/doctest.h>
#include <runnel/channel.hpp>
#include <runnel/runtime.hpp>
#include <runnel/scope.hpp>
#include <runnel/task.hpp>
#include <runnel/time.hpp>

#include <atomic>
#include <barrier>
#include <mutex>
#include <thread>

#include "channel/core.hpp"
#include "support/level.hpp"
#include "support/scarce_memory.hpp"

namespace rn = runnel;
using support::memory_can_be_scarce;
using support::scaled;
using support::scarce_memory;

namespace {

rn::task<> send_one(rn::sender<int> out, int value) {
    const auto sent = co_await out.send(value);
    static_cast<void>(sent);  // counted by who receives
}

void await_round(const std::atomic<int>& rounds, int wanted) {
    for (int looks = 0; rounds.load() < wanted; ++looks)
        if (looks > 10'000) std::this_thread::yield();
}

rn::detail::channel_core& core_of(const rn::receiver<int>& in) {
    return static_cast<rn::detail::channel_core&>(*in.recv().object());
}

}

TEST_CASE("try: a channel that is empty or full is seen to be so without its lock, unless somebody has it") {
    for (const std::size_t capacity : {std::size_t{0}, std::size_t{1}, std::size_t{3}}) {
        auto [out, in] = rn::make_channel<int>(capacity);
        rn::detail::channel_core& core = core_of(in);
        CHECK(in.try_recv().error() == rn::errc::empty);
        CHECK(core.surely_empty());
        CHECK(core.surely_full() == (capacity == 0));
        for (std::size_t i = 0; i < capacity; ++i) CHECK(out.try_send(1));
        const int value = 2;
        CHECK(out.try_send(value).error() == (capacity == 0 ? rn::errc::no_receiver : rn::errc::full));
        CHECK(out.try_send(2).error() == (capacity == 0 ? rn::errc::no_receiver : rn::errc::full));
        CHECK(core.surely_full());
        CHECK(core.surely_empty() == (capacity == 0));
        const std::lock_guard guard(core.lock);
        CHECK(!core.surely_full());
        CHECK(!core.surely_empty());
    }
}

TEST_CASE("try: what is closed, or was not always as it is, is looked at with the lock") {
    auto [out, in] = rn::make_channel<int>(2);
    out.set_capacity(1);
    CHECK(in.try_recv().error() == rn::errc::empty);
    CHECK(out.try_send(1));
    CHECK(out.try_send(2).error() == rn::errc::full);
    out.close(std::make_error_code(std::errc::broken_pipe));
    CHECK(out.try_send(3).error() == std::errc::broken_pipe);
    CHECK(*in.try_recv() == 1);
    CHECK(in.try_recv().error() == std::errc::broken_pipe);
}

// A place that is taken and given to the next in one step, seen between the two, would look empty.
TEST_CASE("try: while senders wait there is always something to receive") {
    const int senders = scaled(2'000, 20'000);
    auto [out, in] = rn::make_channel<int>(1);
    rn::runtime runtime(rn::options().workers(1).driver(rn::driver_kind::none));
    for (int i = 0; i < senders; ++i) runtime.spawn(send_one, out.share(), i);
    while (in.stats().waiting_senders + 1 < static_cast<std::size_t>(senders)) std::this_thread::yield();
    const auto receive_half = [&in, senders] {
        int missed = 0;
        for (int i = 0; i < senders / 2; ++i)
            if (!in.try_recv()) ++missed;
        CHECK(missed == 0);
    };
    std::thread other(receive_half);
    receive_half();
    other.join();
}

TEST_CASE("try: the latest value is there while a later one takes its place") {
    const int rounds = scaled(20'000, 500'000);
    auto [out, in] = rn::make_channel<int>(rn::channel_options<int>(1).overflow(rn::overflow::keep_latest));
    std::barrier round(2);
    std::thread other([&] {
        for (int i = 0; i < rounds; ++i) {
            round.arrive_and_wait();
            CHECK(out.try_send(2 * i + 1));
            round.arrive_and_wait();
        }
    });
    int missed = 0;
    for (int i = 0; i < rounds; ++i) {
        CHECK(out.try_send(2 * i));
        round.arrive_and_wait();
        if (!in.try_recv()) ++missed;
        round.arrive_and_wait();
        while (in.try_recv()) {}
    }
    other.join();
    CHECK(missed == 0);
}

// The consumer that goes to sleep, and the producer that wakes it. What one has written, and what the other has sent,
// may still be under way when each looks at the other's: with the lock never, so not without it either.
TEST_CASE("try: who says that it sleeps and then finds nothing is seen by who sends") {
    const int rounds = scaled(20'000, 300'000);
    auto [out, in] = rn::make_channel<int>(1);
    std::atomic<int> begun{0};
    std::atomic<int> ended{0};
    std::atomic<bool> sleeps{false};
    bool found = false;
    std::thread consumer([&] {
        for (int i = 1; i <= rounds; ++i) {
            await_round(begun, i);
            sleeps.store(true);
            found = static_cast<bool>(in.try_recv());
            ended.store(i);
        }
    });
    int lost = 0;
    for (int i = 1; i <= rounds; ++i) {
        sleeps.store(false);
        begun.store(i);
        for (int turns = i % 512; turns > 0; --turns) begun.load();  // so that they meet at different points
        const auto sent = out.try_send(i);
        const bool seen = sleeps.load();  // nothing in between: a check would take long enough
        CHECK(sent);
        await_round(ended, i);
        if (!seen && !found) ++lost;
        while (in.try_recv()) {}
    }
    consumer.join();
    CHECK(lost == 0);
}

TEST_CASE("send: to a channel that grows, without memory for its first value, waits for a receiver") {
    if (!memory_can_be_scarce()) return;
    const int status = rn::run(rn::options().workers(1).driver(rn::driver_kind::none), []() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(rn::unbounded);
        rn::scope sender;
        sender.spawn(send_one, std::move(out), 7);
        {
            const scarce_memory none(0);
            co_await rn::yield();
        }
        CHECK(in.stats().waiting_senders == 1);
        CHECK(*in.try_recv() == 7);
        co_await sender.join();
    });
    CHECK(status == 0);
}
