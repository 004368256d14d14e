// Broadcasts: who gets what, what becomes of receivers that are slow, how they end. The rules that Tokio has for
// its broadcast are among them, each by a test of its own, where ours are the same or on purpose not.
#include <doctest/doctest.h>
#include <runnel/broadcast.hpp>
#include <runnel/dump.hpp>
#include <runnel/select.hpp>
#include <runnel/testing.hpp>
#include <runnel/time.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/counted.hpp"
#include "support/dies.hpp"
#include "support/level.hpp"
#include "tasks.hpp"

using namespace support;
using rn::slow_receiver;

namespace {

const std::error_code broken = std::make_error_code(std::errc::broken_pipe);
using numbers = std::vector<int>;

/// What there is to receive without waiting.
numbers drain(const rn::broadcast_receiver<int>& in) {
    numbers all;
    while (auto got = in.try_recv()) all.push_back(*got);
    return all;
}
void send_all(const rn::broadcast_sender<int>& out, int from, int to) {
    for (int i = from; i <= to; ++i) CHECK(out.try_send(i));
}
rn::task<> recv_noting(const rn::broadcast_receiver<int>& in, std::vector<std::string>* seen) {
    auto got = co_await in.recv();
    seen->push_back(got ? std::to_string(*got) : got.error().message());
}
rn::task<> send_noting(const rn::broadcast_sender<int>& out, int value, std::vector<std::string>* seen) {
    auto sent = co_await out.send(value);
    seen->push_back(sent ? "sent to " + std::to_string(*sent) : sent.error().message());
}
}

// --- Who gets what -----------------------------------------------------------------------------------

TEST_CASE("broadcast: every receiver gets every message and a send says how many they are") {
    auto [out, in] = rn::make_broadcast<int>(4);
    const auto second = out.subscribe();
    CHECK(out.receivers() == 2);
    CHECK(out.try_send(1).value() == 2);
    CHECK(out.try_send(2).value() == 2);
    CHECK(drain(in) == numbers{1, 2});
    CHECK(drain(second) == numbers{1, 2});
    CHECK(in.capacity() == 4);
    CHECK(out.capacity() == 4);
}

TEST_CASE("broadcast: awaited sends and receives in a loop that ends when the last sender is gone") {
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_broadcast<std::string>(2);
        auto copy = in.share();
        rn::go(
            [](rn::broadcast_sender<std::string> to) -> rn::task<> {
                for (const char* word : {"a", "b", "c", "d"}) {
                    auto sent = co_await to.emplace(word);
                    CHECK(sent.value() == 2);
                    (void)co_await rn::yield();
                }
            },
            std::move(out));
        auto other = rn::go(
            [](rn::broadcast_receiver<std::string> from) -> rn::task<std::string> {
                std::string all;
                while (auto word = co_await from.recv()) all += *word;
                co_return all;
            },
            std::move(copy));
        std::string all;
        while (auto word = co_await in.recv()) all += *word;
        CHECK(all == "abcd");
        CHECK(in.why() == rn::errc::closed);
        const auto other_all = co_await other;
        CHECK(other_all.value() == "abcd");
    });
}

TEST_CASE("broadcast: a receiver joins at any time and gets what is sent from then on") {
    auto [out, in] = rn::make_broadcast<int>(4);
    send_all(out, 1, 2);
    const auto late = out.subscribe();
    CHECK(late.len() == 0);
    send_all(out, 3, 4);
    CHECK(drain(late) == numbers{3, 4});
    CHECK(drain(in) == numbers{1, 2, 3, 4});
}

TEST_CASE("broadcast: replay gives one that joins the last messages as far as they are kept") {
    auto [out, in] = rn::make_broadcast<int>(3);
    CHECK(drain(out.subscribe(rn::replay(5))).empty());
    send_all(out, 1, 5);
    CHECK(drain(out.subscribe(rn::replay(2))) == numbers{4, 5});
    const auto all = out.subscribe(slow_receiver::disconnect, rn::replay(99));
    CHECK(all.missed() == 0);
    CHECK(drain(all) == numbers{3, 4, 5});
    CHECK(drain(out.subscribe(slow_receiver::latest, rn::replay(2))) == numbers{5});
}

