// wait_many: the steps of a wait at several objects that are the same for a task (wait.cpp) and for a plain thread
// (thread_wait.cpp). The protocol is in detail/wait.hpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>

#include <runnel/detail/wait.hpp>
#include "worker.hpp"

namespace runnel::detail {

/// The objects of a wait, each once, in the order of their addresses. The list may lie in the frame (case_block): its
/// last entry is read before that lock is released, and before that the task cannot pass step 8.
class locked_objects {
public:
    explicit locked_objects(const several_cases& of) noexcept : objects_(of.objects) {
        for (std::size_t i = 0; i < of.count; ++i)
            if (wait_object* object = of.cases[i]->object(); object != nullptr) objects_[count_++] = object;
        std::sort(objects_, objects_ + count_, std::less<>());
        count_ = static_cast<std::size_t>(std::unique(objects_, objects_ + count_) - objects_);
        for (std::size_t i = 0; i < count_; ++i) objects_[i]->lock.lock();
    }
    locked_objects(const locked_objects&) = delete;
    locked_objects& operator=(const locked_objects&) = delete;

    bool empty() const noexcept { return count_ == 0; }
    void unlock() noexcept {
        for (std::size_t i = 0; i < count_; ++i) objects_[i]->lock.unlock();
    }

private:
    wait_object** objects_;
    std::size_t count_ = 0;
};

/// The order in which the cases of a fair wait are tried, and queue up: of two that stand in the same queue each is as
/// likely to be found first. Null: as written.
inline std::uint16_t* turns_of(const several_cases& of) noexcept {
    return of.order == choice::in_order ? nullptr : of.turns;
}

/// Step 3 for several: in random order, which is left in the turns; or as written.
inline int try_cases(const several_cases& of, late_wake& wake) noexcept {
    wait_case* const* const cases = of.cases;
    const std::size_t count = of.count;
    std::uint16_t* const turn = turns_of(of);
    if (turn == nullptr) {
        for (std::size_t i = 0; i < count; ++i)
            if (cases[i]->object() != nullptr && cases[i]->try_now(wake)) return static_cast<int>(i);
        return -1;
    }
    for (std::size_t i = 0; i < count; ++i) turn[i] = static_cast<std::uint16_t>(i);
    for (std::size_t n = count; n > 0; --n) {
        const std::size_t pick = n == 1 ? 0 : random_below(static_cast<std::uint32_t>(n));
        const std::uint16_t tried = turn[pick];
        if (cases[tried]->object() != nullptr && cases[tried]->try_now(wake)) return tried;
        turn[pick] = turn[n - 1];
        turn[n - 1] = tried;
    }
    return -1;
}

/// Step 4, in the order in which they were tried. `ticket`: of their wait.
inline void enlist_all(const several_cases& of, task_block& task, std::uint64_t ticket) noexcept {
    const std::uint16_t* const turn = turns_of(of);
    for (std::size_t i = 0; i < of.count; ++i) {
        const std::size_t each = turn != nullptr ? turn[i] : i;
        if (of.cases[each]->object() != nullptr) of.cases[each]->enlist(task, ticket_for(ticket, each));
    }
}

/// What task_block::waits_at has of a wait of several; waits_of() tells it from a case by the lowest bit.
inline const void* tagged(const wait_cases& several) noexcept {
    return reinterpret_cast<const char*>(&several) + 1;
}

/// Step 8, of a case that has not happened.
inline void leave(wait_case& lost, wait_object& at) noexcept {
    at.lock.lock();
    const bool stood_in_the_way = lost.delist();
    at.lock.unlock();
    if (stood_in_the_way) lost.pass_on();
}
/// The same of all that have not.
inline void leave_all_but(std::size_t happened, wait_case* const* cases, std::size_t count) noexcept {
    for (std::size_t i = 0; i < count; ++i) {
        wait_object* object = i == happened ? nullptr : cases[i]->object();
        if (object != nullptr) leave(*cases[i], *object);
    }
}
}
