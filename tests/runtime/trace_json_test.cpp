// The page of a trace, made of events by hand: what is missing, what is at the edge, what has odd characters.
#include "runtime/trace_json.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace runnel::detail;

namespace {

constexpr std::uint64_t anna = 1025, bert = 2049;

trace_event event(trace_kind kind, nanoseconds_t time, std::uint64_t task = 0, std::uint64_t wait = 0) {
    trace_event made;
    made.kind = kind;
    made.time = time;
    made.task = task;
    made.wait = wait;
    return made;
}

trace_event waits(nanoseconds_t time, std::uint64_t task, std::uint64_t wait, const char* what) {
    trace_event made = event(trace_kind::wait, time, task, wait);
    made.what = what;
    return made;
}

trace_event begins(nanoseconds_t time, std::uint64_t task, std::uint64_t wait = 0) {
    return event(trace_kind::turn_begins, time, task, wait);
}
trace_event ends(nanoseconds_t time, std::uint64_t task) { return event(trace_kind::turn_ends, time, task); }
trace_event wakes(nanoseconds_t time, std::uint64_t task, std::uint64_t wait) {
    return event(trace_kind::wake, time, task, wait);
}

using workers = std::vector<std::vector<trace_event>>;

/// The lines of a page that have this part, in their order; without the comma at the end.
std::vector<std::string> lines(const workers& all, const std::string& part) {
    const std::string page = trace_as_json("test", all);
    std::vector<std::string> found;
    for (std::size_t at = 0, end; (end = page.find('\n', at)) != std::string::npos; at = end + 1) {
        std::string line = page.substr(at, end - at);
        if (line.ends_with(',')) line.pop_back();
        if (line.find(part) != std::string::npos) found.push_back(line);
    }
    return found;
}

std::vector<std::string> spans(const workers& all) { return lines(all, "\"ph\":\"X\""); }
using strings = std::vector<std::string>;

std::string span(const char* ts, const char* name, const char* rest) {
    return "{\"ph\":\"X\",\"pid\":1,\"tid\":0,\"ts\":" + std::string(ts) + ",\"name\":\"" + name + "\"," +
           rest + "}";
}
}

TEST_CASE("trace: a page without events has its metadata") {
    CHECK(lines({{}, {}}, "\"ph\":\"M\"").size() == 3);
    CHECK(trace_as_json("test", {{}}).ends_with("\n]}\n"));
}

TEST_CASE("trace: a turn is a span, with what its task waits for at its end") {
    CHECK(
        spans({{begins(1000, anna), waits(1500, anna, 1, "to receive"), waits(1500, anna, 1, "for a tick"),
                ends(2001, anna)}}) ==
        strings{span("1.000", "task 1025",
                     R"("cat":"turn","dur":1.001,"args":{"task":1025,"waits":"to receive or for a tick"})")});
}

TEST_CASE("trace: a turn that has ended before the next began needs no noted end") {
    CHECK(spans({{begins(1000, anna), begins(3000, bert), ends(4000, bert)}}) ==
          strings{span("1.000", "task 1025", R"("cat":"turn","dur":2.000,"args":{"task":1025})"),
                  span("3.000", "task 2049", R"("cat":"turn","dur":1.000,"args":{"task":2049})")});
}

TEST_CASE("trace: a turn that goes on ends with the trace") {
    CHECK(spans({{begins(1000, anna)}, {begins(2000, bert), ends(9000, bert)}}).at(0) ==
          span("1.000", "task 1025", R"("cat":"turn","dur":8.000,"args":{"task":1025})"));
}

TEST_CASE("trace: a turn whose beginning is lost begins with what is left of it") {
    CHECK(spans({{wakes(1000, bert, 1), ends(3000, anna)}}) ==
          strings{span("1.000", "task 1025", R"("cat":"turn","dur":2.000,"args":{"task":1025})")});
    CHECK(spans({{ends(3000, anna)}}).empty());  // nothing is left of it
}

