// What a broadcast says of itself, and what its messages cost.
#include <doctest/doctest.h>
#include <runnel/broadcast.hpp>
#include <runnel/scope.hpp>
#include <runnel/task.hpp>
#include <runnel/testing.hpp>
#include <runnel/time.hpp>

#include <optional>
#include <utility>

#include "support/scarce_memory.hpp"

namespace rn = runnel;
namespace testing = runnel::testing;
using rn::slow_receiver;

namespace {

/// Sends that reach everybody at once.
void send_all(const rn::broadcast_sender<int>& out, int from, int to) {
    for (int i = from; i < to; ++i) CHECK(out.try_send(i));
}

TEST_CASE("stats: what a broadcast has sent and keeps, and how many are there") {
    auto [out, in] = rn::make_broadcast<int>(4);
    const auto other = out.subscribe();
    const auto second = out.share();
    send_all(out, 0, 3);
    auto all = out.stats();
    CHECK(all.sent == 3);
    CHECK(all.kept == 3);
    CHECK(all.senders == 2);
    CHECK(all.receivers == 2);
    CHECK(all.longest_lag == 3);
    send_all(out, 3, 10);
    all = second.stats();
    CHECK(all.sent == 10);
    CHECK(all.kept == 4);
    CHECK(all.longest_lag == 10);
    CHECK(all.missed == 0);  // nobody has been told yet
    in.reset();
    CHECK(out.stats().receivers == 1);
    CHECK(out.receivers() == 1);
    out.close();
    CHECK(out.receivers() == 0);  // nothing reaches it any more
    CHECK(rn::broadcast_sender<int>().stats().sent == 0);
}

TEST_CASE("stats: what was missed by all receivers, and who was disconnected") {
    auto [out, in] = rn::make_broadcast<int>(2);
    auto latest = out.subscribe(slow_receiver::latest);
    auto strict = out.subscribe(slow_receiver::disconnect);
    send_all(out, 0, 5);
    auto first = in.try_recv();
    REQUIRE(first);
    CHECK(first.missed() == 3);
    auto newest = latest.try_recv();
    REQUIRE(newest);
    CHECK(newest.missed() == 4);
    const auto all = out.stats();
    CHECK(all.missed == 7);
    CHECK(all.disconnected == 1);
    CHECK(all.receivers == 2);
    CHECK(strict.try_recv().error() == rn::errc::lagged);
}

TEST_CASE("stats: which tasks wait") {
    const auto run = testing::simulate(testing::options(), []() -> rn::task<> {
        auto [out, in] = rn::make_broadcast<int>(1, slow_receiver::wait);
        rn::scope tasks;
        const auto receive = [&from = in]() -> rn::task<> { CHECK(co_await from.recv()); };
        const auto send = [&to = out](int value) -> rn::task<> { CHECK(co_await to.send(value)); };
        tasks.spawn(receive);
        tasks.spawn(receive);
        co_await testing::wait_until_all_tasks_wait();
        CHECK(out.stats().waiting_receivers == 2);
        CHECK(out.try_send(1));
        CHECK(out.try_send(2));
        co_await testing::wait_until_all_tasks_wait();
        CHECK(out.try_send(3));
        tasks.spawn(send, 4);
        co_await testing::wait_until_all_tasks_wait();
        CHECK(out.stats().waiting_senders == 1);
        CHECK(*in.try_recv() == 3);
        co_await tasks.join();
    });
    CHECK_MESSAGE(run.ok(), run.what());
}

TEST_CASE("broadcast: a message takes nothing from operator new") {
    if (!support::memory_can_be_scarce()) return;
    auto [out, in] = rn::make_broadcast<int>(4);
    int had = 0;
    {
        const support::scarce_memory none(0);
        for (int i = 0; i < 100; ++i) had += out.try_send(i) && in.try_recv() ? 1 : 0;
    }
    CHECK(had == 100);
}
}
