// Watches: the newest value, and who is told of a change. The rules that Tokio has for its watch are among them,
// each by a test of its own.
#include <doctest/doctest.h>
#include <runnel/dump.hpp>
#include <runnel/select.hpp>
#include <runnel/testing.hpp>
#include <runnel/time.hpp>
#include <runnel/watch.hpp>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/counted.hpp"
#include "support/dies.hpp"
#include "support/level.hpp"
#include "tasks.hpp"

using namespace support;
using namespace std::chrono_literals;

namespace {

const std::error_code broken = std::make_error_code(std::errc::broken_pipe);
using words = std::vector<std::string>;

rn::task<> note_next(const rn::watcher<int>& see, words* seen) {
    auto got = co_await see.next();
    seen->push_back(got ? std::to_string(*got) : got.error().message());
}
rn::task<> note_change(const rn::watcher<int>& see, words* seen) {
    auto changed = co_await see.changed();
    seen->push_back(changed ? "changed" : changed.error().message());
}
}

// --- Values and versions -----------------------------------------------------------------------------

TEST_CASE("watch: the newest value is there for all at any time") {
    auto [set, see] = rn::make_watch<std::string>("first");
    CHECK(see.latest() == "first");
    CHECK(see.version() == 0);
    CHECK(set.send("second"));
    CHECK(set.send(std::string("third")));
    CHECK(see.latest() == "third");
    CHECK(set.latest() == "third");
    CHECK(see.version() == 2);
    CHECK(set.version() == 2);
}

TEST_CASE("watch: the first value counts as seen and so does what was there when a watcher subscribed") {
    auto [set, see] = rn::make_watch(1);
    CHECK(!see.has_changed());
    CHECK(set.send(2));
    CHECK(see.has_changed());
    const auto late = set.subscribe();
    CHECK(!late.has_changed());
    CHECK(late.seen() == 1);
    CHECK(rn::try_select(late.changed()).error() == rn::errc::not_available);
}

TEST_CASE("watch: to look does not mark a value as seen and to catch up does") {
    auto [set, see] = rn::make_watch(1);
    CHECK(set.send(2));
    CHECK(see.latest() == 2);
    CHECK(see.has_changed());
    CHECK(see.catch_up() == 2);
    CHECK(!see.has_changed());
    CHECK(rn::try_select(see.changed()).error() == rn::errc::not_available);
}

TEST_CASE("watch: changed marks the newest and what came between is not seen") {
    on_workers(1, []() -> rn::task<> {
        auto [set, see] = rn::make_watch(1);
        for (int i = 2; i <= 5; ++i) CHECK(set.send(i));
        CHECK(co_await see.changed());
        CHECK(see.seen() == 4);
        CHECK(see.latest() == 5);
        auto again = rn::try_select(see.changed());
        CHECK(!again);
    });
}

TEST_CASE("watch: next gives the very value that it marks whatever is set before its task goes on") {
    on_workers(1, []() -> rn::task<> {
        auto [set, see] = rn::make_watch(1);
        words seen;
        rn::task_set tasks;
        tasks.spawn(note_next, rn::borrow(std::as_const(see)), &seen);
        co_await settle();
        CHECK(set.send(2));  // the task is ready but has not run
        CHECK(set.send(3));
        CHECK(see.has_changed());
        (void)co_await tasks.join();
        CHECK(seen == words{"2"});
        CHECK((co_await see.next()).value() == 3);
    });
}

TEST_CASE("watch: each watcher has seen what it has seen and one that is shared what the other had") {
    auto [set, see] = rn::make_watch(1);
    CHECK(set.send(2));
    const auto twin = see.share();
    CHECK(see.catch_up() == 2);
    CHECK(twin.has_changed());
    const auto second = see.share();
    CHECK(!second.has_changed());
    CHECK(set.receivers() == 3);
}

TEST_CASE("watch: all who wait go on with one change also those that share a watcher") {
    on_workers(1, []() -> rn::task<> {
        auto [set, see] = rn::make_watch(1);
        const auto other = see.share();
        words seen;
        rn::task_set tasks;
        for (int i = 0; i < 100; ++i) {
            tasks.spawn(note_next, rn::borrow(std::as_const(see)), &seen);
            tasks.spawn(note_change, rn::borrow(other), &seen);
        }
        co_await settle();
        CHECK(set.send(7));
        CHECK(!see.has_changed());
        CHECK(!other.has_changed());
        (void)co_await tasks.join();
        CHECK(std::count(seen.begin(), seen.end(), "7") == 100);
        CHECK(std::count(seen.begin(), seen.end(), "changed") == 100);
    });
}

