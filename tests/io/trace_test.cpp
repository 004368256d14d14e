// What a trace tells of operations on sockets: what was asked of the kernel, and what came of it.
#include <runnel/trace.hpp>

#include <doctest/doctest.h>
#include <runnel/testing.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include "loopback.hpp"
#include "runtime/runtime_core.hpp"

using namespace test;
using rn::detail::trace_event;
using rn::detail::trace_kind;

namespace {

std::uint64_t my_number() { return rn::detail::running_task().id; }

/// What task `number` has done on sockets.
std::vector<trace_event> noted(std::uint64_t number) {
    std::vector<trace_event> found;
    for (const auto& worker : rn::detail::current_runtime().workers)
        for (const trace_event& event : worker->trace_events())
            if (event.task == number && event.kind >= trace_kind::io_submit) found.push_back(event);
    std::sort(found.begin(), found.end(), [](auto& a, auto& b) { return a.time < b.time; });
    return found;
}

void check(const trace_event& event, trace_kind kind, const std::string& what, std::int64_t value) {
    CHECK(event.kind == kind);
    CHECK(event.what == what);
    CHECK(event.value == value);
}

rn::task<std::uint64_t> read_five(rn::tcp_stream& from) {
    const auto chunk = co_await from.recv();
    CHECK(chunk->text() == "hello");
    co_return my_number();
}

rn::task<std::uint64_t> read_for_a_millisecond(rn::tcp_stream& from) {
    CHECK((co_await rn::with_timeout(1ms, from.recv())).error() == rn::errc::timed_out);
    co_return my_number();
}

rn::task<> talk() {
    rn::trace::start(1000);
    stream_pair ends = co_await connected_pair();
    auto reader = rn::go(read_five, rn::borrow(ends.second));
    co_await rn::sleep_for(5ms);  // it waits in the kernel by then; if not, it has all the same to
    CHECK(co_await ends.first.write_all("hello"));
    const auto read = noted((co_await reader).value());
    REQUIRE(read.size() == 2);
    check(read[0], trace_kind::io_submit, "receive", 0);
    check(read[1], trace_kind::io_complete, "receive", 5);
    CHECK(read[0].object == read[1].object);
    CHECK(read[0].wait != 0);
    const auto mine = noted(my_number());
    REQUIRE(!mine.empty());
    check(mine.back(), trace_kind::io_at_once, "send", 5);
    CHECK(mine.back().object != read[0].object);
    CHECK(std::count_if(mine.begin(), mine.end(),
                        [](auto& each) { return each.what == std::string("connect"); }) >= 1);
    CHECK(std::count_if(mine.begin(), mine.end(),
                        [](auto& each) { return each.what == std::string("accept"); }) >= 1);
}

rn::task<> be_too_late() {
    rn::trace::start(1000);
    stream_pair ends = co_await connected_pair();
    auto reader = rn::go(read_for_a_millisecond, rn::borrow(ends.second));
    const auto read = noted((co_await reader).value());
    REQUIRE(read.size() == 2);
    check(read[0], trace_kind::io_submit, "receive", 0);
    check(read[1], trace_kind::io_complete, "receive", -ECANCELED);
    const std::string json = rn::trace::to_json();
    CAPTURE(json);
    CHECK(json.find("\"error\":\"Operation canceled\"") != std::string::npos);
    CHECK(json.find("\"name\":\"to receive (descriptor " + std::to_string(read[0].object) + ")\"") !=
          std::string::npos);
}

void simulated(rn::task<> (*main)()) {
    const auto whole = rn::testing::network().short_transfers(false);
    const auto run = rn::testing::simulate(rn::testing::options().network(whole), main);
    CHECK_MESSAGE(run.ok(), run.what());
}
}

TEST_CASE(
    "trace: an operation is noted when it goes to the kernel and when its task learns what came of it") {
    run_on(1, talk);
    simulated(talk);
}

TEST_CASE("trace: an operation that was taken back says so") {
    run_on(1, be_too_late);
    simulated(be_too_late);
}
