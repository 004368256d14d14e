// Broadcasts on several workers: whatever ends the waits, each receiver gets what its kind promises, all receivers
// have the same order, and every value that was not sent is still the sender's.
#include <doctest/doctest.h>
#include <runnel/broadcast.hpp>
#include <runnel/select.hpp>
#include <runnel/time.hpp>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "support/counted.hpp"
#include "support/level.hpp"
#include "tasks.hpp"

using namespace std::chrono_literals;
using namespace support;
using rn::slow_receiver;

namespace {

/// Plain members on purpose: TSan reports it if what a sender wrote is not visible to who copies it.
struct item {
    int from = 0;
    int number = 0;
    counted alive;
    item(int sender, int n) noexcept : from(sender), number(n), alive(n) {}
};
using items_sender = rn::broadcast_sender<item>;
using items_receiver = rn::broadcast_receiver<item>;

/// What all tasks of a test have in common.
struct totals {
    const rn::channel<int> other = rn::channel<int>(1);  // only selected on
    std::atomic<long> sent{0}, kept{0}, vanished{0}, wrong{0};
    std::atomic<long> quick_receivers{0};
};

/// Sends `count` items in one of three ways; notes for each whether it was sent, or is still here.
rn::task<> produce(items_sender out, int me, int count, totals* sums) {
    for (int i = 0; i < count; ++i) {
        item mine(me, i);
        bool sent = false;
        switch ((me + i) % 3) {
            case 0: {
                auto end = co_await out.send(rn::from(mine));
                sent = end.has_value();
                break;
            }
            case 1: {
                auto end = co_await rn::with_timeout(0ms, out.send(rn::from(mine)));
                sent = end.has_value();
                break;
            }
            case 2: {
                auto won = co_await rn::select(out.send(rn::from(mine)), sums->other.recv());
                sent = won && won.index() == 0 && won.get<0>();
                break;
            }
        }
        ++(sent ? sums->sent : sums->kept);
        if (sent != (mine.alive.value() == counted::moved_from)) ++sums->vanished;
    }
}

struct account {
    long had = 0, missed = 0;
    std::vector<std::pair<int, int>> all;
    std::error_code end;
};

/// Receives until it is closed, in one of three ways; a sender's items must come in its order.
rn::task<account> consume(items_receiver in, int me, totals* sums) {
    account mine;
    std::map<int, int> last;
    for (int i = 0;; ++i) {
        rn::received<item> got = rn::errc::empty;
        switch ((me + i) % 3) {
            case 0:
                got = co_await in.recv();
                break;
            case 1:
                got = co_await rn::with_timeout(0ms, in.recv());
                break;
            case 2: {
                auto won = co_await rn::select(in.recv(), sums->other.recv());
                if (won && won.index() == 0) got = won.take<0>();
                break;
            }
        }
        if (!got && (got.error() == rn::errc::timed_out || got.error() == rn::errc::empty)) continue;
        if (!got) {
            mine.end = got.error();
            break;
        }
        ++mine.had;
        mine.missed += static_cast<long>(got.missed());
        mine.all.emplace_back(got->from, got->number);
        auto [before, first] = last.try_emplace(got->from, -1);
        if (got->number <= before->second) ++sums->wrong;
        before->second = got->number;
    }
    if (mine.missed != static_cast<long>(in.missed())) ++sums->wrong;
    co_return mine;
}

/// Is `part` what is left of `whole` when some are left out?
bool is_part_of(const account& part, const account& whole) {
    std::size_t at = 0;
    for (const auto& each : part.all) {
        while (at < whole.all.size() && whole.all[at] != each) ++at;
        if (at++ == whole.all.size()) return false;
    }
    return true;
}

void check_promise(slow_receiver how, const account& mine, const account& whole) {
    CAPTURE(static_cast<int>(how));
    CHECK(is_part_of(mine, whole));
    if (how == slow_receiver::wait) CHECK(mine.all == whole.all);
    if (how == slow_receiver::latest) CHECK(mine.all.back() == whole.all.back());
    if (how == slow_receiver::disconnect) {
        const bool all = mine.end == rn::errc::closed;
        CHECK(mine.missed == 0);
        CHECK((all ? mine.had == whole.had : mine.end == rn::errc::lagged));
        CHECK(std::equal(mine.all.begin(), mine.all.end(), whole.all.begin()));
    } else {
        CHECK(mine.had + mine.missed == whole.had);
        CHECK(mine.end == rn::errc::closed);
    }
}

rn::task<> traffic(std::size_t capacity, int count, totals* sums) {
    auto [out, in] = rn::make_broadcast<item>(capacity, slow_receiver::wait);
    std::vector<rn::join_handle<account>> ends;
    const slow_receiver kinds[] = {slow_receiver::wait, slow_receiver::lag, slow_receiver::latest,
                                   slow_receiver::disconnect};
    int me = 0;
    for (const slow_receiver how : kinds) {
        ends.push_back(rn::go(consume, out.subscribe(how), me++, sums));
        ends.push_back(rn::go(consume, out.subscribe(how), me++, sums));
    }
    auto reference = rn::go(consume, std::move(in), 0, sums);
    rn::task_set producers;
    for (int i = 0; i < 3; ++i) producers.spawn(produce, out.share(), i, count, sums);
    (void)co_await producers.join();
    out.reset();
    const auto whole = co_await reference;
    CHECK(whole->had == sums->sent);
    CHECK(whole->missed == 0);
    CHECK(whole->end == rn::errc::closed);
    for (std::size_t i = 0; i < ends.size(); ++i) {
        const auto mine = co_await ends[i];
        check_promise(kinds[i / 2], *mine, *whole);
    }
}

TEST_CASE("stress: each kind of receiver of a broadcast gets what it was promised whatever ends the waits") {
    for (const std::size_t capacity : {1U, 2U, 16U}) {
        CAPTURE(capacity);
        counted::reset();
        totals sums;
        const int count = scaled(700, 30'000);
        on_workers(3, traffic, capacity, count, &sums);
        CHECK(sums.sent + sums.kept == 3L * count);
        CHECK(sums.vanished == 0);
        CHECK(sums.wrong == 0);
        CHECK(counted::live() == 0);
        CHECK(counted::errors() == 0);
    }
}

rn::task<> come_and_go(const items_sender& out, int rounds, int me, totals* sums) {
    for (int i = 0; i < rounds; ++i) {
        auto in = out.subscribe(static_cast<slow_receiver>((me + i) % 4),
                                rn::replay(static_cast<std::size_t>(i % 3)));
        auto twin = in.share();
        std::map<int, int> last;
        for (int k = 0; k < i % 5; ++k) {
            auto got = co_await rn::with_timeout(1ms, in.recv());
            if (!got) continue;
            auto [before, first] = last.try_emplace(got->from, -1);
            if (got->number <= before->second) ++sums->wrong;
            before->second = got->number;
        }
        if (i % 7 == 0) twin.close();
        if (i % 3 == 0) (void)co_await rn::with_timeout(0ms, twin.recv());
        ++sums->quick_receivers;
    }
}

TEST_CASE("stress: receivers come and go while senders send and nobody is waited for in vain") {
    for (int round = 0; round < scaled(20, 1'000); ++round) {
        CAPTURE(round);
        counted::reset();
        totals sums;
        on_workers(
            3,
            [](std::size_t capacity, totals* all) -> rn::task<> {
                auto [out, in] = rn::make_broadcast<item>(capacity);
                rn::task_set guests;
                for (int i = 0; i < 4; ++i)
                    guests.spawn(come_and_go, rn::borrow(std::as_const(out)), 30, i, all);
                rn::task_set senders;
                for (int i = 0; i < 2; ++i) senders.spawn(produce, out.share(), i, 300, all);
                (void)co_await senders.join();
                (void)co_await guests.join();
            },
            static_cast<std::size_t>(1 + round % 3), &sums);
        CHECK(sums.quick_receivers == 120);
        CHECK(sums.sent + sums.kept == 600);
        CHECK(sums.vanished == 0);
        CHECK(sums.wrong == 0);
        CHECK(counted::live() == 0);
        CHECK(counted::errors() == 0);
    }
}

TEST_CASE("stress: a close in the middle of a broadcast wakes all and what was sent is received") {
    for (int round = 0; round < scaled(100, 5'000); ++round) {
        CAPTURE(round);
        std::atomic<long> sent{0};
        std::atomic<long> received{0};
        on_workers(
            3,
            [](int n, std::atomic<long>* s, std::atomic<long>* r) -> rn::task<> {
                auto [out, in] =
                    rn::make_broadcast<int>(static_cast<std::size_t>(1 + n % 4), slow_receiver::wait);
                rn::task_set tasks;
                for (int i = 0; i < 3; ++i) {
                    tasks.spawn(
                        [](rn::broadcast_sender<int> to, std::atomic<long>* sum) -> rn::task<> {
                            for (;;) {
                                auto end = co_await to.send(1);
                                if (!end) co_return;
                                ++*sum;
                            }
                        },
                        out.share(), s);
                    tasks.spawn(
                        [](rn::broadcast_receiver<int> from, std::atomic<long>* sum) -> rn::task<> {
                            while (auto got = co_await from.recv()) *sum += *got;
                        },
                        in.share(), r);
                }
                in.reset();
                for (int i = 0; i < n % 7; ++i) (void)co_await rn::yield();
                CHECK(out.close());
                (void)co_await tasks.join();
            },
            round, &sent, &received);
        CHECK(received == 3 * sent);
    }
}

TEST_CASE("stress: a broadcast may go in the moment in which the last that waited has returned") {
    rn::runtime runtime(rn::options().workers(3).driver(rn::driver_kind::none));
    for (int round = 0; round < scaled(300, 20'000); ++round) {
        auto [out, in] = rn::make_broadcast<int>(1, slow_receiver::wait);
        std::vector<rn::join_handle<int>> waits;
        for (int i = 0; i < 2; ++i)
            waits.push_back(runtime.spawn(
                [](rn::broadcast_receiver<int> from) -> rn::task<int> {
                    auto first = co_await from.recv();
                    auto second = co_await from.recv();
                    co_return first.value_or(-1) + second.value_or(-1);
                },
                in.share()));
        in.reset();
        auto sends = runtime.spawn(
            [](rn::broadcast_sender<int> to) -> rn::task<> {
                CHECK(co_await to.send(1));
                CHECK(co_await to.send(2));
            },
            std::move(out));
        for (auto& each : waits) CHECK(each.wait().value() == 3);
        CHECK(sends.wait());
    }
}

TEST_CASE("stress: plain threads broadcast and receive beside tasks") {
    rn::runtime runtime(rn::options().workers(2).driver(rn::driver_kind::none));
    auto [out, in] = rn::make_broadcast<std::vector<int>>(3, slow_receiver::wait);
    const int count = scaled(1'000, 100'000);
    auto task = runtime.spawn(
        [](rn::broadcast_receiver<std::vector<int>> from) -> rn::task<long> {
            long sum = 0;
            while (auto got = co_await from.recv()) sum += got->at(0);
            co_return sum;
        },
        in.share());
    std::vector<std::thread> threads;
    std::atomic<long> had{0};
    for (int t = 0; t < 2; ++t)
        threads.emplace_back([end = out.share(), count] {
            for (int i = 1; i <= count; ++i)
                while (!end.try_send(std::vector<int>{i})) std::this_thread::yield();
        });
    threads.emplace_back([end = std::move(in), &had] {
        for (;;) {
            auto got = end.try_recv();
            if (got) had += got->at(0);
            if (!got && got.error() != rn::errc::empty) break;
            if (!got) std::this_thread::yield();
        }
    });
    out.reset();
    for (int t = 0; t < 2; ++t) threads[static_cast<std::size_t>(t)].join();
    threads.erase(threads.begin(), threads.begin() + 2);
    threads[0].join();
    threads.clear();
    CHECK(task.wait().value() == 1L * count * (count + 1));
    CHECK(had == 1L * count * (count + 1));
}
}
