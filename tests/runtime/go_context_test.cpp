// Go's own rules of contexts, as its tests state them, written anew. docs/conformance.md says which is which.
#include <doctest/doctest.h>
#include <runnel/after_func.hpp>
#include <runnel/condition.hpp>
#include <runnel/context.hpp>
#include <runnel/scope.hpp>
#include <runnel/select.hpp>
#include <runnel/sync.hpp>
#include <runnel/testing.hpp>

#include <algorithm>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "channel/tasks.hpp"
#include "support/contexts.hpp"
#include "support/level.hpp"
#include "support/runtimes.hpp"
#include "support/scarce_memory.hpp"
#include "support/virtual_time.hpp"

using namespace std::chrono_literals;
using namespace support;

namespace {

/// Is `<-ctx.Done()` ready?
bool is_done(const rn::context& ctx) { return static_cast<bool>(rn::try_select(ctx.done())); }

void check_done(const rn::context& ctx, std::error_code err) {
    CHECK(is_done(ctx));
    CHECK(ctx.err() == err);
}
void check_alive(const rn::context& ctx) {
    CHECK(!is_done(ctx));
    CHECK(!ctx.err());
    CHECK(!ctx.cause());
}

const std::error_code cancelled = make_error_code(rn::errc::cancelled);
const std::error_code deadline_exceeded = make_error_code(rn::errc::deadline_exceeded);

// Errors that somebody gives as causes.
const std::error_code parents = make_error_code(std::errc::no_such_process);
const std::error_code childs = make_error_code(std::errc::no_child_process);
const std::error_code too_slow = make_error_code(std::errc::stream_timeout);
const std::error_code finished_early = make_error_code(std::errc::already_connected);

rn::task<> set(rn::event* event) {
    event->set();
    co_return;
}
}

// --- The tree -----------------------------------------------------------------------------------------

TEST_CASE("Go context: the background is never done") {
    check_alive(rn::background());
    check_alive(rn::context());  // what stands for a context to come is this one
}

TEST_CASE("Go context: cancel() has reached all below it when it returns") {
    auto [first, cancel] = rn::with_cancel(rn::background());
    const rn::context second = rn::with_cancel(first).ctx;
    check_alive(first);
    check_alive(second);
    cancel();
    check_done(first, cancelled);
    check_done(second, cancelled);
}

TEST_CASE("Go context: a parent that is cancelled finishes its children; whatever made them") {
    in_virtual_time([]() -> rn::task<> {
        static rn::context_key<std::string> key;
        const auto parent = rn::with_cancel(rn::background());
        const rn::context cancels = rn::with_cancel(parent.ctx).ctx;
        const rn::context value = rn::with_value(parent.ctx, key, "value");
        const rn::context timer = rn::with_timeout(value, 1000h).ctx;
        rn::event called;
        rn::after_func(parent.ctx, set, &called);
        (void)co_await rn::yield();
        for (const rn::context& each : {parent.ctx, cancels, value, timer}) check_alive(each);
        CHECK(children_of(parent.ctx) == 2);
        CHECK(waited_for(parent.ctx));

        parent.cancel();
        CHECK(children_of(parent.ctx) == 0);
        CHECK(!waited_for(parent.ctx));
        for (const rn::context& each : {parent.ctx, cancels, value, timer}) check_done(each, cancelled);
        (void)co_await called.wait();
        check_done(rn::with_value(parent.ctx, key, "born cancelled"), cancelled);
    });
}

TEST_CASE("Go context: a child that finishes first leaves its parent as it was") {
    const auto can_cancel = rn::with_cancel(rn::background());
    for (const rn::context& parent : {rn::background(), can_cancel.ctx}) {
        const auto child = rn::with_cancel(parent);
        check_alive(child.ctx);
        if (parent == can_cancel.ctx) CHECK(children_of(parent) == 1);
        child.cancel();
        if (parent == can_cancel.ctx) CHECK(children_of(parent) == 0);
        check_done(child.ctx, cancelled);
        check_alive(parent);
    }
}

