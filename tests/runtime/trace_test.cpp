// The trace: turns of tasks and the wake-ups that caused them, in the format of Chrome's viewer.
#include "runnel/trace.hpp"

#include <doctest/doctest.h>
#include <runnel/runtime.hpp>
#include <runnel/scope.hpp>
#include <runnel/sync.hpp>

#include <atomic>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "runtime/trace_ring.hpp"
#include "support/level.hpp"
#include "support/runtimes.hpp"

namespace rn = runnel;
using rn::detail::trace_event;
using rn::detail::trace_kind;
using rn::detail::trace_ring;

namespace {

int count(const std::string& text, const std::string& part) {
    int found = 0;
    for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; ++at) ++found;
    return found;
}

TEST_CASE("trace: a ring keeps its newest events, and forgets when told to") {
    trace_ring ring(4);
    for (std::uint64_t i = 0; i < 10; ++i) ring.add({trace_kind::wake, 0, i, 0});
    const auto kept = ring.read();  // not the one that a writer might be about to overwrite
    REQUIRE(kept.size() == 3);
    CHECK(kept.front().task == 7);
    CHECK(kept.back().task == 9);
    ring.forget();
    CHECK(ring.read().empty());
}

TEST_CASE("trace: who reads while events are added gets whole ones, in order") {
    trace_ring ring(1024);
    std::atomic<bool> over{false};
    std::thread writer([&] {
        for (std::uint64_t i = 1; !over; ++i)
            ring.add({trace_kind::wake, static_cast<rn::detail::nanoseconds_t>(i), i, i});
    });
    for (std::size_t seen = 0; seen < support::scaled(50'000U, 5'000'000U);) {
        std::uint64_t last = 0;
        for (const trace_event& event : ring.read()) {
            ++seen;
            REQUIRE(event.task == event.arrow);
            REQUIRE(event.task == static_cast<std::uint64_t>(event.time));
            REQUIRE((last == 0 || event.task == last + 1));
            last = event.task;
        }
    }
    over = true;
    writer.join();
}

TEST_CASE("trace: a span per turn, and an arrow from each wake-up to the turn that it caused") {
    std::string json;
    support::run_on(1, [&]() -> rn::task<> {
        rn::trace::start(1000);
        rn::event set;
        auto waiter = rn::go([](rn::event& e) -> rn::task<> { co_await e.wait(); }, rn::borrow(set));
        co_await rn::yield();
        set.set();
        co_await waiter;
        rn::trace::stop();
        co_await rn::yield();
        json = rn::trace::to_json();
    });
    CAPTURE(json);
    CHECK(count(json, "\"ph\":\"X\"") >= 3);
    CHECK(count(json, "\"ph\":\"s\"") >= 1);
    CHECK(count(json, "\"ph\":\"s\"") == count(json, "\"ph\":\"f\""));
    CHECK(count(json, "\"thread_name\"") == 1);
    CHECK(count(json, "{") == count(json, "}"));
}

TEST_CASE("trace: off, nothing is written; started anew, what was there is forgotten") {
    support::run_on(2, []() -> rn::task<> {
        CHECK(count(rn::trace::to_json(), "\"ph\":\"X\"") == 0);
        rn::trace::start(100);
        co_await rn::yield();
        co_await rn::yield();
        CHECK(count(rn::trace::to_json(), "\"ph\":\"X\"") >= 1);
        rn::trace::stop();
        rn::trace::start(100);
        rn::trace::stop();
        CHECK(count(rn::trace::to_json(), "\"ph\":\"X\"") == 0);
    });
}

TEST_CASE("trace: into a file, or the error that the system gives") {
    support::run_on(1, []() -> rn::task<> {
        rn::trace::start(100);
        co_await rn::yield();
        const std::string path = "trace_test.json";
        CHECK(rn::trace::write(path));
        std::ifstream file(path);
        std::stringstream text;
        text << file.rdbuf();
        CHECK(text.str().starts_with("{\"displayTimeUnit\""));
        CHECK(text.str().ends_with("]}\n"));
        std::remove(path.c_str());
        CHECK(rn::trace::write("/no/such/folder/trace.json").error() == std::errc::no_such_file_or_directory);
    });
}
}
