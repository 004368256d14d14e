// deciders: the ways to decide, at each point of a simulation, who goes on.
//
// A decision is a number below the number of alternatives. They are ordered so that 0 is what a plain run
// would do: the task that runs now goes on, or the one that became ready first.
//
//   uniform     each alternative is as likely;
//   sticky      the running task goes on in 7 of 8 points; else as uniform;
//   pct         each task has a random priority, the highest goes on; at d random points the running one
//               falls below all others (Burckhardt, Kothari, Musuvathi, Nagarakatte: A Randomized Scheduler
//               with Probabilistic Guarantees of Finding Bugs, ASPLOS 2010);
//   fifo        always 0;
//   ordered     the turns of an earlier run, perhaps in another order, then 0: replays, shortens;
//   exhaustive  depth first through all decisions with a bounded number of interruptions.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include <runnel/testing.hpp>

namespace runnel::detail {

/// One who could go on. Who is no task has number 0: a blocking() call, the world outside.
struct candidate {
    std::uint64_t number;
};

class decider {
public:
    virtual ~decider() = default;
    /// Who goes on, of at least two. `goes_on`: the first is the one that runs now, and need not be interrupted.
    virtual std::uint32_t pick(const std::vector<candidate>& ready, bool goes_on) noexcept = 0;
    /// Another choice, of at least two ways: the order of select's cases.
    virtual std::uint32_t choose(std::uint32_t ways) noexcept = 0;
    /// Told of each turn before it begins, whether there was something to decide or not.
    virtual void begins(std::uint64_t /*number*/) noexcept {}
};

/// Turns of one task in a row.
struct stretch {
    std::uint64_t who;
    std::size_t turns;
};

/// What happened in a run: who had the turns, and what was chosen in whose.
struct course {
    std::vector<stretch> turns;
    std::vector<std::pair<std::uint64_t, std::uint32_t>> choices;
    std::size_t interruptions = 0;  // of tasks that could have gone on
};

std::unique_ptr<decider> make_decider(testing::strategy how, std::uint64_t seed);

/// Turns that cannot be had when it is their time are had as soon as they can be; meanwhile what comes after them.
class ordered final : public decider {
public:
    explicit ordered(const course& as);
    std::uint32_t pick(const std::vector<candidate>& ready, bool goes_on) noexcept override;
    std::uint32_t choose(std::uint32_t ways) noexcept override;
    void begins(std::uint64_t number) noexcept override;

private:
    std::size_t end_of_view() const noexcept { return std::min(turns_.size(), first_ + view); }
    static constexpr std::size_t view = 64;  // so far ahead it looks, in stretches

    std::vector<stretch> turns_;
    std::size_t first_ = 0;  // of those that have turns left
    std::map<std::uint64_t, std::deque<std::uint32_t>> choices_;
    std::uint64_t whose_turn_ = 0;
};

/// Goes through all runs: one run, then next_run() until it says false.
class exhaustive final : public decider {
public:
    explicit exhaustive(unsigned preemptions) noexcept : preemptions_(preemptions), left_(preemptions) {}
    std::uint32_t pick(const std::vector<candidate>& ready, bool goes_on) noexcept override;
    std::uint32_t choose(std::uint32_t ways) noexcept override;
    /// Turns to the next run. False: that was the last.
    bool next_run() noexcept;
    /// A prefix that did not fit what the program did: it does not depend on the decisions alone.
    bool diverged() const noexcept { return diverged_; }

private:
    struct decision {
        std::uint32_t of;     // so many ways there were
        std::uint32_t taken;  // this one was
    };
    std::uint32_t next(std::uint32_t ways) noexcept;
    const unsigned preemptions_;
    unsigned left_;
    std::vector<decision> path_;
    std::size_t at_ = 0;
    bool diverged_ = false;
};
}
