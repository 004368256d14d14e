// Large trees of contexts, contexts with two parents, and trees that change while they are cancelled: what order there
// is, and what is left behind.
#include <doctest/doctest.h>
#include <runnel/after_func.hpp>
#include <runnel/context.hpp>
#include <runnel/scope.hpp>
#include <runnel/sync.hpp>
#include <runnel/testing.hpp>

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "support/build_kind.hpp"
#include "support/contexts.hpp"
#include "support/level.hpp"
#include "support/runtimes.hpp"
#include "support/scarce_memory.hpp"
#include "support/virtual_time.hpp"

namespace rn = runnel;
using namespace std::chrono_literals;
using namespace support;

namespace {

constexpr int many = 100'000;

rn::context_key<int> number;
rn::context_key<std::string> name;

/// The shapes in which `many` contexts hang below `top`.
using shape = std::vector<rn::context> (*)(const rn::context& top);

std::vector<rn::context> chain(const rn::context& top) {
    std::vector<rn::context> all{top};
    for (int i = 0; i < many; ++i) all.push_back(rn::with_cancel(all.back()).ctx);
    return all;
}
std::vector<rn::context> wide(const rn::context& top) {
    std::vector<rn::context> all{top};
    for (int i = 0; i < many; ++i) all.push_back(rn::with_cancel(top).ctx);
    return all;
}
std::vector<rn::context> bushy(const rn::context& top) {
    std::vector<rn::context> all{top};
    for (std::size_t i = 0; i < many; ++i) all.push_back(rn::with_cancel(all[i / 3]).ctx);
    return all;
}
/// Each has the one before as its first parent, and as its second: both ways down are as deep.
std::vector<rn::context> braided(const rn::context& top) {
    std::vector<rn::context> all{top};
    for (int i = 0; i < many / 2; ++i) {
        const rn::context side = rn::with_cancel(all.back()).ctx;
        all.push_back(i % 2 == 0 ? rn::merged(all.back(), side).ctx : rn::merged(side, all.back()).ctx);
    }
    return all;
}
constexpr shape shapes[] = {chain, wide, bushy, braided};

/// Runs f() on a thread whose stack does not hold two bytes for each of them.
template <class F>
void on_a_small_stack(F f) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 128 * 1024);
    pthread_t thread;
    const auto body = [](void* of) -> void* { return (*static_cast<F*>(of))(), nullptr; };
    REQUIRE(pthread_create(&thread, &attributes, body, &f) == 0);
    pthread_join(thread, nullptr);
    pthread_attr_destroy(&attributes);
}

TEST_CASE("context: trees of 100,000 of any shape are cancelled without a deep stack") {
    for (const shape grow : shapes) {
        const auto top = rn::with_cancel(rn::background());
        const std::vector<rn::context> all = grow(top.ctx);
        on_a_small_stack([&] { CHECK(top.cancel()); });
        CHECK(std::all_of(all.begin(), all.end(), [](const rn::context& each) { return each.cancelled(); }));
        CHECK(children_of(top.ctx) == 0);
    }
}

TEST_CASE(
    "context: trees of 100,000 of any shape end without a deep stack, from the top and from the leaves") {
    for (const shape grow : shapes)
        for (const bool leaves_first : {false, true}) {
            const auto top = rn::with_cancel(rn::background());
            std::vector<rn::context> all = grow(top.ctx);
            if (!leaves_first) std::reverse(all.begin(), all.end());
            on_a_small_stack([&] {
                while (!all.empty()) all.pop_back();
            });
            CHECK(children_of(top.ctx) == 0);
        }
}

TEST_CASE("context: a chain of 100,000 that only its last handle keeps ends with that") {
    const auto top = rn::with_cancel(rn::background());
    for (const shape grow : {chain, braided}) {
        rn::context last = grow(top.ctx).back();
        CHECK(children_of(top.ctx) != 0);
        on_a_small_stack([&] { last = rn::context(); });
        CHECK(children_of(top.ctx) == 0);
    }
}

TEST_CASE("context: a million short-lived children leave nothing with their parent") {
    const int count = sanitized ? 100'000 : 1'000'000;
    const auto top = rn::with_cancel(rn::background());
    const long before = memory_can_be_scarce() ? allocated() : 0;
    for (int i = 0; i < count; ++i) {
        const auto brief = rn::with_cancel(top.ctx);
        if (i % 2 == 0) brief.cancel();
    }
    CHECK(children_of(top.ctx) == 0);
    if (memory_can_be_scarce()) CHECK(allocated() == before);
}

