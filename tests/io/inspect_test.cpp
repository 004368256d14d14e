// inspect_at: a running program says what its tasks wait for, to who asks at its socket.
#include <doctest/doctest.h>
#include <runnel/context.hpp>
#include <runnel/inspect.hpp>
#include <runnel/label.hpp>
#include <runnel/sync.hpp>

#include <string>
#include <utility>
#include <vector>

#include "unix_loopback.hpp"

using namespace test;

namespace {

/// Asks as `echo question | nc -N -U where` does, as soon as somebody is there.
rn::task<std::string> ask(std::string where, std::string question) {
    for (;;) {
        auto peer = co_await rn::unix_stream::connect(where);
        if (!peer) {
            (void)co_await rn::yield();
            continue;
        }
        (void)co_await peer->write_all(question + "\n");
        (void)peer->shutdown_write();
        co_return co_await read_to_end(*peer);
    }
}

rn::task<> waits_for_ever(rn::event& never) {
    rn::name_task("sleeper");
    (void)co_await never.wait();
}

rn::task<std::error_code> inspected_under(rn::context ctx, std::string where) {
    auto inspection = rn::inspect_at(std::move(where));
    const auto end = co_await rn::with_context(ctx, std::move(inspection));
    co_return end.error();
}

/// The answers to these, and what the inspection gave in the end.
rn::task<std::error_code> inspect(std::string where, std::vector<std::string> questions,
                                  std::vector<std::string>& answers) {
    rn::event never;
    auto [ctx, cancel] = rn::with_cancel(rn::current_context());
    rn::task_set tasks;
    tasks.spawn(waits_for_ever, rn::borrow(never));
    auto inspection = rn::go(inspected_under, ctx, where);
    for (const std::string& question : questions) answers.push_back(co_await ask(where, question));
    cancel();
    const auto end = co_await inspection;
    never.set();
    (void)co_await tasks.join();
    co_return end.value();
}

bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }
}

TEST_CASE("inspect_at: answers who waits for what, and in numbers") {
    const folder mine;
    std::vector<std::string> answers;
    const auto end =
        run_on(2, inspect, mine / "inspect",
               std::vector<std::string>{"tasks", "metrics", "help", "cancel all", std::string(300, '?')},
               rn::borrow(answers));
    CHECK(end.value() == rn::errc::cancelled);
    REQUIRE(answers.size() == 5);
    CHECK(has(answers[0], "1 task 'sleeper' waiting for an event"));
    CHECK(has(answers[0], "in waits_for_ever"));
    CHECK(has(answers[1], "# TYPE runnel_tasks_live gauge"));
    CHECK(has(answers[2], "tasks    what all tasks do"));
    CHECK(has(answers[3], "there is no question 'cancel all'; there are:\ntasks "));
    CHECK(has(answers[4], "256 bytes at most"));
    CHECK_FALSE(exists(mine / "inspect"));
}
