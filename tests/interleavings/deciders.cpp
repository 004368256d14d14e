#include "deciders.hpp"

#include <algorithm>
#include <bit>

namespace interleavings {

namespace {
unsigned nth_bit(unsigned mask, unsigned n) {
    for (; n != 0; --n) mask &= mask - 1;
    return static_cast<unsigned>(std::countr_zero(mask));
}
}

void by_chance::seed(std::uint64_t seed) {
    chance_ = runnel::detail::seeded(seed * 0x9e3779b97f4a7c15U);
    priorities_ = (seed & 1) != 0;
}

void by_chance::begin(unsigned threads) {
    step_ = 0;
    if (!priorities_) return;
    for (unsigned i = 0; i < threads; ++i) {
        const unsigned other = chance_.below(i + 1);
        priority_[i] = priority_[other];
        priority_[other] = static_cast<int>(i);
    }
    lowest_ = 0;
    // How long the run will be is not known, so a length is drawn first: the seed alone says all.
    const unsigned length = 4U << chance_.below(8);
    for (unsigned& each : change_at_) each = chance_.below(length);
}

unsigned by_chance::highest(unsigned ready) const {
    unsigned best = nth_bit(ready, 0);
    for (unsigned rest = ready & (ready - 1); rest != 0; rest &= rest - 1)
        if (const unsigned other = nth_bit(rest, 0); priority_[other] > priority_[best]) best = other;
    return best;
}

unsigned by_chance::thread(unsigned ready, int running) {
    ++step_;
    if (!priorities_) return nth_bit(ready, chance_.below(static_cast<unsigned>(std::popcount(ready))));
    for (unsigned i = 0; i < changes; ++i)
        if (change_at_[i] == step_)
            priority_[running >= 0 ? static_cast<unsigned>(running) : highest(ready)] = --lowest_;
    return highest(ready);
}

unsigned by_chance::other(unsigned ready, unsigned running) {
    priority_[running] = --lowest_;
    return thread(ready & ~(1U << running), -1);
}

unsigned by_chance::pick(unsigned count) {
    const std::uint64_t drawn = chance_.next();
    return (drawn & 1) != 0 ? 0 : static_cast<unsigned>((drawn >> 32) * count >> 32);
}

void every::begin(unsigned) {
    at_ = 0;
    preempted_ = old_read_ = 0;
}

unsigned every::choose(unsigned count) {
    if (at_ == choices_.size()) choices_.push_back({0, static_cast<std::uint16_t>(count)});
    return choices_[at_++].taken;
}

unsigned every::thread(unsigned ready, int running) {
    const bool may_stay = running >= 0;
    if (may_stay && preempted_ == preemptions_) return static_cast<unsigned>(running);
    const unsigned others = may_stay ? ready & ~(1U << running) : ready;
    unsigned taken = choose(static_cast<unsigned>(std::popcount(ready)));
    if (may_stay && taken-- == 0) return static_cast<unsigned>(running);
    preempted_ += may_stay;
    return nth_bit(others, taken);
}

unsigned every::other(unsigned ready, unsigned running) {
    const unsigned above = ready & ~((2U << running) - 1);
    return nth_bit(above != 0 ? above : ready, 0);
}

unsigned every::pick(unsigned count) {
    if (old_read_ == old_values_) return 0;
    const unsigned taken = choose(count);
    old_read_ += taken != 0;
    return taken;
}

bool every::next() {
    choices_.resize(at_);
    while (!choices_.empty() && choices_.back().taken + 1 == choices_.back().count) choices_.pop_back();
    if (choices_.empty()) return false;
    ++choices_.back().taken;
    return true;
}

unsigned given::thread(unsigned ready, int running) {
    const unsigned first = running >= 0 ? static_cast<unsigned>(running) : nth_bit(ready, 0);
    if (at_ == decisions_.size()) return first;
    const unsigned wanted = decisions_[at_++];
    return (ready >> wanted & 1) != 0 ? wanted : first;
}

unsigned given::pick(unsigned count) {
    return at_ == decisions_.size() ? 0 : std::min<unsigned>(decisions_[at_++], count - 1);
}
}
