// At most so many children at once: when_free() waits for a place, if_free() takes one if there is one.
#include <doctest/doctest.h>
#include <runnel/go.hpp>
#include <runnel/scope.hpp>
#include <runnel/select.hpp>
#include <runnel/semaphore.hpp>
#include <runnel/sync.hpp>
#include <runnel/testing.hpp>

#include <atomic>
#include <memory>
#include <new>
#include <stdexcept>
#include <vector>

#include "support/child.hpp"
#include "support/counted.hpp"
#include "support/level.hpp"
#include "support/runtimes.hpp"
#include "support/scarce_memory.hpp"
#include "support/virtual_time.hpp"

namespace rn = runnel;
namespace testing = runnel::testing;
using namespace std::chrono_literals;
using support::counted;
using support::in_virtual_time;
using support::run_on;
using support::scaled;

namespace {

/// How many there are at the same time, and have been.
struct crowd {
    std::atomic<int> now{0}, most{0}, all{0};
};
class [[nodiscard]] visitor {
public:
    explicit visitor(crowd& of) : of_(of) {
        const int now = ++of_.now;
        if (now > of_.most) of_.most = now;
        ++of_.all;
    }
    visitor(const visitor&) = delete;
    visitor& operator=(const visitor&) = delete;
    ~visitor() { --of_.now; }

private:
    crowd& of_;
};

rn::task<> visits(crowd& place) {
    const visitor here(place);
    co_await rn::sleep_for(1ms);
}
rn::task<> waits(rn::event& door) { co_await door.wait(); }
rn::task<> notes(std::vector<int>& order, int n) {
    order.push_back(n);
    co_await rn::sleep_for(1ms);
}

TEST_CASE("scope: when_free() starts no more children than the limit at the same time") {
    in_virtual_time([]() -> rn::task<> {
        crowd here;
        rn::scope s;
        s.set_limit(3);
        for (int i = 0; i < 10; ++i) {
            const auto started = co_await s.when_free().spawn(visits, rn::borrow(here));
            CHECK(started);
        }
        CHECK(co_await s.join());
        CHECK(here.all == 10);
        CHECK(here.most == 3);
    });
}

TEST_CASE("scope: without a limit when_free() and if_free() always find a place") {
    in_virtual_time([]() -> rn::task<> {
        crowd here;
        rn::task_set set;
        for (int i = 0; i < 100; ++i) {
            const auto started = co_await set.when_free().spawn(visits, rn::borrow(here));
            CHECK(started);
            CHECK(set.if_free().spawn(visits, rn::borrow(here)));
        }
        CHECK(co_await set.join());
        CHECK(here.most == 200);
    });
}

TEST_CASE("scope: if_free() starts nothing when there is no place and destroys what it was given") {
    counted::reset();
    in_virtual_time([]() -> rn::task<> {
        rn::event door;
        const auto holds = [](rn::event& until, counted) -> rn::task<> { co_await until.wait(); };
        rn::scope s;
        s.set_limit(1);
        CHECK(s.if_free().spawn(holds, rn::borrow(door), counted(1)));
        const auto live = counted::live();
        CHECK(s.if_free().spawn(holds, rn::borrow(door), counted(2)).error() == rn::errc::not_available);
        CHECK(counted::live() == live);
        CHECK(s.size() == 1);
        door.set();
        CHECK(co_await s.join());
        CHECK(s.if_free().spawn(holds, rn::borrow(door), counted(3)));
        CHECK(co_await s.join());
    });
    CHECK(counted::live() == 0);
    CHECK(counted::errors() == 0);
}

TEST_CASE("scope: a closure and arguments that rn::from() names are moved into the child") {
    in_virtual_time([]() -> rn::task<> {
        int sum = 0;
        auto adds = [&sum, own = std::make_unique<int>(1)](std::unique_ptr<int> given) -> rn::task<> {
            sum += *own + *given;
            co_return;
        };
        auto given = std::make_unique<int>(2);
        rn::scope s;
        const auto started = co_await s.when_free().spawn(rn::from(adds), rn::from(given));
        CHECK(started);
        CHECK_FALSE(given);
        CHECK(co_await s.join());
        CHECK(sum == 3);
    });
}

TEST_CASE("scope: spawn() waits for nobody but what it starts counts") {
    in_virtual_time([]() -> rn::task<> {
        rn::event door;
        rn::scope s;
        s.set_limit(2);
        for (int i = 0; i < 3; ++i) s.spawn(waits, rn::borrow(door));
        CHECK(s.size() == 3);
        CHECK(s.if_free().spawn(waits, rn::borrow(door)).error() == rn::errc::not_available);
        door.set();
        CHECK(co_await s.join());
    });
}

TEST_CASE("scope: who waits for a place first gets it first, and a child that ends lets in one") {
    const auto all = testing::explore(scaled(300U, 20'000U), []() -> rn::task<> {
        std::vector<int> order;
        rn::event doors[2];
        rn::scope s;
        rn::task_set helpers;
        s.set_limit(1);
        s.spawn(waits, rn::borrow(doors[0]));
        const auto spawns = [&](int n) -> rn::task<> {
            const auto started = co_await s.when_free().spawn(notes, rn::borrow(order), n);
            testing::expect(started.has_value());
        };
        for (int i = 0; i < 3; ++i) {
            helpers.spawn(spawns, i);
            co_await testing::wait_until_all_tasks_wait();
        }
        testing::expect(order.empty());
        doors[0].set();
        co_await testing::wait_until_all_tasks_wait();
        testing::expect(order == std::vector<int>{0}, "one place, one child");
        (void)co_await helpers.join();
        (void)co_await s.join();
        testing::expect(order == std::vector<int>{0, 1, 2}, "in turn");
    });
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("scope: a place is free when the child has ended and what it was given is gone") {
    const auto all = testing::explore(scaled(300U, 20'000U), []() -> rn::task<> {
        std::vector<std::weak_ptr<int>> given;
        rn::scope s;
        s.set_limit(1);
        const auto alone = [&](std::shared_ptr<int> own) -> rn::task<> {
            for (int before = 0; before < *own; ++before)
                testing::expect(given[static_cast<std::size_t>(before)].expired(),
                                "what another was given lives on");
            co_await rn::yield();
        };
        for (int i = 0; i < 4; ++i) {
            auto own = std::make_shared<int>(i);
            given.push_back(own);
            const auto started = co_await s.when_free().spawn(alone, std::move(own));
            testing::expect(started.has_value());
        }
        (void)co_await s.join();
        testing::expect(given[3].expired());
    });
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("scope: one that is cancelled has no place for anybody whether one is free or not") {
    in_virtual_time([]() -> rn::task<> {
        rn::event door;
        rn::scope s;
        s.cancel();
        const auto refused = co_await s.when_free().spawn(waits, rn::borrow(door));
        CHECK(refused.error() == rn::errc::cancelled);
        CHECK(s.if_free().spawn(waits, rn::borrow(door)).error() == rn::errc::cancelled);
        CHECK(s.size() == 0);
        CHECK(co_await s.join());
    });
}

TEST_CASE("scope: who waits for a place learns that the scope is cancelled; by the failure of a child too") {
    in_virtual_time([]() -> rn::task<> {
        const auto fails = []() -> rn::task<rn::result<>> {
            co_await rn::sleep_for(1ms);
            co_return rn::errc::full;
        };
        rn::scope s;
        s.set_limit(2);
        for (int i = 0; i < 2; ++i) {
            const auto started = co_await s.when_free().spawn(fails);
            CHECK(started);
        }
        const auto stops = [&]() -> rn::task<> {
            const auto started = co_await s.when_free().spawn(fails);
            CHECK(started.error() == rn::errc::cancelled);
        };
        auto helper = rn::go(stops);
        auto [ctx, cancel] = rn::with_cancel(rn::current_context());
        cancel();
        const auto ours = co_await rn::with_context(ctx, s.when_free().spawn(fails));
        CHECK(ours.error() == rn::errc::cancelled);
        CHECK(s.size() == 2);
        (void)co_await helper;
        const auto end = co_await s.join();
        CHECK(end.error() == rn::errc::full);
    });
}

TEST_CASE("scope: a wait for a place can be limited, and is a case of a select") {
    in_virtual_time([]() -> rn::task<> {
        rn::event door, never;
        rn::scope s;
        s.set_limit(1);
        s.spawn(waits, rn::borrow(door));
        const auto late = co_await rn::with_timeout(1ms, s.when_free().spawn(waits, rn::borrow(never)));
        CHECK(late.error() == rn::errc::timed_out);
        auto won = co_await rn::select(s.when_free().spawn(waits, rn::borrow(never)), rn::after(1ms));
        CHECK(won.index() == 1);
        door.set();
        auto free = co_await rn::select(s.when_free().spawn(waits, rn::borrow(door)), rn::after(1ms));
        REQUIRE(free.index() == 0);
        CHECK(free.take<0>());
        CHECK(co_await s.join());
    });
}

TEST_CASE("scope: a limit that is raised lets in who waits, as many as there are places") {
    const auto all = testing::explore(scaled(300U, 20'000U), []() -> rn::task<> {
        rn::event door;
        std::atomic<int> started{0};
        rn::scope s;
        rn::task_set helpers;
        s.set_limit(0);
        const auto spawns = [&]() -> rn::task<> {
            const auto got = co_await s.when_free().spawn(waits, rn::borrow(door));
            testing::expect(got.has_value());
            ++started;
        };
        for (int i = 0; i < 5; ++i) helpers.spawn(spawns);
        co_await testing::wait_until_all_tasks_wait();
        testing::expect(started == 0);
        s.set_limit(3);
        co_await testing::wait_until_all_tasks_wait();
        testing::expect(started == 3);
        s.set_limit(1);  // nobody is sent away
        co_await testing::wait_until_all_tasks_wait();
        testing::expect(s.size() == 3);
        door.set();
        (void)co_await helpers.join();
        (void)co_await s.join();
        testing::expect(started == 5);
    });
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("scope: cancelled at any point of a wait for a place, no place is lost and none is taken") {
    const auto all = testing::explore(scaled(3'000U, 100'000U), []() -> rn::task<> {
        crowd here;
        std::atomic<int> started{0};
        rn::task_set set;
        rn::task_set helpers;
        set.set_limit(2);
        const auto spawns = [&](rn::clock::duration patience) -> rn::task<> {
            const auto got =
                co_await rn::with_timeout(patience, set.when_free().spawn(visits, rn::borrow(here)));
            if (got) ++started;
        };
        for (int i = 0; i < 5; ++i) helpers.spawn(spawns, rn::clock::duration(1ms * testing::choose(3)));
        (void)co_await helpers.join();
        (void)co_await set.join();
        testing::expect(here.all == started, "started, or not");
        testing::expect(here.most <= 2, "the limit");
        testing::expect(set.size() == 0);
        testing::expect(set.if_free().spawn(visits, rn::borrow(here)).has_value());
        testing::expect(set.if_free().spawn(visits, rn::borrow(here)).has_value(), "a place was lost");
        testing::expect(!set.if_free().spawn(visits, rn::borrow(here)).has_value());
        (void)co_await set.join();
    });
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("scope: join() waits for the child of a task that got a place while it waited") {
    const auto all = testing::explore(scaled(1'000U, 50'000U), []() -> rn::task<> {
        crowd here;
        rn::scope s;
        s.set_limit(1);
        s.spawn(visits, rn::borrow(here));
        const auto spawns = [&]() -> rn::task<> {
            for (int i = 0; i < 3; ++i) {
                const auto got = co_await s.when_free().spawn(visits, rn::borrow(here));
                testing::expect(got.has_value());
            }
        };
        auto helper = rn::go(spawns);
        co_await testing::wait_until_all_tasks_wait();
        (void)co_await s.join();
        testing::expect(here.now == 0, "a child outlives join()");
        testing::expect(here.all >= 2, "the one that waited was let in");
        (void)co_await helper;
        (void)co_await s.join();
        testing::expect(here.all == 4);
    });
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("scope: a helper task may spawn while join() waits as long as a child lives") {
    run_on(4, []() -> rn::task<> {
        for (int round = 0; round < scaled(200, 20'000); ++round) {
            rn::event spawned;
            std::atomic<int> ended{0};
            rn::scope s;
            const auto counts = [&]() -> rn::task<> {
                co_await rn::yield();
                ++ended;
            };
            const auto helps = [&]() -> rn::task<> {
                for (int i = 0; i < 5; ++i) s.spawn(counts);
                spawned.set();
                co_return;
            };
            s.spawn(waits, rn::borrow(spawned));
            auto helper = rn::go(helps);
            (void)co_await s.join();
            if (ended != 5) throw std::logic_error("join() returned early");
            (void)co_await helper;
        }
    });
}

TEST_CASE("scope: children may wait for places in their own scope, as long as not all do") {
    const auto all = testing::explore(scaled(500U, 20'000U), []() -> rn::task<> {
        crowd here;
        rn::scope s;
        s.set_limit(2);
        const auto spawns = [&]() -> rn::task<> {
            for (int i = 0; i < 4; ++i) (void)co_await s.when_free().spawn(visits, rn::borrow(here));
        };
        s.spawn(spawns);
        (void)co_await s.join();
        testing::expect(here.all == 4);
        testing::expect(here.most == 1);
    });
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("scope: left while a child of its own waits for a place, that child is cancelled like the others") {
    run_on(2, []() -> rn::task<> {
        for (int round = 0; round < 2; ++round) {
            static std::atomic<int> refused;  // not a local: the children outlive those
            refused = 0;
            const auto leaves = []() -> rn::task<> {
                const auto spawns = [](std::shared_ptr<rn::scope> own) -> rn::task<> {
                    const auto naps = []() -> rn::task<> { co_await rn::sleep_for(1h); };
                    const auto got = co_await own->when_free().spawn(naps);
                    if (!got) ++refused;
                };
                auto s = std::make_shared<rn::scope>();
                s->set_limit(1);
                s->spawn(spawns, s);
                s->spawn(spawns, s);
                s->cancel();
                co_return;
            };
            co_await rn::go(leaves);
            while (refused != 2) co_await rn::yield();
        }
    });
}

TEST_CASE("scope: a place for whose child there is no memory is given back") {
    if (!support::memory_can_be_scarce()) return;
    in_virtual_time([]() -> rn::task<> {
        rn::event door;
        rn::task_set set;
        set.set_limit(SIZE_MAX - 1);
        const auto spawned = [&] {
            try {
                const support::scarce_memory none(0);
                return set.if_free().spawn(waits, rn::borrow(door)).has_value();
            } catch (const std::bad_alloc&) {
                return false;
            }
        };
        std::size_t count = 0;
        while (spawned()) ++count;  // until the blocks that there are have been used up
        CHECK(set.size() == count);
        door.set();
        CHECK(co_await set.join());
        CHECK(set.size() == 0);
    });
}

TEST_CASE("child: a scope ends while a task waits for a place" * doctest::skip()) {
    run_on(1, []() -> rn::task<> {
        rn::event door;
        auto s = std::make_unique<rn::scope>();
        s->set_limit(0);
        const auto spawns = [&]() -> rn::task<> {
            (void)co_await s->when_free().spawn(waits, rn::borrow(door));
        };
        rn::go(spawns);
        co_await rn::yield();
        s.reset();
    });
}
TEST_CASE("scope: that it ends while a task waits for a place in it is said aloud") {
    CHECK(support::aborts_saying("child: a scope ends while a task waits for a place",
                                 "scope: ends while a task waits for a place in it"));
}

// --- As Go's errgroup -----------------------------------------------------------------------------------

TEST_CASE("scope: as in Go, TryGo finds as many places as there are, and a limit may be changed in between") {
    in_virtual_time([]() -> rn::task<> {
        rn::semaphore turns(0);
        const auto child = [&]() -> rn::task<> { (void)co_await turns.acquire(); };
        rn::scope g;
        for (const int limit : {42, 1, 0}) {
            g.set_limit(static_cast<std::size_t>(limit));
            for (int i = 0; i < limit; ++i) CHECK(g.if_free().spawn(child));
            for (int i = 0; i < 3; ++i) CHECK_FALSE(g.if_free().spawn(child));
            turns.release(static_cast<std::uint64_t>(limit));
            CHECK(co_await g.join());
        }
    });
}

TEST_CASE(
    "scope: as in Go, join() gives the first error again and again, and it is the cause of the cancel") {
    in_virtual_time([]() -> rn::task<> {
        const auto gives = [](std::error_code error) -> rn::task<std::error_code> { co_return error; };
        rn::scope good;
        good.spawn(gives, std::error_code());
        CHECK(co_await good.join());
        CHECK_FALSE(good.ctx().cancelled());  // unlike Go's: it may be filled again
        rn::scope bad;
        bad.spawn(gives, make_error_code(rn::errc::full));
        const auto first = co_await bad.join();
        CHECK(first.error() == rn::errc::full);
        CHECK(bad.ctx().cause() == rn::errc::full);
        CHECK(bad.if_free().spawn(gives, std::error_code()).error() == rn::errc::cancelled);
        bad.spawn(gives, std::error_code());
        const auto again = co_await bad.join();
        CHECK(again.error() == rn::errc::full);
    });
}

TEST_CASE("scope: on many workers the limit holds, and every child runs") {
    run_on(4, []() -> rn::task<> {
        const int each = scaled(500, 20'000);
        crowd here;
        rn::task_set helpers;
        rn::scope s;
        s.set_limit(3);
        const auto briefly = [&]() -> rn::task<> {
            const visitor in(here);
            if (here.all % 3 == 0) co_await rn::yield();
        };
        const auto spawns = [&]() -> rn::task<> {
            for (int i = 0; i < each; ++i) {
                const auto got = co_await s.when_free().spawn(briefly);
                if (!got) throw std::logic_error("refused");
            }
        };
        for (int i = 0; i < 6; ++i) helpers.spawn(spawns);
        co_await helpers.join();
        co_await s.join();
        CHECK(here.all == 6 * each);
        CHECK(here.most <= 3);
    });
}
}
