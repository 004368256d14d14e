// Contexts: who is cancelled, in which order, with what reason, and what is left behind.
#include <doctest/doctest.h>
#include <runnel/context.hpp>
#include <runnel/scope.hpp>
#include <runnel/sync.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "support/contexts.hpp"
#include "support/counted.hpp"
#include "support/dies.hpp"
#include "support/level.hpp"
#include "support/runtimes.hpp"

namespace rn = runnel;
using namespace std::chrono_literals;
using support::children_of;
using support::run_on;

namespace {

rn::context_key<std::string> user;
rn::context_key<int> number;

// --- Without a runtime ------------------------------------------------------------------------------

TEST_CASE("context: the background is never cancelled and has nothing") {
    const rn::context none = rn::background();
    CHECK(!none.cancelled());
    CHECK(!none.err());
    CHECK(!none.cause());
    CHECK(!none.deadline());
    CHECK(none.value(user) == nullptr);
    CHECK(rn::current_context() == none);
}

TEST_CASE("with_cancel: cancel() ends the context and those below, not those above or beside it; once") {
    const auto top = rn::with_cancel(rn::background());
    const auto middle = rn::with_cancel(top.ctx);
    const auto below = rn::with_cancel(middle.ctx);
    const auto beside = rn::with_cancel(top.ctx);
    CHECK(middle.cancel());
    CHECK(!middle.cancel());
    CHECK(middle.ctx.err() == rn::errc::cancelled);
    CHECK(below.ctx.err() == rn::errc::cancelled);
    CHECK(!below.cancel());
    CHECK(!top.ctx.cancelled());
    CHECK(!beside.ctx.cancelled());
}

TEST_CASE("with_cancel: dropping the cancel function cancels nothing") {
    rn::context ctx;
    {
        auto made = rn::with_cancel(rn::background());
        ctx = made.ctx;
    }
    CHECK(!ctx.cancelled());
}

TEST_CASE("context: the cause is what was given to cancel(), and goes down; without one it is err()") {
    const auto top = rn::with_cancel(rn::background());
    const auto below = rn::with_cancel(top.ctx);
    CHECK(top.cancel(std::make_error_code(std::errc::no_space_on_device)));
    CHECK(below.ctx.err() == rn::errc::cancelled);
    CHECK(below.ctx.cause() == std::errc::no_space_on_device);
    const auto plain = rn::with_cancel(rn::background());
    plain.cancel();
    CHECK(plain.ctx.cause() == rn::errc::cancelled);
}

TEST_CASE("context: a child of a cancelled parent is born cancelled, with the parent's reason") {
    const auto top = rn::with_cancel(rn::background());
    top.cancel(make_error_code(rn::errc::full));
    const auto born = rn::with_cancel(top.ctx);
    CHECK(born.ctx.cancelled());
    CHECK(born.ctx.cause() == rn::errc::full);
    CHECK(!born.cancel());
}

TEST_CASE("cancel_function: may be copied, and called by any thread; a cause that is no error stands for "
          "cancelled") {
    const auto made = rn::with_cancel(rn::background());
    const rn::cancel_function copy = made.cancel;
    bool by_thread = false;
    std::thread([&] { by_thread = copy(std::error_code()); }).join();
    CHECK(by_thread);
    CHECK(!made.cancel());
    CHECK(made.ctx.err() == rn::errc::cancelled);
    CHECK(made.ctx.cause() == rn::errc::cancelled);
}

TEST_CASE("cancel_function: keeps its context, and outlives every other handle and the runtime") {
    auto waits = [](rn::context ctx) -> rn::task<rn::result<>> { co_return co_await ctx.done(); };
    std::optional<rn::cancel_function> cancel;
    rn::context below;
    {
        rn::runtime here(support::workers(1));
        auto made = rn::with_cancel(here.root());
        cancel = made.cancel;
        auto end = here.spawn(waits, std::move(made.ctx));
        CHECK((*cancel)());  // a plain thread ends the wait of a task
        CHECK(end.wait());
        auto later = rn::with_cancel(here.root());
        below = rn::with_cancel(later.ctx).ctx;
        cancel = std::move(later.cancel);
    }
    CHECK(!below.cancelled());
    CHECK((*cancel)());
    CHECK(below.cancelled());
}

TEST_CASE("with_deadline: a time that is too long to count is no deadline; one long past has passed") {
    CHECK(!rn::with_timeout(rn::background(), std::chrono::hours::max()).ctx.deadline());
    CHECK(!rn::with_deadline(rn::background(), rn::clock::time_point::max()).ctx.deadline());
    CHECK(rn::with_timeout(rn::background(), std::chrono::hours::min()).ctx.cancelled());
    CHECK(rn::with_deadline(rn::background(), rn::clock::time_point::min()).ctx.err() ==
          rn::errc::deadline_exceeded);
}

TEST_CASE("with_deadline: needs a runtime's timers; made elsewhere it says so, unless it needs none") {
    const char* why = "made outside a runtime, whose timers it needs: make it in a task";
    CHECK(support::dies([] { (void)rn::with_timeout(rn::background(), 1h); }, why));
    CHECK(support::dies([] { (void)rn::with_deadline(rn::background(), rn::clock::now() + 1h); }, why));
    rn::context near;
    run_on(1, [&]() -> rn::task<> {
        near = rn::with_timeout(rn::background(), 1h).ctx;
        co_return;
    });
    CHECK(rn::with_timeout(near, 2h).ctx.deadline() == near.deadline());
}

TEST_CASE("with_value: the nearest value wins; keys are told apart; values die with the last handle") {
    support::counted::reset();
    static rn::context_key<support::counted> counted_key;
    {
        const rn::context one = rn::with_value(rn::background(), user, "ann");
        const rn::context two = rn::with_value(one, number, 7);
        const rn::context three = rn::with_value(two, user, std::string("bob"));
        const rn::context four = rn::with_value(three, counted_key, support::counted(1));
        CHECK(*one.value(user) == "ann");
        CHECK(*two.value(user) == "ann");
        CHECK(*four.value(user) == "bob");
        CHECK(*four.value(number) == 7);
        CHECK(one.value(number) == nullptr);
        CHECK(support::counted::live() == 1);
    }
    CHECK(support::counted::live() == 0);
}

TEST_CASE("without_cancel: keeps the values, not the cancel") {
    const auto top = rn::with_cancel(rn::with_value(rn::background(), number, 3));
    const rn::context apart = rn::without_cancel(top.ctx);
    top.cancel();
    CHECK(!apart.cancelled());
    CHECK(*apart.value(number) == 3);
}

TEST_CASE("context: a child that goes leaves its parent: no growth") {
    const auto top = rn::with_cancel(rn::background());
    for (int i = 0; i < 1000; ++i) {
        const auto brief = rn::with_cancel(top.ctx);
        const rn::context value = rn::with_value(brief.ctx, number, i);
        CHECK(children_of(top.ctx) == 1);
    }
    CHECK(children_of(top.ctx) == 0);
}

TEST_CASE("context: trees that threads grow, cancel and drop at once end all cancelled or all dropped") {
    const int rounds = support::scaled(300, 20'000);
    for (int round = 0; round < rounds; ++round) {
        const auto top = rn::with_cancel(rn::background());
        std::vector<std::thread> threads;
        for (int t = 0; t < 3; ++t)
            threads.emplace_back([&, t] {
                std::vector<rn::cancellable> mine;
                mine.push_back(rn::with_cancel(top.ctx));
                for (int i = 0; i < 20; ++i)
                    mine.push_back(rn::with_cancel(mine[static_cast<std::size_t>(i / 2)].ctx));
                if (t == 0) top.cancel();
                mine[1].cancel();
                mine.erase(mine.begin() + 3, mine.begin() + 9);
                while (!top.ctx.cancelled()) std::this_thread::yield();
                // The flag of a child may follow its parent's a little later (C2), but it follows.
                for (const auto& each : mine)
                    while (!each.ctx.cancelled()) std::this_thread::yield();
            });
        for (std::thread& each : threads) each.join();
        CHECK(children_of(top.ctx) == 0);
    }
}

// --- Carried by tasks -----------------------------------------------------------------------------------

rn::task<rn::result<>> sleeps(rn::clock::duration d) {
    const auto got = co_await rn::sleep_for(d);
    co_return got;
}

TEST_CASE("with_context: the task ends when either context is cancelled") {
    run_on(1, []() -> rn::task<> {
        auto [ctx, cancel] = rn::with_cancel(rn::background());
        auto [own, cancel_own] = rn::with_cancel(rn::current_context());
        const auto nested = [&]() -> rn::task<rn::result<>> {
            co_return co_await rn::with_context(ctx, sleeps(1h));
        };
        const auto outer = [&]() -> rn::task<rn::result<>> {
            co_return co_await rn::with_context(own, nested());
        };
        auto first = rn::go(outer);
        co_await rn::yield();
        cancel_own(make_error_code(rn::errc::full));
        const auto by_own = co_await first;
        CHECK(by_own.error() == rn::errc::cancelled);
        auto second = rn::go(nested);
        co_await rn::yield();
        cancel();
        const auto by_other = co_await second;
        CHECK(by_other.error() == rn::errc::cancelled);
        CHECK(!rn::current_context().cancelled());
        CHECK(children_of(ctx) == 0);
    });
}

TEST_CASE("with_context: inside, the values of the context come first, then those of the task") {
    run_on(1, []() -> rn::task<> {
        const rn::context request = rn::with_value(rn::background(), user, "ann");
        const rn::context outer = rn::with_value(rn::with_value(rn::background(), number, 5), user, "root");
        const auto inner = []() -> rn::task<> {
            CHECK(*rn::current_context().value(user) == "ann");
            const int* found = rn::current_context().value(number);
            REQUIRE(found != nullptr);
            CHECK(*found == 5);
            co_return;
        };
        const auto middle = [&]() -> rn::task<> { co_await rn::with_context(request, inner()); };
        co_await rn::with_context(outer, middle());
    });
}

TEST_CASE("with_timeout around a task: timed_out when this limit ended it") {
    run_on(1, []() -> rn::task<> {
        const auto end = co_await rn::with_timeout(2ms, sleeps(1h));
        CHECK(end.error() == rn::errc::timed_out);
        CHECK(co_await rn::with_timeout(1h, sleeps(1ms)));
        CHECK(co_await rn::with_timeout(std::chrono::hours::max(), sleeps(1ms)));
        const auto value = []() -> rn::task<int> {
            const auto got = co_await rn::sleep_for(1h);
            CHECK(got.error() == rn::errc::deadline_exceeded);
            co_return 3;
        };
        CHECK(co_await rn::with_timeout(2ms, value()) == 3);
        const auto at_once = co_await rn::with_timeout(0ms, sleeps(1ms));
        CHECK(at_once.error() == rn::errc::timed_out);
    });
}

/// Like a transfer of io: count and error together.
struct partly {
    int count = 0;
    std::error_code error;
};

TEST_CASE("with_timeout around a task: timed_out is said by whatever can hold an error") {
    run_on(1, []() -> rn::task<> {
        const auto gives_an_error = []() -> rn::task<std::error_code> {
            const auto slept = co_await rn::sleep_for(1h);
            co_return slept.error();
        };
        CHECK(co_await rn::with_timeout(1ms, gives_an_error()) == rn::errc::timed_out);
        const auto gives_a_part = []() -> rn::task<partly> {
            partly got;
            const auto slept = co_await rn::sleep_for(1h);
            got.error = slept.error();
            got.count = 7;
            co_return got;
        };
        const partly part = co_await rn::with_timeout(1ms, gives_a_part());
        CHECK(part.error == rn::errc::timed_out);
        CHECK(part.count == 7);
    });
}

TEST_CASE("with_timeout around a task: when the task's own context ends it, that is said instead") {
    run_on(1, []() -> rn::task<> {
        auto made = rn::with_timeout(rn::current_context(), 2ms, make_error_code(rn::errc::full));
        const auto body = []() -> rn::task<rn::result<>> {
            co_return co_await rn::with_timeout(1h, sleeps(1h));
        };
        const auto end = co_await rn::with_context(made.ctx, body());
        CHECK(end.error() == rn::errc::deadline_exceeded);
        CHECK(made.ctx.cause() == rn::errc::full);
    });
}

TEST_CASE("with_timeout, with_context and shielded nest: each acts on all that is inside") {
    run_on(1, []() -> rn::task<> {
        const auto outer_limit = co_await rn::with_timeout(2ms, rn::with_timeout(1h, sleeps(1h)));
        CHECK(outer_limit.error() == rn::errc::timed_out);
        const rn::context other = rn::with_cancel(rn::background()).ctx;
        const auto around = co_await rn::with_timeout(2ms, rn::with_context(other, sleeps(1h)));
        CHECK(around.error() == rn::errc::timed_out);
        auto [own, cancel] = rn::with_cancel(rn::current_context());
        const auto shielded_limit = []() -> rn::task<rn::result<>> {
            co_return co_await rn::shielded(rn::with_timeout(5ms, sleeps(1ms)));
        };
        cancel();
        CHECK(co_await rn::with_context(own, shielded_limit()));
    });
}

TEST_CASE("shielded: no cancel reaches inside, and the values stay") {
    run_on(1, []() -> rn::task<> {
        auto [ctx, cancel] = rn::with_cancel(rn::with_value(rn::current_context(), number, 9));
        cancel();
        const auto body = []() -> rn::task<> {
            const auto refused = co_await rn::yield();
            CHECK(refused.error() == rn::errc::cancelled);
            const auto inside = []() -> rn::task<bool> {
                CHECK(*rn::current_context().value(number) == 9);
                const auto slept = co_await rn::sleep_for(1ms);
                co_return slept.has_value() && !rn::current_context().cancelled();
            };
            CHECK(co_await rn::shielded(inside()));
            CHECK(rn::current_context().cancelled());
        };
        co_await rn::with_context(ctx, body());
    });
}

TEST_CASE(
    "go: inside a with_timeout() statement inherits the context of the task, not that of the statement") {
    run_on(1, []() -> rn::task<> {
        const rn::context mine = rn::current_context();
        rn::join_handle<bool> started;
        const auto outlives = [&]() -> rn::task<bool> {
            CHECK(rn::current_context() == mine);
            const auto slept = co_await rn::sleep_for(5ms);
            co_return slept.has_value();
        };
        const auto statement = [&]() -> rn::task<> {
            CHECK(rn::current_context() != mine);
            started = rn::go(outlives);
            co_await rn::sleep_for(1h);
        };
        co_await rn::with_timeout(1ms, statement());
        CHECK((co_await started).value());
    });
}

TEST_CASE("with_deadline: cancels itself, carries the earliest deadline, and its cause") {
    run_on(1, []() -> rn::task<> {
        const auto far = rn::with_timeout(rn::current_context(), 1h);
        const auto near = rn::with_timeout(far.ctx, 2ms, make_error_code(rn::errc::full));
        const auto below = rn::with_timeout(near.ctx, 2h);
        CHECK(below.ctx.deadline() == near.ctx.deadline());
        CHECK(*near.ctx.deadline() < *far.ctx.deadline());
        CHECK(co_await below.ctx.done());
        CHECK(below.ctx.err() == rn::errc::deadline_exceeded);
        CHECK(below.ctx.cause() == rn::errc::full);
        CHECK(!far.ctx.cancelled());
        CHECK(rn::with_timeout(far.ctx, -1s).ctx.cancelled());
    });
}

TEST_CASE("with_deadline: a context that outlives its runtime, and one that is dropped before it is due") {
    rn::context left;
    run_on(1, [&]() -> rn::task<> {
        left = rn::with_timeout(rn::background(), 1h).ctx;
        for (int i = 0; i < 1000; ++i) (void)rn::with_timeout(rn::current_context(), 1ms);
        co_await rn::sleep_for(3ms);
    });
    CHECK(!left.cancelled());
}

TEST_CASE("with_deadline: contexts are dropped by a thread while the runtime goes that has their timers") {
    for (int round = 0; round < support::scaled(30, 1'000); ++round) {
        std::vector<rn::context> left;
        auto here = std::make_unique<rn::runtime>(support::workers(2));
        const auto makes = [&]() -> rn::task<> {
            for (int i = 0; i < 1000; ++i) left.push_back(rn::with_timeout(rn::background(), 1h).ctx);
            co_return;
        };
        (void)here->spawn(makes).wait();
        std::thread dropper([&] {
            for (; !left.empty(); left.pop_back())
                if (left.size() % 64 == 0) std::this_thread::yield();
        });
        here.reset();
        dropper.join();
    }
}

TEST_CASE("done(): ends with the context; a wait that waits for its own context is cancelled instead") {
    run_on(2, []() -> rn::task<> {
        auto [ctx, cancel] = rn::with_cancel(rn::background());
        const auto waits = [of = ctx]() -> rn::task<rn::result<>> { co_return co_await of.done(); };
        std::vector<rn::join_handle<rn::result<>>> all;
        for (int i = 0; i < 200; ++i) all.push_back(rn::go(waits));  // more than one hold of the lock takes
        co_await rn::sleep_for(1ms);
        cancel();
        for (auto& each : all) CHECK(co_await each);
        const auto never = co_await rn::with_timeout(1ms, rn::background().done());
        CHECK(never.error() == rn::errc::timed_out);
    });
}

TEST_CASE("cancel: ends the waits of very many tasks, in time that grows with their number") {
    const int count = support::scaled(20'000, 200'000);
    run_on(2, [count]() -> rn::task<> {
        rn::scope s;
        std::atomic<int> ended{0};
        rn::event never;
        const auto waits = [&]() -> rn::task<> {
            const auto got = co_await never.wait();
            CHECK(got.error() == rn::errc::cancelled);
            ++ended;
        };
        for (int i = 0; i < count; ++i) s.spawn(waits);
        co_await rn::yield();
        while (s.size() != static_cast<std::size_t>(count)) co_await rn::yield();
        s.cancel();
        co_await s.join();
        CHECK(ended == count);
    });
}

TEST_CASE("cancel: from a plain thread, while tasks wait, take what they wait for, and go") {
    // A wait that has its value keeps it: every set of the event is seen by its waiter, or the waiter was told
    // that it is cancelled; none hangs.
    const int rounds = support::scaled(300, 20'000);
    rn::runtime here(support::workers(2));
    for (int round = 0; round < rounds; ++round) {
        auto [ctx, cancel] = rn::with_cancel(rn::background());
        rn::event door;
        const auto waits = [&]() -> rn::task<int> {
            const auto inside = [&]() -> rn::task<int> {
                const auto got = co_await door.wait();
                co_return got ? 1 : 2;
            };
            co_return co_await rn::with_context(ctx, inside());
        };
        auto a = here.spawn(waits);
        auto b = here.spawn(waits);
        std::thread canceller([stop = cancel] { stop(); });
        std::thread opener([&] { door.set(); });
        CHECK(a.wait().value() != 0);
        CHECK(b.wait().value() != 0);
        canceller.join();
        opener.join();
        CHECK(children_of(ctx) == 0);
    }
}
}
