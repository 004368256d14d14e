// Conservation on several workers: whatever happens to the waits, every value that was sent is received
// once, in its sender's order, and every value that was not sent is still the sender's.
#include <doctest/doctest.h>
#include <runnel/channel.hpp>
#include <runnel/select.hpp>

#include <atomic>
#include <map>
#include <thread>
#include <vector>

#include "support/counted.hpp"
#include "support/level.hpp"
#include "tasks.hpp"

using namespace std::chrono_literals;
using namespace support;

namespace {

struct item {
    int from = 0;
    int number = 0;
    counted_move_only alive;
    item(int sender, int n) noexcept : from(sender), number(n), alive(n) {}
};

struct totals {
    std::atomic<long> sent{0}, kept{0}, received{0}, out_of_order{0}, vanished{0};
};

using items = rn::channel<item>;

/// What a task uses: its own channel, and another that it only selects on.
struct route {
    items main;
    items other;
};

/// Sends `count` items in one of three ways; notes for each whether it was sent, or is still here.
rn::task<> produce(route by, int me, int count, totals* sums) {
    for (int i = 0; i < count; ++i) {
        item mine(me, i);
        bool sent = false;
        switch ((me + i) % 3) {
            case 0:
                sent = static_cast<bool>(co_await by.main.send(rn::from(mine)));
                break;
            case 1:
                sent = static_cast<bool>(co_await rn::with_timeout(0ms, by.main.send(rn::from(mine))));
                break;
            case 2: {
                auto won = co_await rn::select(by.main.send(rn::from(mine)), by.other.recv());
                sent = won && won.index() == 0 && won.get<0>();
                if (won && won.index() == 1 && won.get<1>()) ++sums->received;
                break;
            }
        }
        ++(sent ? sums->sent : sums->kept);
        if (sent != (mine.alive.value() == counted_move_only::moved_from)) ++sums->vanished;
    }
}

/// Receives until the channel is closed, in one of three ways; checks the order of each sender.
rn::task<> consume(route by, int me, totals* sums) {
    std::map<int, int> last;
    for (int i = 0;; ++i) {
        rn::result<item> got = rn::errc::empty;
        switch ((me + i) % 3) {
            case 0:
                got = co_await by.main.recv();
                break;
            case 1:
                got = co_await rn::with_timeout(0ms, by.main.recv());
                break;
            case 2: {
                auto won = co_await rn::select(by.main.recv(), by.other.recv());
                if (won && won.index() == 1 && won.get<1>()) ++sums->received;
                if (won && won.index() == 0) got = won.take<0>();
                break;
            }
        }
        if (!got && got.error() != rn::errc::timed_out && got.error() != rn::errc::empty) break;
        if (!got) continue;
        ++sums->received;
        auto [before, first] = last.try_emplace(got->from, -1);
        if (got->number <= before->second) ++sums->out_of_order;
        before->second = got->number;
    }
}

rn::task<> traffic(std::size_t room, int count, totals* sums) {
    items a(room);
    items b(room / 2);
    const route routes[2] = {{a, b}, {b, a}};
    rn::scope consumers;
    for (int i = 0; i < 4; ++i) consumers.spawn(consume, routes[i % 2], i, sums);
    rn::scope producers;
    for (int i = 0; i < 6; ++i) producers.spawn(produce, routes[i % 2], i, count, sums);
    CHECK(co_await producers.join());
    a.close();
    b.close();
    CHECK(co_await consumers.join());
}
}

TEST_CASE("stress: nothing is lost, doubled or overtaken, whatever ends the waits") {
    for (const std::size_t room : {0U, 1U, 5U}) {
        CAPTURE(room);
        counted_move_only::reset();
        totals sums;
        const int count = scaled(2'000, 100'000);
        on_workers(4, traffic, room, count, &sums);
        CHECK(sums.sent + sums.kept == 6L * count);
        CHECK(sums.received == sums.sent);
        CHECK(sums.out_of_order == 0);
        CHECK(sums.vanished == 0);
        CHECK(counted_move_only::live() == 0);
        CHECK(counted_move_only::errors() == 0);
    }
}

namespace {
rn::task<> send_until_closed(rn::sender<counted> out, std::atomic<long>* sent) {
    for (int i = 0; co_await out.send(counted(i)); ++i) ++*sent;
}
rn::task<> receive_until_closed(rn::receiver<counted> in, std::atomic<long>* received) {
    while (const auto got = co_await in.recv()) ++*received;
}
}

