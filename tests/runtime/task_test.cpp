// What a task promises by itself: lazy, awaited once, flat on the stack.
#include <doctest/doctest.h>

#include <memory>
#include <stdexcept>
#include <string>

#include "support/build_kind.hpp"
#include "support/child.hpp"
#include "support/counted.hpp"
#include "support/level.hpp"
#include "support/runtimes.hpp"
#include "support/watchdog.hpp"

namespace rn = runnel;
using support::counted;
using support::run_on;

namespace {

rn::task<int> answer() { co_return 42; }

rn::task<> sets(bool& ran, counted) {
    ran = true;
    co_return;
}

TEST_CASE("task: it does nothing until it is awaited") {
    run_on(1, []() -> rn::task<> {
        bool ran = false;
        auto later = sets(ran, counted(1));
        CHECK(!ran);
        co_await std::move(later);
        CHECK(ran);
    });
}

TEST_CASE("task: dropped unawaited, it destroys what it holds and never runs") {
    counted::reset();
    bool ran = false;
    {
        const auto never = sets(ran, counted(1));
        CHECK(counted::live() == 1);
    }
    CHECK(!ran);
    CHECK(counted::live() == 0);
    CHECK(counted::errors() == 0);
}

TEST_CASE("task: assigning drops what was there, moving leaves nothing behind") {
    counted::reset();
    bool ran = false;
    auto first = sets(ran, counted(1));
    auto second = sets(ran, counted(2));
    first = std::move(second);
    CHECK(counted::live() == 1);
    CHECK(first);
    CHECK(!second);
}

rn::task<std::unique_ptr<int>> boxed(int n) { co_return std::make_unique<int>(n); }
rn::task<std::string&> same(std::string& text) { co_return text; }

TEST_CASE("task: it gives values, move-only values and references") {
    run_on(1, []() -> rn::task<> {
        CHECK(co_await answer() == 42);
        const std::unique_ptr<int> box = co_await boxed(7);
        CHECK(*box == 7);
        std::string text = "a";
        std::string& referred = co_await same(text);
        CHECK(&referred == &text);
    });
}

rn::task<counted> counts() { co_return counted(3); }

TEST_CASE("task: its value dies with the task, moved once") {
    counted::reset();
    run_on(1, []() -> rn::task<> {
        const counted got = co_await counts();
        CHECK(got.value() == 3);
        CHECK(counted::copies() == 0);
    });
    CHECK(counted::live() == 0);
    CHECK(counted::errors() == 0);
}

rn::task<int> throws(counted) {
    throw std::runtime_error("no");
    co_return 1;
}

TEST_CASE("task: what the body throws comes out of the co_await, its arguments gone") {
    counted::reset();
    run_on(1, []() -> rn::task<> {
        bool caught = false;
        try {
            co_await throws(counted(1));
        } catch (const std::runtime_error& error) {
            caught = error.what() == std::string("no");
        }
        CHECK(caught);
    });
    CHECK(counted::live() == 0);
    CHECK(counted::errors() == 0);
}

struct keeper {
    int base = 40;
    rn::task<int> plus(int n) const { co_return base + n; }
};

TEST_CASE("task: members, lambdas and templates may be tasks") {
    run_on(1, []() -> rn::task<> {
        const keeper k;
        CHECK(co_await k.plus(2) == 42);
        auto twice = [](auto n) -> rn::task<decltype(n)> { co_return 2 * n; };
        CHECK(co_await twice(4L) == 8);
    });
}

TEST_CASE("child: a task is awaited after a move" * doctest::skip()) {
    run_on(1, []() -> rn::task<> {
        auto once = answer();
        auto moved = std::move(once);
        co_await std::move(moved);
        co_await std::move(once);
    });
}
TEST_CASE("child: a task is awaited twice" * doctest::skip()) {
    run_on(1, []() -> rn::task<> {
        auto once = answer();
        co_await std::move(once);
        co_await std::move(once);
    });
}

TEST_CASE("task: awaiting one that was moved from or has been awaited is misuse, said aloud") {
    CHECK(support::aborts_saying("child: a task is awaited after a move", "awaited after it was moved from"));
    CHECK(support::aborts_saying("child: a task is awaited twice", "awaited a second time"));
}

// --- A frame that the compiler has misplaced (P4) ---------------------------------------------------------

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
rn::task<bool> says_no() { co_return false; }
rn::task<> planted_misplaced_frame() {  // tests/support/frames.py knows it
    if (co_await says_no()) co_return;
}

TEST_CASE("child: a coroutine whose frame g++ 12 misplaces is started" * doctest::skip()) {
    run_on(1, []() -> rn::task<> {
        auto misplaced = planted_misplaced_frame();
        co_await std::move(misplaced);
    });
}

TEST_CASE("task: a frame that g++ 12 has misplaced is found out before it runs, and its place is said") {
    support::child misplaced("child: a coroutine whose frame g++ 12 misplaces is started");
    CHECK(misplaced.wait().killed_by(SIGABRT));
    CHECK(misplaced.wait().said("g++ 12 has misplaced this coroutine's frame: declare a local variable"));
    CHECK(misplaced.wait().said("task_test.cpp:"));
}
#endif

// --- The stack stays flat, whatever the compiler does about tail calls --------------------------------

long many() { return support::scaled(support::sanitized ? 1'000'000L : 10'000'000L, 10'000'000L); }

rn::task<long> one() { co_return 1; }

TEST_CASE("task: awaiting many children one after the other uses no stack") {
    support::watchdog::instance().allow(support::watchdog::limit() * 5);
    const auto sum = run_on(1, []() -> rn::task<long> {
        long got = 0;
        for (long i = 0; i < many(); ++i) got += co_await one();
        co_return got;
    });
    CHECK(*sum == many());
}

rn::task<long> depth_of(long n) {
    if (n == 0) co_return 0;
    co_return 1 + co_await depth_of(n - 1);
}

TEST_CASE("task: a recursion of 100,000 tasks lives in their frames, not on the stack") {
    const auto depth = run_on(1, []() -> rn::task<long> { co_return co_await depth_of(100'000); });
    CHECK(*depth == 100'000);
}

rn::task<long> deep_throw(long n) {
    if (n == 0) throw std::runtime_error("from below");
    co_return co_await deep_throw(n - 1);
}

TEST_CASE("task: an exception climbs 10,000 tasks") {
    CHECK_THROWS_WITH((void)run_on(1, []() -> rn::task<long> { co_return co_await deep_throw(10'000); }),
                      "from below");
}

/// Leaves its own handle in `from` and goes on with the coroutine in `to`.
class hand_over {
public:
    using result_type = void;
    hand_over(std::coroutine_handle<>& from, std::coroutine_handle<>& to) noexcept : from_(from), to_(to) {}

    class awaiter_type {
    public:
        awaiter_type(std::coroutine_handle<>& from, std::coroutine_handle<>& to) noexcept
            : from_(from), to_(to) {}
        awaiter_type(const awaiter_type&) = delete;
        awaiter_type& operator=(const awaiter_type&) = delete;
        bool await_ready() const noexcept { return false; }
        std::coroutine_handle<> await_suspend(std::coroutine_handle<> self) noexcept {
            from_ = self;
            return rn::detail::transfer(to_);
        }
        void await_resume() const noexcept {}

    private:
        std::coroutine_handle<>& from_;
        std::coroutine_handle<>& to_;
    };
    awaiter_type awaiter() const noexcept { return awaiter_type(from_, to_); }

private:
    std::coroutine_handle<>& from_;
    std::coroutine_handle<>& to_;
};

rn::task<> returns_for_ever(std::coroutine_handle<>& self, std::coroutine_handle<>& other, long& turns) {
    for (;;) {
        ++turns;
        co_await hand_over(self, other);
    }
}

TEST_CASE("task: two coroutines that hand over to each other for ever use no stack") {
    support::watchdog::instance().allow(support::watchdog::limit() * 5);
    run_on(1, []() -> rn::task<> {
        std::coroutine_handle<> here, there;
        long turns = 0;
        const auto frame = rn::detail::task_access::release(returns_for_ever(there, here, turns));
        there = frame;
        for (long i = 0; i < many(); ++i) co_await hand_over(here, there);
        CHECK(turns == many());
        frame.destroy();
    });
}
}