TEST_CASE("Go context: what is cancelled or stopped is removed from its parent") {
    in_virtual_time([]() -> rn::task<> {
        const auto parent = rn::with_cancel(rn::background());
        const auto child = rn::with_cancel(parent.ctx);
        CHECK(children_of(parent.ctx) == 1);
        child.cancel();
        CHECK(children_of(parent.ctx) == 0);

        const auto limited = rn::with_timeout(parent.ctx, 60min);
        CHECK(children_of(parent.ctx) == 1);
        limited.cancel();
        CHECK(children_of(parent.ctx) == 0);

        rn::later function = rn::after_func(parent.ctx, []() -> rn::task<> { co_return; });
        (void)co_await rn::yield();
        CHECK(waited_for(parent.ctx));
        function.stop();
        (void)co_await rn::yield();
        CHECK(!waited_for(parent.ctx));
    });
}

TEST_CASE("Go context: a child of a cancelled parent is done from the beginning; with the parent's cause") {
    const auto parent = rn::with_cancel(rn::background());
    parent.cancel(parents);
    const rn::context child = rn::with_cancel(parent.ctx).ctx;
    check_done(child, cancelled);
    CHECK(child.cause() == parents);
}

TEST_CASE("Go context: a child made while its parent is cancelled is cancelled too") {
    for (int round = 0; round < scaled(100, 10'000); ++round) {
        const auto parent = rn::with_cancel(rn::background());
        std::thread canceller([cancel = parent.cancel] { cancel(parents); });
        const rn::context child = rn::with_cancel(parent.ctx).ctx;
        while (!child.cancelled()) std::this_thread::yield();
        CHECK(child.err() == cancelled);
        CHECK(child.cause() == parents);
        canceller.join();
    }
}

// --- Many at once -----------------------------------------------------------------------------------------

TEST_CASE("Go context: all contexts of a tree cancelled at once; in any order; are done and nobody hangs") {
    const auto rule = []() -> rn::task<> {
        std::vector<rn::cancellable> all{rn::with_cancel(rn::background())};
        for (std::size_t parent = 0; all.size() < 100; ++parent)
            for (int i = 0; i < 4; ++i) all.push_back(rn::with_cancel(all[parent].ctx));
        std::vector<rn::context> tree;
        for (const rn::cancellable& each : all) tree.push_back(each.ctx);
        std::shuffle(all.begin(), all.end(), std::minstd_rand(5));
        rn::task_set cancels;
        for (const rn::cancellable& each : all)
            cancels.spawn(
                [](rn::cancel_function cancel) -> rn::task<> {
                    cancel();
                    co_return;
                },
                each.cancel);
        for (const rn::context& each : tree) CHECK(co_await each.done());
        (void)co_await cancels.join();
        for (const rn::context& each : tree) CHECK(children_of(each) == 0);
    };
    for (int round = 0; round < scaled(20, 2'000); ++round) run_on(3, rule);
}

TEST_CASE("Go context: a child may be cancelled by who waits for its parent's end") {
    const auto program = []() -> rn::task<> {
        const auto parent = rn::with_cancel(rn::background());
        const auto child = rn::with_cancel(parent.ctx);
        rn::go(
            [](rn::context when, rn::cancel_function cancel) -> rn::task<> {
                (void)co_await when.done();
                cancel();
            },
            parent.ctx, child.cancel);
        parent.cancel();
        const auto ended = co_await child.ctx.done();
        rn::testing::expect(ended.has_value());
    };
    const auto all = rn::testing::explore(200, program);
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("Go context: the cause is there as soon as anybody can see that there is one") {
    const auto made = rn::with_cancel(rn::background());
    std::thread canceller([cancel = made.cancel] { cancel(parents); });
    while (!made.ctx.cause()) std::this_thread::yield();
    CHECK(made.ctx.cause() == parents);
    canceller.join();
}

TEST_CASE("Go context: who sees err() sees done()") {
    for (int round = 0; round < scaled(100, 10'000); ++round) {
        const auto made = rn::with_cancel(rn::background());
        std::thread canceller([cancel = made.cancel] { cancel(); });
        while (!made.ctx.err()) std::this_thread::yield();
        CHECK(is_done(made.ctx));
        canceller.join();
    }
}

// --- Time --------------------------------------------------------------------------------------------------

TEST_CASE(
    "Go context: a deadline ends its context; at once when it has passed; an earlier one of the parent too") {
    in_virtual_time([]() -> rn::task<> {
        const auto now = rn::clock::now();
        const auto check_ends = [](rn::context ctx) -> rn::task<> {
            (void)co_await ctx.done();
            CHECK(ctx.err() == deadline_exceeded);
        };
        co_await check_ends(rn::with_deadline(rn::background(), now + 1ms).ctx);
        co_await check_ends(rn::with_timeout(rn::background(), 1ms).ctx);
        const rn::context early = rn::with_timeout(rn::background(), 1ms).ctx;
        co_await check_ends(rn::with_deadline(early, now + 1000h).ctx);
        check_done(rn::with_deadline(rn::background(), now - 1ms).ctx, deadline_exceeded);
        check_done(rn::with_deadline(rn::background(), rn::clock::now()).ctx, deadline_exceeded);
        CHECK(rn::clock::now() - now == 3ms);  // three of them had to be waited for
    });
}

TEST_CASE("Go context: one with a deadline can be cancelled before it") {
    in_virtual_time([]() -> rn::task<> {
        const auto made = rn::with_timeout(rn::with_timeout(rn::background(), 1s).ctx, 1000h);
        made.cancel();
        check_done(made.ctx, cancelled);
        co_return;
    });
}

TEST_CASE("Go context: that a deadline has passed is a timeout to whoever asks for one") {
    CHECK(deadline_exceeded == std::errc::timed_out);
}

// --- Values ------------------------------------------------------------------------------------------------

TEST_CASE("Go context: a key finds the nearest value that was set for it and no other") {
    static rn::context_key<const char*> k1, k2, k3;
    const auto check = [](const rn::context& ctx, const char* v1, const char* v2, const char* v3) {
        const auto get = [&](const rn::context_key<const char*>& key) {
            const char* const* found = ctx.value(key);
            return std::string(found != nullptr && *found != nullptr ? *found : "");
        };
        CHECK(get(k1) == v1);
        CHECK(get(k2) == v2);
        CHECK(get(k3) == v3);
    };
    check(rn::background(), "", "", "");
    const rn::context c1 = rn::with_value(rn::background(), k1, "c1k1");
    check(c1, "c1k1", "", "");
    const rn::context c2 = rn::with_value(c1, k2, "c2k2");
    check(c2, "c1k1", "c2k2", "");
    const rn::context c3 = rn::with_value(c2, k3, "c3k3");
    check(c3, "c1k1", "c2k2", "c3k3");
    const rn::context c4 = rn::with_value(c3, k1, nullptr);  // a value, too
    check(c4, "", "c2k2", "c3k3");
    check(rn::with_cancel(c4).ctx, "", "c2k2", "c3k3");
    check(c1, "c1k1", "", "");
}

namespace {
/// Layers at random: values, cancels, limits of `limit` each.
struct layers {
    layers(unsigned seed, rn::clock::duration limit) : random(seed) {
        for (int i = 0; i < 30 || timers == 0 || cancels.empty() || keys.empty(); ++i) add(limit);
    }
    void add(rn::clock::duration limit) {
        const auto kind = random() % 3;
        if (kind == 0) {
            keys.emplace_back();
            top = rn::with_value(top, keys.back(), keys.size());
            return;
        }
        rn::cancellable made = kind == 1 ? rn::with_cancel(top) : rn::with_timeout(top, limit);
        timers += kind == 2;
        top = std::move(made.ctx);
        cancels.push_back(std::move(made.cancel));
    }
    void check_values() const {
        std::size_t number = 0;
        for (const rn::context_key<std::size_t>& key : keys) {
            const std::size_t* found = top.value(key);
            REQUIRE(found != nullptr);
            CHECK(*found == ++number);
        }
    }

    std::minstd_rand random;
    int timers = 0;
    rn::context top;
    std::deque<rn::context_key<std::size_t>> keys;
    std::vector<rn::cancel_function> cancels;
};
}

TEST_CASE("Go context: the top of many layers is cancelled by any of them and keeps its values") {
    in_virtual_time([]() -> rn::task<> {
        for (unsigned seed = 1; seed <= 50; ++seed) {
            CAPTURE(seed);
            layers all(seed, 1000h);
            check_alive(all.top);
            all.check_values();
            all.cancels[all.random() % all.cancels.size()]();
            check_done(all.top, cancelled);
            all.check_values();
        }
        co_return;
    });
}

TEST_CASE("Go context: the top of many layers ends by any deadline of them and keeps its values") {
    in_virtual_time([]() -> rn::task<> {
        for (unsigned seed = 1; seed <= 50; ++seed) {
            const layers all(seed, 1ms);
            all.check_values();
            (void)co_await all.top.done();
            CHECK(all.top.err() == deadline_exceeded);
            all.check_values();
        }
    });
}

TEST_CASE("Go context: without_cancel keeps the values and has no end; no deadline; no cause") {
    static rn::context_key<std::string> key;
    const auto parent = rn::with_cancel(rn::with_value(rn::background(), key, "value"));
    const rn::context apart = rn::without_cancel(parent.ctx);
    parent.cancel(parents);
    CHECK(!apart.deadline());
    check_alive(apart);
    CHECK(*apart.value(key) == "value");
}

// --- Causes ------------------------------------------------------------------------------------------------

TEST_CASE("Go context: err and cause of each way to end") {
    const auto background = [] { return rn::with_cancel(rn::background()); };
    const auto check = [](const rn::context& ctx, std::error_code err, std::error_code cause) {
        CHECK(ctx.err() == err);
        CHECK(ctx.cause() == cause);
    };
    SUBCASE("cancelled without a cause") {
        const auto made = background();
        made.cancel();
        check(made.ctx, cancelled, cancelled);
    }
    SUBCASE("cancelled with a cause") {
        const auto made = background();
        made.cancel(parents);
        check(made.ctx, cancelled, parents);
    }
    SUBCASE("cancelled with a cause that is none") {
        const auto made = background();
        made.cancel(std::error_code());
        check(made.ctx, cancelled, cancelled);
    }
    SUBCASE("the parent first") {
        const auto parent = background();
        const auto child = rn::with_cancel(parent.ctx);
        parent.cancel(parents);
        child.cancel(childs);
        check(child.ctx, cancelled, parents);
    }
    SUBCASE("the child first") {
        const auto parent = background();
        const auto child = rn::with_cancel(parent.ctx);
        child.cancel(childs);
        parent.cancel(parents);
        check(child.ctx, cancelled, childs);
        check(parent.ctx, cancelled, parents);
    }
    SUBCASE("the parent first with a cause and the child without") {
        const auto parent = background();
        const auto child = rn::with_cancel(parent.ctx);
        parent.cancel(parents);
        child.cancel();
        check(child.ctx, cancelled, parents);
    }
    SUBCASE("the child first without a cause") {
        const auto parent = background();
        const auto child = rn::with_cancel(parent.ctx);
        child.cancel();
        parent.cancel(parents);
        check(child.ctx, cancelled, cancelled);
    }
    SUBCASE("the parent first without a cause") {
        const auto parent = background();
        const auto child = rn::with_cancel(parent.ctx);
        parent.cancel();
        child.cancel(childs);
        check(child.ctx, cancelled, cancelled);
    }
    SUBCASE("without_cancel") {
        const auto parent = background();
        const rn::context apart = rn::without_cancel(parent.ctx);
        parent.cancel(finished_early);
        check(apart, {}, {});
        check(rn::without_cancel(rn::background()), {}, {});
    }
}

TEST_CASE("Go context: err and cause of each way in which a limit ends") {
    in_virtual_time([]() -> rn::task<> {
        const auto check = [](const rn::context& ctx, std::error_code err, std::error_code cause) {
            CHECK(ctx.err() == err);
            CHECK(ctx.cause() == cause);
        };
        const auto over = rn::with_timeout(rn::background(), 0s);
        over.cancel();
        check(over.ctx, deadline_exceeded, deadline_exceeded);
        const auto in_time = rn::with_timeout(rn::background(), 24h);
        in_time.cancel();
        check(in_time.ctx, cancelled, cancelled);
        const auto over_with_cause = rn::with_timeout(rn::background(), 0s, too_slow);
        over_with_cause.cancel();
        check(over_with_cause.ctx, deadline_exceeded, too_slow);
        const auto in_time_with_cause = rn::with_timeout(rn::background(), 24h, too_slow);
        in_time_with_cause.cancel();
        check(in_time_with_cause.ctx, cancelled, cancelled);

        const auto parent = rn::with_cancel(rn::background());
        const rn::context before = rn::with_timeout(parent.ctx, 0s, too_slow).ctx;
        const rn::context after = rn::with_timeout(parent.ctx, 24h, too_slow).ctx;
        parent.cancel(finished_early);
        check(before, deadline_exceeded, too_slow);
        check(after, cancelled, finished_early);
        check(rn::without_cancel(over_with_cause.ctx), {}, {});
        co_return;
    });
}

// --- after_func --------------------------------------------------------------------------------------------

TEST_CASE("Go context: after_func runs its function after the cancel and not before") {
    in_virtual_time([]() -> rn::task<> {
        auto [ctx, cancel] = rn::with_cancel(rn::background());
        rn::event called;
        rn::later function = rn::after_func(ctx, set, &called);
        (void)co_await rn::sleep_for(1ms);
        CHECK(!called.is_set());
        cancel();
        CHECK(co_await called.wait());
        CHECK(!function.stop());
    });
}

TEST_CASE("Go context: after_func runs its function after the deadline") {
    in_virtual_time([]() -> rn::task<> {
        auto [ctx, cancel] = rn::with_timeout(rn::background(), 1ms);
        rn::event called;
        rn::after_func(ctx, set, &called);
        CHECK(co_await called.wait());
        CHECK(ctx.err() == deadline_exceeded);
    });
}

TEST_CASE("Go context: after_func of a cancelled context runs its function at once") {
    in_virtual_time([]() -> rn::task<> {
        auto [ctx, cancel] = rn::with_cancel(rn::background());
        cancel();
        rn::event called;
        rn::later function = rn::after_func(ctx, set, &called);
        CHECK(!function.stop());
        CHECK(co_await called.wait());
    });
}

TEST_CASE("Go context: after_func does not run what was stopped") {
    in_virtual_time([]() -> rn::task<> {
        auto [ctx, cancel] = rn::with_cancel(rn::background());
        rn::event called;
        rn::later function = rn::after_func(ctx, set, &called);
        CHECK(function.stop());
        cancel();
        (void)co_await rn::sleep_for(1ms);
        CHECK(!called.is_set());
        CHECK(!function.stop());
    });
}

TEST_CASE("Go context: cancel() does not wait for the functions of after_func") {
    in_virtual_time([]() -> rn::task<> {
        auto [ctx, cancel] = rn::with_cancel(rn::background());
        rn::event called;
        rn::event after_cancel;
        rn::after_func(
            ctx,
            [](rn::event* until, rn::event* done) -> rn::task<> {
                (void)co_await until->wait();  // only the canceller sets it, when it has come back
                done->set();
            },
            &after_cancel, &called);
        cancel();
        after_cancel.set();
        CHECK(co_await called.wait());
    });
}

TEST_CASE("Go context: after_func can wake who waits for a condition") {
    in_virtual_time([]() -> rn::task<> {
        rn::mutex lock;
        rn::condition changed;
        const auto wake_all = [](rn::mutex* of, rn::condition* what) -> rn::task<> {
            auto guard = co_await of->lock();  // else the broadcast could come before the wait
            what->notify_all();
        };
        const auto wait = [&]() -> rn::task<> {
            const rn::context ctx = rn::with_timeout(rn::background(), 1ms).ctx;
            rn::later wakes = rn::after_func(ctx, wake_all, &lock, &changed);
            auto guard = co_await lock.lock();
            while (!ctx.cancelled()) (void)co_await changed.wait(*guard);
            wakes.stop();
            CHECK(ctx.err() == deadline_exceeded);
        };
        rn::task_set all;
        for (int i = 0; i < 4; ++i) all.spawn(wait);
        (void)co_await all.join();
        (void)co_await rn::sleep_for(1ms);
    });
}

TEST_CASE("Go context: two contexts are merged") {
    const auto first = rn::with_cancel(rn::background());
    const auto second = rn::with_cancel(rn::background());
    const rn::context both = rn::merged(first.ctx, second.ctx).ctx;
    check_alive(both);
    second.cancel(childs);
    check_done(both, cancelled);
    CHECK(both.cause() == childs);
    check_alive(first.ctx);
}

// --- Cost --------------------------------------------------------------------------------------------------

TEST_CASE("Go context: making one costs one allocation; one more for a value") {
    if (!memory_can_be_scarce()) return;
    static rn::context_key<int> key;
    const auto costs = [](long allocations, auto make) {
        {
            const scarce_memory enough(allocations);
            CHECK_NOTHROW(make());
        }
        if (allocations == 0) return;
        const scarce_memory too_few(allocations - 1);
        CHECK_THROWS_AS(make(), std::bad_alloc);
    };
    const rn::context parent = rn::with_cancel(rn::background()).ctx;
    const long before = allocated();
    costs(0, [] { (void)rn::background(); });
    costs(0, [&] { (void)rn::context(parent); });
    costs(1, [&] { rn::with_cancel(parent).cancel(); });
    costs(1, [&] { rn::with_timeout(parent, -1s).cancel(); });
    costs(1, [&] { rn::merged(parent, rn::background()).cancel(); });
    costs(2, [&] { (void)rn::with_value(parent, key, 7); });
    CHECK(allocated() == before);
}
