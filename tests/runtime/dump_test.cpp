// The task dump: who waits for what, where, since when.
#include "runnel/dump.hpp"

#include <doctest/doctest.h>
#include <runnel/channel.hpp>
#include <runnel/runtime.hpp>
#include <runnel/scope.hpp>
#include <runnel/sync.hpp>
#include <runnel/timer.hpp>

#include <array>
#include <atomic>
#include <csignal>
#include <set>
#include <string>
#include <thread>

#include "runtime/task_names.hpp"
#include "support/child.hpp"
#include "support/level.hpp"
#include "support/runtimes.hpp"
#include "support/virtual_time.hpp"

namespace rn = runnel;
using namespace std::chrono_literals;

namespace {

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

/// "dump_test.cpp:31"
std::string line(int number) { return "dump_test.cpp:" + std::to_string(number); }

rn::task<> inner(rn::event& e) { co_await e.wait(); }
rn::task<> outer(rn::event& e) { co_await inner(e); }

TEST_CASE("dump: shows the chain of coroutines that await each other, the start and for how long") {
    std::string text;
    int made = 0;
    support::in_virtual_time([&]() -> rn::task<> {
        made = __LINE__ + 1;
        rn::event never;
        auto waiter = rn::go(outer, rn::borrow(never));
        co_await rn::sleep_for(90s);
        text = rn::dump_tasks();
        never.set();
        co_await waiter;
    });
    CAPTURE(text);
    CHECK(has(text, " tasks of 'runnel' on 1 worker\n"));
    CHECK(has(text, "1 task waiting for an event (of " + line(made) + "), for 90.0 s\n"));
    CHECK(text.find("  in inner\n") < text.find("  in outer\n"));
    CHECK(has(text, "  started at dump_test.cpp:"));
    CHECK(has(text, "1 task running or ready to run\n"));
}

TEST_CASE("dump: tasks that are alike are one group, with how many and how long") {
    std::string text;
    int made = 0;
    support::in_virtual_time([&]() -> rn::task<> {
        made = __LINE__ + 1;
        rn::event never;
        rn::task_set all;
        for (int i = 0; i < 1000; ++i) {
            all.spawn(outer, rn::borrow(never));
            if (i == 499) co_await rn::sleep_for(10s);
        }
        co_await rn::sleep_for(10s);
        text = rn::dump_tasks();
        never.set();
        co_await all.join();
    });
    CAPTURE(text);
    CHECK(has(text, "1000 tasks waiting for an event (of " + line(made) + "), for 20.0 s to 10.0 s\n"));
    CHECK(has(text, ", …\n"));
}

TEST_CASE("dump: tells channels, locks and events apart by their labels and the places that made them") {
    std::string text;
    int first = 0;
    support::in_virtual_time([&]() -> rn::task<> {
        first = __LINE__ + 1;
        rn::mutex accounts;
        accounts.label("accounts");
        auto held = co_await accounts.lock();
        auto [out, in] = rn::make_channel<int>(0);
        in.label("jobs");
        rn::task_set all;
        all.spawn([](rn::mutex& m) -> rn::task<> { auto mine = co_await m.lock(); }, rn::borrow(accounts));
        all.spawn([](rn::receiver<int> jobs) -> rn::task<> { (void)co_await jobs.recv(); }, std::move(in));
        all.spawn([](rn::channel<int> to) -> rn::task<> { (void)co_await to.send(1); }, rn::channel<int>(0));
        co_await rn::sleep_for(10s);
        text = rn::dump_tasks();
        held->unlock();
        out.reset();
        all.cancel();
        co_await all.join();
    });
    CAPTURE(text);
    CHECK(has(text, "waiting for a lock ('accounts' of " + line(first) + ", task "));
    CHECK(has(text, "waiting to receive ('jobs' of " + line(first + 3) + ", 1 sender), for"));
    CHECK(has(text, "waiting to send (of " + line(first + 8) + "), for"));
}

TEST_CASE("dump: tells timers and tickers apart, too") {
    std::string text;
    int first = 0;
    support::in_virtual_time([&]() -> rn::task<> {
        first = __LINE__ + 1;
        rn::timer idle(1h);
        rn::ticker often(1h);
        idle.label("idle");
        often.label("often");
        rn::task_set all;
        all.spawn([](rn::timer& t) -> rn::task<> { (void)co_await t.fired(); }, rn::borrow(idle));
        all.spawn([](rn::ticker& t) -> rn::task<> { (void)co_await t.tick(); }, rn::borrow(often));
        co_await rn::sleep_for(10s);
        text = rn::dump_tasks();
        all.cancel();
        co_await all.join();
    });
    CAPTURE(text);
    CHECK(has(text, "waiting for a tick ('idle' of " + line(first) + "), for"));
    CHECK(has(text, "for the runtime to stop or for a tick ('often' of " + line(first + 1) + "), for"));
}

TEST_CASE("dump: shows the names that tasks have given themselves, and never that of an earlier task") {
    std::string text;
    support::in_virtual_time([&]() -> rn::task<> {
        rn::event never;
        const auto session = [](rn::event& e) -> rn::task<> {
            rn::name_task("starting");
            rn::name_task("session");
            co_await e.wait();
        };
        for (int i = 0; i < 300; ++i)  // so that their blocks are used again
            co_await rn::scoped([](rn::scope& s) -> rn::task<> {
                s.spawn([]() -> rn::task<> { co_return rn::name_task("gone"); });
                co_return;
            });
        rn::task_set all;
        for (int i = 0; i < 3; ++i) all.spawn(session, rn::borrow(never));
        all.spawn(outer, rn::borrow(never));
        co_await rn::sleep_for(1s);
        text = rn::dump_tasks();
        never.set();
        co_await all.join();
    });
    CAPTURE(text);
    CHECK(has(text, "3 tasks 'session' waiting for an event"));
    CHECK(has(text, "1 task waiting for an event"));
    CHECK_FALSE(has(text, "gone"));
    CHECK_FALSE(has(text, "starting"));
}

TEST_CASE("dump: more names than there is room for leave some tasks without one, and none with another's") {
    using rn::detail::index_of_name, rn::detail::name_at;
    static const std::array<char, 10'000> texts{};  // each address is a name of its own
    std::set<std::uint16_t> known;
    for (const char& text : texts) {
        const std::uint16_t index = index_of_name(&text);
        if (index == 0) continue;
        CHECK(name_at(index) == &text);
        CHECK(known.insert(index).second);
    }
    CHECK(known.size() > 3'000);
    CHECK(index_of_name(&texts[0]) == index_of_name(&texts[0]));
    CHECK(name_at(0) == nullptr);
}

TEST_CASE("dump: says which tasks are cancelled and which have a deadline") {
    std::string text;
    support::in_virtual_time([&]() -> rn::task<> {
        rn::event never;
        rn::scope s;
        s.spawn([](rn::event& e) -> rn::task<> { co_await rn::shielded(outer(e)); }, rn::borrow(never));
        s.spawn([](rn::event& e) -> rn::task<> { (void)co_await rn::with_timeout(30s, outer(e)); },
                rn::borrow(never));
        co_await rn::sleep_for(10s);
        text = rn::dump_tasks();
        never.set();
        (void)co_await s.join();
    });
    CAPTURE(text);
    CHECK(has(text, "deadline in 20.0 s"));
}

TEST_CASE(
    "dump: from a plain thread, again and again, while tasks start, wait, wake and end: nobody is lost") {
    rn::runtime here(support::workers(2));
    std::atomic<bool> over{false};
    std::size_t dumps = 0;
    std::thread dumper([&] {
        for (; !over; ++dumps) CHECK(has(here.dump_tasks(), "runnel: "));
    });
    auto end = here.spawn([]() -> rn::task<int> {
        int ended = 0;
        rn::mutex lock;
        for (int round = 0; round < support::scaled(50, 5'000); ++round) {
            rn::task_set all;
            rn::event start;
            for (int i = 0; i < 20; ++i)
                all.spawn(
                    [](rn::event& e, rn::mutex& m, int& n) -> rn::task<> {
                        co_await e.wait();
                        auto held = co_await m.lock();
                        co_await rn::yield();
                        ++n;
                    },
                    rn::borrow(start), rn::borrow(lock), rn::borrow(ended));
            co_await rn::yield();
            start.set();
            co_await all.join();
        }
        co_return ended;
    });
    CHECK(end.wait().value() == support::scaled(50, 5'000) * 20);
    over = true;
    dumper.join();
    MESSAGE(dumps << " dumps");
    here.stop().value();
}

TEST_CASE("dump: a hundred thousand tasks, shown in one group, while all of them can still be woken") {
    const std::size_t count = support::scaled(20'000U, 1'000'000U);
    support::run_on(2, [count]() -> rn::task<> {
        rn::event start;
        rn::task_set all;
        for (std::size_t i = 0; i < count; ++i) all.spawn(outer, rn::borrow(start));
        co_await rn::sleep_for(1ms);
        const std::string text = rn::dump_tasks();
        CHECK(text.size() < 4000);
        start.set();
        co_await all.join();
    });
}

TEST_CASE("child: main waits and dumps on SIGQUIT" * doctest::skip()) {
    rn::event never;
    std::_Exit(rn::run(support::workers(1).dump_on_quit(true), [&never]() -> rn::task<> {
        auto waiter = rn::go(outer, rn::borrow(never));
        co_await rn::yield();  // now it waits
        std::puts("ready");
        std::fflush(stdout);
        co_await waiter;
    }));
}

TEST_CASE("dump: SIGQUIT prints it in a program that asked for it, which goes on") {
    support::child program("child: main waits and dumps on SIGQUIT");
    REQUIRE(program.wait_for("ready"));
    program.send(SIGQUIT);
    REQUIRE(program.wait_for("number"));
    program.send(SIGTERM);
    const auto end = program.wait();
    CHECK(end.exited(0));
    CHECK(end.said("  in inner\n"));
}
}