TEST_CASE("broadcast: what all have had is kept for a replay until it is overwritten or the last end goes") {
    counted::reset();
    {
        auto [out, in] = rn::make_broadcast<counted>(2);
        for (int i = 0; i < 3; ++i) CHECK(out.try_send(counted(i)));
        while (auto got = in.try_recv()) CHECK(got->value() > 0);
        CHECK(counted::live() == 2);
        CHECK(out.subscribe(rn::replay(1)).try_recv()->value() == 2);
        out.reset();
        CHECK(counted::live() == 2);
    }
    CHECK(counted::live() == 0);
    CHECK(counted::errors() == 0);
}

TEST_CASE("broadcast: a shared receiver stands where the other stood and goes its own way") {
    auto [out, in] = rn::make_broadcast<int>(4, slow_receiver::wait);
    send_all(out, 1, 3);
    CHECK(in.try_recv().value() == 1);
    const auto twin = in.share();
    CHECK(drain(in) == numbers{2, 3});
    CHECK(twin.len() == 2);
    send_all(out, 4, 5);
    CHECK(out.try_send(6).error() == rn::errc::full);  // the twin is waited for as well
    CHECK(drain(twin) == numbers{2, 3, 4, 5});
    CHECK(drain(in) == numbers{4, 5});
}

TEST_CASE("broadcast: tasks that wait at one receiver take its messages in turn") {
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_broadcast<int>(4);
        std::vector<std::string> seen;
        rn::task_set tasks;
        for (int i = 0; i < 2; ++i) tasks.spawn(recv_noting, rn::borrow(std::as_const(in)), &seen);
        co_await settle();
        send_all(out, 1, 1);
        co_await settle();
        CHECK(seen == std::vector<std::string>{"1"});
        send_all(out, 2, 3);
        co_await settle();
        CHECK(seen == std::vector<std::string>{"1", "2"});
        CHECK(drain(in) == numbers{3});
        (void)co_await tasks.join();
    });
}

TEST_CASE("broadcast: sends to nobody succeed and reach nobody") {
    auto [out, in] = rn::make_broadcast<int>(2, slow_receiver::wait);
    send_all(out, 1, 2);
    CHECK(out.try_send(3).error() == rn::errc::full);
    in.reset();
    CHECK(out.receivers() == 0);
    CHECK(out.try_send(3).value() == 0);
    const auto late = out.subscribe();
    CHECK(out.try_send(4).value() == 1);
    CHECK(drain(late) == numbers{4});
}

TEST_CASE("broadcast: each receiver copies once and without the lock") {
    counted::reset();
    {
        auto [out, in] = rn::make_broadcast<counted>(2);
        const auto second = out.subscribe();
        counted mine(7);
        CHECK(out.try_send(rn::from(mine)));
        CHECK(mine.value() == counted::moved_from);
        CHECK(counted::copies() == 0);
        CHECK(in.try_recv()->value() == 7);
        CHECK(second.try_recv()->value() == 7);
        CHECK(counted::copies() == 2);
    }
    CHECK(counted::live() == 0);
    CHECK(counted::errors() == 0);

    struct asks_back {  // takes the lock when it is copied and when it dies: would hang under it
        explicit asks_back(const rn::broadcast_receiver<asks_back>* at, long* sum) : at_(at), sum_(sum) {}
        asks_back(asks_back&&) noexcept = default;
        asks_back(const asks_back& other) : at_(other.at_), sum_(other.sum_) {
            *sum_ += 100 + long(at_->len());
        }
        ~asks_back() { *sum_ += 1 + long(at_->len()); }
        const rn::broadcast_receiver<asks_back>* at_;
        long* sum_;
    };
    long sum = 0;
    rn::broadcast_receiver<asks_back> other;  // there as long as a message is
    auto [out, in] = rn::make_broadcast<asks_back>(1);
    other = out.subscribe();
    CHECK(out.emplace(&other, &sum).try_once());
    CHECK(in.try_recv());
    CHECK(sum > 100);
    out.reset();
}