TEST_CASE("watch: modify works on the newest value and may leave it as it is") {
    auto [set, see] = rn::make_watch<std::vector<int>>({1});
    CHECK(set.modify([](std::vector<int>& now) { now.push_back(2); }));
    CHECK(see.latest() == std::vector<int>{1, 2});
    CHECK(see.catch_up().size() == 2);
    CHECK(set.modify([](std::vector<int>& now) {
        now.clear();
        return false;
    }));
    CHECK(!see.has_changed());
    CHECK(see.latest().size() == 2);
    CHECK(set.modify([](std::vector<int>& now) {
        now.clear();
        return true;
    }));
    CHECK(see.has_changed());
    CHECK_THROWS_AS((void)set.modify([](std::vector<int>&) { throw std::runtime_error("no"); }),
                    std::runtime_error);
    CHECK(see.version() == 2);
}

TEST_CASE("watch: modify runs again when another value came meanwhile and overwrites none") {
    auto [set, see] = rn::make_watch(10);
    int runs = 0;
    CHECK(set.modify([&, &other = set](int& now) {
        if (++runs == 1) CHECK(other.send(100));
        ++now;
    }));
    CHECK(runs == 2);
    CHECK(see.latest() == 101);
}

TEST_CASE("watch: values are set without watchers and die when they are replaced") {
    counted::reset();
    {
        auto [set, see] = rn::make_watch(counted(1));
        see.reset();
        CHECK(set.receivers() == 0);
        for (int i = 2; i < 9; ++i) CHECK(set.send(counted(i)));
        CHECK(counted::live() == 1);
        CHECK(set.subscribe().latest().value() == 8);
    }
    CHECK(counted::live() == 0);
    CHECK(counted::errors() == 0);
}

TEST_CASE("watch: copies and ends of values run without the lock") {
    struct asks_back {  // takes the lock when it is copied and when it dies: would hang under it
        explicit asks_back(rn::watcher<asks_back>* at) : at_(at) {}
        asks_back(asks_back&& other) noexcept : at_(std::exchange(other.at_, nullptr)) {}
        asks_back(const asks_back& other) : at_(other.at_) { ask(); }
        ~asks_back() { ask(); }
        void ask() const {
            if (at_ != nullptr && *at_) (void)at_->version();
        }
        rn::watcher<asks_back>* at_;
    };
    rn::watcher<asks_back> end;
    auto [set, see] = rn::make_watch(asks_back(&end));
    end = see.share();
    CHECK(set.send(asks_back(&end)));
    CHECK(set.modify([](asks_back&) {}));
    CHECK(see.latest().at_ == &end);
    end.reset();
}

// --- How it ends ---------------------------------------------------------------------------------------

TEST_CASE("watch: the last value is seen before its setter is missed") {
    on_workers(1, []() -> rn::task<> {
        auto [set, see] = rn::make_watch(1);
        auto second = set.share();
        CHECK(set.send(2));
        set.reset();
        CHECK(!see.closed());
        second.reset();
        CHECK(see.why() == rn::errc::closed);
        CHECK((co_await see.next()).value() == 2);
        CHECK((co_await see.next()).error() == rn::errc::closed);
        CHECK((co_await see.changed()).error() == rn::errc::closed);
        CHECK(see.latest() == 2);
        CHECK(see.share().latest() == 2);
    });
}

TEST_CASE("watch: close with a cause wakes who waits and refuses what is set later") {
    on_workers(1, []() -> rn::task<> {
        auto [set, see] = rn::make_watch(1);
        words seen;
        rn::task_set tasks;
        for (int i = 0; i < 100; ++i) tasks.spawn(note_change, rn::borrow(std::as_const(see)), &seen);
        co_await settle();
        CHECK(set.close(broken));
        CHECK(!set.close());
        (void)co_await tasks.join();
        CHECK(seen == words(100, broken.message()));
        CHECK(set.send(2).error() == broken);
        CHECK(set.modify([](int& now) { ++now; }).error() == broken);
        CHECK(set.modify([](int&) { return false; }).error() == broken);
        CHECK(see.latest() == 1);
        CHECK(see.version() == 0);
        CHECK(set.why() == broken);
    });
}

TEST_CASE("watch: why tells how the last setter went") {
    auto [fails, failed] = rn::make_watch(1);
    try {
        const auto dies = std::move(fails);
        throw std::runtime_error("no more");
    } catch (const std::runtime_error&) {}
    CHECK(failed.why() == rn::errc::producer_failed);

    on_workers(1, []() -> rn::task<> {
        auto [set, see] = rn::make_watch(1);
        rn::task_set producers;
        producers.spawn([](rn::watch_setter<int>) -> rn::task<> { (void)co_await rn::channel<int>().recv(); },
                        std::move(set));
        co_await settle();
        producers.cancel();
        CHECK((co_await see.next()).error() == rn::errc::producer_cancelled);
        (void)co_await producers.join();
    });
}

