// The trace: turns of tasks, the wake-ups that caused them and the waits between, as events and as a page.
#include "runnel/trace.hpp"

#include <doctest/doctest.h>
#include <runnel/context.hpp>
#include <runnel/detail/tracing.hpp>
#include <runnel/fork.hpp>
#include <runnel/label.hpp>
#include <runnel/runtime.hpp>
#include <runnel/scope.hpp>
#include <runnel/sync.hpp>
#include <runnel/testing.hpp>
#include <runnel/time.hpp>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "runtime/runtime_core.hpp"
#include "runtime/task_names.hpp"
#include "runtime/trace_ring.hpp"
#include "support/level.hpp"
#include "support/runtimes.hpp"

namespace rn = runnel;
using rn::detail::trace_event;
using rn::detail::trace_kind;
using rn::detail::trace_ring;

namespace {

int count(const std::string& text, const std::string& part) {
    int found = 0;
    for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; ++at) ++found;
    return found;
}

/// What has been noted, of all workers; of one worker in its order. Called by a task.
std::vector<trace_event> events() {
    std::vector<trace_event> all;
    for (const auto& worker : rn::detail::current_runtime().workers) {
        const auto some = worker->trace_events();
        all.insert(all.end(), some.begin(), some.end());
    }
    return all;
}

std::vector<trace_event> of_kind(trace_kind kind, std::uint64_t task) {
    std::vector<trace_event> found;
    for (const trace_event& event : events())
        if (event.kind == kind && event.task == task) found.push_back(event);
    return found;
}

auto turns_after_a_wait(std::uint64_t task) {
    auto turns = of_kind(trace_kind::turn_begins, task);
    std::erase_if(turns, [](const trace_event& turn) { return turn.wait == 0; });
    return turns;
}

std::uint64_t my_number() { return rn::detail::running_task().id; }

trace_event numbered(std::uint64_t number) {
    trace_event event;
    event.kind = trace_kind::wake;
    event.time = static_cast<rn::detail::nanoseconds_t>(number);
    event.task = event.wait = event.object = number;
    return event;
}

TEST_CASE("trace: a ring keeps its newest events, and forgets when told to") {
    trace_ring ring(4);
    for (std::uint64_t i = 0; i < 10; ++i) ring.add(numbered(i));
    const auto kept = ring.read();  // not the one that a writer might be about to overwrite
    REQUIRE(kept.size() == 3);
    CHECK(kept.front().task == 7);
    CHECK(kept.back().task == 9);
    ring.forget();
    CHECK(ring.read().empty());
}

TEST_CASE("trace: an event comes out of the ring as it went in") {
    trace_ring ring(4);
    trace_event in{trace_kind::wait,
                   -1,
                   (std::uint64_t{1} << 52) - 1,
                   (std::uint64_t{1} << 44) - 1,
                   4095,
                   ~std::uint64_t{0},
                   "to receive",
                   "jobs",
                   std::source_location::current(),
                   -5};
    ring.add(in);
    const trace_event out = ring.read().at(0);
    CHECK(out.kind == in.kind);
    CHECK(out.time == in.time);
    CHECK(out.task == in.task);
    CHECK(out.wait == in.wait);
    CHECK(out.name == in.name);
    CHECK(out.object == in.object);
    CHECK(out.what == in.what);
    CHECK(out.label == in.label);
    CHECK(out.made_at.line() == in.made_at.line());
    CHECK(out.value == in.value);
}