TEST_CASE("stress: a close in the middle of traffic wakes all, and what was sent is received") {
    for (int round = 0; round < scaled(200, 10'000); ++round) {
        CAPTURE(round);
        counted::reset();
        std::atomic<long> sent{0};
        std::atomic<long> received{0};
        on_workers(
            3,
            [](int n, std::atomic<long>* s, std::atomic<long>* r) -> rn::task<> {
                auto [out, in] = rn::make_channel<counted>(static_cast<std::size_t>(n % 4));
                rn::scope tasks;
                for (int i = 0; i < 5; ++i) tasks.spawn(send_until_closed, out.share(), s);
                for (int i = 0; i < 5; ++i) tasks.spawn(receive_until_closed, in.share(), r);
                for (int i = 0; i < n % 7; ++i) (void)co_await rn::yield();
                CHECK((n % 2 ? out.close() : in.close()));
                CHECK(co_await tasks.join());
            },
            round, &sent, &received);
        CHECK(sent == received);
        CHECK(counted::live() == 0);
        CHECK(counted::errors() == 0);
    }
}

TEST_CASE("stress: receivers that go away and senders that go away: both sides always end") {
    for (int round = 0; round < scaled(200, 10'000); ++round) {
        CAPTURE(round);
        counted::reset();
        on_workers(
            3,
            [](int n) -> rn::task<> {
                auto [out, in] = rn::make_channel<counted>(static_cast<std::size_t>(n % 3));
                rn::scope tasks;
                for (int i = 0; i < 4; ++i) {
                    tasks.spawn(
                        [](rn::sender<counted> to, int count) -> rn::task<> {
                            for (int k = 0; k < count; ++k)
                                if (!co_await to.emplace(k)) co_return;
                        },
                        out.share(), n % 2 ? 1'000 : 10);
                    tasks.spawn(
                        [](rn::receiver<counted> from, int count) -> rn::task<> {
                            for (int k = 0; k < count; ++k)
                                if (!co_await from.recv()) co_return;
                        },
                        in.share(), n % 2 ? 10 : 1'000);
                }
                out.reset();
                in.reset();
                CHECK(co_await tasks.join());
            },
            round);
        CHECK(counted::live() == 0);
        CHECK(counted::errors() == 0);
    }
}

TEST_CASE("stress: cancelled waits lose nothing: what was sent is received or still in the channel") {
    for (int round = 0; round < scaled(200, 10'000); ++round) {
        CAPTURE(round);
        std::atomic<long> sent{0};
        std::atomic<long> received{0};
        on_workers(
            3,
            [](std::atomic<long>* s, std::atomic<long>* r) -> rn::task<> {
                rn::channel<int> c(2);
                rn::scope tasks;
                for (int i = 0; i < 4; ++i) {
                    tasks.spawn(
                        [](rn::channel<int> to, std::atomic<long>* n) -> rn::task<> {
                            while (const auto end = co_await to.send(1)) ++*n;
                        },
                        c, s);
                    tasks.spawn(
                        [](rn::channel<int> from, std::atomic<long>* n) -> rn::task<> {
                            while (const auto got = co_await from.recv()) ++*n;
                        },
                        c, r);
                }
                for (int i = 0; i < 20; ++i) (void)co_await rn::yield();
                tasks.cancel();
                (void)co_await tasks.join();
                *r += static_cast<long>(c.len());
            },
            &sent, &received);
        CHECK(sent == received);
    }
}

TEST_CASE("stress: plain threads send and receive beside tasks") {
    rn::runtime runtime(rn::options().workers(2).driver(rn::driver_kind::none));
    auto [out, in] = rn::make_channel<int>(3);
    const int count = scaled(5'000, 500'000);
    auto task = runtime.spawn(
        [](rn::receiver<int> from) -> rn::task<long> {
            long sum = 0;
            while (auto n = co_await from.recv()) sum += *n;
            co_return sum;
        },
        std::move(in));
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t)
        threads.emplace_back([end = out.share(), count] {
            for (int i = 1; i <= count; ++i)
                while (!end.try_send(i)) std::this_thread::yield();
        });
    out.reset();
    for (auto& thread : threads) thread.join();
    threads.clear();
    CHECK(task.wait().value() == 3L * count * (count + 1) / 2);
}
