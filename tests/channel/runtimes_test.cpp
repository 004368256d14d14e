// Channels between tasks of different runtimes.
#include <doctest/doctest.h>
#include <runnel/channel.hpp>
#include <runnel/driven_runtime.hpp>
#include <runnel/select.hpp>
#include <runnel/time.hpp>

#include <thread>

#include "support/driven.hpp"
#include "support/level.hpp"
#include "support/runtimes.hpp"

namespace rn = runnel;
using namespace std::chrono_literals;

namespace {

rn::task<> numbers(rn::sender<int> out, int count) {
    for (int i = 1; i <= count; ++i) {
        const auto sent = co_await out.send(i);
        CHECK(sent);
    }
}

/// Sends on what comes.
rn::task<> relay(rn::receiver<int> in, rn::sender<int> out) {
    while (auto n = co_await in.recv()) {
        const auto sent = co_await out.send(*n);
        CHECK(sent);
    }
}

rn::task<long> total(rn::receiver<int> in) {
    long sum = 0;
    int last = 0;
    while (auto n = co_await in.recv()) {
        CHECK(*n == last + 1);  // in order
        last = *n;
        sum += *n;
    }
    co_return sum;
}

long sum_to(long n) { return n * (n + 1) / 2; }
}

TEST_CASE("two runtimes: what one sends the other receives, in order, and the end of the one closes for the "
          "other") {
    const int count = support::scaled(5'000, 500'000);
    for (const std::size_t capacity : {0U, 1U, 16U}) {
        rn::runtime left(support::workers(2)), right(support::workers(1));
        auto [out, in] = rn::make_channel<int>(capacity);
        auto [back, result] = rn::make_channel<int>(capacity);
        left.spawn(numbers, std::move(out), count);
        right.spawn(relay, std::move(in), std::move(back));
        CHECK(left.spawn(total, std::move(result)).wait().value() == sum_to(count));
    }
}

TEST_CASE("two runtimes: one of them runs in the loop of this thread, which sleeps when both wait") {
    const int count = support::scaled(2'000, 200'000);
    for (const rn::options& how : support::on_each_driver(1)) {
        for (const std::size_t capacity : {0U, 16U}) {
            rn::driven_runtime here(how);
            rn::runtime there(support::workers(1));
            auto [out, in] = rn::make_channel<int>(capacity);
            auto [back, result] = rn::make_channel<int>(capacity);
            here.spawn(numbers, std::move(out), count);
            there.spawn(relay, std::move(in), std::move(back));
            long sum = 0;
            here.spawn([](rn::receiver<int> from,
                          long& into) -> rn::task<> { into = co_await total(std::move(from)); },
                       std::move(result), rn::borrow(sum));
            support::drive_until(here, [&] { return sum != 0; });
            CHECK(sum == sum_to(count));
        }
    }
}

TEST_CASE("two runtimes: one that stops cancels its own waits; the values stay for the other") {
    auto [out, in] = rn::make_channel<int>(1);
    rn::runtime right(support::workers(1));
    {
        rn::runtime left(support::workers(1));
        left.spawn(
            [](rn::sender<int> own) -> rn::task<> {
                CHECK(co_await own.send(1));
                const auto sent = co_await own.send(2);  // there is no room, and nobody receives
                CHECK(sent.error() == rn::errc::cancelled);
            },
            out.share());
        while (!out.stats().waiting_senders) std::this_thread::yield();
        CHECK(left.stop());
    }
    auto got =
        right.spawn([](rn::receiver<int> own) -> rn::task<int> { co_return (co_await own.recv()).value(); },
                    std::move(in));
    CHECK(got.wait().value() == 1);
}