TEST_CASE("trace: who reads while events are added gets whole ones, in order") {
    trace_ring ring(1024);
    std::atomic<bool> over{false};
    std::thread writer([&] {
        for (std::uint64_t i = 1; !over; ++i) ring.add(numbered(i));
    });
    for (std::size_t seen = 0; seen < support::scaled(50'000U, 5'000'000U);) {
        std::uint64_t last = 0;
        for (const trace_event& event : ring.read()) {
            ++seen;
            REQUIRE(event.task == event.wait);
            REQUIRE(event.task == event.object);
            REQUIRE(event.task == static_cast<std::uint64_t>(event.time));
            REQUIRE((last == 0 || event.task == last + 1));
            last = event.task;
        }
    }
    over = true;
    writer.join();
}

TEST_CASE("trace: who reads while it begins anew gets what has come since or nothing") {
    trace_ring ring(2);
    std::atomic<bool> begun{false}, over{false};
    std::thread writer([&] {
        for (std::uint64_t i = 1; !over; ++i) {
            ring.add(numbered(i));
            ring.forget();
            begun = true;
        }
    });
    while (!begun) std::this_thread::yield();
    CHECK_NOTHROW([&] {
        for (int i = 0; i < support::scaled(1'500'000, 20'000'000); ++i) (void)ring.read();
    }());
    over = true;
    writer.join();
}

TEST_CASE("trace: a span per turn, and an arrow from each wake-up to the turn that it caused") {
    std::string json;
    support::run_on(1, [&]() -> rn::task<> {
        rn::trace::start(1000);
        rn::event set;
        auto waiter = rn::go([](rn::event& e) -> rn::task<> { co_await e.wait(); }, rn::borrow(set));
        co_await rn::yield();
        set.set();
        co_await waiter;
        rn::trace::stop();
        co_await rn::yield();
        json = rn::trace::to_json();
    });
    CAPTURE(json);
    CHECK(count(json, "\"ph\":\"X\"") >= 3);
    CHECK(count(json, "\"ph\":\"s\"") >= 1);
    CHECK(count(json, "\"ph\":\"s\"") == count(json, "\"ph\":\"f\""));
    CHECK(count(json, "\"thread_name\"") == 1);
    CHECK(count(json, "{") == count(json, "}"));
}

TEST_CASE("trace: off, nothing is written; started anew, what was there is forgotten") {
    support::run_on(2, []() -> rn::task<> {
        CHECK(count(rn::trace::to_json(), "\"ph\":\"X\"") == 0);
        rn::trace::start(100);
        co_await rn::yield();
        co_await rn::yield();
        CHECK(count(rn::trace::to_json(), "\"ph\":\"X\"") >= 1);
        rn::trace::stop();
        rn::trace::start(100);
        rn::trace::stop();
        CHECK(count(rn::trace::to_json(), "\"ph\":\"X\"") == 1);  // the turn that began it
    });
}

TEST_CASE("trace: into a file, or the error that the system gives") {
    support::run_on(1, []() -> rn::task<> {
        rn::trace::start(100);
        co_await rn::yield();
        const std::string path = "trace_test.json";
        CHECK(rn::trace::write(path));
        std::ifstream file(path);
        std::stringstream text;
        text << file.rdbuf();
        CHECK(text.str().starts_with("{\"displayTimeUnit\""));
        CHECK(text.str().ends_with("]}\n"));
        std::remove(path.c_str());
        CHECK(rn::trace::write("/no/such/folder/trace.json").error() == std::errc::no_such_file_or_directory);
    });
}

// --- Arrows ----------------------------------------------------------------------------------------

using way = rn::task<> (*)();

/// Waits for `set`, then gives way in the way that it is told to.
rn::task<std::uint64_t> wait_and(rn::event& set, way give_way) {
    co_await set.wait();
    co_await give_way();
    co_await give_way();
    co_return my_number();
}

rn::task<> nothing() { co_return; }
rn::task<> give_way_once() { co_await rn::yield(); }

/// The wake-ups, and the turns that say that they follow one, of a task that waited once and gave way twice.
void check_one_arrow(way give_way) {
    support::run_on(1, [&]() -> rn::task<> {
        rn::trace::start(10'000);
        rn::event set;
        auto waiter = rn::go(wait_and, rn::borrow(set), give_way);
        co_await rn::yield();
        set.set();
        const std::uint64_t number = (co_await waiter).value();
        CHECK(of_kind(trace_kind::turn_begins, number).size() >= 4);
        CHECK(of_kind(trace_kind::wake, number).size() == 1);
        CHECK(turns_after_a_wait(number).size() == 1);
    });
}

TEST_CASE("trace: no arrow leads to a task that has only given way") {
    check_one_arrow([]() -> rn::task<> { co_await rn::yield(); });
}

TEST_CASE("trace: no arrow leads to a task whose budget was used up by what was ready at once") {
    check_one_arrow([]() -> rn::task<> {
        rn::event open;
        open.set();
        for (int i = 0; i < rn::detail::budget_per_resumption; ++i) co_await open.wait();
    });
}

TEST_CASE("trace: no arrow leads to a task whose budget was used up by calls of other coroutines") {
    check_one_arrow([]() -> rn::task<> {
        for (int i = 0; i < rn::detail::budget_per_resumption; ++i) co_await nothing();
    });
}

TEST_CASE("trace: no arrow leads to a task whose branches have ended") {
    check_one_arrow([]() -> rn::task<> { co_await rn::when_all(give_way_once(), give_way_once()); });
}

TEST_CASE("trace: each wait has one arrow at most also when a branch has left a scope") {
    support::run_on(1, []() -> rn::task<> {
        const auto leave = []() -> rn::task<> {
            rn::scope left;
            left.spawn(
                []() -> rn::task<> { co_await rn::shielded(rn::sleep_for(std::chrono::milliseconds(2))); });
            co_await rn::sleep_for(std::chrono::milliseconds(1));
        };
        rn::trace::start(10'000);
        co_await rn::when_all(leave(), leave());
        co_await rn::yield();
        std::set<std::tuple<trace_kind, std::uint64_t, std::uint64_t>> seen;
        for (const trace_event& event : events()) {
            if (event.wait == 0 || event.kind == trace_kind::wait) continue;
            CHECK(seen.insert({event.kind, event.task, event.wait}).second);
        }
        CHECK(seen.size() >= 8);
    });
}

TEST_CASE("trace: no arrow leads to a new task where one was that had been woken") {
    support::run_on(1, []() -> rn::task<> {
        const auto wait = [](rn::event& e) -> rn::task<const void*> {
            co_await e.wait();
            co_return &rn::detail::running_task();
        };
        rn::event set;
        auto first = rn::go(wait, rn::borrow(set));
        co_await rn::yield();
        set.set();
        const void* const block = (co_await first).value();
        first = {};
        rn::trace::start(1000);
        const auto ask = []() -> rn::task<std::pair<const void*, std::uint64_t>> {
            co_return {&rn::detail::running_task(), my_number()};
        };
        auto second = rn::go(ask);
        const auto [same, number] = (co_await second).value();
        REQUIRE(same == block);
        CHECK(of_kind(trace_kind::wake, number).empty());
        CHECK(turns_after_a_wait(number).empty());
    });
}

TEST_CASE("trace: begun by one worker it is written by others that run meanwhile") {
    // Nothing but the trace may order what they do after what start() did: ThreadSanitizer looks at that.
    std::atomic<int> there{0};
    const auto run = [&](unsigned worker) -> rn::task<> {
        co_await support::move_to(worker);
        while (rn::detail::traced()) co_await rn::yield();  // until it is seen that the last one has ended
        there.fetch_add(1, std::memory_order_relaxed);
        while (!rn::detail::traced()) co_await rn::yield();
        co_await rn::yield();
    };
    support::run_on(3, [&]() -> rn::task<> {
        co_await support::move_to(0);
        for (const std::size_t size : {std::size_t{100}, std::size_t{100}, std::size_t{1000}}) {
            there = 0;
            auto one = rn::go(run, 1U);
            auto two = rn::go(run, 2U);
            while (there.load(std::memory_order_relaxed) < 2) co_await rn::yield();
            rn::trace::start(size);
            co_await one;
            co_await two;
            rn::trace::stop();
            CHECK(events().size() >= 4);
        }
    });
}

// --- Waits -----------------------------------------------------------------------------------------

TEST_CASE("trace: begun again with another room and with the first it takes no memory anew") {
    support::run_on(1, []() -> rn::task<> {
        rn::trace::start(100);
        const trace_ring* const first = rn::detail::tls_worker->traced;
        rn::trace::start(200);
        CHECK(rn::detail::tls_worker->traced->size() == 200);
        rn::trace::start(100);
        CHECK(rn::detail::tls_worker->traced == first);
        CHECK(events().size() == 1);  // that of this turn
        rn::trace::stop();
        co_return;
    });
}

TEST_CASE("trace: one worker stops what another begins just then") {
    support::run_on(2, []() -> rn::task<> {
        std::atomic<bool> stops{false}, over{false};
        auto stopper = rn::go(
            [](std::atomic<bool>& begun, const std::atomic<bool>& enough) -> rn::task<> {
                co_await support::move_to(1);
                begun = true;
                while (!enough) rn::trace::stop();
            },
            rn::borrow(stops), rn::borrow(over));
        co_await support::move_to(0);
        while (!stops) co_await rn::yield();
        for (int i = 0; i < support::scaled(500'000, 5'000'000); ++i) rn::trace::start(2);
        over = true;
        co_await stopper;
        rn::trace::start(100);
        CHECK_FALSE(events().empty());
        rn::trace::stop();
    });
}

TEST_CASE("trace: a wait says for what, also when that is there no more") {
    support::run_on(1, []() -> rn::task<> {
        rn::trace::start(1000);
        const auto here = std::source_location::current();
        auto set = std::make_unique<rn::event>(here);
        set->label("the gate");
        auto waiter = rn::go(
            [](rn::event& e) -> rn::task<std::uint64_t> {
                rn::name_task("patient");
                co_await e.wait();
                co_return my_number();
            },
            rn::borrow(*set));
        co_await rn::yield();
        const rn::detail::wait_object* const object = [&] {
            auto op = set->wait();
            return op.object();
        }();
        set->set();
        const std::uint64_t number = (co_await waiter).value();
        set.reset();
        const auto waits = of_kind(trace_kind::wait, number);
        REQUIRE(waits.size() == 1);
        CHECK(std::string(waits[0].what) == "for an event");
        CHECK(std::string(waits[0].label) == "the gate");
        CHECK(waits[0].made_at.line() == here.line());
        CHECK(waits[0].object == reinterpret_cast<std::uintptr_t>(object));
        CHECK(waits[0].wait == turns_after_a_wait(number).at(0).wait);
        const std::string json = rn::trace::to_json();
        CAPTURE(json);
        const std::string named = "for an event ('the gate' of ";
        CHECK(count(json, "\"waits\":\"" + named) == 1);
        CHECK(count(json, "\"name\":\"" + named) == 2);  // its beginning and its end
        const char* const name =
            rn::detail::name_at(waits[0].name);  // null when a test has used up all names
        const std::string title = (name != nullptr ? "patient " : "task ") + std::to_string(number);
        CHECK(count(json, "\"name\":\"" + title + "\"") >= 3);  // two turns, its time
        CHECK(count(json, "\"name\":\"ready\"") >= 2);
    });
}

TEST_CASE("trace: a wait for several things is one that tells of each") {
    support::run_on(1, []() -> rn::task<> {
        rn::trace::start(1000);
        rn::mutex lock;
        lock.label("the door");
        auto held = lock.try_lock();
        const auto attempt = [](rn::mutex& m) -> rn::task<std::uint64_t> {
            CHECK(!co_await rn::with_timeout(std::chrono::milliseconds(1), m.lock()));
            co_return my_number();
        };
        auto waiter = rn::go(attempt, rn::borrow(lock));
        const std::uint64_t number = (co_await waiter).value();
        const auto waits = of_kind(trace_kind::wait, number);
        REQUIRE(waits.size() == 2);
        CHECK(std::string(waits[0].what) == "for a lock");
        CHECK(waits[0].value == static_cast<std::int64_t>(my_number()));
        CHECK(std::string(waits[1].what) == "for a deadline");
        CHECK(waits[0].wait == waits[1].wait);
        const std::string json = rn::trace::to_json();
        CAPTURE(json);
        CHECK(count(json, "'the door' of ") >= 3);
        CHECK(count(json, ", task " + std::to_string(my_number()) + ") or for a deadline\"") == 3);
        CHECK(count(json, "\"driver and timers\"") >= 1);  // where its wake-up came from
    });
}

// --- Whole pages -----------------------------------------------------------------------------------

TEST_CASE("trace: a ring that has lost the beginning gives arrows with two ends") {
    support::run_on(2, []() -> rn::task<> {
        rn::trace::start(64);
        rn::event there, back;
        const auto answer = [](rn::event& in, rn::event& out) -> rn::task<> {
            for (int i = 0; i < 200; ++i) {
                co_await in.wait();
                in.reset();
                out.set();
            }
        };
        auto other = rn::go(answer, rn::borrow(there), rn::borrow(back));
        for (int i = 0; i < 200; ++i) {
            there.set();
            co_await back.wait();
            back.reset();
        }
        co_await other;
        const std::string json = rn::trace::to_json();
        CAPTURE(json);
        CHECK(count(json, "\"ph\":\"s\"") > 1);
        CHECK(count(json, "\"ph\":\"s\"") == count(json, "\"ph\":\"f\""));
        CHECK(count(json, "\"ph\":\"b\"") == count(json, "\"ph\":\"e\""));
    });
}

rn::task<> traced_sleepers(std::string& json) {
    rn::trace::start(1000);
    rn::event done;
    const auto sleep = [](int ms, rn::event& e) -> rn::task<> {
        rn::name_task("sleeper");
        co_await rn::sleep_for(std::chrono::milliseconds(ms));
        e.set();
    };
    rn::task_set all;
    for (const int ms : {3, 1, 2}) all.spawn(sleep, ms, rn::borrow(done));
    co_await done.wait();
    co_await all.join();
    rn::trace::stop();
    json = rn::trace::to_json();
}

TEST_CASE("trace: a simulated run gives the same page for the same seed") {
    std::string first, second;
    const auto run = [](std::string& json) {
        const auto how = rn::testing::options().seed(7);
        const auto end = rn::testing::simulate(how, [&] { return traced_sleepers(json); });
        CHECK_MESSAGE(end.ok(), end.what());
    };
    run(first);
    run(second);
    CHECK(first == second);
    CAPTURE(first);
    CHECK(count(first, "for a deadline") >= 6);
    CHECK(count(first, "\"ts\":1002000.000") > 0);  // virtual time
}
}