TEST_CASE("broadcast: a copy that throws throws at the recv and the message counts as received") {
    struct picky {
        explicit picky(int n) : number(n) {}
        picky(picky&&) noexcept = default;
        picky(const picky& other) : number(other.number) {
            if (number == 1) throw std::runtime_error("not this one");
        }
        int number;
    };
    auto [out, in] = rn::make_broadcast<picky>(4);
    CHECK(out.try_send(picky(1)));
    CHECK(out.try_send(picky(2)));
    CHECK_THROWS_AS((void)in.try_recv(), std::runtime_error);
    CHECK(in.try_recv()->number == 2);
    const picky one(1);
    CHECK_THROWS_AS((void)out.try_send(one), std::runtime_error);
    CHECK(in.len() == 0);
}

// --- Slow receivers ------------------------------------------------------------------------------------

TEST_CASE("lag: the sender never waits and the next value says how many of the oldest were lost") {
    auto [out, in] = rn::make_broadcast<int>(3);
    send_all(out, 1, 3);
    CHECK(in.lag() == 3);
    send_all(out, 4, 5);
    CHECK(in.len() == 3);
    CHECK(in.lag() == 5);
    CHECK(in.missed() == 0);  // not told yet
    auto got = in.try_recv();
    CHECK(got.value() == 3);
    CHECK(got.missed() == 2);
    CHECK(in.missed() == 2);
    got = in.try_recv();
    CHECK(got.value() == 4);
    CHECK(got.missed() == 0);
    send_all(out, 6, 20);
    got = in.try_recv();
    CHECK(got.value() == 18);
    CHECK(got.missed() == 13);
    CHECK(in.missed() == 15);
    CHECK(drain(in) == numbers{19, 20});
}

TEST_CASE(
    "lag: it is no error so that the usual loop goes on and what is missed is missed by that receiver only") {
    on_workers(1, []() -> rn::task<> {
        auto [out, slow] = rn::make_broadcast<int>(2);
        const auto quick = out.subscribe();
        std::uint64_t missed = 0;
        numbers had;
        numbers all;
        for (int i = 1; i <= 6; ++i) {
            CHECK(co_await out.send(i));
            const auto got = co_await quick.recv();
            all.push_back(got.value());
            CHECK(got.missed() == 0);
        }
        out.reset();
        while (auto got = co_await slow.recv()) {
            missed += got.missed();
            had.push_back(*got);
        }
        CHECK(all == numbers{1, 2, 3, 4, 5, 6});
        CHECK(had == numbers{5, 6});
        CHECK(missed == 4);
    });
}

TEST_CASE("wait: the sender waits for this receiver and for it alone and nothing is lost") {
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_broadcast<int>(2, slow_receiver::wait);
        const auto lags = out.subscribe();
        send_all(out, 1, 2);
        CHECK(out.try_send(3).error() == rn::errc::full);
        std::vector<std::string> seen;
        rn::task_set senders;
        for (int i = 3; i <= 4; ++i) {
            senders.spawn(send_noting, rn::borrow(std::as_const(out)), i, &seen);
            co_await settle();  // the last that was spawned would run first
        }
        CHECK(seen.empty());
        CHECK(drain(lags) == numbers{1, 2});  // makes no room
        co_await settle();
        CHECK(seen.empty());
        CHECK((co_await in.recv()).value() == 1);
        CHECK(in.len() == 2);  // the first that waits was sent in that moment
        co_await settle();
        CHECK(seen == std::vector<std::string>{"sent to 2"});
        CHECK(drain(in) == numbers{2, 3, 4});
        (void)co_await senders.join();
        CHECK(drain(lags) == numbers{3, 4});
    });
}

TEST_CASE("wait: a receiver that goes is waited for no longer and all senders go on that can") {
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_broadcast<int>(2, slow_receiver::wait);
        auto second = in.share();
        const auto lags = out.subscribe();
        send_all(out, 1, 2);
        std::vector<std::string> seen;
        rn::task_set senders;
        for (int i = 3; i <= 7; ++i) {
            senders.spawn(send_noting, rn::borrow(std::as_const(out)), i, &seen);
            co_await settle();
        }
        in.reset();
        co_await settle();
        CHECK(seen.empty());
        second.reset();
        co_await settle();
        CHECK(seen == std::vector<std::string>(5, "sent to 1"));
        auto got = lags.try_recv();
        CHECK(got.value() == 6);
        CHECK(got.missed() == 5);
        (void)co_await senders.join();
    });
}

