// deciders: the ways to choose an interleaving: by chance, all of them, or one that is known.
//
//   uniform     each thread that can go on is as likely as any other, at each step
//   priorities  PCT (Burckhardt and others, ASPLOS 2010): the thread of the highest priority goes on; at a few steps
//               drawn beforehand the one that runs gets the lowest. A bug that needs d ordered steps of n threads and
//               k steps in all is met with a chance of at least 1/(n k^(d-1)) in each run
//   every       depth first, with at most so many preemptions and so many old values read
//   given       a list of decisions, as printed by a failure
//
// A load by chance reads the newest store every second time, else any that it may.
#pragma once

#include <cstdint>
#include <vector>

#include "model.hpp"
#include "runtime/seeded.hpp"

namespace interleavings {

/// A decision where there was a choice: which thread, or which store.
using path = std::vector<std::uint16_t>;

class by_chance final : public decider {
public:
    /// Odd seeds go by priorities.
    void seed(std::uint64_t seed);
    void begin(unsigned threads) override;
    unsigned thread(unsigned ready, int running) override;
    unsigned other(unsigned ready, unsigned running) override;
    unsigned pick(unsigned count) override;

private:
    static constexpr unsigned changes = 3;
    unsigned highest(unsigned ready) const;

    runnel::detail::seeded chance_{0};
    bool priorities_ = false;
    int priority_[threads_max] = {};
    int lowest_ = 0;
    unsigned change_at_[changes] = {};
    unsigned step_ = 0;
};

class every final : public decider {
public:
    every(unsigned preemptions, unsigned old_values) : preemptions_(preemptions), old_values_(old_values) {}
    void begin(unsigned threads) override;
    unsigned thread(unsigned ready, int running) override;
    unsigned other(unsigned ready, unsigned running) override;
    unsigned pick(unsigned count) override;
    /// On to the next run. False: that was the last.
    bool next();

private:
    struct choice {
        std::uint16_t taken;
        std::uint16_t count;
    };
    unsigned choose(unsigned count);

    const unsigned preemptions_;
    const unsigned old_values_;
    std::vector<choice> choices_;
    std::size_t at_ = 0;
    unsigned preempted_ = 0;
    unsigned old_read_ = 0;
};

/// Does what another decides, and writes it down.
class recorded final : public decider {
public:
    explicit recorded(decider& by) : by_(by) {}
    void begin(unsigned threads) override {
        taken.clear();
        by_.begin(threads);
    }
    unsigned thread(unsigned ready, int running) override { return note(by_.thread(ready, running)); }
    unsigned other(unsigned ready, unsigned running) override { return note(by_.other(ready, running)); }
    unsigned pick(unsigned count) override { return note(by_.pick(count)); }
    path taken;

private:
    unsigned note(unsigned decision) {
        taken.push_back(static_cast<std::uint16_t>(decision));
        return decision;
    }
    decider& by_;
};

class given final : public decider {
public:
    explicit given(path decisions) : decisions_(std::move(decisions)) {}
    unsigned thread(unsigned ready, int running) override;
    unsigned other(unsigned ready, unsigned running) override { return thread(ready & ~(1U << running), -1); }
    unsigned pick(unsigned count) override;

private:
    path decisions_;
    std::size_t at_ = 0;
};
}
