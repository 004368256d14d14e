// How many schedules a second can be looked through: what makes 10,000 of them a matter of course in a unit test.
#include <doctest/doctest.h>
#include <runnel/channel.hpp>
#include <runnel/scope.hpp>
#include <runnel/testing.hpp>

#include <ctime>
#include <utility>

#include "support/build_kind.hpp"

namespace rn = runnel;
namespace testing = runnel::testing;

namespace {

rn::task<> count_to_three(rn::sender<int> out) {
    for (int i = 1; i <= 3; ++i) {
        auto sent = co_await out.send(i);
        if (!sent) co_return;
    }
}

rn::task<> producer_and_consumer() {
    auto [out, in] = rn::make_channel<int>(1);
    rn::task_set producers;
    producers.spawn(count_to_three, std::move(out));
    int sum = 0;
    for (;;) {
        auto number = co_await in.recv();
        if (!number) break;
        sum += *number;
    }
    co_await producers.join();
    testing::expect(sum == 6);
}

/// Of this thread's processor time, so that other programs do not count.
double seconds() {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

TEST_CASE("explore: looks through more than 50,000 schedules of two tasks and a channel a second") {
    constexpr bool full_speed = support::optimized && !support::sanitized;
    constexpr std::uint64_t schedules = full_speed ? 100'000 : 2'000;
    const double start = seconds();
    const auto all = testing::explore(testing::options().seed(1), schedules, producer_and_consumer);
    const double rate = static_cast<double>(schedules) / (seconds() - start);
    CHECK_MESSAGE(all.ok(), all.what());
    MESSAGE(static_cast<long>(rate) << " schedules a second");
    if (full_speed) CHECK(rate > 50'000);
}
}
