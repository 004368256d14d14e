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
//   scripted    the decisions of an earlier run, then 0: replays, shortens;
//   exhaustive  depth first through all decisions with a bounded number of interruptions.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <runnel/testing.hpp>

namespace runnel::detail {

/// One who could go on. A blocking() call has number 0.
struct candidate {
    std::uint64_t number;
};

struct decision {
    std::uint32_t of;     // so many ways there were
    std::uint32_t taken;  // this one was
};

class decider {
public:
    virtual ~decider() = default;
    /// Who goes on, of at least two. `goes_on`: the first is the one that runs now, and need not be interrupted.
    virtual std::uint32_t pick(const std::vector<candidate>& ready, bool goes_on) noexcept = 0;
    /// Another choice, of at least two ways: the order of select's cases.
    virtual std::uint32_t choose(std::uint32_t ways) noexcept = 0;
};

/// The generator of all seeded ones: splitmix64.
class seeded {
public:
    explicit seeded(std::uint64_t seed) noexcept : state_(seed) {}
    std::uint64_t next() noexcept;
    std::uint32_t below(std::uint32_t bound) noexcept;

private:
    std::uint64_t state_;
};

std::unique_ptr<decider> make_decider(testing::strategy how, std::uint64_t seed);

class scripted final : public decider {
public:
    explicit scripted(const std::vector<decision>& script) noexcept : script_(script) {}
    std::uint32_t pick(const std::vector<candidate>& ready, bool goes_on) noexcept override;
    std::uint32_t choose(std::uint32_t ways) noexcept override;

private:
    std::uint32_t next(std::uint32_t ways) noexcept;
    const std::vector<decision>& script_;
    std::size_t at_ = 0;
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
    std::uint32_t next(std::uint32_t ways) noexcept;
    const unsigned preemptions_;
    unsigned left_;
    std::vector<decision> path_;
    std::size_t at_ = 0;
    bool diverged_ = false;
};
}
