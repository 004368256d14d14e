// Orphans: tasks that wait for a channel<T> to which nobody else has a handle.
#include <doctest/doctest.h>
#include <runnel/channel.hpp>
#include <runnel/go.hpp>
#include <runnel/runtime.hpp>
#include <runnel/select.hpp>
#include <runnel/testing.hpp>

#include <cstdlib>
#include <string>
#include <vector>

#include "support/child.hpp"
#include "support/runtimes.hpp"

namespace rn = runnel;
namespace testing = runnel::testing;
using namespace std::chrono_literals;

namespace {

rn::task<> receive_all(rn::channel<int> from) {
    for (;;) {
        auto next = co_await from.recv();
        if (!next) co_return;
    }
}
rn::task<> send_one(rn::channel<int> to) { (co_await to.send(1)).ignore(); }
rn::task<> receive_by_reference(const rn::channel<int>& from) { (void)co_await from.recv(); }

template <class Main>
bool leaves_orphans(Main&& main) {
    const auto all = testing::explore(testing::options().leak_report(false), 50, main);
    if (all.ok()) return false;
    CHECK_MESSAGE(all.first_failure().kind() == testing::failure::orphans, all.what());
    return true;
}

TEST_CASE("orphans: tasks that wait for a channel which nobody closed and nobody else holds are told by "
          "their place") {
    const auto run = testing::simulate(testing::options(), []() -> rn::task<> {
        rn::channel<int> jobs(0);
        for (int i = 0; i < 2; ++i) rn::go(receive_all, jobs);
        auto sent = co_await jobs.send(1);
        testing::expect(sent.has_value());
        co_await testing::wait_until_all_tasks_wait();
    });
    CAPTURE(run.what());
    CHECK(run.kind() == testing::failure::orphans);
    CHECK(run.what().find("2 tasks wait for channels that nobody else has a handle of") == 0);
    CHECK(run.what().find("in receive_all") != std::string::npos);
}

TEST_CASE("orphans: the same program that closes its channel has none") {
    CHECK_FALSE(leaves_orphans([]() -> rn::task<> {
        rn::channel<int> jobs(0);
        for (int i = 0; i < 2; ++i) rn::go(receive_all, jobs);
        jobs.close();
        co_await testing::wait_until_all_tasks_wait();
    }));
}

TEST_CASE("orphans: a sender whose receivers all went away is one") {
    CHECK(leaves_orphans([]() -> rn::task<> {
        rn::go(send_one, rn::channel<int>(0));
        co_await testing::wait_until_all_tasks_wait();
    }));
}

TEST_CASE("orphans: tasks that hold each other's channels, in selects and through several frames") {
    CHECK(leaves_orphans([]() -> rn::task<> {
        const rn::channel<int> there(0), back(0);
        rn::go([](rn::channel<int> a,
                  rn::channel<int> b) -> rn::task<> { (void)co_await rn::select(a.recv(), b.recv()); },
               there, back);
        rn::go([](rn::channel<int> a, rn::channel<int>) -> rn::task<> { co_await receive_by_reference(a); },
               back, there);
        co_await testing::wait_until_all_tasks_wait();
    }));
}

TEST_CASE("orphans: none while somebody else has a handle, wherever it is") {
    static rn::channel<int> global;
    CHECK_FALSE(leaves_orphans([]() -> rn::task<> {
        global = rn::channel<int>(0);
        rn::go(receive_all, global);
        co_await testing::wait_until_all_tasks_wait();
    }));
    global.reset();

    CHECK_FALSE(leaves_orphans([]() -> rn::task<> {  // in a vector of one of its receivers
        rn::channel<int> jobs(0);
        rn::go([](std::vector<rn::channel<int>> all) -> rn::task<> { (void)co_await all[0].recv(); },
               std::vector<rn::channel<int>>{jobs});
        co_await testing::wait_until_all_tasks_wait();
    }));

    CHECK_FALSE(leaves_orphans([]() -> rn::task<> {  // of a task that waits for something else
        rn::channel<int> jobs(0);
        rn::go(receive_all, jobs);
        rn::go(
            [](rn::channel<int> to) -> rn::task<> {
                (void)co_await rn::sleep_for(1h);
                to.close();
            },
            jobs);
        co_await testing::wait_until_all_tasks_wait();
    }));
}

TEST_CASE("orphans: none where another task refers to the handle in the frame of who waits") {
    CHECK_FALSE(leaves_orphans([]() -> rn::task<> {
        rn::go([]() -> rn::task<> {
            rn::channel<int> answers(0);
            rn::go([&answers]() -> rn::task<> {
                auto slept = co_await rn::sleep_for(1h);
                if (slept) (void)co_await answers.send(1);
            });
            (void)co_await answers.recv();
        });
        co_await testing::wait_until_all_tasks_wait();
    }));
}

TEST_CASE("orphans: a wait that ends by itself, at a deadline or another case, is none") {
    CHECK_FALSE(leaves_orphans([]() -> rn::task<> {
        rn::go([]() -> rn::task<> {
            rn::channel<int> nobody(0);
            (void)co_await rn::with_timeout(1h, receive_by_reference(nobody));
        });
        rn::go([]() -> rn::task<> {
            rn::channel<int> nobody(0);
            (void)co_await rn::select(nobody.recv(), rn::sleep_for(1h));
        });
        co_await testing::wait_until_all_tasks_wait();
    }));
}

TEST_CASE("orphans: a handle that died or was moved from in a frame is not taken for one that is there") {
    CHECK_FALSE(leaves_orphans([]() -> rn::task<> {
        static rn::channel<int> elsewhere;
        rn::go([]() -> rn::task<> {
            rn::channel<int> first(0);
            {
                const rn::channel<int> copy = first;
                co_await rn::yield();  // so that it is in the frame
            }
            rn::channel<int> second = first;
            rn::channel<int> third = std::move(second);
            elsewhere = std::move(third);
            (void)co_await first.recv();
        });
        co_await testing::wait_until_all_tasks_wait();
        // Two handles: one in its frame, one here. Three places in its frame have had one.
    }));
}

TEST_CASE("orphans: the report can be turned off") {
    const auto run = testing::simulate(testing::options().orphan_report(false), []() -> rn::task<> {
        rn::go(send_one, rn::channel<int>(0));
        co_await testing::wait_until_all_tasks_wait();
    });
    CHECK_MESSAGE(run.ok(), run.what());
}

TEST_CASE("child: a program goes on while two of its tasks are orphans" * doctest::skip()) {
    std::_Exit(
        rn::run(support::workers(2).orphan_report(10ms).driver(rn::driver_kind::none), []() -> rn::task<> {
            for (int i = 0; i < 2; ++i) rn::go(send_one, rn::channel<int>(0));
            rn::channel<int> held(0);
            rn::go(receive_all, held);
            for (int i = 0; i < 20; ++i) co_await rn::sleep_for(10ms);
            held.close();
        }));
}

TEST_CASE("orphans: under run() they are reported once, and the program goes on") {
    const auto end = support::child("child: a program goes on while two of its tasks are orphans").wait();
    CHECK(end.exited(0));
    CHECK(end.times("for channels that nobody else has a handle of") >= 1);
    CHECK(end.times("in send_one") == end.times("for channels that nobody else has a handle of"));
    CHECK(end.times("2 tasks wait ") + end.times("1 task waits ") <= 2);
    CHECK_FALSE(end.said("in receive_all"));
}

TEST_CASE("child: a program with orphans that does not want to know" * doctest::skip()) {
    std::_Exit(
        rn::run(support::workers(2).orphan_report(0s).driver(rn::driver_kind::none), []() -> rn::task<> {
            rn::go(send_one, rn::channel<int>(0));
            co_await rn::sleep_for(50ms);
        }));
}

TEST_CASE("orphans: turned off they are not reported") {
    const auto end = support::child("child: a program with orphans that does not want to know").wait();
    CHECK(end.exited(0));
    CHECK_FALSE(end.said("nobody else"));
}
}
