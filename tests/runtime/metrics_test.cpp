// Metrics: what a runtime has done and holds, in numbers and as a page for Prometheus.
#include "runnel/metrics.hpp"

#include <doctest/doctest.h>
#include <runnel/blocking.hpp>
#include <runnel/runtime.hpp>
#include <runnel/scope.hpp>
#include <runnel/sync.hpp>

#include <set>
#include <sstream>
#include <string>

#include "support/runtimes.hpp"

namespace rn = runnel;
using namespace std::chrono_literals;
using support::workers;

namespace {

rn::task<> waits(rn::event& e) { co_await e.wait(); }

TEST_CASE("metrics: tasks live, started and ended; deadlines and cancelled waits") {
    rn::runtime here(workers(1).name("counted"));
    here.spawn([]() -> rn::task<> {
            rn::event start;
            rn::task_set all;
            for (int i = 0; i < 10; ++i) all.spawn(waits, rn::borrow(start));
            all.spawn([]() -> rn::task<> { co_await rn::sleep_for(1h); });
            co_await rn::yield();
            const rn::runtime_metrics during = rn::current_metrics();
            CHECK(during.live >= 12);
            CHECK(during.total.timers == 1);
            CHECK(during.total.cancelled == 0);
            all.cancel();
            co_await all.join();
            CHECK(rn::current_metrics().total.cancelled == 11);
        })
        .wait();
    here.stop().value();
    const rn::runtime_metrics after = here.metrics();
    CHECK(after.name == "counted");
    CHECK(after.live == 0);
    CHECK(after.total.ended == 12);
    CHECK(after.total.polls >= 12);
    CHECK(after.total.timers == 0);
    CHECK(after.workers.size() == 1);
}

TEST_CASE("metrics: the sleeps of a worker, and of them those after which there was nothing to do") {
    rn::runtime here(workers(1));
    const auto total = [&here] { return here.metrics().total; };
    while (total().parks < 3) here.spawn([]() -> rn::task<> { co_return; }).wait();
    CHECK(total().spurious == 0);
}

TEST_CASE("metrics: the time from ready to running is sampled where tasks wait in a queue") {
    rn::runtime here(workers(1));
    here.spawn([]() -> rn::task<> {
            rn::task_set all;
            for (int i = 0; i < 1000; ++i)
                all.spawn([]() -> rn::task<> {
                    for (int n = 0; n < 20; ++n) co_await rn::yield();
                });
            co_await all.join();
        })
        .wait();
    here.stop().value();
    const rn::latency_histogram latency = here.metrics().latency;
    CHECK(latency.samples > 10);
    CHECK(latency.quantile(0.5) > 0);
    CHECK(latency.quantile(1) >= latency.quantile(0.5));
    CHECK(latency.sum_ns > 0);
}

TEST_CASE("metrics: quantiles are the bounds of the buckets") {
    rn::latency_histogram of;
    CHECK(of.quantile(0.5) == 0);
    of.buckets[0] = 98;  // below 1 us
    of.buckets[5] = 1;   // below 32 us
    of.buckets[10] = 1;  // below 1024 us
    of.samples = 100;
    CHECK(of.quantile(0.5) == 1000);
    CHECK(of.quantile(0.99) == 32'000);
    CHECK(of.quantile(1) == 1'024'000);
}

TEST_CASE("metrics: blocking calls and their threads") {
    rn::runtime here(workers(1));
    here.spawn([]() -> rn::task<> { (void)co_await rn::blocking([] {}); }).wait();
    CHECK(here.metrics().blocking_calls == 1);
    CHECK(here.metrics().blocking_threads == 1);
}

/// The names of the families, in order; checks what the format demands of each line on the way.
std::set<std::string> families_of(const std::string& page) {
    std::set<std::string> names;
    std::istringstream lines(page);
    std::string line, family;
    while (std::getline(lines, line)) {
        if (line.starts_with("# HELP ")) {
            family = line.substr(7, line.find(' ', 7) - 7);
            CHECK_MESSAGE(names.insert(family).second, family, " comes twice");
        } else if (line.starts_with("# TYPE ")) {
            CHECK(line.substr(7, family.size()) == family);
        } else {
            CHECK_MESSAGE(line.starts_with(family), line);
            CHECK_MESSAGE(line.find("{runtime=\"a\\\"b\"") != std::string::npos, line);
            CHECK_MESSAGE(
                line.substr(line.rfind(' ') + 1).find_first_not_of("0123456789") == std::string::npos, line);
        }
    }
    return names;
}

TEST_CASE(
    "metrics: the page for Prometheus has each family once, with help and type, and a line per worker") {
    rn::runtime here(workers(2).name("a\"b"));
    here.spawn([]() -> rn::task<> { co_await rn::sleep_for(1ms); }).wait();
    const std::string page = rn::to_prometheus(here.metrics());
    const std::set<std::string> names = families_of(page);
    CHECK(names.contains("runnel_polls_total"));
    CHECK(names.contains("runnel_ready_latency_microseconds"));
    CHECK(page.find("runnel_polls_total{runtime=\"a\\\"b\",worker=\"1\"} ") != std::string::npos);
    CHECK(page.find("le=\"+Inf\"") != std::string::npos);
}
}
