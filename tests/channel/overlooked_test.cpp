// A send that failed, whose result nobody looked at, is told by leak checks: its value may be lost.
#include <doctest/doctest.h>
#include <runnel/channel.hpp>
#include <runnel/context.hpp>
#include <runnel/runtime.hpp>
#include <runnel/select.hpp>
#include <runnel/select_any.hpp>
#include <runnel/task.hpp>
#include <runnel/testing.hpp>
#include <runnel/testing_leaks.hpp>
#include <runnel/time.hpp>

#include <string>
#include <utility>
#include <vector>

#include "support/runtimes.hpp"
#include "support/scarce_memory.hpp"

namespace rn = runnel;
namespace testing = runnel::testing;
using namespace std::chrono_literals;

namespace {

/// What a simulation says of a task that does this to a channel, which is closed.
template <class Act>
std::string told_of(Act act) {
    const auto run = testing::simulate(testing::options(), [&]() -> rn::task<> {
        const rn::channel<std::string> closed(0);
        closed.close();
        co_await act(closed);
    });
    CHECK((run.ok() || run.kind() == testing::failure::leak));
    return run.what();
}

std::string overlooked_at(unsigned line) {
    return "    1 failed send whose result nobody looked at, at overlooked_test.cpp:" + std::to_string(line) +
           "\n";
}
bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

TEST_CASE("overlooked: a send into a closed channel is told with its place") {
    unsigned line = 0;
    const std::string told = told_of([&](const rn::channel<std::string>& to) -> rn::task<> {
        line = __LINE__ + 1;
        (void)co_await to.send("lost");
    });
    CHECK_MESSAGE(contains(told, overlooked_at(line)), told);
}

TEST_CASE("overlooked: as often as it happened") {
    const std::string told = told_of([](const rn::channel<std::string>& to) -> rn::task<> {
        for (int i = 0; i < 3; ++i) (void)co_await to.send("lost");
    });
    CHECK_MESSAGE(contains(told, "    3 failed sends whose results nobody looked at, at "), told);
}

TEST_CASE("overlooked: of an emplace the place is that of its channel") {
    unsigned line = 0;
    const auto run = testing::simulate(testing::options(), [&]() -> rn::task<> {
        line = __LINE__ + 1;
        const rn::channel<std::string> closed(0);
        closed.close();
        (void)co_await closed.emplace(3U, 'x');
    });
    CHECK_MESSAGE(contains(run.what(), overlooked_at(line)), run.what());
}

TEST_CASE("overlooked: also when the send was cancelled") {
    const auto run = testing::simulate(testing::options(), []() -> rn::task<> {
        const rn::channel<int> to(0);
        auto over = rn::with_cancel(rn::background());
        over.cancel();
        (void)co_await rn::with_context(over.ctx, to.send(1));
    });
    CHECK_MESSAGE(contains(run.what(), "failed send"), run.what());
}

TEST_CASE("overlooked: also in the result of a select, or of a limit") {
    const std::string of_select = told_of([](const rn::channel<std::string>& to) -> rn::task<> {
        const auto done = co_await rn::select(to.send("lost"), rn::sleep_for(1h));
        CHECK(done.index() == 0);
    });
    CHECK_MESSAGE(contains(of_select, "failed send"), of_select);
    const std::string of_limit = told_of([](const rn::channel<std::string>& to) -> rn::task<> {
        (void)co_await rn::with_timeout(1s, to.send("lost"));
    });
    CHECK_MESSAGE(contains(of_limit, "failed send"), of_limit);
}

TEST_CASE("overlooked: a limit around a send in another context ends it with timed_out, and is told once") {
    bool looks = true;
    const auto limited = [&looks]() -> rn::task<> {
        const rn::channel<int> to(0);
        const auto sent = co_await rn::with_timeout(1s, rn::with_context(rn::background(), to.send(1)));
        if (looks) CHECK(sent.error() == rn::errc::timed_out);
    };
    const auto seen = testing::simulate(testing::options(), limited);
    CHECK_MESSAGE(seen.ok(), seen.what());
    looks = false;
    const auto unseen = testing::simulate(testing::options(), limited);
    CHECK_MESSAGE(contains(unseen.what(), "    1 failed send "), unseen.what());
}

TEST_CASE(
    "overlooked: a result that is assigned over another, or to itself, is told once, and so is the other") {
    const std::string told = told_of([](const rn::channel<std::string>& to) -> rn::task<> {
        auto last = co_await to.send("lost");
        last = co_await to.send("lost, too");
        last = *&last;
        std::vector<decltype(last)> kept;
        for (int i = 0; i < 5; ++i) kept.push_back(co_await to.send("also"));
        CHECK(!kept.back());
    });
    CHECK_MESSAGE(contains(told, "    1 failed send "), told);
    CHECK_MESSAGE(contains(told, "    4 failed sends "), told);
}

TEST_CASE("overlooked: also of a permit") {
    unsigned line = 0;
    const auto run = testing::simulate(testing::options(), [&]() -> rn::task<> {
        auto [out, in] = rn::make_channel<std::string>(1);
        auto place = co_await out.reserve();
        in.reset();
        line = __LINE__ + 1;
        (void)place->send("lost");
    });
    CHECK_MESSAGE(contains(run.what(), overlooked_at(line)), run.what());
}

TEST_CASE("overlooked: who has looked may go on, and who says ignore()") {
    const std::string told = told_of([](const rn::channel<std::string>& to) -> rn::task<> {
        const auto tested = co_await to.send("lost");
        CHECK(!tested);
        const auto asked = co_await to.send("lost");
        CHECK(asked.error() == rn::errc::closed);
        const rn::result<> as_any_other = co_await to.send("lost");
        CHECK(as_any_other.error() == rn::errc::closed);
        auto moved = co_await to.send("lost");
        const auto here = std::move(moved);
        CHECK(!here.has_value());
        (co_await to.send("lost")).ignore();
        const auto done = co_await rn::select(to.send("lost"), rn::sleep_for(1h));
        CHECK(!done.get<0>());
    });
    CHECK_MESSAGE(told.empty(), told);
}

TEST_CASE("overlooked: a send that went well need not be looked at") {
    const auto run = testing::simulate(testing::options(), []() -> rn::task<> {
        const rn::channel<int> to(1);
        (void)co_await to.send(1);
        CHECK(*to.try_recv() == 1);
    });
    CHECK_MESSAGE(run.ok(), run.what());
}

// A runtime that is to report what it leaves may run for months.
TEST_CASE("overlooked: again and again at one place takes no more memory than once") {
    if (!support::memory_can_be_scarce()) return;
    const testing::leak_region here;
    rn::run(support::workers(1), []() -> rn::task<> {
        const rn::channel<int> closed(0);
        closed.close();
        long before = 0;
        for (int i = 0; i < 1'000; ++i) {
            (void)co_await closed.send(1);
            if (i == 0) before = support::allocated();
        }
        CHECK(support::allocated() == before);
    });
    CHECK_MESSAGE(contains(here.left(), "1000 failed sends "), here.left());
}

TEST_CASE("overlooked: a region of a test on threads tells it too") {
    const testing::leak_region here;
    unsigned line = 0;
    rn::run(support::workers(2), [&]() -> rn::task<> {
        const rn::channel<int> closed(0);
        closed.close();
        line = __LINE__ + 1;
        (void)co_await closed.send(1);
    });
    CHECK_MESSAGE(contains(here.left(), overlooked_at(line).substr(2)), here.left());
}
}