TEST_CASE("context: what is cancelled leaves its parent although its handle stays") {
    const auto top = rn::with_cancel(rn::background());
    std::vector<rn::context> kept;
    for (int i = 0; i < 1000; ++i) {
        const auto made = rn::with_cancel(top.ctx);
        kept.push_back(made.ctx);
        made.cancel();
    }
    CHECK(children_of(top.ctx) == 0);
}

TEST_CASE("with_deadline: what is cancelled leaves the timers although its handle stays") {
    run_on(1, []() -> rn::task<> {
        rn::detail::timer_heap& timers = rn::detail::current_timers();
        const std::size_t before = timers.size();
        const auto top = rn::with_cancel(rn::background());
        const auto own = rn::with_timeout(top.ctx, 1h);
        const auto below = rn::with_timeout(top.ctx, 1h);
        CHECK(timers.size() == before + 2);
        own.cancel();
        CHECK(timers.size() == before + 1);
        std::thread([cancel = top.cancel] { cancel(); }).join();
        CHECK(timers.size() == before);
        CHECK(below.ctx.err() == rn::errc::cancelled);
        const auto born_cancelled = rn::with_timeout(top.ctx, 1h);
        CHECK(timers.size() == before);
        co_return;
    });
}

// --- Order ------------------------------------------------------------------------------------------------