TEST_CASE("trace: wake-ups between two turns stand in a span of their own") {
    const workers all{{begins(1000, anna), ends(2000, anna), wakes(5000, bert, 3), begins(5400, bert, 3),
                       ends(5500, bert), wakes(7000, anna, 1), wakes(7100, bert, 4), begins(9000, anna, 1),
                       ends(9100, anna)}};
    const auto found = lines(all, "\"cat\":\"driver\"");
    CHECK(found == strings{span("5.000", "driver and timers", R"("cat":"driver","dur":0.400)"),
                           span("7.000", "driver and timers", R"("cat":"driver","dur":1.100)")});
    CHECK(lines(all, "\"ph\":\"s\"").size() == 2);
    CHECK(lines(all, "\"ph\":\"f\"").size() == 2);
}

TEST_CASE("trace: an arrow of which one end is lost is not drawn") {
    CHECK(lines({{begins(1000, anna), wakes(1500, bert, 3), ends(2000, anna)}}, "\"wake\"").empty());
    CHECK(lines({{begins(1000, anna, 3), ends(2000, anna)}}, "\"wake\"").empty());
    CHECK(lines({{begins(1000, anna), wakes(1500, bert, 3), ends(2000, anna), begins(3000, bert, 4),
                  ends(4000, bert)}},
                "\"wake\"")
              .empty());
}

TEST_CASE("trace: a task that waits is shown as waiting until it is woken and as ready until it goes on") {
    const workers all{{begins(1000, anna), waits(1500, anna, 1, "for a lock"), ends(2000, anna)},
                      {begins(2500, bert), wakes(3000, anna, 1), ends(3500, bert), begins(4000, anna, 1),
                       waits(4500, anna, 2, "to send"), ends(5000, anna)}};
    const std::string tail = ",\"cat\":\"task\",\"id\":1025}";
    const auto line = [&](const char* phase, const char* ts, const char* name) {
        return "{\"ph\":\"" + std::string(phase) + "\",\"pid\":1,\"tid\":0,\"ts\":" + ts + ",\"name\":\"" +
               name + "\"" + tail;
    };
    CHECK(lines(all, tail) == strings{line("b", "1.000", "task 1025"), line("b", "1.500", "for a lock"),
                                      line("e", "3.000", "for a lock"), line("b", "3.000", "ready"),
                                      line("e", "4.000", "ready"), line("b", "4.500", "to send"),
                                      line("e", "5.000", "to send"), line("e", "5.000", "task 1025")});
}

TEST_CASE("trace: what a label or a name contains cannot break the page") {
    trace_event odd = event(trace_kind::done, 1000, anna);
    odd.what = "send";
    odd.label = "a \"quoted\" \\ name\n";
    CHECK(lines({{begins(500, anna), odd, ends(2000, anna)}}, "\"ph\":\"i\"")
              .at(0)
              .find(R"("name":"send 'a \"quoted\" \\ name\u000a'")") != std::string::npos);
}

TEST_CASE("trace: an operation on a descriptor tells its bytes or its error or what it accepted") {
    const auto done = [](trace_kind kind, const char* what, std::int64_t value) {
        trace_event made = event(kind, 1000, anna);
        made.what = what;
        made.object = 7;
        made.value = value;
        const std::string line = lines({{begins(500, anna), made, ends(2000, anna)}}, "\"ph\":\"i\"").at(0);
        return line.substr(line.find("\"name\""));
    };
    const std::string args = R"(,"cat":"io","s":"t","args":{"task":1025,"descriptor":7)";
    CHECK(done(trace_kind::io_submit, "receive", 0) == R"("name":"submit receive")" + args + "}}");
    CHECK(done(trace_kind::io_submit, "send", 9) == R"("name":"submit send")" + args + ",\"bytes\":9}}");
    CHECK(done(trace_kind::io_complete, "receive", 0) ==
          R"("name":"complete receive")" + args + ",\"bytes\":0}}");
    CHECK(done(trace_kind::io_complete, "accept", 8) ==
          R"("name":"complete accept")" + args + ",\"accepted\":8}}");
    CHECK(done(trace_kind::io_at_once, "send", -32) ==
          R"("name":"send")" + args + ",\"error\":\"Broken pipe\"}}");
}
