// A limit, a sleep or a cancel that comes in the very moment in which a receive or a send happens, a great many times
// on real threads: nothing is lost, and nothing comes twice.
//
// So that it is a race, the other side pauses before each of its acts, for a random time whose mean follows what
// happened: longer when it came in time, shorter when it was late. Each test checks that both happened often.
#include <doctest/doctest.h>
#include <runnel/channel.hpp>
#include <runnel/context.hpp>
#include <runnel/select.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "support/counted.hpp"
#include "support/level.hpp"
#include "support/runtimes.hpp"
#include "support/watchdog.hpp"
#include "tasks.hpp"

using namespace std::chrono_literals;
using namespace support;

namespace {

using item = counted_move_only;

constexpr unsigned other_side = 0;  // the worker that has it for itself: on the same there would be no race

/// How long the other side pauses, and how often it came in time.
class pace {
public:
    void in_time() {
        ++in_time_;
        follow(spins_ / 8 + 1);
    }
    void late() {
        ++late_;
        follow(-spins_ / 8);
    }
    /// Keeps its thread for a while: a sleep would end in steps of a timer.
    void pause(std::minstd_rand& random) const {
        const int spins = static_cast<int>(random() % static_cast<unsigned>(2 * spins_ + 1));
        for (volatile int i = 0; i < spins;) i = i + 1;
    }
    long rounds() const { return in_time_ + late_; }

    void report(const char* what) const {
        const long in_time = in_time_;
        const long late = late_;
        MESSAGE(std::string(what) << ": " << in_time << " in time, " << late << " late");
        CHECK(in_time > rounds() / 20);
        CHECK(late > rounds() / 20);
    }

private:
    void follow(int change) { spins_ = std::clamp(spins_ + change, 1, 1'000'000); }

    std::atomic<int> spins_{100};
    std::atomic<long> in_time_{0};
    std::atomic<long> late_{0};
};

/// What a test needs, and what it found.
struct race {
    explicit race(std::size_t room) : c(room) {}
    rn::channel<item> c;
    pace pauses;
    long rounds = scaled(20'000L, 1'000'000L);
    std::atomic<bool> over{false};
    std::atomic<int> sent{0};
    std::atomic<long> vanished{0};  // the value of a send that did not happen was not the caller's any more
    std::vector<std::vector<int>> had;  // by each receiver

    bool goes_on() const { return pauses.rounds() < rounds; }

    void check(const char* what) {
        for (auto rest = c.try_recv(); rest; rest = c.try_recv()) had.push_back({rest->value()});
        std::vector<int> all;
        for (const auto& each : had) {
            CHECK(std::is_sorted(each.begin(), each.end()));  // there is one sender
            all.insert(all.end(), each.begin(), each.end());
        }
        std::sort(all.begin(), all.end());
        REQUIRE(all.size() == static_cast<std::size_t>(sent));
        for (std::size_t i = 0; i < all.size(); ++i) REQUIRE(all[i] == static_cast<int>(i));
        CHECK(vanished == 0);
        pauses.report(what);
    }
};

// --- The sides ---------------------------------------------------------------------------------------------

/// Sends 0, 1, … at random moments until the receivers have had enough.
rn::task<> send_at_random(race* on) {
    co_await move_to(other_side);
    std::minstd_rand random(1);
    for (int i = 0; !on->over; ++i) {
        on->pauses.pause(random);
        item next(i);
        const auto sent = co_await on->c.send(std::move(next));
        if (!sent) break;
        ++on->sent;
        if (i % 16 == 0) (void)co_await rn::yield();
    }
}

/// Gives a random limit that is over before long.
std::chrono::microseconds tiny(std::minstd_rand& random) { return std::chrono::microseconds(random() % 8); }

/// A receiver of the race by one of the ways below.
template <class Receive>
rn::task<> receive_in_time(race* on, std::vector<int>* had, unsigned worker, Receive receive) {
    co_await move_to(worker);
    std::minstd_rand random(worker);
    while (on->goes_on()) {
        const std::optional<item> got = co_await receive(on, &random);
        if (got) had->push_back(got->value());
        got ? on->pauses.in_time() : on->pauses.late();
    }
}

/// Races `receivers` of them with one sender.
template <class Receive>
rn::task<> race_of_receives(race* on, Receive receive) {
    constexpr std::size_t receivers = 2;
    on->had.resize(receivers);
    rn::task_set sender;
    sender.spawn(send_at_random, on);
    rn::task_set all;
    for (unsigned i = 0; i < receivers; ++i)
        all.spawn(receive_in_time<Receive>, on, &on->had[i], i + 1, receive);
    CHECK(co_await all.join());
    on->over = true;
    on->c.close();
    CHECK(co_await sender.join());
}

template <class Receive>
void test_receives(const char* what, Receive receive) {
    watchdog::instance().allow(10 * watchdog::limit());
    for (const std::size_t room : {0U, 1U}) {
        item::reset();
        {
            race on(room);
            on_workers(3, race_of_receives<Receive>, &on, receive);
            on.check(what);
        }
        CHECK(item::live() == 0);
        CHECK(item::errors() == 0);
    }
}

std::optional<item> value_of(rn::result<item> got) {
    if (got) return std::optional<item>(*std::move(got));
    return std::nullopt;
}
}

TEST_CASE("timeouts: a limit that races a receive loses no value") {
    test_receives("receive", [](race* on, std::minstd_rand* random) -> rn::task<std::optional<item>> {
        auto got = co_await rn::with_timeout(tiny(*random), on->c.recv());
        CHECK((got || got.error() == rn::errc::timed_out));
        co_return value_of(std::move(got));
    });
}

TEST_CASE("timeouts: a sleep that races a receive in a select loses no value") {
    test_receives("select", [](race* on, std::minstd_rand* random) -> rn::task<std::optional<item>> {
        auto won = co_await rn::select(on->c.recv(), rn::sleep_for(tiny(*random)));
        CHECK(won);
        if (won.index() == 0) co_return value_of(won.take<0>());
        co_return std::nullopt;
    });
}

namespace {

/// A plain thread that cancels what it is given, at random moments.
class canceller {
public:
    canceller() : thread_([this] { run(); }) {}
    ~canceller() {
        over_ = true;
        thread_.join();
    }
    void soon(const rn::cancel_function& cancel) {
        const std::lock_guard guard(mutex_);
        next_.push_back(cancel);
        waiting_.store(true);
    }

private:
    void run() {
        std::minstd_rand random(1);
        while (!over_) {
            std::vector<rn::cancel_function> now;
            if (waiting_.exchange(false)) {
                const std::lock_guard guard(mutex_);
                now.swap(next_);
            } else {
                std::this_thread::yield();
            }
            for (const auto& each : now) {
                const auto when = std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 40);
                while (std::chrono::steady_clock::now() < when) {}
                each();
            }
        }
    }

