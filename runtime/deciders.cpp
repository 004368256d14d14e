// See deciders.hpp.
#include "deciders.hpp"

#include <algorithm>

#include "seeded.hpp"

namespace runnel::detail {

namespace {
std::uint32_t ways(const std::vector<candidate>& ready) noexcept {
    return static_cast<std::uint32_t>(ready.size());
}

/// Decides by a seed.
class drawing : public decider {
public:
    std::uint32_t choose(std::uint32_t n) noexcept final { return random_.below(n); }

protected:
    explicit drawing(std::uint64_t seed) noexcept : random_(seed) {}
    seeded random_;
};

class uniform final : public drawing {
public:
    explicit uniform(std::uint64_t seed) noexcept : drawing(seed) {}
    std::uint32_t pick(const std::vector<candidate>& ready, bool) noexcept override {
        return random_.below(ways(ready));
    }
};

class sticky final : public drawing {
public:
    explicit sticky(std::uint64_t seed) noexcept : drawing(seed) {}
    std::uint32_t pick(const std::vector<candidate>& ready, bool goes_on) noexcept override {
        if (goes_on && random_.below(8) != 0) return 0;
        return random_.below(ways(ready));
    }
};

class pct final : public drawing {
public:
    explicit pct(std::uint64_t seed) noexcept : drawing(seed), salt_(random_.next()) {
        // So many changes, at so many points: small programs take some tens of points, large ones thousands.
        const std::uint32_t changes = 1 + random_.below(4);
        const std::uint32_t within = 16U << random_.below(8);
        for (std::uint32_t i = 0; i < changes; ++i) change_at_.push_back(random_.below(within));
    }
    std::uint32_t pick(const std::vector<candidate>& ready, bool) noexcept override {
        std::uint32_t best = highest(ready);
        if (std::find(change_at_.begin(), change_at_.end(), point_++) != change_at_.end()) {
            lowered_.push_back(ready[best].number);
            best = highest(ready);
        }
        return best;
    }

private:
    /// Those that were lowered come last, the latest of them at the very end.
    std::uint64_t priority(std::uint64_t number) const noexcept {
        for (std::size_t i = lowered_.size(); i > 0; --i)
            if (lowered_[i - 1] == number) return lowered_.size() - i;
        return seeded(number ^ salt_).next() | (std::uint64_t{1} << 63);
    }
    std::uint32_t highest(const std::vector<candidate>& ready) const noexcept {
        std::uint32_t best = 0;
        for (std::uint32_t i = 1; i < ready.size(); ++i)
            if (priority(ready[i].number) > priority(ready[best].number)) best = i;
        return best;
    }
    const std::uint64_t salt_;
    std::uint32_t point_ = 0;
    std::vector<std::uint32_t> change_at_;
    std::vector<std::uint64_t> lowered_;
};

class fifo final : public decider {
public:
    std::uint32_t pick(const std::vector<candidate>&, bool) noexcept override { return 0; }
    std::uint32_t choose(std::uint32_t) noexcept override { return 0; }
};
}

std::unique_ptr<decider> make_decider(testing::strategy how, std::uint64_t seed) {
    using testing::strategy;
    if (how == strategy::mixed) {
        constexpr strategy of[] = {strategy::uniform, strategy::sticky, strategy::pct, strategy::pct};
        how = of[seeded(seed).below(4)];
    }
    switch (how) {
        case strategy::sticky:
            return std::make_unique<sticky>(seed);
        case strategy::pct:
            return std::make_unique<pct>(seed);
        case strategy::fifo:
            return std::make_unique<fifo>();
        default:
            return std::make_unique<uniform>(seed);
    }
}

// --- Replayed --------------------------------------------------------------------------------------

ordered::ordered(const course& as) : turns_(as.turns) {
    for (const auto& [number, taken] : as.choices) choices_[number].push_back(taken);
}

std::uint32_t ordered::pick(const std::vector<candidate>& ready, bool) noexcept {
    for (std::size_t at = first_; at < end_of_view(); ++at)
        for (std::uint32_t i = 0; i < ready.size(); ++i)
            if (turns_[at].turns > 0 && turns_[at].who == ready[i].number) return i;
    return 0;
}

std::uint32_t ordered::choose(std::uint32_t n) noexcept {
    std::deque<std::uint32_t>& left = choices_[whose_turn_];
    if (left.empty()) return 0;
    const std::uint32_t taken = left.front();
    left.pop_front();
    return std::min(taken, n - 1);
}

void ordered::begins(std::uint64_t number) noexcept {
    whose_turn_ = number;
    for (std::size_t at = first_; at < end_of_view(); ++at) {
        if (turns_[at].turns == 0 || turns_[at].who != number) continue;
        --turns_[at].turns;
        break;
    }
    while (first_ < turns_.size() && turns_[first_].turns == 0) ++first_;
}

// --- All of them -----------------------------------------------------------------------------------

std::uint32_t exhaustive::next(std::uint32_t n) noexcept {
    if (at_ == path_.size()) path_.push_back({n, 0});
    const decision& here = path_[at_++];
    if (here.of != n) diverged_ = true;
    return std::min(here.taken, n - 1);
}

std::uint32_t exhaustive::pick(const std::vector<candidate>& ready, bool goes_on) noexcept {
    if (!goes_on) return next(ways(ready));
    if (left_ == 0) return 0;
    const std::uint32_t taken = next(ways(ready));
    if (taken != 0) --left_;
    return taken;
}

std::uint32_t exhaustive::choose(std::uint32_t n) noexcept { return next(n); }

bool exhaustive::next_run() noexcept {
    at_ = 0;
    left_ = preemptions_;
    while (!path_.empty() && path_.back().taken + 1 == path_.back().of) path_.pop_back();
    if (path_.empty()) return false;
    ++path_.back().taken;
    return true;
}
}