// --- Cancellation and select ---------------------------------------------------------------------------

TEST_CASE("watch: a wait that was cancelled has seen nothing and one that was told keeps it") {
    on_workers(1, []() -> rn::task<> {
        auto [set, see] = rn::make_watch(1);
        words seen;
        rn::task_set tasks;
        tasks.spawn(note_next, rn::borrow(std::as_const(see)), &seen);
        co_await settle();
        tasks.cancel();
        CHECK(set.send(2));  // the task has not run yet
        (void)co_await tasks.join();
        CHECK(seen == words{"cancelled"});
        CHECK(see.has_changed());
        CHECK((co_await see.next()).value() == 2);

        rn::task_set others;
        others.spawn(note_next, rn::borrow(std::as_const(see)), &seen);
        co_await settle();
        CHECK(set.send(3));
        others.cancel();
        (void)co_await others.join();
        CHECK(seen.back() == "3");
        CHECK(!see.has_changed());

        rn::task_set refused;
        refused.cancel();
        CHECK(set.send(4));
        refused.spawn(note_next, rn::borrow(std::as_const(see)), &seen);
        (void)co_await refused.join();
        CHECK(seen.back() == "cancelled");
        CHECK(see.has_changed());
    });
}

TEST_CASE("watch: changed and next are cases of a select and a nil watcher is never ready") {
    on_workers(1, []() -> rn::task<> {
        auto [set, see] = rn::make_watch(1);
        auto [set_other, other] = rn::make_watch<std::string>("a");
        auto late =
            co_await rn::select(see.changed(), other.next(), rn::watcher<int>().next(), rn::sleep_for(1ms));
        CHECK(late.index() == 3);
        CHECK(set_other.send("b"));
        auto won = co_await rn::select(see.changed(), other.next(), rn::sleep_for(1h));
        CHECK(won.index() == 1);
        CHECK(won.take<1>().value() == "b");
        auto limited = co_await rn::with_timeout(1ms, see.next());
        CHECK(limited.error() == rn::errc::timed_out);
        CHECK(set.send(2));
        auto twice = co_await rn::select(see.next(), see.changed());
        CHECK(twice.index() < 2);
        CHECK(!see.has_changed());
    });
}

// --- Several threads -----------------------------------------------------------------------------------

TEST_CASE("watch: modifies from several workers and plain threads are all there in the end") {
    const int count = scaled(1'000, 50'000);
    rn::runtime runtime(rn::options().workers(3).driver(rn::driver_kind::none));
    auto [set, see] = rn::make_watch<std::vector<long>>({0, 0});
    const auto add = [](const rn::watch_setter<std::vector<long>>& to, int times) {
        for (int i = 0; i < times; ++i)
            CHECK(to.modify([](std::vector<long>& now) {
                ++now[0];
                ++now[1];
            }));
    };
    std::vector<rn::join_handle<bool>> watchers;
    for (int i = 0; i < 3; ++i)
        watchers.push_back(runtime.spawn(
            [](rn::watcher<std::vector<long>> from) -> rn::task<bool> {
                long last = -1;
                bool in_order = true;
                while (auto now = co_await from.next()) {
                    in_order = in_order && (*now)[0] == (*now)[1] && (*now)[0] > last;
                    last = (*now)[0];
                }
                co_return in_order&& from.latest()[0] == last;
            },
            see.share()));
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i) threads.emplace_back([&add, count, to = set.share()] { add(to, count); });
    auto task = runtime.spawn(
        [](rn::watch_setter<std::vector<long>> to, int times, decltype(add) adds) -> rn::task<> {
            for (int i = 0; i < times; ++i) {
                adds(to, 1);
                (void)co_await rn::yield();
            }
        },
        set.share(), count, add);
    set.reset();
    for (auto& each : threads) each.join();
    threads.clear();
    CHECK(task.wait());
    for (auto& each : watchers) CHECK(each.wait().value());
    CHECK(see.latest()[0] == 3L * count);
}