    std::mutex mutex_;
    std::vector<rn::cancel_function> next_;
    std::atomic<bool> waiting_{false};
    std::atomic<bool> over_{false};
    std::thread thread_;
};
}

TEST_CASE("timeouts: a cancel from another thread that races a receive loses no value") {
    canceller other;
    test_receives("cancel", [&other](race* on, std::minstd_rand*) -> rn::task<std::optional<item>> {
        auto [ctx, cancel] = rn::with_cancel(rn::background());
        other.soon(cancel);
        auto got = co_await rn::with_context(ctx, on->c.recv());
        CHECK((got || got.error() == rn::errc::cancelled));
        co_return value_of(std::move(got));
    });
}

// --- The other direction -----------------------------------------------------------------------------------

namespace {

rn::task<> receive_at_random(race* on, std::vector<int>* had) {
    co_await move_to(other_side);
    std::minstd_rand random(1);
    for (int i = 0;; ++i) {
        if (i % 16 == 0) (void)co_await rn::yield();
        on->pauses.pause(random);
        auto got = co_await on->c.recv();
        if (!got) break;
        had->push_back(got->value());
    }
}

/// Sends 0, 1, …, each again and again until it is sent in time.
rn::task<> send_in_time(race* on) {
    co_await move_to(1);
    std::minstd_rand random(2);
    for (int i = 0; on->goes_on(); ++i) {
        item mine(i);
        bool sent = false;
        while (!sent && on->goes_on()) {
            const auto limit = tiny(random);
            if (random() % 2 == 0) {
                const auto how = co_await rn::with_timeout(limit, on->c.send(rn::from(mine)));
                CHECK((how || how.error() == rn::errc::timed_out));
                sent = how.has_value();
            } else {
                auto won = co_await rn::select(rn::sleep_for(limit), on->c.send(rn::from(mine)));
                CHECK(won);
                sent = won.index() == 1 && won.get<1>();
            }
            sent ? on->pauses.in_time() : on->pauses.late();
            if (mine.value() != (sent ? item::moved_from : i)) ++on->vanished;
        }
        if (sent) ++on->sent;
    }
}

rn::task<> race_of_sends(race* on) {
    on->had.resize(1);
    rn::task_set receiver;
    receiver.spawn(receive_at_random, on, &on->had[0]);
    rn::task_set sender;
    sender.spawn(send_in_time, on);
    CHECK(co_await sender.join());
    on->c.close();
    CHECK(co_await receiver.join());
}
}

TEST_CASE("timeouts: a limit or a sleep that races a send leaves the value with the caller or sends it") {
    watchdog::instance().allow(10 * watchdog::limit());
    for (const std::size_t room : {0U, 1U}) {
        item::reset();
        {
            race on(room);
            on_workers(3, race_of_sends, &on);
            on.check("send");
        }
        CHECK(item::live() == 0);
        CHECK(item::errors() == 0);
    }
}
