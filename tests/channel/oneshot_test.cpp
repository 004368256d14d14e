// oneshot, batches, weak senders, and who wants to know that a channel is closed.
#include "runnel/oneshot.hpp"

#include <doctest/doctest.h>
#include <runnel/batch.hpp>
#include <runnel/block_on.hpp>
#include <runnel/dump.hpp>
#include <runnel/go.hpp>
#include <runnel/select.hpp>
#include <runnel/testing.hpp>
#include <runnel/time.hpp>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "support/level.hpp"
#include "support/virtual_time.hpp"
#include "tasks.hpp"

namespace testing = runnel::testing;
using namespace std::chrono_literals;
using namespace support;

namespace {

TEST_CASE("oneshot: brings one value, and is used up by it") {
    in_virtual_time([]() -> rn::task<> {
        auto [reply, answer] = rn::make_oneshot<std::unique_ptr<int>>();
        CHECK(answer.try_recv().error() == rn::errc::empty);
        CHECK(std::move(reply).send(std::make_unique<int>(7)));
        CHECK_FALSE(reply);
        auto got = co_await answer;
        CHECK(**got == 7);
        CHECK((co_await answer).error() == rn::errc::closed);
    });
}

TEST_CASE("oneshot: whoever waits is told when the sender goes without a word, and how") {
    in_virtual_time([]() -> rn::task<> {
        auto [reply, answer] = rn::make_oneshot<int>();
        rn::task_set silent;
        silent.spawn([](rn::oneshot_sender<int>) -> rn::task<> { (void)co_await rn::sleep_for(1h); },
                     std::move(reply));
        co_await settle();
        silent.cancel();
        CHECK((co_await answer).error() == rn::errc::producer_cancelled);
        (void)co_await silent.join();
    });
}

TEST_CASE("oneshot: the sender is told when nobody is left to receive, and keeps its value") {
    in_virtual_time([]() -> rn::task<> {
        auto [reply, answer] = rn::make_oneshot<std::string>();
        auto watcher = rn::go(
            [](rn::oneshot_sender<std::string> out) -> rn::task<std::string> {
                CHECK_FALSE(out.closed());
                CHECK(co_await out.on_closed());
                CHECK(out.closed());
                std::string late = "late";
                CHECK(std::move(out).send(rn::from(late)).error() == rn::errc::closed);
                co_return late;
            },
            std::move(reply));
        co_await settle();
        answer = {};
        const auto kept = co_await watcher;
        CHECK(kept.value() == "late");
    });
}

TEST_CASE("oneshot: a wait that times out loses nothing and the answer is a case of a select") {
    in_virtual_time([]() -> rn::task<> {
        auto [reply, answer] = rn::make_oneshot<int>();
        CHECK((co_await rn::with_timeout(1ms, answer)).error() == rn::errc::timed_out);
        auto won = co_await rn::select(answer, rn::sleep_for(1ms));
        CHECK(won.index() == 1);
        CHECK(std::move(reply).send(5));
        auto ready = co_await rn::select(answer, rn::sleep_for(1h));
        CHECK(ready.take<0>().value() == 5);
    });
}

TEST_CASE("oneshot: has a name in dumps, from either end") {
    in_virtual_time([]() -> rn::task<> {
        auto [reply, answer] = rn::make_oneshot<int>();
        reply.label("reply");
        auto waits =
            rn::go([](rn::oneshot_receiver<int> of) -> rn::task<> { (void)co_await of; }, std::move(answer));
        co_await settle();
        CHECK(rn::dump_tasks().find("waiting to receive ('reply' of oneshot_test.cpp:") != std::string::npos);
        CHECK(std::move(reply).send(1));
        (void)co_await waits;
    });
}

TEST_CASE("channel: a sender with nothing to send may wait for the close, also in a select") {
    in_virtual_time([]() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(1);
        CHECK(rn::try_select(out.on_closed()).error() == rn::errc::not_available);
        auto waits = [](rn::sender<int> end) -> rn::task<bool> {
            auto won = co_await rn::select(rn::sleep_for(1h), end.on_closed());
            co_return won&& won.index() == 1;
        };
        rn::task_set many;
        for (int i = 0; i < 100; ++i)
            many.spawn([](rn::sender<int> end) -> rn::task<> { CHECK(co_await end.on_closed()); },
                       out.share());
        auto selecting = rn::go(waits, out.share());
        co_await settle();
        in.reset();
        const auto told = co_await selecting;
        CHECK(told.value());
        CHECK(co_await many.join());
        CHECK(co_await out.on_closed());
        const auto never = co_await rn::with_timeout(1ms, rn::sender<int>().on_closed());
        CHECK(never.error() == rn::errc::timed_out);
    });
}