TEST_CASE("wait: a receiver that is closed is waited for until it has had what was sent before") {
    auto [out, in] = rn::make_broadcast<int>(2, slow_receiver::wait);
    send_all(out, 1, 1);
    CHECK(in.close(broken));
    CHECK(out.try_send(2).value() == 0);
    CHECK(out.try_send(3).error() == rn::errc::full);
    CHECK(in.try_recv().value() == 1);
    CHECK(in.try_recv().error() == broken);
    CHECK(out.try_send(3).value() == 0);
    CHECK(in.try_recv().error() == broken);
}

TEST_CASE("latest: no backlog but the newest and how many were skipped") {
    auto [out, in] = rn::make_broadcast<int>(8, slow_receiver::latest);
    send_all(out, 1, 5);
    CHECK(in.len() == 1);
    CHECK(in.lag() == 5);
    auto got = in.try_recv();
    CHECK(got.value() == 5);
    CHECK(got.missed() == 4);
    CHECK(in.try_recv().error() == rn::errc::empty);
    send_all(out, 6, 30);
    got = in.try_recv();
    CHECK(got.value() == 30);
    CHECK(got.missed() == 24);
    CHECK(in.missed() == 28);
}

TEST_CASE("disconnect: in the moment in which it would lose one it is closed with a cause") {
    auto [out, in] = rn::make_broadcast<int>(2, slow_receiver::disconnect);
    const auto other = out.subscribe(slow_receiver::disconnect);
    send_all(out, 1, 2);
    CHECK(in.try_recv().value() == 1);
    CHECK(!other.closed());
    CHECK(out.try_send(3).value() == 1);  // the other has had none
    CHECK(other.why() == rn::errc::lagged);
    CHECK(other.len() == 0);
    CHECK(other.try_recv().error() == rn::errc::lagged);
    CHECK(out.receivers() == 1);
    CHECK(!other.close());
    CHECK(drain(in) == numbers{2, 3});
    CHECK(!in.why());
    CHECK(out.try_send(4).value() == 1);
}

TEST_CASE("disconnect: one that is closed already and loses what it was still to get says so") {
    auto [out, in] = rn::make_broadcast<int>(2, slow_receiver::disconnect);
    send_all(out, 1, 1);
    CHECK(in.close(broken));
    send_all(out, 2, 2);
    CHECK(in.len() == 1);
    send_all(out, 3, 3);
    CHECK(in.try_recv().error() == rn::errc::lagged);
}

// --- How it ends ---------------------------------------------------------------------------------------

TEST_CASE("close: receivers get what was sent before and then the cause") {
    auto [out, in] = rn::make_broadcast<int>(3);
    const auto second = out.share();
    send_all(out, 1, 2);
    CHECK(!in.closed());
    CHECK(out.close(broken));
    CHECK(!second.close());
    CHECK(second.try_send(3).error() == broken);
    CHECK(in.why() == broken);
    CHECK(drain(in) == numbers{1, 2});
    CHECK(in.try_recv().error() == broken);
    const auto late = out.subscribe(rn::replay(1));
    CHECK(drain(late) == numbers{2});
    CHECK(late.try_recv().error() == broken);
}

TEST_CASE("close: by a receiver ends that one alone") {
    auto [out, in] = rn::make_broadcast<int>(3);
    const auto other = out.subscribe();
    send_all(out, 1, 1);
    CHECK(other.close());
    CHECK(!other.close(broken));
    CHECK(other.why() == rn::errc::closed);
    CHECK(out.try_send(2).value() == 1);
    CHECK(drain(other) == numbers{1});
    CHECK(other.try_recv().error() == rn::errc::closed);
    CHECK(other.share().try_recv().error() == rn::errc::closed);
    CHECK(drain(in) == numbers{1, 2});
    CHECK(out.close(broken));
    CHECK(other.why() == rn::errc::closed);
}

