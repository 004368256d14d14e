// explore: many schedules of one program, and a short one of those that fail.
//
// Exploring
//   1  the first seed is run twice: if the two runs differ, the program breaks Y2 of testing.hpp;
//   2  then one run per seed, until one fails;
//   3  shortening, on the turns of that run: the fewest leading ones that still fail in the same way, the rest
//      as in a plain run; choices as in a plain run, if that fails as well; then turns of one task that others
//      come between are put together, by moving these or those, as long as it still fails. At most `tries_max`
//      runs. What fails in another way, or elsewhere, does not count: the report is to explain *this* failure;
//   4  the shortened schedule is run once more with its log, which goes into the report.
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <set>

#include "simulation.hpp"
#include "task_dump.hpp"

namespace runnel::detail {

namespace {
using testing::exploration;
using testing::failure;
using testing::report;

constexpr unsigned tries_max = 600;
constexpr std::uint64_t points_max = 20'000'000;  // of all tries: some seconds

bool environment_seed(std::uint64_t& seed) noexcept {
    const char* text = std::getenv("RUNNEL_SEED");
    if (text == nullptr || *text == '\0') return false;
    char* end = nullptr;
    seed = std::strtoull(text, &end, 0);
    check(*end == '\0', "RUNNEL_SEED: not a number");
    return true;
}

struct recorded {
    report how;
    course happened;
};

recorded run(const testing::options& how, decider& by, bool keep_log, main_maker& main) {
    simulation one(how, by, keep_log);
    report end = one.run(main);
    return {std::move(end), one.what_happened()};
}

/// How and where a run failed, without what differs from schedule to schedule: the numbers of tasks and their order.
struct gist {
    failure kind;
    std::string first_line;        // without numbers
    std::set<std::string> places;  // every FILE:LINE of the text

    explicit gist(const report& of) : kind(of.kind()) {
        const std::string text = of.what().substr(0, of.what().find("\n  seed "));
        for (const char c : text.substr(0, text.find('\n')))
            if (c < '0' || c > '9') first_line += c;
        const auto is_place = [](char c) {
            return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.';
        };
        for (std::size_t at = 0; (at = text.find(':', at + 1)) != std::string::npos;) {
            std::size_t begin = at, end = at + 1;
            while (begin > 0 && is_place(text[begin - 1])) --begin;
            while (end < text.size() && text[end] >= '0' && text[end] <= '9') ++end;
            if (begin < at && end > at + 1) places.insert(text.substr(begin, end - begin));
        }
    }
    friend bool operator==(const gist&, const gist&) = default;
};

/// Step 3.
class shortener {
public:
    shortener(const testing::options& how, main_maker& main, recorded failed)
        : how_(how), main_(main), gist_(failed.how), best_(std::move(failed.happened)) {}

    report shortest() {
        cut_the_end();
        still_fails({best_.turns, {}, 0});
        while (put_together()) {}
        ordered by(best_);
        return run(how_, by, true, main_).how;
    }

private:
    /// What a reader has to follow.
    static std::size_t length(const course& of) noexcept { return of.turns.size() + of.interruptions; }
    /// Then it becomes the best one, unless it is longer.
    bool still_fails(const course& changed) {
        if (++tries_ > tries_max || points_ > points_max) return false;
        ordered by(changed);
        recorded end = run(how_, by, false, main_);
        points_ += end.how.points();
        if (end.how.kind() != gist_.kind || gist(end.how) != gist_) return false;
        if (length(end.happened) <= length(best_)) best_ = std::move(end.happened);
        return true;
    }

    static std::vector<stretch> first(const std::vector<stretch>& all, std::size_t turns) {
        std::vector<stretch> some;
        for (std::size_t i = 0; i < all.size() && turns > 0; turns -= some.back().turns, ++i)
            some.push_back({all[i].who, std::min(all[i].turns, turns)});
        return some;
    }
    void cut_the_end() {
        const course all = best_;
        std::size_t enough = 0, too_few = 0;
        for (const stretch& each : all.turns) enough += each.turns;
        while (too_few < enough) {
            const std::size_t half = (too_few + enough) / 2;
            if (still_fails({first(all.turns, half), all.choices, 0}))
                enough = half;
            else
                too_few = half + 1;
        }
    }

    /// One round. Says whether it got anywhere.
    bool put_together() {
        const std::size_t before = length(best_);
        for (std::size_t i = 0; i < best_.turns.size();)
            if (!put_together_at(i)) ++i;
        return length(best_) < before;
    }
    /// The stretch and the next one of the same task: the later comes early, or the earlier late.
    bool put_together_at(std::size_t i) {
        const std::vector<stretch> all = best_.turns;
        const std::size_t before = length(best_);
        std::size_t again = i + 1;
        while (again < all.size() && all[again].who != all[i].who) ++again;
        if (again == all.size()) return false;
        for (const bool early : {true, false}) {
            std::vector<stretch> moved = all;
            const auto from = moved.begin() + static_cast<std::ptrdiff_t>(i);
            const auto to = moved.begin() + static_cast<std::ptrdiff_t>(again);
            if (early)
                std::rotate(from + 1, to, to + 1);
            else
                std::rotate(from, from + 1, to);
            if (still_fails({std::move(moved), best_.choices, 0}) && length(best_) < before) return true;
        }
        return false;
    }

    const testing::options& how_;
    main_maker& main_;
    const gist gist_;
    course best_;
    unsigned tries_ = 0;
    std::uint64_t points_ = 0;
};

recorded run_seed(const testing::options& how, main_maker& main) {
    const std::unique_ptr<decider> by = make_decider(how.how(), how.seed());
    return run(how, *by, how.keep_log(), main);
}

report explained(const testing::options& how, main_maker& main, recorded failed) {
    const report original = failed.how;
    report shortest = shortener(how, main, std::move(failed)).shortest();
    return gist(shortest) == gist(original) ? shortest : original;
}

report not_the_same(const report& run) {
    return report({failure::not_the_same,
                   "two runs with seed " + std::to_string(run.seed()) +
                       " differ: something but the schedule decides (see testing.hpp, Y2)",
                   run.log(), run.seed(), run.hash(), run.points(), run.time()});
}
}

report simulate(const testing::options& how, main_maker& main) { return run_seed(how, main).how; }

exploration explore(const testing::options& how, std::uint64_t runs, main_maker& main) {
    testing::options one = how;
    std::uint64_t seed = how.seed();
    if (environment_seed(seed)) runs = 1;
    report last({});
    for (std::uint64_t i = 0; i < runs; ++i) {
        one.seed(seed + i);
        recorded end = run_seed(one, main);
        if (!end.how.ok()) return {explained(one, main, std::move(end)), i + 1, false};
        last = std::move(end.how);
        if (i == 0 && run_seed(one, main).how.hash() != last.hash()) return {not_the_same(last), 2, false};
    }
    return {std::move(last), runs, false};
}

exploration exhaust(const testing::options& how, unsigned preemptions, std::uint64_t runs_max,
                    main_maker& main) {
    exhaustive by(preemptions);
    report last({});
    for (std::uint64_t i = 0; i < runs_max; ++i) {
        recorded end = run(how, by, how.keep_log(), main);
        if (by.diverged()) return {not_the_same(end.how), i + 1, false};
        if (!end.how.ok()) return {explained(how, main, std::move(end)), i + 1, false};
        last = std::move(end.how);
        if (!by.next_run()) return {std::move(last), i + 1, true};
    }
    return {std::move(last), runs_max, false};
}
}

namespace runnel::testing {

options::options() noexcept : seed_(1) { detail::environment_seed(seed_); }
}
