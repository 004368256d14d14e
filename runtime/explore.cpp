// explore: many schedules of one program, and a short one of those that fail.
//
// Exploring
//   1  the first seed is run twice: if the two runs differ, the program breaks Y2 of testing.hpp;
//   2  then one run per seed, until one fails;
//   3  shortening, on the decisions of that run: the fewest leading ones that still fail in the same way,
//      the rest as in a plain run; then, in ever smaller groups, each that need not be as it was. At most
//      `tries_max` runs. What fails in another way does not count: the report is to explain *this* failure;
//   4  the shortened schedule is run once more with its log, which goes into the report.
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "simulation.hpp"
#include "task_dump.hpp"

namespace runnel::detail {

namespace {
using testing::exploration;
using testing::failure;
using testing::report;

constexpr unsigned tries_max = 600;

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
    std::vector<decision> decisions;
};

recorded run(const testing::options& how, decider& by, bool keep_log, main_maker& main) {
    simulation one(how, by, keep_log);
    report end = one.run(main);
    return {std::move(end), one.decisions()};
}

/// Step 3.
class shortener {
public:
    shortener(const testing::options& how, main_maker& main, recorded failed)
        : how_(how), main_(main), kind_(failed.how.kind()), best_(std::move(failed.decisions)) {}

    report shortest() {
        cut_the_end();
        for (std::size_t group = best_.size() / 2; group > 0; group /= 2) straighten(group);
        scripted by(best_);
        return run(how_, by, true, main_).how;
    }

private:
    bool still_fails(const std::vector<decision>& script) {
        if (++tries_ > tries_max) return false;
        scripted by(script);
        return run(how_, by, false, main_).how.kind() == kind_;
    }
    void cut_the_end() {
        std::size_t enough = best_.size(), too_few = 0;
        while (too_few < enough) {
            const std::size_t half = (too_few + enough) / 2;
            if (still_fails({best_.begin(), best_.begin() + static_cast<std::ptrdiff_t>(half)}))
                enough = half;
            else
                too_few = half + 1;
        }
        best_.resize(enough);
    }
    void straighten(std::size_t group) {
        for (std::size_t from = 0; from < best_.size(); from += group) {
            std::vector<decision> straight = best_;
            const std::size_t to = std::min(from + group, best_.size());
            bool changed = false;
            for (std::size_t i = from; i < to; ++i) changed |= std::exchange(straight[i].taken, 0) != 0;
            if (changed && still_fails(straight)) best_ = std::move(straight);
        }
    }

    const testing::options& how_;
    main_maker& main_;
    const failure kind_;
    std::vector<decision> best_;
    unsigned tries_ = 0;
};

recorded run_seed(const testing::options& how, main_maker& main) {
    const std::unique_ptr<decider> by = make_decider(how.how(), how.seed());
    return run(how, *by, how.keep_log(), main);
}

report explained(const testing::options& how, main_maker& main, recorded failed) {
    const report original = failed.how;
    report shortest = shortener(how, main, std::move(failed)).shortest();
    return shortest.kind() == original.kind() ? shortest : original;
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

void expect(bool ok, const char* what, std::source_location where) {
    if (ok) return;
    if (detail::steering* by = detail::current_steering(); by != nullptr)
        by->fail(failure::expectation, std::string(what) + " (" + detail::place(where) + ")");
    else
        detail::check_failed(what, where);
}

namespace {
/// The wait for everybody else's.
class all_wait_operation final : public detail::wait_case {
public:
    using result_type = result<>;
    explicit all_wait_operation(detail::steering& by) noexcept : by_(by) {}
    detail::await_one<all_wait_operation> awaiter() noexcept {
        return detail::await_one<all_wait_operation>(*this);
    }
    result<> complete(unsigned) noexcept { return {}; }
    result<> fail(std::error_code error) noexcept { return error; }

    detail::wait_object* object() noexcept override { return &by_.all_wait(); }
    bool try_now(detail::late_wake&) noexcept override { return false; }
    void enlist(detail::task_block& task, std::uint64_t ticket) noexcept override {
        node_.task = &task;
        node_.ticket = ticket;
        by_.all_waiters().push_back(node_);
    }
    detail::wait_subject subject() const noexcept override { return {"for all others to wait"}; }
    void delist() noexcept override {
        if (node_.linked()) by_.all_waiters().remove(node_);
    }

private:
    detail::steering& by_;
    detail::wait_node node_;
};
}

task<> wait_until_all_tasks_wait() {
    detail::steering* by = detail::current_steering();
    detail::check(by != nullptr, "wait_until_all_tasks_wait: only in a simulation");
    (void)co_await all_wait_operation(*by);
}
}