TEST_CASE("close: wakes all who wait whoever does it and what waited to be sent is not sent") {
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_broadcast<int>(1, slow_receiver::wait);
        const auto idle = out.subscribe();
        send_all(out, 1, 1);
        (void)idle.try_recv();
        std::vector<std::string> seen;
        rn::task_set tasks;
        tasks.spawn(send_noting, rn::borrow(std::as_const(out)), 2, &seen);
        for (int i = 0; i < 100; ++i) tasks.spawn(recv_noting, rn::borrow(idle), &seen);
        co_await settle();
        CHECK(idle.close(broken));
        co_await settle();
        CHECK(seen == std::vector<std::string>(100, broken.message()));
        CHECK(out.close());
        co_await settle();
        CHECK(seen.back() == "closed");
        CHECK(drain(in) == numbers{1});
        (void)co_await tasks.join();
    });
}

TEST_CASE("close: why tells how the last sender went") {
    auto [out, in] = rn::make_broadcast<int>(1);
    auto second = out.share();
    out.reset();
    CHECK(!in.why());
    second = rn::broadcast_sender<int>();
    CHECK(in.why() == rn::errc::closed);

    auto [fails, failed] = rn::make_broadcast<int>(1);
    try {
        const auto dies = std::move(fails);
        throw std::runtime_error("no more");
    } catch (const std::runtime_error&) {}
    CHECK(failed.try_recv().error() == rn::errc::producer_failed);

    on_workers(1, []() -> rn::task<> {
        auto [to, from] = rn::make_broadcast<int>(1);
        rn::task_set producers;
        producers.spawn(
            [](rn::broadcast_sender<int>) -> rn::task<> { (void)co_await rn::channel<int>().recv(); },
            std::move(to));
        co_await settle();
        producers.cancel();
        CHECK((co_await from.recv()).error() == rn::errc::producer_cancelled);
        (void)co_await producers.join();
    });
}

TEST_CASE("close: from a plain thread") {
    rn::runtime runtime(rn::options().workers(1).driver(rn::driver_kind::none));
    auto [out, in] = rn::make_broadcast<int>(1);
    auto waits = runtime.spawn(
        [](rn::broadcast_receiver<int> from) -> rn::task<bool> {
            auto got = co_await from.recv();
            co_return got.error() == broken;
        },
        std::move(in));
    CHECK(out.close(broken));
    CHECK(waits.wait().value());
}

// --- Cancellation and select ---------------------------------------------------------------------------

TEST_CASE("cancel: a recv that was cancelled has taken nothing and one that has its message keeps it") {
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_broadcast<int>(2, slow_receiver::wait);
        std::vector<std::string> seen;
        rn::task_set tasks;
        tasks.spawn(recv_noting, rn::borrow(std::as_const(in)), &seen);
        co_await settle();
        tasks.cancel();
        CHECK(out.try_send(1).value() == 1);  // the task has not run yet
        (void)co_await tasks.join();
        CHECK(seen == std::vector<std::string>{"cancelled"});
        CHECK(in.try_recv().value() == 1);

        rn::task_set others;
        others.spawn(recv_noting, rn::borrow(std::as_const(in)), &seen);
        co_await settle();
        CHECK(out.try_send(2));
        others.cancel();
        (void)co_await others.join();
        CHECK(seen.back() == "2");
        CHECK(in.len() == 0);
    });
}

TEST_CASE("cancel: a send that was cancelled sent nothing and its value is still there") {
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_broadcast<std::string>(1, slow_receiver::wait);
        CHECK(out.try_send("first"));
        std::string mine(64, 'x');
        auto late = co_await rn::with_timeout(std::chrono::milliseconds(1), out.send(rn::from(mine)));
        CHECK(late.error() == rn::errc::timed_out);
        CHECK(mine.size() == 64);
        CHECK(in.try_recv().value() == "first");
        CHECK(in.len() == 0);
        auto sent = co_await out.send(rn::from(mine));
        CHECK(sent.value() == 1);
        CHECK(mine.empty());
        out.close();
        std::string kept = "kept";
        CHECK((co_await out.send(std::move(kept))).error() == rn::errc::closed);
        CHECK(kept == "kept");
    });
}

