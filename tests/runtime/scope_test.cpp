// Tasks that belong together: they end before join() returns, and one that fails ends the others.
#include <doctest/doctest.h>
#include <runnel/fork.hpp>
#include <runnel/scope.hpp>
#include <runnel/sync.hpp>
#include <runnel/testing.hpp>

#include <atomic>
#include <memory>
#include <new>
#include <source_location>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/child.hpp"
#include "support/counted.hpp"
#include "support/level.hpp"
#include "support/runtimes.hpp"
#include "support/scarce_memory.hpp"
#include "support/virtual_time.hpp"

namespace rn = runnel;
using namespace std::chrono_literals;
using support::counted;
using support::in_virtual_time;
using support::run_on;

namespace {

rn::task<> adds(std::atomic<int>& sum, int n) {
    co_await rn::yield();
    sum += n;
}
rn::task<rn::result<>> waits(rn::event& door, std::atomic<int>& ended) {
    const auto got = co_await door.wait();
    ++ended;
    co_return got;
}
rn::task<> throws(std::string what) {
    co_await rn::yield();
    throw std::runtime_error(what);
}
rn::task<rn::result<>> refuses(rn::errc why) {
    co_await rn::yield();
    co_return why;
}

TEST_CASE("scope: join() returns when all children have ended") {
    std::atomic<int> sum{0};
    run_on(2, [&]() -> rn::task<> {
        rn::scope s;
        for (int i = 1; i <= 100; ++i) s.spawn(adds, rn::borrow(sum), i);
        CHECK(co_await s.join());
        CHECK(sum == 5050);
        CHECK(s.size() == 0);
    });
}

TEST_CASE("scope: an empty one joins at once, and one may be joined and filled again") {
    std::atomic<int> sum{0};
    run_on(1, [&]() -> rn::task<> {
        rn::scope s;
        CHECK(co_await s.join());
        s.spawn(adds, rn::borrow(sum), 1);
        CHECK(co_await s.join());
        s.spawn(adds, rn::borrow(sum), 2);
        CHECK(co_await s.join());
        CHECK(sum == 3);
    });
}

TEST_CASE("scope: the first exception cancels the others and comes out of join()") {
    run_on(2, []() -> rn::task<> {
        rn::event door;
        std::atomic<int> ended{0};
        rn::scope s;
        for (int i = 0; i < 10; ++i) s.spawn(waits, rn::borrow(door), rn::borrow(ended));
        s.spawn(throws, std::string("first"));
        CHECK_THROWS_WITH(co_await s.join(), "first");
        CHECK(ended == 10);
        CHECK(s.failures() == 1);  // that they were cancelled is no failure of the others
    });
}

TEST_CASE("scope: a result with an error cancels the others too; join() gives the error") {
    run_on(2, []() -> rn::task<> {
        rn::event door;
        std::atomic<int> ended{0};
        rn::scope s;
        s.spawn(waits, rn::borrow(door), rn::borrow(ended));
        s.spawn(refuses, rn::errc::closed);
        const auto end = co_await s.join();
        CHECK(end.error() == rn::errc::closed);
        CHECK(ended == 1);
        CHECK(s.ctx().cause() == rn::errc::closed);
    });
}

TEST_CASE("scope: the failures after the first are kept, at most 16") {
    run_on(1, []() -> rn::task<> {
        rn::scope s;
        for (int i = 0; i < 30; ++i) s.spawn(throws, std::string("one of many"));
        CHECK_THROWS_WITH(co_await s.join(), "one of many");
        CHECK(s.failures() == 30);
        const auto others = s.take_other_failures();
        CHECK(others.kept.size() == 16);
        CHECK(others.not_kept == 13);
        CHECK(s.take_other_failures().kept.empty());
        CHECK(s.failures() == 30);
    });
}

/// They fail when `time` has come, cancelled or not.
rn::task<rn::result<>> refuses_at(rn::clock::duration time, rn::errc why) {
    co_await rn::shielded(rn::sleep_for(time));
    co_return why;
}
rn::task<> throws_at(rn::clock::duration time, std::string what) {
    co_await rn::shielded(rn::sleep_for(time));
    throw std::runtime_error(what);
}

TEST_CASE("scope: of the failures after the first exceptions and errors are kept in one list as they came") {
    in_virtual_time([]() -> rn::task<> {
        rn::scope s;
        s.spawn(refuses_at, 1ms, rn::errc::full);
        s.spawn(refuses_at, 2ms, rn::errc::cancelled);  // only a consequence of the first failure
        s.spawn(refuses_at, 3ms, rn::errc::closed);
        s.spawn(throws_at, 4ms, std::string("thrown"));
        s.spawn(refuses_at, 5ms, rn::errc::too_slow);
        s.spawn(throws_at, 6ms, std::string("thrown too"));
        CHECK_THROWS_WITH(co_await s.join(), "thrown");  // an exception before any error
        CHECK(s.ctx().cause() == rn::errc::full);
        CHECK(s.failures() == 5);
        const auto others = s.take_other_failures();
        CHECK(others.not_kept == 0);
        if (others.kept.size() != 4) throw std::logic_error("four others have failed");
        CHECK(others.kept[0].error == rn::errc::full);
        CHECK(others.kept[1].error == rn::errc::closed);
        CHECK(others.kept[2].error == rn::errc::too_slow);
        CHECK_FALSE(others.kept[2].exception);
        CHECK_FALSE(others.kept[3].error);
        CHECK_THROWS_WITH(std::rethrow_exception(others.kept[3].exception), "thrown too");
    });
}

TEST_CASE("scope: a first error that an exception takes the place of is kept when there is no more room") {
    in_virtual_time([]() -> rn::task<> {
        rn::scope s;
        s.spawn(refuses_at, 1ms, rn::errc::full);
        for (int i = 0; i < 16; ++i) s.spawn(refuses_at, 2ms, rn::errc::closed);
        s.spawn(throws_at, 3ms, std::string("late"));
        CHECK_THROWS_WITH(co_await s.join(), "late");
        const auto others = s.take_other_failures();
        CHECK(others.kept.size() == 16);
        CHECK(others.not_kept == 1);
        CHECK(others.kept[0].error == rn::errc::full);
    });
}

TEST_CASE("scope: errors of children after cancel() are kept too") {
    run_on(1, []() -> rn::task<> {
        const auto answers = [](rn::errc with) -> rn::task<rn::result<>> {
            co_await rn::sleep_for(1h);
            co_return with;
        };
        rn::scope s;
        for (const auto with : {rn::errc::closed, rn::errc::cancelled, rn::errc::full})
            s.spawn(answers, with);
        co_await rn::yield();
        s.cancel();
        const auto end = co_await s.join();
        CHECK(s.failures() == 2);
        const auto others = s.take_other_failures();
        if (others.kept.size() != 1) throw std::logic_error("one other has failed");
        const auto other = others.kept[0].error;
        CHECK(((end.error() == rn::errc::closed && other == rn::errc::full) ||
               (end.error() == rn::errc::full && other == rn::errc::closed)));
    });
}

TEST_CASE("task_set: the exceptions after the first are kept; errors are no failures of the set") {
    in_virtual_time([]() -> rn::task<> {
        rn::task_set set;
        set.spawn(throws_at, 1ms, std::string("one"));
        set.spawn(refuses_at, 2ms, rn::errc::closed);
        set.spawn(throws_at, 3ms, std::string("two"));
        CHECK_THROWS_WITH(co_await set.join(), "one");
        CHECK(set.failures() == 2);
        const auto others = set.take_other_failures();
        if (others.kept.size() != 1) throw std::logic_error("one other has failed");
        CHECK_THROWS_WITH(std::rethrow_exception(others.kept[0].exception), "two");
    });
}

TEST_CASE("task_set: a failure for which there is no room may ask the set as it dies") {
    struct asks_as_it_dies {
        explicit asks_as_it_dies(const rn::task_set& of) : set(&of) {}
        asks_as_it_dies(const asks_as_it_dies&) = delete;
        asks_as_it_dies& operator=(const asks_as_it_dies&) = delete;
        ~asks_as_it_dies() { (void)set->failures(); }
        const rn::task_set* set;
    };
    in_virtual_time([]() -> rn::task<> {
        rn::task_set set;
        const auto fails = [&set]() -> rn::task<> {
            co_await rn::yield();
            throw asks_as_it_dies(set);
        };
        for (int i = 0; i < 20; ++i) set.spawn(fails);
        try {
            (void)co_await set.join();
            FAIL_CHECK("nobody has failed");
        } catch (const asks_as_it_dies&) {}
        CHECK(set.take_other_failures().not_kept == 3);
    });
}

TEST_CASE("scope: cancel() ends the children and is no failure") {
    run_on(1, []() -> rn::task<> {
        rn::event door;
        std::atomic<int> ended{0};
        rn::scope s;
        s.spawn(waits, rn::borrow(door), rn::borrow(ended));
        co_await rn::yield();
        s.cancel();
        CHECK(co_await s.join());
        CHECK(ended == 1);
        CHECK(!rn::current_context().cancelled());
    });
}

/// Ends with that error as soon as it is cancelled.
rn::task<std::error_code> answers_a_cancel_with(std::error_code error) {
    (void)co_await rn::sleep_for(1h);
    co_return error;
}

TEST_CASE("scope: after cancel() a child that fails for a reason of its own is a failure; that it was "
          "cancelled is none") {
    run_on(1, []() -> rn::task<> {
        for (const auto error :
             {rn::errc::cancelled, rn::errc::deadline_exceeded, rn::errc::timed_out, rn::errc::stopping}) {
            rn::scope s;
            s.spawn(answers_a_cancel_with, make_error_code(error));
            co_await rn::yield();
            s.cancel();
            CHECK(co_await s.join());
        }
        rn::scope s;
        s.spawn(answers_a_cancel_with, make_error_code(std::errc::no_space_on_device));
        co_await rn::yield();
        s.cancel();
        const auto end = co_await s.join();
        CHECK(end.error() == std::errc::no_space_on_device);
        CHECK(s.failures() == 1);
    });
}

/// Like a transfer of io: count and error together.
struct partly {
    int count = 0;
    std::error_code error;
};
/// Like std::expected, which must not be asked for an error that it does not have.
struct expected {
    bool has_value() const noexcept { return given != rn::errc::full; }
    std::error_code error() const noexcept {
        CHECK(!has_value());
        return given;
    }
    std::error_code given;
};

TEST_CASE("scope: whatever a child gives that says of itself that it has failed cancels the others") {
    run_on(1, []() -> rn::task<> {
        const auto says = []<class T>(T how) -> rn::task<T> { co_return how; };
        const auto ends_with = [&](auto failure, auto success) -> rn::task<std::error_code> {
            rn::event never;
            std::atomic<int> ended{0};
            rn::scope good;
            good.spawn(says, success);
            CHECK(co_await good.join());
            rn::scope bad;
            bad.spawn(waits, rn::borrow(never), rn::borrow(ended));
            bad.spawn(says, failure);
            const auto end = co_await bad.join();
            CHECK(ended == 1);
            co_return end.error();
        };
        const std::error_code full = make_error_code(rn::errc::full);
        const partly part{1, full}, whole{2, {}};
        const expected none{full}, some{make_error_code(rn::errc::empty)};
        CHECK(co_await ends_with(full, std::error_code()) == rn::errc::full);
        CHECK(co_await ends_with(part, whole) == rn::errc::full);
        CHECK(co_await ends_with(none, some) == rn::errc::full);
        CHECK(co_await ends_with(rn::result<int>(full), rn::result<int>(1)) == rn::errc::full);
    });
}

TEST_CASE("scope: a child that is spawned after the cancel finds itself cancelled") {
    run_on(1, []() -> rn::task<> {
        bool ran = false;
        rn::scope s;
        s.cancel();
        const auto late = [&]() -> rn::task<> {
            ran = true;
            CHECK(rn::current_context().err() == rn::errc::cancelled);
            co_return;
        };
        s.spawn(late);
        CHECK(co_await s.join());
        CHECK(ran);
    });
}

rn::task<> spawns_more(rn::scope& s, std::atomic<int>& sum, int depth) {
    ++sum;
    co_await rn::yield();
    if (depth == 0) co_return;
    s.spawn(spawns_more, rn::borrow(s), rn::borrow(sum), depth - 1);
    s.spawn(spawns_more, rn::borrow(s), rn::borrow(sum), depth - 1);
}

TEST_CASE("scope: children may spawn while join() waits") {
    run_on(2, []() -> rn::task<> {
        std::atomic<int> sum{0};
        rn::scope s;
        s.spawn(spawns_more, rn::borrow(s), rn::borrow(sum), 9);
        CHECK(co_await s.join());
        CHECK(sum == 1023);
    });
}

rn::task<> cleans_up_after(rn::errc end, std::atomic<bool>& cleaned) {
    const auto got = co_await rn::sleep_for(1h);
    CHECK(got.error() == end);
    co_await rn::shielded(rn::sleep_for(5ms));
    cleaned = true;
}
rn::task<rn::result<>> joins_one_that_cleans_up(rn::errc end_of_child, std::atomic<bool>& cleaned) {
    rn::scope s;
    s.spawn(cleans_up_after, end_of_child, rn::borrow(cleaned));
    const auto end = co_await s.join();
    CHECK(cleaned);
    co_return end;
}

TEST_CASE("scope: join() forwards a cancel of its task, and returns only when the children have ended") {
    run_on(2, []() -> rn::task<> {
        std::atomic<bool> cleaned{false};
        auto [ctx, cancel] = rn::with_cancel(rn::current_context());
        const auto cancels = [stop = cancel]() -> rn::task<> {
            co_await rn::sleep_for(1ms);
            stop();
        };
        auto canceller = rn::go(cancels);
        const auto end =
            co_await rn::with_context(ctx, joins_one_that_cleans_up(rn::errc::cancelled, cleaned));
        CHECK(end.error() == rn::errc::cancelled);
        co_await canceller;
    });
}

TEST_CASE(
    "scope: a limit around what joins cancels the children, and join() waits for their end all the same") {
    run_on(2, []() -> rn::task<> {
        std::atomic<bool> cleaned{false};
        const auto by_hand =
            co_await rn::with_timeout(1ms, joins_one_that_cleans_up(rn::errc::deadline_exceeded, cleaned));
        CHECK(by_hand.error() == rn::errc::timed_out);
        cleaned = false;
        const auto spawns = [&](rn::scope& s) -> rn::task<> {
            co_return s.spawn(cleans_up_after, rn::errc::deadline_exceeded, rn::borrow(cleaned));
        };
        const auto by_scoped = co_await rn::with_timeout(1ms, rn::scoped(spawns));
        CHECK(by_scoped.error() == rn::errc::timed_out);
        CHECK(cleaned);
    });
}

TEST_CASE("scope: what a child was given dies before join() returns") {
    counted::reset();
    run_on(2, []() -> rn::task<> {
        for (int i = 0; i < support::scaled(1'000, 100'000); ++i) {
            rn::scope s;
            const auto takes = [](counted) -> rn::task<> { co_return; };
            s.spawn(takes, counted(1));
            co_await s.join();
            if (counted::live() != 0) throw std::logic_error("a child outlives its join");
        }
    });
    CHECK(counted::errors() == 0);
}

rn::task<> holds(rn::event& door, counted) { co_await door.wait(); }

TEST_CASE("scope: a child for which there is no memory is not counted, and what it was given dies") {
    if (!support::memory_can_be_scarce()) return;
    counted::reset();
    run_on(1, []() -> rn::task<> {
        rn::event door;
        rn::scope s;
        const auto spawned = [&] {
            try {
                const support::scarce_memory none(0);
                s.spawn(holds, rn::borrow(door), counted(1));
                return true;
            } catch (const std::bad_alloc&) {
                return false;
            }
        };
        std::size_t count = 0;
        while (spawned()) ++count;  // until the blocks that there are have been used up
        CHECK(s.size() == count);
        CHECK(counted::live() == static_cast<long>(count));
        door.set();
        CHECK(co_await s.join());
    });
    CHECK(counted::live() == 0);
}

TEST_CASE("scope: one for which there is not enough memory leaves nothing behind") {
    if (!support::memory_can_be_scarce()) return;
    run_on(1, []() -> rn::task<> {
        const auto before = support::allocated();
        for (long enough = 0; enough < 2; ++enough) {
            const support::scarce_memory some(enough);
            CHECK_THROWS_AS(rn::scope(), std::bad_alloc);
        }
        CHECK(support::allocated() == before);
        co_return;
    });
}

// --- Left without join() ------------------------------------------------------------------------------

rn::task<> takes_its_time(std::atomic<int>& ended) {
    const auto got = co_await rn::sleep_for(1h);
    CHECK(got.error() == rn::errc::cancelled);
    co_await rn::shielded(rn::sleep_for(5ms));
    ++ended;
}

TEST_CASE("scope: left by co_return, it cancels, and its task is not complete until the children are") {
    run_on(2, []() -> rn::task<> {
        std::atomic<int> ended{0};
        const auto leaves = [&]() -> rn::task<int> {
            rn::scope first;
            first.spawn(takes_its_time, rn::borrow(ended));
            rn::scope second;
            second.spawn(takes_its_time, rn::borrow(ended));
            second.spawn(takes_its_time, rn::borrow(ended));
            co_return 5;
        };
        auto end = rn::go(leaves);
        CHECK((co_await end).value() == 5);
        CHECK(ended == 3);
    });
}

TEST_CASE("scope: left by an exception, the same") {
    run_on(2, []() -> rn::task<> {
        std::atomic<int> ended{0};
        const auto leaves = [&]() -> rn::task<> {
            rn::scope s;
            s.spawn(takes_its_time, rn::borrow(ended));
            throw std::runtime_error("on my way out");
        };
        auto end = rn::go(leaves);
        CHECK_THROWS_WITH(co_await end, "on my way out");
        CHECK(ended == 1);
    });
}

TEST_CASE("scope: a child that leaves a scope, and a detached task that does") {
    run_on(2, []() -> rn::task<> {
        std::atomic<int> ended{0};
        const auto leaves = [&]() -> rn::task<> {
            rn::scope s;
            s.spawn(takes_its_time, rn::borrow(ended));
            co_return;
        };
        rn::scope outer;
        for (int i = 0; i < 10; ++i) outer.spawn(leaves);
        CHECK(co_await outer.join());
        CHECK(ended == 10);
        rn::go(leaves);
        while (ended != 11) co_await rn::yield();
    });
}

TEST_CASE("child: a scope is left" * doctest::skip()) {
    run_on(1, []() -> rn::task<> {
        static std::atomic<int> ended{0};  // not a local: the children outlive those
        rn::scope s;
        s.spawn(takes_its_time, rn::borrow(ended));
        co_return;
    });
}
TEST_CASE("child: a scope is left with an exception in it" * doctest::skip()) {
    run_on(1, []() -> rn::task<> {
        rn::scope s;
        s.spawn(throws, std::string("lost"));
        co_await rn::sleep_for(5ms);
    });
}
TEST_CASE("child: a scope is left before a child throws" * doctest::skip()) {
    run_on(1, []() -> rn::task<> {
        rn::scope s;
        s.spawn(throws, std::string("lost"));
        co_return;
    });
}

TEST_CASE("scope: leaving it is reported with its place; an exception in it that nobody asks for ends the "
          "program") {
    support::child left("child: a scope is left");
    CHECK(left.wait().exited(0));
    CHECK(left.wait().said("scope_test.cpp:"));
    CHECK(left.wait().said("was left without join()"));
    for (const char* test :
         {"child: a scope is left with an exception in it", "child: a scope is left before a child throws"})
        CHECK(support::aborts_saying(test, "nobody can receive: lost"));
}

rn::task<int> takes_a_set(std::unique_ptr<rn::task_set>) {
    co_await rn::yield();
    co_return 5;
}

TEST_CASE(
    "scope: left by what a task was given, whose destructors are still the task, it is waited for too") {
    run_on(2, []() -> rn::task<> {
        std::atomic<int> ended{0};
        const auto with_child = [&] {
            auto set = std::make_unique<rn::task_set>();
            set->spawn(takes_its_time, rn::borrow(ended));
            return set;
        };
        auto end = rn::go(takes_a_set, with_child());
        CHECK((co_await end).value() == 5);
        CHECK(ended == 1);
        rn::scope outer;
        outer.spawn(takes_a_set, with_child());
        CHECK(co_await outer.join());
        CHECK(ended == 2);
        rn::go(takes_a_set, with_child());
        while (ended != 3) co_await rn::yield();
    });
}

TEST_CASE("scope: left by its body and again by what its task was given, both are waited for") {
    run_on(2, []() -> rn::task<> {
        std::atomic<int> ended{0};
        auto given = std::make_unique<rn::task_set>();
        given->spawn(takes_its_time, rn::borrow(ended));
        const auto leaves_twice = [&](std::unique_ptr<rn::task_set>) -> rn::task<> {
            rn::scope s;
            s.spawn(takes_its_time, rn::borrow(ended));
            co_return;
        };
        auto end = rn::go(leaves_twice, std::move(given));
        co_await end;
        CHECK(ended == 2);
    });
}

/// Until the door opens, or it is cancelled. Shares the set that it is a child of.
rn::task<> owns_its_set(std::shared_ptr<rn::task_set> set, rn::event& door, std::atomic<int>& ended,
                        bool early) {
    co_await door.wait();
    if (early) set.reset();
    ++ended;
}

TEST_CASE("task_set: its last owner may be a child of its own, by its arguments or in its body") {
    run_on(1, []() -> rn::task<> {
        for (const bool early : {false, true}) {
            rn::event door, never;
            std::atomic<int> ended{0};
            auto set = std::make_shared<rn::task_set>();
            set->spawn(waits, rn::borrow(never), rn::borrow(ended));
            set->spawn(owns_its_set, set, rn::borrow(door), rn::borrow(ended), early);
            set->spawn(owns_its_set, std::move(set), rn::borrow(door), rn::borrow(ended), early);
            co_await rn::yield();
            CHECK(ended == 0);
            door.set();
            while (ended != 3) co_await rn::yield();  // the one that waits for ever is cancelled
        }
    });
}

TEST_CASE("scope: its last owner may be a branch of a child of a child") {
    run_on(2, []() -> rn::task<> {
        std::atomic<int> ended{0};
        const auto drops = [&](std::shared_ptr<rn::scope> s) -> rn::task<> {
            co_await rn::yield();
            s.reset();
            ++ended;
        };
        const auto branches = [&](std::shared_ptr<rn::scope> s) -> rn::task<> {
            co_await rn::when_all(drops(nullptr), drops(std::move(s)));
            ++ended;
        };
        const auto child = [&](std::shared_ptr<rn::scope> s) -> rn::task<> {
            rn::scope inner;
            inner.spawn(branches, std::move(s));
            co_await inner.join();
            ++ended;
        };
        auto outer = std::make_shared<rn::scope>();
        outer->spawn(child, std::move(outer));
        while (ended != 4) co_await rn::yield();
    });
}

TEST_CASE("child: a task_set is left to a child of its own" * doctest::skip()) {
    run_on(1, []() -> rn::task<> {
        static std::atomic<int> ended{0};
        rn::event door;
        auto set = std::make_shared<rn::task_set>();
        set->spawn(owns_its_set, std::move(set), rn::borrow(door), rn::borrow(ended), false);
        door.set();
        while (ended != 1) co_await rn::yield();
    });
}
TEST_CASE("child: a child that throws is the last owner of its set" * doctest::skip()) {
    run_on(1, []() -> rn::task<> {
        const auto fails = [](std::shared_ptr<rn::task_set>) -> rn::task<> {
            throw std::runtime_error("lost");
            co_return;
        };
        auto set = std::make_shared<rn::task_set>();
        set->spawn(fails, std::move(set));
        co_await rn::sleep_for(10s);
    });
}

TEST_CASE("task_set: left to a child of its own it is reported; what that child throws nobody can receive") {
    support::child left("child: a task_set is left to a child of its own");
    CHECK(left.wait().exited(0));
    CHECK(left.wait().said("nobody waits for them"));
    support::child lost("child: a child that throws is the last owner of its set");
    CHECK(lost.wait().killed_by(SIGABRT));
    CHECK(lost.wait().said("a child of the scope at "));
    CHECK(lost.wait().said("nobody can receive: lost"));
}

TEST_CASE(
    "scope: in a simulation a failure of a child that nobody can receive fails the run, and both are freed") {
    counted::reset();
    const auto run = rn::testing::simulate(rn::testing::options(), []() -> rn::task<> {
        const auto fails_late = [](counted) -> rn::task<> {
            co_await rn::yield();
            throw std::runtime_error("lost");
        };
        rn::scope s;
        s.spawn(fails_late, counted(1));
        co_return;
    });
    CHECK(run.kind() == rn::testing::failure::exception);
    CHECK(run.what().find("a child of the scope at scope_test.cpp:") != std::string::npos);
    CHECK(run.what().find("ended by an exception: lost") != std::string::npos);
    CHECK(counted::live() == 0);
}

TEST_CASE("task_set: a plain thread may be its last owner") {
    counted::reset();
    rn::runtime here(support::workers(1));
    const auto makes = []() -> rn::task<std::unique_ptr<rn::task_set>> {
        const auto child = [](counted) -> rn::task<> { co_await rn::sleep_for(1h); };
        auto set = std::make_unique<rn::task_set>();
        set->spawn(child, counted(1));
        co_return set;
    };
    auto set = here.spawn(makes).wait();
    CHECK(counted::live() > 0);
    *set = nullptr;
    here.stop().value();
    CHECK(counted::live() == 0);
}

// --- task_set and scoped() --------------------------------------------------------------------------------

TEST_CASE("task_set: a child that fails does not touch the others; the first exception comes out of join()") {
    run_on(2, []() -> rn::task<> {
        std::atomic<int> sum{0};
        rn::task_set set;
        set.spawn(throws, std::string("one"));
        set.spawn(refuses, rn::errc::closed);
        co_await rn::sleep_for(1ms);
        set.spawn(adds, rn::borrow(sum), 1);
        CHECK_THROWS_WITH(co_await set.join(), "one");
        CHECK(sum == 1);
    });
}

TEST_CASE("task_set: with a handler, exceptions go there") {
    run_on(2, []() -> rn::task<> {
        std::atomic<int> failed{0};
        rn::task_set set;
        set.on_failure([](std::exception_ptr, void* count) { ++*static_cast<std::atomic<int>*>(count); },
                       &failed);
        for (int i = 0; i < 20; ++i) set.spawn(throws, std::string("x"));
        CHECK(co_await set.join());
        CHECK(failed == 20);
    });
}

TEST_CASE("task_set: finished children are freed at once") {
    counted::reset();
    run_on(1, []() -> rn::task<> {
        rn::task_set set;
        const auto takes = [](counted) -> rn::task<> { co_return; };
        for (int i = 0; i < 1000; ++i) {
            set.spawn(takes, counted(1));
            co_await rn::yield();
            CHECK(counted::live() <= 3);
        }
        CHECK(set.size() <= 1);
        co_await set.join();
    });
}

TEST_CASE("scoped: gives what the body returned, after the children have ended") {
    run_on(2, []() -> rn::task<> {
        std::atomic<int> sum{0};
        const auto body = [&](rn::scope& s) -> rn::task<int> {
            for (int i = 0; i < 10; ++i) s.spawn(adds, rn::borrow(sum), 1);
            co_return 6;
        };
        const auto got = co_await rn::scoped(body);
        CHECK(got.value() == 6);
        CHECK(sum == 10);
    });
}

TEST_CASE("scoped: the error of a child comes out; an exception of the body cancels the children first") {
    run_on(2, []() -> rn::task<> {
        const auto fails_inside = [](rn::scope& s) -> rn::task<int> {
            s.spawn(refuses, rn::errc::full);
            co_return 1;
        };
        const auto failed = co_await rn::scoped(fails_inside);
        CHECK(failed.error() == rn::errc::full);
        std::atomic<int> ended{0};
        const auto throws_itself = [&](rn::scope& s) -> rn::task<> {
            s.spawn(takes_its_time, rn::borrow(ended));
            co_await rn::yield();
            throw std::runtime_error("body");
        };
        CHECK_THROWS_WITH(co_await rn::scoped(throws_itself), "body");
        CHECK(ended == 1);
    });
}

TEST_CASE("scoped: a body that returns an error cancels the children, as a child that fails does") {
    run_on(2, []() -> rn::task<> {
        rn::event never;
        std::atomic<int> ended{0};
        auto gives_up = [&](rn::scope& s) -> rn::task<rn::result<int>> {
            s.spawn(waits, rn::borrow(never), rn::borrow(ended));
            co_return rn::errc::full;
        };
        const auto got = co_await rn::scoped(gives_up);
        CHECK(got.error() == rn::errc::full);
        CHECK(ended == 1);
    });
}

TEST_CASE("scoped: an error code that the body returns is its value; of failures the first comes out") {
    run_on(1, []() -> rn::task<> {
        const auto gives_an_error = [](rn::scope&) -> rn::task<std::error_code> {
            co_return make_error_code(rn::errc::full);
        };
        const auto as_value = co_await rn::scoped(gives_an_error);
        REQUIRE(as_value);
        CHECK(*as_value == rn::errc::full);
        const auto body_first = [](rn::scope& s) -> rn::task<rn::result<int>> {
            s.spawn(answers_a_cancel_with, make_error_code(rn::errc::closed));
            co_await rn::yield();
            co_return rn::errc::full;
        };
        const auto by_body = co_await rn::scoped(body_first);
        CHECK(by_body.error() == rn::errc::full);
        const auto child_first = [](rn::scope& s) -> rn::task<rn::result<int>> {
            s.spawn(refuses, rn::errc::closed);
            co_await rn::sleep_for(1ms);
            co_return rn::errc::full;
        };
        const auto by_child = co_await rn::scoped(child_first);
        CHECK(by_child.error() == rn::errc::closed);
    });
}

TEST_CASE("scoped: its scope is said to be where scoped() was called") {
    run_on(1, []() -> rn::task<> {
        const auto line_of = [](rn::scope& s, auto...) -> rn::task<unsigned> { co_return s.place().line(); };
        const unsigned line = std::source_location::current().line();
        CHECK((co_await rn::scoped(line_of)).value() == line + 1);
        CHECK((co_await rn::scoped(line_of, 1)).value() == line + 2);
        CHECK((co_await rn::scoped(line_of, 1, 2)).value() == line + 3);
        CHECK((co_await rn::scoped(line_of, 1, 2, 3)).value() == line + 4);
    });
}

TEST_CASE("scope: many scopes cancelled from another worker while their children start, wait and end") {
    const int rounds = support::scaled(300, 20'000);
    run_on(4, [rounds]() -> rn::task<> {
        for (int i = 0; i < rounds; ++i) {
            rn::event door;
            std::atomic<int> ended{0};
            rn::scope s;
            const auto cancels = [&]() -> rn::task<> {
                s.cancel();
                co_return;
            };
            for (int n = 0; n < i % 8; ++n) s.spawn(waits, rn::borrow(door), rn::borrow(ended));
            auto canceller = rn::go(cancels);
            for (int n = 0; n < 4; ++n) s.spawn(waits, rn::borrow(door), rn::borrow(ended));
            if (i % 3 == 0) door.set();
            co_await s.join();
            if (ended != i % 8 + 4) throw std::logic_error("join() returned early");
            co_await canceller;
        }
    });
}
}
