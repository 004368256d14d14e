// counted: what an object is, beside what it is for, so that it can be said which were left, and who made them.
//
// A member of each channel, context, timer and socket. Mostly nobody counts: then it is one load and a branch when
// the object is made, and a branch when it goes. The counting is in runtime/census.hpp.
//
//   L1  an object that was made while nobody counted is never counted, and so never subtracted;
//   L2  it takes back what it has noted itself, on whatever thread it goes and whether its runtime is there or not.
#pragma once

#include <atomic>
#include <cstdint>
#include <source_location>
#include <utility>

namespace runnel::detail {

class origin;
struct census_entry;

/// In the order in which a report tells them. Tasks are counted by their blocks.
enum class counted_kind : unsigned char {
    task,
    ended_task,
    context,
    channel,
    timer,
    ticker,
    listener,
    socket,
    file,
    pipe,
    process,
    file_watch,
    signals,
    overlooked_send
};

/// How many count at present: runtimes, simulations, regions of tests.
extern constinit std::atomic<std::uint32_t> counters_open;

/// Null: nobody counts what is made here and now. `made`: when it has a label too; it must live as long.
census_entry* count_made(counted_kind what, std::source_location at, const origin* made) noexcept;
void count_gone(census_entry& entry) noexcept;
/// The same of a failed send whose result nobody looked at.
void count_overlooked(std::source_location at) noexcept;

class counted {
public:
    /// Of an object that is none (yet), or that nobody wants to know of.
    counted() noexcept = default;
    counted(counted_kind what, std::source_location at, const origin* made = nullptr) noexcept {
        // relaxed: who begins to count meanwhile does not mean this one.
        if (counters_open.load(std::memory_order_relaxed) != 0) [[unlikely]]
            entry_ = count_made(what, at, made);
    }
    counted(counted&& other) noexcept : entry_(std::exchange(other.entry_, nullptr)) {}
    counted& operator=(counted&& other) noexcept {
        std::swap(entry_, other.entry_);
        return *this;
    }
    ~counted() { gone(); }

    /// Before its end, when what it stands for is given back earlier.
    void gone() noexcept {
        if (entry_ != nullptr) [[unlikely]]
            count_gone(*std::exchange(entry_, nullptr));
    }

private:
    census_entry* entry_ = nullptr;
};
}
