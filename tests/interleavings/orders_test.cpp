// Every memory order of the lock-free parts made weaker, one at a time: does the explorer find it?
//
// The table names each access whose order is stronger than relaxed, the weaker orders that are found, and those that
// are not, with the reason. The test makes each of them, and fails when an access has no row, a row no access, or
// when what is found is another than the row says. `partner`: the access that covers this one; both weakened at
// once are found.
#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "explore.hpp"
#include "queue_programs.hpp"
#include "site_name.hpp"
#include "sleep_programs.hpp"
#include "support/build_kind.hpp"
#include "support/level.hpp"
#include "support/watchdog.hpp"

using namespace interleavings;

namespace {

struct row {
    const char* site;
    const char* found;
    const char* not_found = "";
    const char* why_not = "";
    const char* partner = nullptr;
};

constexpr const char* own_slots =
    "too strong: the owner alone writes the slots it reads, and the CAS decides by being atomic";
constexpr const char* tail_acquires =
    "covered: tail is loaded after head with acquire, and the CAS decides by being atomic";
constexpr const char* looked_again = "too strong: the CAS that follows decides on the newest value";
constexpr const char* releases_nothing = "too strong: nothing was written that the other side reads by it";
constexpr const char* decides_alone =
    "too strong: the CAS decides by being atomic, and who loses it reads nothing more";
constexpr const char* next_thief =
    "covered: whoever steals the next has loaded top by seq_cst, which the owner then sees";
constexpr const char* trusted_searcher =
    "too strong: who trusts the searcher is seen by its last look, or by the worker that it wakes";
constexpr const char* under_lock = "covered: who reads an older word learns the truth under the lock";
constexpr const char* state_of_one =
    "too strong: one location and read-modify-writes only; the others carry what has to be seen";

const row table[] = {
    // --- run_queue: its CAS are atomic, its slots pass by tail (to thieves) and head (back to the owner) ---
    {"run_queue::push load acquire", "relaxed"},
    {"run_queue::push store release", "relaxed"},
    {"run_queue::pop load acquire", "", "relaxed", own_slots},
    {"run_queue::pop change acq_rel", "", "acquire release", own_slots},
    {"run_queue::pop failed load acquire", "", "relaxed", own_slots},
    {"run_queue::pop_half load acquire", "", "relaxed", own_slots},
    {"run_queue::pop_half change acq_rel", "", "acquire release", own_slots},
    {"run_queue::steal_into load acquire", "relaxed"},
    {"run_queue::steal_into load acquire #2", "", "relaxed", tail_acquires},
    {"run_queue::steal_into load acquire #3", "relaxed"},
    {"run_queue::steal_into change acq_rel", "", "acquire release", tail_acquires},
    {"run_queue::steal_into failed load acquire", "", "relaxed", tail_acquires},
    {"run_queue::steal_into store release", "relaxed"},
    {"run_queue::steal_into load acquire #4", "", "relaxed", looked_again},
    {"run_queue::steal_into change acq_rel #2", "acquire", "release",
     "too strong: the thief reads nothing by it"},
    {"run_queue::steal_into failed load acquire #2", "", "relaxed", looked_again},

    // --- fork_deque ---
    {"fork_deque::push load acquire", "relaxed"},
    {"fork_deque::push store release", "relaxed"},
    {"fork_deque::pop store seq_cst", "release relaxed"},
    {"fork_deque::pop load seq_cst", "acquire relaxed"},
    {"fork_deque::pop change seq_cst", "", "acq_rel acquire release", decides_alone},
    {"fork_deque::pop failed load seq_cst", "", "acquire relaxed", decides_alone},
    {"fork_deque::steal load seq_cst", "", "acquire relaxed",
     "W2: it would have to come after the load of bottom, in another order than that of execution",
     "fork_deque::steal change seq_cst"},
    {"fork_deque::steal load seq_cst #2", "acquire relaxed"},
    {"fork_deque::steal change seq_cst", "acquire", "acq_rel release", next_thief,
     "fork_deque::steal load seq_cst"},
    {"fork_deque::steal failed load seq_cst", "", "acquire relaxed", decides_alone},

    // --- injector: the lock guards all, size is the edge between a push and a sleeper ---
    {"injector::push change seq_cst", "acq_rel acquire release"},
    {"injector::size load seq_cst", "acquire relaxed"},

    // --- idle ---
    {"idle_set::worker_to_wake load seq_cst", "acquire relaxed"},
    {"idle_set::start_searching change seq_cst", "", "acq_rel acquire release", trusted_searcher},
    {"idle_set::stop_searching change seq_cst", "", "acq_rel acquire release", trusted_searcher},
    {"idle_set::sleep change seq_cst", "acq_rel acquire release"},
    {"idle_set::come_back change seq_cst", "", "acq_rel acquire release", under_lock},
    {"idle_set::take_sleeper load seq_cst", "", "acquire relaxed",
     "covered: worker_to_wake() has seen nobody search; who has begun since finds the work"},
    {"idle_set::take_sleeper change seq_cst", "", "acq_rel acquire release", under_lock},

    // --- spin_lock ---
    {"spin_lock::lock change seq_cst", "acq_rel acquire release"},
    {"spin_lock::try_lock change seq_cst", "acq_rel acquire release"},
    {"spin_lock::looks_free load seq_cst", "acquire relaxed"},
    {"spin_lock::unlock store release", "relaxed"},
    {"spin_lock::lock_slow change seq_cst", "acq_rel acquire release"},

    // --- futex_driver ---
    {"futex_driver::wait change acquire", "relaxed"},
    {"futex_driver::wake change release", "relaxed"},

    // --- worker.cpp, as copied in sleep_programs.hpp ---
    {"little_worker::post change release", "relaxed"},
    {"little_worker::take_messages change acquire", "relaxed"},
    {"little_worker::unpark change seq_cst", "acquire", "acq_rel release", state_of_one},
    {"little_worker::sleep change seq_cst", "", "acq_rel acquire release", releases_nothing},
    {"little_worker::sleep failed load seq_cst", "", "acquire relaxed",
     "covered: the exchange that follows acquires", "little_worker::sleep change seq_cst #2"},
    {"little_worker::sleep change seq_cst #2", "release", "acq_rel acquire",
     "too strong: it must see what a second waker wrote, and has nothing to tell"},
};

struct part {
    std::string file;  // how its path ends
    std::vector<std::function<report(const search&)>> programs;
};

template <class Make>
std::function<report(const search&)> by(const char* name, Make make) {
    return [=](const search& how) { return explore(name, how, make); };
}

std::vector<part> parts() {
    const auto counting = by("two lock and one tries", [] { return counters(2, true); });
    const auto looking = by("two look at each other", [] { return lookers(); });
    const auto one = by("one injected", [] { return injected(2, 1); });
    const auto two = by("two injected", [] { return injected(2, 2); });
    const auto messages = by("posted", [] { return posted(2); });
    const auto to_one = by("posted to one", [] { return posted(1); });
    return {
        {"runtime/run_queue.hpp",
         {by("one thief", [] { return owner_and_thieves(1); }),
          by("two thieves", [] { return owner_and_thieves(2); }),
          by("full queue", [] { return full_queue(1); }), by("two rings", [] { return two_rings(); })}},
        {"runtime/fork_deque.hpp",
         {by("last branch", [] { return last_branch(1); }),
          by("last branch of three", [] { return last_branch(2); }),
          by("full deque", [] { return full_deque(); })}},
        {"runtime/injector.hpp", {by("injector", [] { return pushers_and_takers(); }), one, two}},
        {"runtime/idle.hpp",
         {one, two, by("three injected", [] { return injected(2, 3); }),
          by("two injected for three workers", [] { return injected(3, 2); }), messages}},
        {"detail/spin_lock.hpp", {counting, looking}},
        {"runtime/spin_lock.cpp", {counting, looking}},
        {"runtime/futex_driver.cpp",
         {by("one letter", [] { return letters(1); }), by("two letters", [] { return letters(2); }),
          messages}},
        {"interleavings/sleep_programs.hpp", {messages, to_one, one, two}},
    };
}

/// The accesses in the part's file with an order that could be weaker.
std::vector<site> sites_of(const part& of) {
    std::vector<site> sites;
    the_model.seen = &sites;
    for (const auto& program : of.programs) program(by_seeds(300));
    the_model.seen = nullptr;
    std::erase_if(sites, [&](const site& at) {
        return !at.file.ends_with(of.file) || at.strength == order::relaxed ||
               at.name.starts_with("injected::");
    });
    number_sites(sites);
    return sites;
}

std::vector<order> weaker_than(const site& at) {
    if (at.strength == order::acquire || at.strength == order::release) return {order::relaxed};
    if (at.strength == order::acq_rel) return {order::acquire, order::release};
    if (at.does == site::kind::load) return {order::acquire, order::relaxed};
    if (at.does == site::kind::store) return {order::release, order::relaxed};
    return {order::acq_rel, order::acquire, order::release};
}

bool lists(const char* orders, order one) {
    return (" " + std::string(orders) + " ").find(" " + std::string(name_of(one)) + " ") != std::string::npos;
}

/// What fails first, empty when nothing does. A few runs of all programs first: some find at once what others do not.
std::string look(const part& in, const fault& wrong, std::uint64_t runs) {
    for (std::uint64_t some = std::min<std::uint64_t>(runs, 1'000); some <= runs; some *= 5) {
        for (const auto& program : in.programs) {
            const report seen = program(by_seeds(some, wrong));
            if (!seen.ok()) return seen.what().substr(0, seen.what().find('\n'));
        }
    }
    return {};
}

const row* row_of(const site& at) {
    const row* const found = std::find_if(std::begin(table), std::end(table),
                                          [&](const row& each) { return each.site == at.name; });
    return found != std::end(table) ? found : nullptr;
}

constexpr std::uint64_t runs_to_find = 125'000;
std::uint64_t runs_in_vain() {
    return support::sanitized || !support::optimized ? 50 : support::scaled<std::uint64_t>(1'000, 25'000);
}

void check_site(const part& in, const std::vector<site>& all, const site& at) {
    INFO(at.name, " at line ", at.line);
    support::watchdog::instance().allow(support::watchdog::limit() * (support::level() == "short" ? 1 : 10));
    const row* const known = row_of(at);
    REQUIRE(known != nullptr);
    for (const order to : weaker_than(at)) {
        INFO("made ", std::string(name_of(to)));
        const bool to_find = lists(known->found, to);
        CHECK(to_find != lists(known->not_found, to));
        const std::string seen = look(in, {.one = {&at, to}}, to_find ? runs_to_find : runs_in_vain());
        CHECK_MESSAGE(seen.empty() != to_find, seen);
    }
    CHECK((*known->not_found == '\0') == (*known->why_not == '\0'));
    if (known->partner == nullptr) return;
    const auto partner =
        std::find_if(all.begin(), all.end(), [&](const site& each) { return each.name == known->partner; });
    REQUIRE(partner != all.end());
    INFO("both weakened");
    CHECK(!look(in, {.one = {&at, order::relaxed}, .another = {&*partner, order::relaxed}}, runs_to_find)
               .empty());
}

TEST_CASE("orders: of each access it is known whether a weaker order is found and why not") {
    std::set<std::string> met;
    for (const part& each : parts()) {
        const std::vector<site> sites = sites_of(each);
        CHECK(!sites.empty());
        for (const site& at : sites) {
            met.insert(at.name);
            check_site(each, sites, at);
        }
    }
    for (const row& each : table)
        CHECK_MESSAGE(met.contains(each.site), std::string(each.site) << " is not in the source any more");
    CHECK(met.size() == std::size(table));
}
}
