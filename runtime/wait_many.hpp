// wait_many: the steps of a wait at several objects that are the same for a task (wait.cpp) and for a plain thread
// (thread_wait.cpp). The protocol is in detail/wait.hpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include <runnel/detail/wait.hpp>
#include "worker.hpp"

namespace runnel::detail {

/// The objects of a wait, each once, in the order of their addresses.
class locked_objects {
public:
    locked_objects(wait_case* const* cases, std::size_t count) {
        wait_object** objects = few_;
        if (count > few) {
            many_.resize(count);
            objects = many_.data();
        }
        for (std::size_t i = 0; i < count; ++i)
            if (wait_object* object = cases[i]->object(); object != nullptr) objects[count_++] = object;
        std::sort(objects, objects + count_, std::less<>());
        count_ = static_cast<std::size_t>(std::unique(objects, objects + count_) - objects);
        objects_ = objects;
        for (std::size_t i = 0; i < count_; ++i) objects_[i]->lock.lock();
    }
    locked_objects(const locked_objects&) = delete;
    locked_objects& operator=(const locked_objects&) = delete;

    bool empty() const noexcept { return count_ == 0; }
    void unlock() noexcept {
        for (std::size_t i = 0; i < count_; ++i) objects_[i]->lock.unlock();
    }

private:
    static constexpr std::size_t few = 64;
    wait_object* few_[few];
    std::vector<wait_object*> many_;
    wait_object** objects_ = nullptr;
    std::size_t count_ = 0;
};

/// Room for the order in which the cases of a fair wait are tried, and queue up: of two that stand in the same queue
/// each is as likely to be found first.
class turns {
public:
    turns(std::size_t count, choice order) : many_(order == choice::fair && count > few ? count : 0) {
        drawn_ = order == choice::in_order ? nullptr : many_.empty() ? few_ : many_.data();
    }
    turns(const turns&) = delete;
    turns& operator=(const turns&) = delete;
    /// Null: as written.
    std::uint16_t* drawn() noexcept { return drawn_; }

private:
    static constexpr std::size_t few = 64;
    std::uint16_t few_[few];
    std::vector<std::uint16_t> many_;
    std::uint16_t* drawn_;
};

/// Step 3: in random order, which is left in `turn`; or as written.
inline int try_cases(wait_case* const* cases, std::size_t count, std::uint16_t* turn,
                     late_wake& wake) noexcept {
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
