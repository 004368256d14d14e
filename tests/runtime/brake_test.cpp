// The brake: what becomes of a loop that goes on waiting although its context is cancelled.
#include "runtime/brake.hpp"

#include <doctest/doctest.h>
#include <runnel/context.hpp>
#include <runnel/sync.hpp>

#include "support/child.hpp"
#include "support/runtimes.hpp"

namespace rn = runnel;
using namespace std::chrono_literals;
using support::run_on;

namespace {

/// Runs body() under a context that is cancelled already.
template <class F>
rn::task<> cancelled(F body) {
    auto [ctx, cancel] = rn::with_cancel(rn::current_context());
    cancel();
    co_await rn::with_context(ctx, body());
}

int refused_so_far() { return rn::detail::running_task().refused; }

TEST_CASE("brake: the first 15 refused waits cost nothing, from the 16th on each lets the others run") {
    run_on(1, []() -> rn::task<> {
        int others = 0;
        bool over = false;
        const auto counts_turns = [&]() -> rn::task<> {
            while (!over) {
                ++others;
                co_await rn::yield();
            }
        };
        auto other = rn::go(counts_turns);
        const auto ignores = [&]() -> rn::task<> {
            rn::event never;
            for (int i = 1; i <= 15; ++i) {
                const auto got = co_await never.wait();
                CHECK(got.error() == rn::errc::cancelled);
            }
            CHECK(others == 0);
            for (int i = 16; i <= 40; ++i) {
                (void)co_await never.wait();
                CHECK(others == i - 15);
            }
            over = true;
        };
        co_await cancelled(ignores);
        co_await other;
    });
}

TEST_CASE("brake: a wait that succeeds sets the count back, and a shielded one") {
    run_on(1, []() -> rn::task<> {
        const auto ignores = []() -> rn::task<> {
            for (int i = 0; i < 10; ++i) (void)co_await rn::yield();
            CHECK(refused_so_far() == 10);
            co_await rn::shielded(rn::yield());
            CHECK(refused_so_far() == 0);
            for (int i = 0; i < 10; ++i) (void)co_await rn::sleep_for(1h);
            CHECK(refused_so_far() == 10);
            rn::event open;
            open.set();
            (void)co_await rn::shielded(open.wait());
            CHECK(refused_so_far() == 0);
        };
        co_await cancelled(ignores);
    });
}

TEST_CASE("child: a loop ignores its cancellation" * doctest::skip()) {
    rn::runtime here(support::workers(1).strict(false));
    const auto ignores = []() -> rn::task<> {
        for (int i = 0; i < 70; ++i) (void)co_await rn::sleep_for(1h);
    };
    const auto body = [&]() -> rn::task<> {
        const auto began = rn::clock::now();
        co_await cancelled(ignores);
        std::printf("slept %s\n", rn::clock::now() - began >= 20ms ? "long" : "short");  // 1 + 2 + … + 7 ms
    };
    (void)here.spawn(body).wait();
    std::fflush(stdout);
    std::_Exit(0);
}
TEST_CASE("child: a loop ignores its cancellation in a strict runtime" * doctest::skip()) {
    run_on(1, []() -> rn::task<> {
        const auto ignores = []() -> rn::task<> {
            for (;;) (void)co_await rn::yield();
        };
        co_await cancelled(ignores);
    });
}

TEST_CASE("brake: from the 64th refused wait on each sleeps; that is reported once, with both places") {
    support::child program("child: a loop ignores its cancellation");
    const support::child_end& end = program.wait();
    CHECK(end.exited(0));
    CHECK(end.times("goes on waiting at ") == 1);
    CHECK(end.times("brake_test.cpp:") == 2);
    CHECK(end.said("slept long"));
    support::child strict("child: a loop ignores its cancellation in a strict runtime");
    CHECK(strict.wait().killed_by(SIGABRT));
    CHECK(strict.wait().said("goes on waiting at "));
}

TEST_CASE("brake: the 256th refused wait throws, and every one after it") {
    run_on(1, []() -> rn::task<> {
        const auto ignores = []() -> rn::task<> {
            rn::detail::running_task().refused = 255;  // the sleeps before would take 14 seconds
            CHECK_THROWS_AS((void)co_await rn::yield(), rn::cancellation_ignored);
            CHECK_THROWS_AS((void)co_await rn::sleep_for(1h), rn::cancellation_ignored);
            co_await rn::shielded(rn::yield());
            (void)co_await rn::yield();
        };
        co_await cancelled(ignores);
    });
}
}
