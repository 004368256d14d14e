// See planted.hpp; its numbers are named here.
#include "planted.hpp"

#include <doctest/doctest.h>
#include <runnel/runtime.hpp>

#include <algorithm>
#include <sstream>
#include <vector>

#include "support/level.hpp"

namespace testing = runnel::testing;
using testing::options;

namespace support {

namespace {
constexpr std::uint64_t runs_max = 10'000;
constexpr std::uint64_t starts[] = {1, 100'001, 200'001, 300'001, 400'001, 500'001, 600'001};

/// 1
template <class Program>
void check_hidden(Program& broken) {
    const auto plain = testing::simulate(options().how(testing::strategy::fifo), broken);
    CHECK_MESSAGE(plain.ok(), plain.what());
    const auto first_seeds = testing::explore(options().seed(1), 10, broken);
    CHECK_MESSAGE(first_seeds.ok(), first_seeds.what());
}

/// 3
template <class Program>
void check_replay(Program& broken, const testing::report& found) {
    const auto again = testing::simulate(options().seed(found.seed()), broken);
    const auto once_more = testing::simulate(options().seed(found.seed()), broken);
    CHECK(again.kind() == found.kind());
    CHECK(again.hash() == once_more.hash());
    CHECK(again.what() == once_more.what());
}

/// 2. Returns in how many schedules.
template <class Program>
std::uint64_t check_found(Program& broken, std::uint64_t start, testing::failure shows_as) {
    const auto all = testing::explore(options().seed(start), runs_max, broken);
    CHECK_MESSAGE(all.first_failure().kind() == shows_as, "from seed ", start, ": ", all.what());
    if (!all.ok()) check_replay(broken, all.first_failure());
    return all.runs();
}

/// 4 and 5
template <class Program>
void check_mended(Program& mended) {
    const auto all = testing::explore(options().seed(1), scaled<std::uint64_t>(2'000, runs_max), mended);
    CHECK_MESSAGE(all.ok(), all.what());
    for (int i = 0; i < 10; ++i) {
        runnel::runtime four(runnel::options().workers(4).driver(runnel::driver_kind::none));
        CHECK(four.spawn(mended).wait());
    }
}

std::string listed(const std::vector<std::uint64_t>& numbers) {
    std::ostringstream text;
    for (const std::uint64_t number : numbers) text << number << ' ';
    return text.str();
}
}

runnel::task<> work(int points) {
    for (int i = 0; i < points; ++i) {
        auto went = co_await runnel::yield();
        if (!went) co_return;
    }
}

void check_planted(runnel::task<> (*program)(form), testing::failure shows_as) {
    const auto broken = [program] { return program(form::broken); };
    const auto mended = [program] { return program(form::mended); };
    check_hidden(broken);
    std::vector<std::uint64_t> runs;
    for (const std::uint64_t start : starts) runs.push_back(check_found(broken, start, shows_as));
    std::sort(runs.begin(), runs.end());
    MESSAGE("found after " << listed(runs) << "schedules, median " << runs[runs.size() / 2]);
    check_mended(mended);
}
}