TEST_CASE("cancel: a sender that gives up in the queue does not keep those behind it") {
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_broadcast<int>(1, slow_receiver::wait);
        send_all(out, 1, 1);
        std::vector<std::string> seen;
        rn::task_set gives_up;
        rn::task_set stays;
        gives_up.spawn(send_noting, rn::borrow(std::as_const(out)), 2, &seen);
        co_await settle();
        stays.spawn(send_noting, rn::borrow(std::as_const(out)), 3, &seen);
        co_await settle();
        gives_up.cancel();
        CHECK(in.try_recv().value() == 1);  // before the cancelled one has run
        CHECK(in.try_recv().value() == 3);
        (void)co_await gives_up.join();
        (void)co_await stays.join();
        CHECK(seen.size() == 2);
    });
}

TEST_CASE("cancel: under any schedule a limit or a select that races with the sends loses nothing") {
    const auto all = rn::testing::explore(
        rn::testing::options().slow_turns(3), scaled(2'000U, 100'000U), []() -> rn::task<> {
            using std::chrono::microseconds;
            auto [out, in] = rn::make_broadcast<int>(1 + rn::testing::choose(2), slow_receiver::wait);
            rn::task_set tasks;
            for (int i = 0; i < 2; ++i)
                tasks.spawn(
                    [](rn::broadcast_receiver<int> first, rn::broadcast_receiver<int> second) -> rn::task<> {
                        numbers had[2];
                        while (had[0].size() < 6 || had[1].size() < 6) {
                            auto won =
                                co_await rn::select(first.recv(), second.recv(),
                                                    rn::sleep_for(microseconds(rn::testing::choose(3))));
                            rn::testing::expect(static_cast<bool>(won), "nobody cancels");
                            if (won.index() == 0) had[0].push_back(won.take<0>().value());
                            if (won.index() == 1) had[1].push_back(won.take<1>().value());
                        }
                        for (const numbers& each : had) {
                            rn::testing::expect(each.size() == 6, "a message came twice");
                            for (int sender : {10, 20}) {  // each sender's come in its order
                                int next = sender;
                                for (int value : each)
                                    if (value / 10 * 10 == sender) rn::testing::expect(value == next++);
                                rn::testing::expect(next == sender + 3, "a message is missing");
                            }
                        }
                        rn::testing::expect(first.try_recv().error() == rn::errc::empty);
                    },
                    in.share(), in.share());
            in.reset();
            for (int sender : {10, 20})
                tasks.spawn(
                    [](rn::broadcast_sender<int> to, int value) -> rn::task<> {
                        const int end = value + 3;
                        while (value < end) {
                            auto sent = co_await rn::with_timeout(microseconds(rn::testing::choose(3)),
                                                                  to.send(value));
                            if (sent) ++value;
                        }
                        (void)co_await rn::sleep_for(std::chrono::hours(1));
                    },
                    out.share(), sender);
            auto end = co_await tasks.join();
            rn::testing::expect(end.has_value());
        });
    CHECK_MESSAGE(all.ok(), all.what());
    CHECK(all.runs() == scaled(2'000U, 100'000U));
}

TEST_CASE("select: send and recv are cases of which exactly one happens") {
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_broadcast<int>(1, slow_receiver::wait);
        const auto lags = out.subscribe();
        auto won = co_await rn::select(in.recv(), out.send(1));
        CHECK(won.index() == 1);
        CHECK(won.take<1>().value() == 2);
        auto next = co_await rn::select(in.recv(), out.send(2));
        CHECK(next.index() == 0);
        CHECK(next.take<0>().value() == 1);
        CHECK(lags.len() == 1);  // 2 was not sent

        rn::task_set senders;
        std::vector<std::string> seen;
        senders.spawn(send_noting, rn::borrow(std::as_const(out)), 3, &seen);
        auto waited = co_await rn::select(in.recv(), in.recv(), rn::sleep_for(std::chrono::hours(1)));
        CHECK(waited.index() < 2);
        (void)co_await senders.join();
        CHECK(in.len() == 0);
        CHECK(rn::try_select(in.recv(), rn::channel<int>().recv()).error() == rn::errc::not_available);
    });
}

TEST_CASE("select: a send in a select wakes all who wait") {
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_broadcast<int>(1);
        std::vector<std::string> seen;
        std::vector<rn::broadcast_receiver<int>> ends;
        for (int i = 0; i < 100; ++i) ends.push_back(out.subscribe());
        rn::task_set receivers;
        for (const auto& each : ends) receivers.spawn(recv_noting, rn::borrow(each), &seen);
        co_await settle();
        auto won = co_await rn::select(out.send(5), rn::channel<int>().recv());
        CHECK(won.take<0>().value() == 101);
        (void)co_await receivers.join();
        CHECK(seen == std::vector<std::string>(100, "5"));
    });
}