TEST_CASE("channel: one that is closed by its overflow tells those who wait for that") {
    in_virtual_time([]() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(rn::channel_options<int>(0).overflow(rn::overflow::close));
        auto waiter =
            rn::go([](rn::sender<int> end) -> rn::task<> { CHECK(co_await end.on_closed()); }, out.share());
        co_await settle();
        CHECK(out.try_send(1).error() == rn::errc::too_slow);
        CHECK(co_await waiter);
    });
}

TEST_CASE("channel: a weak sender keeps nothing open and gives a sender while there is one") {
    in_virtual_time([]() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(1);
        const rn::weak_sender<int> weak(out);
        {
            auto strong = weak.lock();
            REQUIRE(strong);
            CHECK(strong.try_send(1));
            out.reset();
            CHECK_FALSE(in.closed());  // `strong` is still there
        }
        CHECK(in.closed());
        CHECK_FALSE(weak.lock());
        CHECK((co_await in.recv()).value() == 1);
        CHECK((co_await in.recv()).error() == rn::errc::closed);
        CHECK_FALSE(rn::weak_sender<int>().lock());
    });
}

TEST_CASE("channel: under any schedule the last sender closes the channel once, whatever weak senders do") {
    const auto all = testing::explore(scaled(2'000U, 50'000U), []() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(2);
        rn::task_set tasks;
        int sent = 0;
        for (int i = 0; i < 3; ++i)
            tasks.spawn(
                [](rn::weak_sender<int> weak, int& count) -> rn::task<> {
                    for (int n = 0; n < 3; ++n) {
                        auto strong = weak.lock();
                        if (!strong) co_return;
                        auto done = co_await strong.send(n);
                        testing::expect(done.has_value());
                        ++count;
                    }
                },
                rn::weak_sender<int>(out), rn::borrow(sent));
        out.reset();
        int received = 0;
        for (auto got = co_await in.recv(); got; got = co_await in.recv()) ++received;
        auto end = co_await tasks.join();
        testing::expect(end && received == sent);
    });
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("oneshot: the sender may live where the receiver destroys it once it has the value") {
    for (int round = 0; round < scaled(200, 20'000); ++round) {
        auto [reply, answer] = rn::make_oneshot<int>();
        auto holder = std::make_unique<rn::oneshot_sender<int>>(std::move(reply));
        std::thread sends([to = holder.get()] { CHECK(std::move(*to).send(7)); });
        CHECK(rn::block_on(answer).value() == 7);
        holder.reset();
        sends.join();
    }
}

TEST_CASE("batch: all values of a range are sent in order and moved from") {
    in_virtual_time([]() -> rn::task<> {
        auto [out, in] = rn::make_channel<std::string>(2);
        std::vector<std::string> lines;
        for (int i = 0; i < 10; ++i) lines.push_back("line " + std::to_string(i));
        auto sending = rn::go(
            [](rn::sender<std::string> to, std::vector<std::string> values) -> rn::task<bool> {
                const auto sent = co_await rn::send_all(to, values);
                co_return sent&& sent.count == 10;
            },
            std::move(out), lines);
        std::vector<std::string> received;
        auto count = co_await rn::recv_many(in, received, 3);
        while (count) {
            CHECK(*count <= 3);
            count = co_await rn::recv_many(in, received, 3);
        }
        CHECK(count.error() == rn::errc::closed);
        CHECK(received == lines);
        const auto sent = co_await sending;
        CHECK(sent.value());
    });
}

TEST_CASE("batch: what was cut says how many went and the rest is untouched") {
    in_virtual_time([]() -> rn::task<> {
        auto [out, in] = rn::make_channel<std::string>(2);
        std::vector<std::string> lines = {"a", "b", "c", "d"};
        auto sending = rn::send_all(out, lines);
        const auto sent = co_await rn::with_timeout(1ms, std::move(sending));
        CHECK_FALSE(sent);
        CHECK(sent.error == rn::errc::timed_out);
        CHECK(sent.count == 2);
        CHECK(lines[2] == "c");
        CHECK(lines[3] == "d");
        std::vector<std::string> received;
        CHECK((co_await rn::recv_many(in, received, 100)).value() == 2);
        auto receiving = rn::recv_many(in, received, 100);
        const auto nothing = co_await rn::with_timeout(1ms, std::move(receiving));
        CHECK(nothing.error() == rn::errc::timed_out);
        CHECK(received.size() == 2);
        in.reset();
        const auto closed = co_await rn::send_all(out, lines);
        CHECK(closed.count == 0);
        CHECK(closed.error == rn::errc::closed);
    });
}
}
