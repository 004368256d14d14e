// Leaks of channels: what a simulation, a runtime and a region of a test say of those that are left.
#include <doctest/doctest.h>
#include <runnel/channel.hpp>
#include <runnel/go.hpp>
#include <runnel/runtime.hpp>
#include <runnel/scope.hpp>
#include <runnel/sync.hpp>
#include <runnel/testing.hpp>
#include <runnel/testing_leaks.hpp>

#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "support/child.hpp"
#include "support/level.hpp"
#include "support/runtimes.hpp"

namespace rn = runnel;
namespace testing = runnel::testing;
using namespace std::chrono_literals;

namespace {

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

std::string place_of(unsigned line) { return "leaks_test.cpp:" + std::to_string(line); }

rn::task<> send_three(rn::sender<int> out) {
    for (int i = 0; i < 3; ++i) {
        auto sent = co_await out.send(i);
        if (!sent) co_return;
    }
}

rn::task<> clean() {
    auto [out, in] = rn::make_channel<int>(1);
    rn::channel<int> joint(2);
    const rn::channel<int> copy = joint;
    rn::go(send_three, std::move(out));
    while (auto next = co_await in.recv()) {
        auto sent = joint.try_send(*next);
        if (!sent) break;
    }
}

TEST_CASE("leaks: channels of both kinds that go with their last handle are none") {
    const auto all = testing::explore(support::scaled(200U, 10'000U), clean);
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("leaks: channels are told by their places and labels each with how many there are") {
    std::vector<rn::channel<int>> kept;
    std::optional<rn::receiver<int>> end;
    unsigned line = 0;
    const auto run = testing::simulate(testing::options(), [&]() -> rn::task<> {
        line = __LINE__ + 1;
        for (int i = 0; i < 3; ++i) kept.push_back(rn::channel<int>(0));
        kept.push_back(kept.back());
        kept[0].label("jobs");
        kept[1].label("jobs");
        auto [out, in] = rn::make_channel<int>(1);
        end = std::move(in);
        co_return;
    });
    CAPTURE(run.what());
    CHECK(run.kind() == testing::failure::leak);
    CHECK(contains(run.what(), "is left:\n"));
    CHECK(contains(run.what(), "    2 channels made at " + place_of(line) + " ('jobs')\n"));
    CHECK(contains(run.what(), "    1 channel made at " + place_of(line) + "\n"));
    CHECK(contains(run.what(), "    1 channel made at " + place_of(line + 4) + "\n"));
}

/// A message with the channel to answer it at.
struct question {
    rn::channel<std::shared_ptr<question>> answer;
};

TEST_CASE("leaks: a channel that holds itself by a message nobody took is found") {
    rn::channel<std::shared_ptr<question>> out_of_the_knot;
    const auto ask = [&](bool takes_it) -> rn::task<> {
        rn::channel<std::shared_ptr<question>> questions(1);
        auto asked = std::make_shared<question>();
        asked->answer = questions;
        auto sent = co_await questions.send(rn::from(asked));
        testing::expect(sent.has_value());
        if (takes_it)
            (void)questions.try_recv();
        else
            out_of_the_knot = questions;
    };
    const auto unties = [&]() -> rn::task<> { co_await ask(true); };
    CHECK(testing::explore(50, unties));
    const auto run = testing::simulate(testing::options(), [&]() -> rn::task<> { co_await ask(false); });
    CHECK(run.kind() == testing::failure::leak);
    CHECK(contains(run.what(), "1 channel made at leaks_test.cpp:"));
    (void)out_of_the_knot.try_recv();
}

TEST_CASE("leaks: a channel that was there before the run is not looked at") {
    const rn::channel<int> outside(1);
    const auto run = testing::simulate(testing::options(), [&]() -> rn::task<> {
        auto sent = co_await outside.send(1);
        testing::expect(sent.has_value());
    });
    CHECK_MESSAGE(run.ok(), run.what());
}

TEST_CASE(
    "leaks: a channel of before the region ends in it unseen while those made in it end on any thread") {
    std::vector<rn::channel<int>> before(1, rn::channel<int>(0));
    rn::runtime here(support::workers(2));
    const testing::leak_region region;
    before.clear();
    for (unsigned i = 0; i < support::scaled(100U, 10'000U); ++i) {
        auto made =
            here.spawn([]() -> rn::task<rn::channel<int>> { co_return rn::channel<int>(1); }).wait().value();
        if (i == 0) CHECK(contains(region.left(), "  1 channel made at leaks_test.cpp:"));
        std::thread drops([mine = std::move(made)]() mutable { mine.reset(); });
        drops.join();
    }
    CHECK(region.left().empty());
}

rn::task<rn::sender<int>> hand_out_a_sender() {
    auto [out, in] = rn::make_channel<int>(4);
    in.label("orders");
    rn::go([](rn::receiver<int> from) -> rn::task<> { (void)co_await from.recv(); }, std::move(in));
    co_return std::move(out);
}

TEST_CASE("child: a runtime whose channel went to another and a program that keeps one" * doctest::skip()) {
    rn::channel<int> global;
    {
        rn::runtime takes(support::workers(1).name("takes").leak_report(true));
        rn::event go_on;
        {
            rn::runtime makes(support::workers(2).name("makes").leak_report(true));
            auto out = makes.spawn(hand_out_a_sender).wait().value();
            takes
                .spawn([](rn::sender<int>, rn::event& until) -> rn::task<> { co_await until.wait(); },
                       std::move(out), rn::borrow(go_on))
                .detach();
        }
        go_on.set();
    }
    std::_Exit(rn::run(support::workers(2).name("program").leak_report(true), [&]() -> rn::task<> {
        global = rn::channel<int>(0);
        co_await clean();
    }));
}

TEST_CASE(
    "leaks: a runtime says of which channels others have handles when it ends and only its maker does") {
    const auto end =
        support::child("child: a runtime whose channel went to another and a program that keeps one").wait();
    CAPTURE(end.printed);
    CHECK(end.exited(0));
    CHECK(end.said(
        "runnel: 'makes' has stopped; of what its tasks made is left:\n  1 channel made at leaks_test.cpp:"));
    CHECK(end.said(" ('orders')\n"));
    CHECK(end.said("runnel: 'program' has stopped; of what its tasks made is left:\n  1 channel made at "
                   "leaks_test.cpp:"));
    CHECK_FALSE(end.said("'takes'"));
}
}
