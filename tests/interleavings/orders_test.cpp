// Every memory order of the lock-free parts made weaker, one at a time: does the explorer find it?
#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "explore.hpp"
#include "queue_programs.hpp"
#include "site_name.hpp"
#include "sleep_programs.hpp"
#include "support/build_kind.hpp"
#include "support/level.hpp"

using namespace interleavings;

namespace {

struct part {
    std::string file;
    std::vector<std::function<report(const search&)>> programs;
};

template <class Make>
std::function<report(const search&)> by(const char* name, Make make) {
    return [=](const search& how) { return explore(name, how, make); };
}

std::vector<order> weaker(const site& at) {
    switch (at.strength) {
        case order::seq_cst:
            if (at.does == site::kind::load) return {order::acquire, order::relaxed};
            if (at.does == site::kind::store) return {order::release, order::relaxed};
            return {order::acq_rel, order::acquire, order::release};
        case order::acq_rel: return {order::acquire, order::release};
        case order::acquire:
        case order::release: return {order::relaxed};
        default: return {};
    }
}

std::vector<part> parts() {
    return {
        {"runtime/run_queue.hpp",
         {by("one thief", [] { return owner_and_thieves(1); }), by("two thieves", [] { return owner_and_thieves(2); }),
          by("full queue", [] { return full_queue(); })}},
        {"runtime/fork_deque.hpp",
         {by("last branch", [] { return last_branch(1); }),
          by("last branch of three", [] { return last_branch(2); })}},
        {"runtime/injector.hpp",
         {by("injector", [] { return pushers_and_takers(); }), by("one injected", [] { return injected(2, 1); }),
          by("two injected", [] { return injected(2, 2); })}},
        {"runtime/idle.hpp",
         {by("one injected", [] { return injected(2, 1); }), by("two injected", [] { return injected(2, 2); }),
          by("three injected", [] { return injected(2, 3); }),
          by("two injected for three workers", [] { return injected(3, 2); }), by("posted", [] { return posted(); })}},
        {"detail/spin_lock.hpp", {by("two lock and one tries", [] { return counters(2, true); })}},
        {"runtime/spin_lock.cpp", {by("two lock and one tries", [] { return counters(2, true); })}},
        {"runtime/futex_driver.cpp",
         {by("one letter", [] { return letters(1); }), by("two letters", [] { return letters(2); }),
          by("posted", [] { return posted(); })}},
        {"interleavings/sleep_programs.hpp",
         {by("posted", [] { return posted(); }), by("one injected", [] { return injected(2, 1); }),
          by("two injected", [] { return injected(2, 2); })}},
    };
}

TEST_CASE("orders: survey") {
    for (const part& each : parts()) {
        std::vector<site> sites;
        the_model.seen = &sites;
        for (const auto& program : each.programs) program(by_seeds(500));
        the_model.seen = nullptr;
        std::erase_if(sites, [&](const site& at) { return !at.file.ends_with(each.file); });
        number_sites(sites);
        for (const site& at : sites) {
            for (const order to : weaker(at)) {
                std::string found = "NOT FOUND";
                for (const auto& program : each.programs) {
                    const report seen = program(by_seeds(20'000, {.at = &at, .weaker = to}));
                    if (!seen.ok()) {
                        found = seen.what().substr(0, seen.what().find('\n'));
                        break;
                    }
                }
                std::printf("%s -> %s : %s\n", at.name.c_str(), name_of(to), found.c_str());
            }
        }
    }
}
}