TEST_CASE("cancel: a parent is cancelled before its children; whoever sees a child's end sees its parent's") {
    for (int round = 0; round < scaled(200, 20'000); ++round) {
        const auto top = rn::with_cancel(rn::background());
        std::vector<rn::context> all{top.ctx};
        for (std::size_t i = 0; i < 50; ++i) all.push_back(rn::with_cancel(all[i / 2]).ctx);
        std::thread canceller([cancel = top.cancel] { cancel(); });
        while (!all.back().cancelled())
            for (std::size_t i = all.size() - 1; i > 0; --i)
                if (all[i].cancelled()) CHECK(all[(i - 1) / 2].cancelled());
        canceller.join();
    }
}

// --- Two parents ------------------------------------------------------------------------------------------

TEST_CASE("merged: cancelled with the first of the two, by its cause") {
    for (const bool first : {true, false}) {
        const auto a = rn::with_cancel(rn::background());
        const auto b = rn::with_cancel(rn::background());
        const auto both = rn::merged(a.ctx, b.ctx);
        CHECK((first ? a : b).cancel(make_error_code(rn::errc::full)));
        CHECK((first ? b : a).cancel(make_error_code(rn::errc::empty)));
        CHECK(both.ctx.err() == rn::errc::cancelled);
        CHECK(both.ctx.cause() == rn::errc::full);
        CHECK(!both.cancel());
    }
}

TEST_CASE("merged: can be cancelled alone; of a cancelled one it is cancelled from the beginning") {
    const auto a = rn::with_cancel(rn::background());
    const auto b = rn::with_cancel(rn::background());
    const auto alone = rn::merged(a.ctx, b.ctx);
    CHECK(alone.cancel(make_error_code(rn::errc::full)));
    CHECK(alone.ctx.cause() == rn::errc::full);
    CHECK(!a.ctx.cancelled());
    CHECK(!b.ctx.cancelled());
    b.cancel();
    for (const rn::context& born : {rn::merged(a.ctx, b.ctx).ctx, rn::merged(b.ctx, a.ctx).ctx}) {
        CHECK(born.cancelled());
        CHECK(children_of(a.ctx) == 0);
    }
}

TEST_CASE("merged: has the earlier deadline") {
    in_virtual_time([]() -> rn::task<> {
        const rn::context near = rn::with_timeout(rn::background(), 1s).ctx;
        const rn::context far = rn::with_timeout(rn::background(), 2s, make_error_code(rn::errc::full)).ctx;
        for (const rn::context& both : {rn::merged(near, far).ctx, rn::merged(far, near).ctx}) {
            CHECK(both.deadline() == near.deadline());
            CHECK(co_await both.done());
            CHECK(both.err() == rn::errc::deadline_exceeded);
            CHECK(both.cause() == rn::errc::deadline_exceeded);
        }
        CHECK(!far.cancelled());
    });
}

TEST_CASE("merged: finds the values of the first, then those of the second") {
    const rn::context a = rn::with_value(rn::background(), name, "a");
    const rn::context b = rn::with_value(rn::with_value(rn::background(), name, "b"), number, 2);
    const rn::context both = rn::merged(a, b).ctx;
    CHECK(*both.value(name) == "a");
    CHECK(*both.value(number) == 2);
    const rn::context inner =
        rn::merged(rn::background(), a).ctx;  // the second side of the first side comes first
    CHECK(*rn::merged(inner, b).ctx.value(name) == "a");
    CHECK(*rn::merged(rn::background(), b).ctx.value(name) == "b");
    CHECK(*rn::merged(b, rn::background()).ctx.value(name) == "b");
    CHECK(*rn::merged(a, a).ctx.value(name) == "a");
    CHECK(rn::merged(rn::background(), rn::background()).ctx.value(name) == nullptr);
}

TEST_CASE("merged: a value that comes by a later side is not taken for that of an earlier one") {
    // `shared` stands in the first side of the first side last, and alone on the second.
    const rn::context shared = rn::with_value(rn::background(), name, "shared");
    const rn::context first =
        rn::merged(rn::background(), rn::with_value(rn::background(), name, "first")).ctx;
    CHECK(*rn::merged(rn::merged(first, shared).ctx, shared).ctx.value(name) == "first");
    CHECK(*rn::merged(rn::merged(shared, first).ctx, first).ctx.value(name) == "shared");
}

TEST_CASE(
    "context: a value is looked up in time that grows with the contexts and not with the ways to them") {
    rn::context ctx = rn::with_value(rn::background(), number, 1);
    for (int i = 0; i < 200; ++i)
        ctx = rn::merged(rn::with_cancel(ctx).ctx, rn::with_cancel(ctx).ctx).ctx;  // 2^200
    const rn::context beside = braided(ctx).back();
    for (const rn::context& each : {ctx, beside})
        on_a_small_stack([&] {
            CHECK(each.value(name) == nullptr);
            CHECK(*each.value(number) == 1);
        });
}

TEST_CASE("merged: a long-lived parent does not accumulate what is dropped or done") {
    const auto server = rn::with_cancel(rn::background());
    std::vector<rn::context> kept;
    for (int i = 0; i < 1000; ++i) {
        const auto request = rn::with_cancel(rn::background());
        const auto dropped = rn::merged(request.ctx, server.ctx);
        const auto cancelled = rn::merged(request.ctx, server.ctx);
        cancelled.cancel();
        kept.push_back(cancelled.ctx);
        const auto ended = rn::merged(request.ctx, server.ctx);
        kept.push_back(ended.ctx);
        CHECK(children_of(server.ctx) == 2);
        request.cancel();
        CHECK(children_of(server.ctx) == 0);
    }
}

TEST_CASE("merged: cancelled from both sides at once, by threads, it ends once and leaves both") {
    for (int round = 0; round < scaled(300, 30'000); ++round) {
        const auto a = rn::with_cancel(rn::background());
        const auto b = rn::with_cancel(rn::background());
        std::vector<rn::context> all;
        for (int i = 0; i < 5; ++i) all.push_back(rn::merged(a.ctx, b.ctx).ctx);
        std::thread first([cancel = a.cancel] { cancel(make_error_code(rn::errc::full)); });
        std::thread second([cancel = b.cancel] { cancel(make_error_code(rn::errc::empty)); });
        for (int i = 0; i < 5; ++i) all.push_back(rn::merged(a.ctx, b.ctx).ctx);
        first.join();
        second.join();
        for (const rn::context& each : all) {
            CHECK(each.cancelled());
            const bool of_one_of_them = each.cause() == rn::errc::full || each.cause() == rn::errc::empty;
            CHECK(of_one_of_them);
        }
        CHECK(children_of(a.ctx) == 0);
        CHECK(children_of(b.ctx) == 0);
    }
}

// --- No code of the user under a lock ------------------------------------------------------------------------

TEST_CASE("cancel: a function of after_func may do anything with the tree that is just cancelled") {
    const auto program = []() -> rn::task<> {
        auto top = rn::with_cancel(rn::background());
        auto below = rn::with_cancel(top.ctx);
        rn::event done;
        const auto meddle = [](rn::cancellable parent, rn::cancellable child, rn::event* told) -> rn::task<> {
            rn::testing::expect(!parent.cancel());
            (void)child.cancel();
            const auto born = rn::with_cancel(parent.ctx);
            const auto both = rn::merged(child.ctx, parent.ctx);
            rn::testing::expect(born.ctx.cancelled());
            rn::testing::expect(both.ctx.cancelled());
            rn::after_func(both.ctx, []() -> rn::task<> { co_return; });
            parent = born;  // and lets go of what it was given
            child = both;
            told->set();
            co_return;
        };
        rn::after_func(top.ctx, meddle, top, below, &done);
        top.cancel();
        top = below = rn::with_cancel(rn::background());
        (void)co_await done.wait();
    };
    const auto all = rn::testing::explore(300, program);
    CHECK_MESSAGE(all.ok(), all.what());
}

namespace {
/// A value of a context, whose destructor uses contexts.
struct meddler {
    explicit meddler(rn::context of) : ctx(std::move(of)) {}
    meddler(meddler&&) = default;
    ~meddler() {
        if (ctx == rn::context()) return;
        const auto made = rn::with_cancel(ctx);
        made.cancel();
        (void)rn::merged(ctx, made.ctx);
    }
    rn::context ctx;
};
}

/// Runs `attempt`, which ends in `done`, with memory for 0, 1, 2, … allocations, until that is enough. Before, it
/// throws and leaves nothing behind: neither memory nor a context that the task would go on under.
template <class Attempt>
rn::task<> fails_until_there_is_memory(Attempt attempt) {
    const rn::context around = rn::current_context();
    bool done = false;
    long enough = 0;
    for (; !done && enough < 20; ++enough) {
        const long before = allocated();
        try {
            const scarce_memory few(enough);
            co_await attempt(done);
        } catch (const std::bad_alloc&) {
            CHECK(allocated() == before);
        }
        CHECK(rn::current_context() == around);
    }
    CHECK(done);
    CHECK(enough > 1);
}

rn::task<> set(bool& flag) {
    flag = true;
    co_return;
}

TEST_CASE("context: what there is no memory for throws and has not begun; nothing is left of it") {
    if (!memory_can_be_scarce()) return;
    run_on(1, []() -> rn::task<> {
        const rn::context other = rn::with_cancel(rn::background()).ctx;
        const auto with_context = [&](bool& done) { return rn::with_context(other, set(done)); };
        co_await fails_until_there_is_memory(with_context);
        const auto shielded = [](bool& done) { return rn::shielded(set(done)); };
        co_await fails_until_there_is_memory(shielded);
        const auto both = [&](bool& done) { return rn::with_context(other, rn::shielded(set(done))); };
        co_await fails_until_there_is_memory(both);
    });
    // One that limits needs the timers of its worker to grow: of a new one, whose timers are empty.
    run_on(1, []() -> rn::task<> {
        const auto limited = [](bool& done) { return rn::with_timeout(1h, set(done)); };
        co_await fails_until_there_is_memory(limited);
    });
    run_on(1, []() -> rn::task<> {
        const auto deadline = [](bool& done) -> rn::task<> {
            rn::with_timeout(rn::background(), 1h).cancel();
            done = true;
            co_return;
        };
        co_await fails_until_there_is_memory(deadline);
    });
}

TEST_CASE("context: a value is not looked for by two parents when there is no memory for that") {
    if (!memory_can_be_scarce()) return;
    const rn::context one = rn::with_value(rn::background(), number, 1);
    const rn::context both = rn::merged(rn::background(), one).ctx;
    const scarce_memory none(0);
    CHECK(*one.value(number) == 1);
    CHECK_THROWS_AS((void)both.value(number), std::bad_alloc);
}

TEST_CASE("context: the destructor of a value may use contexts") {
    static rn::context_key<meddler> key;
    const auto top = rn::with_cancel(rn::background());
    (void)rn::with_cancel(rn::with_value(top.ctx, key, meddler(top.ctx)));
    CHECK(children_of(top.ctx) == 0);
}

// --- While it changes ---------------------------------------------------------------------------------------

TEST_CASE("cancel: from threads and tasks, while children, limits and functions come and go") {
    const int rounds = scaled(60, 5'000);
    rn::runtime here(workers(2));
    for (int round = 0; round < rounds; ++round) {
        const auto top = rn::with_cancel(rn::background());
        const auto other = rn::with_cancel(rn::background());
        std::atomic<int> called{0};
        const auto churn = [&]() -> rn::task<> {
            const auto count = [](std::atomic<int>* calls) -> rn::task<> {
                ++*calls;
                co_return;
            };
            std::vector<rn::later> functions;
            for (int i = 0; i < 30; ++i) {
                const auto child = rn::with_cancel(top.ctx);
                const auto limited = rn::with_timeout(child.ctx, i % 2 == 0 ? 1h : 1us);
                const auto both = rn::merged(limited.ctx, other.ctx);
                functions.push_back(rn::after_func(both.ctx, count, &called));
                if (i % 3 == 0) child.cancel();
                if (i % 4 == 0) called += functions.back().stop();
                (void)co_await rn::yield();
            }
            for (const auto& each : {top.ctx, other.ctx}) (void)co_await each.done();
            for (rn::later& each : functions) called += each.stop();  // a cancel may be on its way down (C2)
        };
        auto a = here.spawn(churn);
        auto b = here.spawn(churn);
        std::thread first([cancel = top.cancel] { cancel(); });
        std::thread second([cancel = other.cancel] {
            std::this_thread::yield();
            cancel();
        });
        first.join();
        second.join();
        CHECK(a.wait());
        CHECK(b.wait());
        while (called != 60) std::this_thread::yield();  // each was either called or stopped, once
        CHECK(children_of(top.ctx) == 0);
        CHECK(children_of(other.ctx) == 0);
    }
}
}
