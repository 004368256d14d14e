// The lock-free parts under the explorer: nothing is lost, nothing is handed out twice, nobody sleeps with work left.
//
// Each program runs by chance and, with few preemptions and old values, by every interleaving.
#include <doctest/doctest.h>

#include <string>

#include "explore.hpp"
#include "queue_programs.hpp"
#include "sleep_programs.hpp"
#include "support/build_kind.hpp"
#include "support/level.hpp"
#include "support/watchdog.hpp"

using namespace interleavings;

namespace {

constexpr bool slow_build = support::sanitized || !support::optimized;

std::uint64_t runs(std::uint64_t short_form, std::uint64_t full_form) {
    const std::uint64_t wanted = support::scaled(short_form, full_form);
    return slow_build ? wanted / 20 : wanted;
}

/// Each search has a test's time for itself.
void allow_time() {
    support::watchdog::instance().allow(support::watchdog::limit() * (support::level() == "short" ? 1 : 10));
}

template <class Make>
void by_chance(const std::string& name, Make make) {
    allow_time();
    const report seen = explore(name, by_seeds(runs(100'000, 1'000'000)), make);
    CHECK_MESSAGE(seen.ok(), seen.what());
}

struct bounds {
    unsigned preemptions;
    unsigned old_values;
};

template <class Make>
void all(const std::string& name, bounds short_form, bounds full_form, Make make) {
    allow_time();
    auto [preemptions, old_values] = support::full() && !slow_build ? full_form : short_form;
    if (slow_build && old_values != 0)
        --old_values;
    else if (slow_build && preemptions > 1)
        --preemptions;
    const report seen = explore(name, all_with(preemptions, old_values, UINT64_MAX), make);
    CHECK_MESSAGE(seen.ok(), seen.what());
    CHECK(seen.complete);
    if (support::full())
        MESSAGE(name << ": " << seen.runs << " interleavings with at most " << preemptions
                     << " preemptions and " << old_values << " old values");
}

TEST_CASE("interleavings: an owner and thieves of a run queue hand out each task once and filled") {
    by_chance("one thief", [] { return owner_and_thieves(1); });
    by_chance("two thieves", [] { return owner_and_thieves(2); });
    all("one thief", {3, 2}, {4, 2}, [] { return owner_and_thieves(1); });
    all("two thieves", {2, 1}, {3, 1}, [] { return owner_and_thieves(2); });
}

TEST_CASE("interleavings: a full run queue loses no task while a thief copies") {
    for (const unsigned thieves : {1U, 2U}) {
        const report seen = explore("full queue and thieves", by_seeds(runs(3'000, 100'000)),
                                    [=] { return full_queue(thieves); });
        CHECK_MESSAGE(seen.ok(), seen.what());
    }
    all("full queue", {1, 0}, {2, 0}, [] { return full_queue(1); });
    all("two rings", {1, 0}, {2, 0}, [] { return two_rings(); });
}

TEST_CASE("interleavings: the last branch of a fork deque goes to the owner or to one thief") {
    by_chance("last branch", [] { return last_branch(1); });
    by_chance("last branch of three", [] { return last_branch(2); });
    by_chance("full deque", [] { return full_deque(); });
    all("last branch", {3, 3}, {4, 3}, [] { return last_branch(1); });
    all("last branch of three", {2, 1}, {3, 1}, [] { return last_branch(2); });
}

TEST_CASE("interleavings: the injector hands out each task once and its size is what is in it") {
    by_chance("injector", [] { return pushers_and_takers(); });
    all("injector", {2, 1}, {3, 1}, [] { return pushers_and_takers(); });
}

TEST_CASE("interleavings: one at a time has the spin lock and everybody gets it") {
    by_chance("two lock and one tries", [] { return counters(2, true); });
    by_chance("three lock", [] { return counters(3, false); });
    all("two lock and one tries", {2, 2}, {3, 2}, [] { return counters(2, true); });
}

TEST_CASE("interleavings: of two who look without a lock at what the other has said under it one sees it") {
    by_chance("two look at each other", [] { return lookers(); });
    all("two look at each other", {2, 2}, {3, 2}, [] { return lookers(); });
}

TEST_CASE("interleavings: no ring of the futex driver is lost and what was written before it is seen") {
    by_chance("one letter", [] { return letters(1); });
    by_chance("two letters", [] { return letters(2); });
    by_chance("two letters and a deadline", [] { return letters(2, true); });
    all("one letter", {7, 4}, {8, 4}, [] { return letters(1); });
    all("two letters", {3, 2}, {4, 2}, [] { return letters(2); });
}

TEST_CASE("interleavings: no worker sleeps while a task from outside waits") {
    by_chance("one injected", [] { return injected(2, 1); });
    by_chance("two injected", [] { return injected(2, 2); });
    by_chance("three injected", [] { return injected(2, 3); });
    by_chance("two injected for three workers", [] { return injected(3, 2); });
    all("one injected", {2, 0}, {2, 2}, [] { return injected(2, 1); });
    all("two injected for three workers", {1, 0}, {1, 1}, [] { return injected(3, 2); });
}

TEST_CASE("interleavings: no worker sleeps over a message of its own") {
    by_chance("posted", [] { return posted(2); });
    by_chance("posted to one", [] { return posted(1); });
    all("posted", {1, 1}, {2, 1}, [] { return posted(2); });
    all("posted to one", {2, 1}, {3, 1}, [] { return posted(1); });
}

TEST_CASE("interleavings: what a task makes ready is run by its worker or by another") {
    by_chance("spawned on two", [] { return spawned(2); });
    by_chance("spawned on three", [] { return spawned(3); });
    all("spawned on two", {1, 0}, {1, 1}, [] { return spawned(2); });
}

TEST_CASE("interleavings: the wake for a backlog is a hint that can be lost and only by an old value") {
    all("backlog", {2, 0}, {3, 0}, [] { return backlog(); });
    const report seen = explore("backlog", by_seeds(100'000), [] { return backlog(); });
    CHECK_MESSAGE(seen.failure() == "a task waits behind a busy worker", seen.what());
}

/// How many runs it takes to see that; 0 when it is not seen.
template <class Make>
std::uint64_t found_after(const std::string& name, const std::string& failure, Make make, fault wrong = {}) {
    const report seen = explore(name, by_seeds(100'000, wrong), make);
    CHECK_MESSAGE(seen.failure() == failure, seen.what());
    return seen.ok() ? 0 : seen.runs;
}

const std::string in_injector = "a task waits in the injector while a worker sleeps";

TEST_CASE("mistakes: a searcher that comes back as nobody leaves a task waiting") {
    const mistakes wrong{.come_back_as_nobody = true};
    CHECK(found_after("I4", in_injector, [&] { return injected(3, 2, wrong); }) != 0);
}

TEST_CASE("mistakes: sleep without a second look leaves a task waiting") {
    const mistakes wrong{.no_second_look = true};
    CHECK(found_after("no second look", in_injector, [&] { return injected(2, 1, wrong); }) != 0);
}

TEST_CASE("mistakes: a wake before the push leaves a task waiting") {
    const mistakes wrong{.wake_before_publish = true};
    CHECK(found_after("wake before publish", in_injector, [&] { return injected(2, 1, wrong); }) != 0);
}

TEST_CASE("mistakes: the last searcher that wakes nobody leaves a task waiting") {
    const mistakes wrong{.no_wake_after_search = true};
    CHECK(found_after("no wake after search", in_injector, [&] { return injected(3, 2, wrong); }) != 0);
}

TEST_CASE("mistakes: a ring that is left out leaves a worker asleep") {
    const mistakes wrong{.no_ring = true};
    CHECK(found_after("no ring", "a worker sleeps that has a message", [&] { return posted(2, wrong); }) !=
          0);
    const fault no_wake{.no_wake = true};
    CHECK(found_after("no FUTEX_WAKE", "nobody can go on", [] { return letters(1); }, no_wake) != 0);
}
}
