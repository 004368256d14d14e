// leaks: what a test expects of itself. The contract is in runnel/testing_leaks.hpp.
#include <runnel/testing_leaks.hpp>

#include <time.h>

#include <cstdio>

#include <runnel/testing.hpp>
#include <runnel/time.hpp>
#include "census.hpp"
#include "runtime_core.hpp"
#include "steering.hpp"

namespace runnel::detail {

namespace {
constexpr int looks = 1'000;  // L4: one each millisecond
constexpr auto pause = std::chrono::milliseconds(1);

void report(const std::string& left, std::source_location where) {
    if (left.empty()) return;
    const std::string text = "of what was made is left:\n" + left;
    if (current_steering() != nullptr) return testing::expect(false, text.c_str(), where);
    std::fprintf(stderr, "runnel: %s", text.c_str());  // what check() prints is cut after a while
    testing::expect(false, "expect_no_leaks: there should be nothing", where);
}
}

void expect_nothing_left(const testing::leak_region& in, std::source_location where) {
    std::string left = in.left();
    for (int i = 0; i < looks && !left.empty() && tls_worker == nullptr; ++i) {
        const timespec time{0, std::chrono::nanoseconds(pause).count()};
        nanosleep(&time, nullptr);
        left = in.left();
    }
    report(left, where);
}

task<> expect_nothing_left_soon(const testing::leak_region& in, std::source_location where) {
    std::string left = in.left();
    if (!left.empty() && current_steering() != nullptr) {
        co_await testing::wait_until_all_tasks_wait();
        left = in.left();
    }
    for (int i = 0; i < looks && !left.empty() && current_steering() == nullptr; ++i) {
        auto slept = co_await sleep_for(pause);
        left = in.left();
        if (!slept) break;
    }
    report(left, where);
}
}

namespace runnel::testing {

leak_region::leak_region()
    : counts_(new detail::census_region(detail::current_steering() != nullptr ? &detail::current_runtime()
                                                                              : nullptr)) {}

leak_region::~leak_region() { delete counts_; }

std::string leak_region::left() const { return counts_->left().text("  "); }
}