TEST_CASE("watch: it may go in the moment in which the last that waited has returned") {
    rn::runtime runtime(rn::options().workers(3).driver(rn::driver_kind::none));
    for (int round = 0; round < scaled(500, 20'000); ++round) {
        auto [set, see] = rn::make_watch(1);
        auto waits = runtime.spawn(
            [](rn::watcher<int> from) -> rn::task<int> {
                auto got = co_await from.next();
                co_return got.value_or(-1);
            },
            std::move(see));
        auto sets = runtime.spawn(
            [](rn::watch_setter<int> to) -> rn::task<> {
                CHECK(to.send(2));
                co_return;
            },
            std::move(set));
        CHECK(waits.wait().value() == 2);
        CHECK(sets.wait());
    }
}

TEST_CASE("watch: under any schedule each watcher sees versions that rise and the last one") {
    const auto all = rn::testing::explore(
        rn::testing::options().slow_turns(4), scaled(3'000U, 100'000U), []() -> rn::task<> {
            auto [set, see] = rn::make_watch(0);
            rn::task_set tasks;
            for (int i = 0; i < 2; ++i) {
                tasks.spawn(
                    [](rn::watcher<int> from, std::uint32_t patience) -> rn::task<> {
                        int last = 0;
                        for (;;) {
                            auto got =
                                co_await rn::with_timeout(std::chrono::microseconds(patience), from.next());
                            if (!got && got.error() == rn::errc::timed_out) continue;
                            if (!got) break;
                            rn::testing::expect(*got > last, "an old value came again");
                            last = *got;
                        }
                        rn::testing::expect(last == from.latest(), "the last value was not seen");
                        rn::testing::expect(last == 6, "a modify was lost");
                    },
                    see.share(), 1 + rn::testing::choose(3));
                tasks.spawn(
                    [](rn::watch_setter<int> to) -> rn::task<> {
                        for (int k = 0; k < 3; ++k) {
                            (void)co_await rn::sleep_for(std::chrono::microseconds(rn::testing::choose(3)));
                            rn::testing::expect(to.modify([](int& now) { ++now; }).has_value());
                        }
                    },
                    set.share());
            }
            set.reset();
            auto end = co_await tasks.join();
            rn::testing::expect(end.has_value());
        });
    CHECK_MESSAGE(all.ok(), all.what());
}

// --- Dumps and leaks and misuse ------------------------------------------------------------------------

TEST_CASE("watch: a dump says who waits for a change of what and a leak is told with its place") {
    on_workers(1, []() -> rn::task<> {
        auto [set, see] = rn::make_watch(1);
        see.label("config");
        words seen;
        rn::task_set tasks;
        tasks.spawn(note_next, rn::borrow(std::as_const(see)), &seen);
        co_await settle();
        const std::string dump = rn::dump_tasks();
        CAPTURE(dump);
        CHECK(dump.find("for a change ('config' of watch_test.cpp:") != std::string::npos);
        CHECK(dump.find("1 setter)") != std::string::npos);
        set.reset();
        (void)co_await tasks.join();
    });
    rn::watcher<int> kept;
    const auto run = rn::testing::simulate(rn::testing::options(), [&]() -> rn::task<> {
        auto [set, see] = rn::make_watch(1);
        kept = std::move(see);
        co_return;
    });
    CHECK(run.kind() == rn::testing::failure::leak);
    CHECK(run.what().find("1 channel made at watch_test.cpp:") != std::string::npos);
}

TEST_CASE("watch: ends move and are assigned over and a moved-from one can be assigned to") {
    auto [set, see] = rn::make_watch(1);
    rn::watch_setter<int> moved = std::move(set);
    CHECK(moved);
    CHECK(!see.closed());
    set = moved.share();
    moved = rn::watch_setter<int>();
    CHECK(!see.closed());
    rn::watcher<int> also = std::move(see);
    see = set.subscribe();
    also = rn::watcher<int>();
    CHECK(set.receivers() == 1);
    set.reset();
    CHECK(see.closed());
}

TEST_CASE("watch: misuse is check()ed") {
    auto [set, see] = rn::make_watch(1);
    const auto sets = std::move(set);
    const auto sees = std::move(see);
    CHECK(dies([&end = set] { (void)end.send(1); }, "watch_test.cpp"));
    CHECK(dies([&end = see] { (void)end.latest(); }, "used after it was moved from"));
    CHECK(dies([&end = see] { (void)end.next(); }, "used after it was moved from"));
    CHECK(dies([] { (void)rn::watcher<int>().latest(); }, "this end belongs to no value"));
    CHECK(dies([] { (void)rn::watch_setter<int>().send(1); }, "this end belongs to no value"));
    CHECK(dies(
        [] {
            (void)rn::testing::simulate(rn::testing::options(), []() -> rn::task<> {
                auto [to, from] = rn::make_watch(1);
                rn::task_set tasks;
                tasks.spawn([](const rn::watcher<int>& at) -> rn::task<> { (void)co_await at.changed(); },
                            rn::borrow(std::as_const(from)));
                co_await rn::testing::wait_until_all_tasks_wait();
                from.reset();
                (void)co_await tasks.join();
            });
        },
        "a watcher ends while it is waited for"));
}