// --- Nil ends and dumps and misuse ---------------------------------------------------------------------

TEST_CASE("nil: a default-made end is never ready and has nothing to tell") {
    const rn::broadcast_sender<int> out;
    const rn::broadcast_receiver<int> in;
    CHECK(!out);
    CHECK(!in);
    CHECK(out.try_send(1).error() == rn::errc::full);
    CHECK(in.try_recv().error() == rn::errc::empty);
    CHECK(!out.close());
    CHECK(!in.close());
    CHECK(!out.why());
    CHECK(!in.why());
    CHECK(out.receivers() == 0);
    CHECK(in.len() + in.lag() + in.missed() + in.capacity() + out.capacity() == 0);
    CHECK(!in.share());
    CHECK(!out.share());
    CHECK(!out.subscribe());
    out.label("nobody");
    in.label("nobody");
    on_workers(1, []() -> rn::task<> {
        const auto never =
            co_await rn::with_timeout(std::chrono::milliseconds(1), rn::broadcast_receiver<int>().recv());
        CHECK(never.error() == rn::errc::timed_out);
    });
}

TEST_CASE("dump: says who waits for which broadcast and how many could end that") {
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_broadcast<int>(1, slow_receiver::wait);
        const auto idle = out.subscribe();
        out.label("news");
        send_all(out, 1, 1);
        (void)idle.try_recv();
        std::vector<std::string> seen;
        rn::task_set tasks;
        tasks.spawn(send_noting, rn::borrow(std::as_const(out)), 2, &seen);
        tasks.spawn(recv_noting, rn::borrow(idle), &seen);
        co_await settle();
        const std::string dump = rn::dump_tasks();
        CAPTURE(dump);
        CHECK(dump.find("to broadcast ('news' of broadcast_test.cpp:") != std::string::npos);
        CHECK(dump.find("1 receiver)") != std::string::npos);
        CHECK(dump.find("to receive a broadcast ('news' of broadcast_test.cpp:") != std::string::npos);
        CHECK(dump.find("1 sender)") != std::string::npos);
        out.close();
        (void)co_await tasks.join();
    });
}

TEST_CASE("leaks: a broadcast that is left is told as a channel with its place") {
    rn::broadcast_receiver<int> kept;
    const auto run = rn::testing::simulate(rn::testing::options(), [&]() -> rn::task<> {
        auto [out, in] = rn::make_broadcast<int>(1);
        kept = std::move(in);
        co_return;
    });
    CHECK(run.kind() == rn::testing::failure::leak);
    CHECK(run.what().find("1 channel made at broadcast_test.cpp:") != std::string::npos);
}

TEST_CASE("misuse: what must not be done with a broadcast is check()ed") {
    auto [out, in] = rn::make_broadcast<int>(1);
    const auto to = std::move(out);
    const auto from = std::move(in);
    CHECK(dies([&end = out] { (void)end.try_send(1); }, "broadcast_test.cpp"));
    CHECK(dies([&end = out] { (void)end.subscribe(); }, "used after it was moved from"));
    CHECK(dies([&end = in] { (void)end.recv(); }, "used after it was moved from"));
    CHECK(dies([&end = in] { (void)end.share(); }, "used after it was moved from"));
    CHECK(dies([] { (void)rn::make_broadcast<int>(0); }, "its capacity must be 1 at least"));
    CHECK(dies(
        [] {
            (void)rn::testing::simulate(rn::testing::options(), []() -> rn::task<> {
                auto [ends, receives] = rn::make_broadcast<int>(1);
                rn::task_set tasks;
                tasks.spawn(
                    [](const rn::broadcast_receiver<int>& at) -> rn::task<> { (void)co_await at.recv(); },
                    rn::borrow(std::as_const(receives)));
                co_await rn::testing::wait_until_all_tasks_wait();
                receives.reset();
                (void)co_await tasks.join();
            });
        },
        "a receiver ends while it is waited for"));
}
