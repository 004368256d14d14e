// census: which channels, contexts, timers, sockets and tasks are there, and who made them.
//
// A runtime, or a simulation, that wants to know what it leaves has a census of its own
//   1  what its workers make (detail/counted.hpp) gets an *entry* in it: what, where, since which region;
//   2  whoever drops the object, anywhere, gives the entry back to the census that it came from;
//   3  when all tasks have ended, whatever still has an entry is *left*. Tasks have none: their blocks say all that
//      is wanted, and are looked through when fewer went than came;
//   4  the owner closes it. It stays for those that are left, and is used again when the last of them goes.
//
// A region (testing_leaks.hpp) asks all of them for what came after its beginning. What is made by plain threads, and
// by runtimes that do not want to know, is counted in a census of nobody's, while there is a region.
//
//   J1  a census is never destroyed, and has its entries for ever: so an entry finds it, and it the entry's place;
//   J2  its lock is the last that is taken, and no code of the user's runs under it;
//   J3  an entry refers to the label of its object, which gives the entry back, under the lock, before it ends;
//   J4  `counted` in a block says that an open census counts the task. Who reports a task takes that away, so that a
//       later runtime at the same address does not report it again.
//   J5  what is no object, a failed send that was overlooked, has an entry per place and region, which counts.
//
// Not taken: a list through the objects (a lock for all of them, and three words in each while nobody counts); counts
// by place (a label is given later); an entry per task (a word in a block that has none to spare).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

#include <runnel/detail/counted.hpp>
#include <runnel/detail/spin_lock.hpp>

namespace runnel::detail {

class census;
class runtime_core;
struct task_block;

struct census_entry {
    census* home = nullptr;
    census_entry* prev = nullptr;
    census_entry* next = nullptr;  // also of those that are free
    std::source_location at;
    const origin* made = nullptr;
    std::uint64_t since = 0;  // the newest region when it was made
    counted_kind what = counted_kind::channel;
    std::size_t times = 1;
};

/// What was left, by kind and place.
class left_objects {
public:
    void add(counted_kind what, std::source_location at, const char* label, std::size_t times = 1);
    void add_task(const task_block& task);
    bool empty() const noexcept { return counts_.empty(); }
    /// "2 channels made at server.cpp:31 ('jobs')", a line each, each after `indent`.
    std::string text(const char* indent) const;

private:
    std::map<std::pair<counted_kind, std::string>, std::size_t> counts_;
};

class census {
public:
    /// One for `of` (null: for nobody), which is driven by a simulation or not. Throws std::bad_alloc.
    static census& open(const runtime_core* of, bool simulated);
    /// Step 4.
    void close() noexcept;

    /// Null when there is no memory: not counted.
    census_entry* add(counted_kind what, std::source_location at, const origin* made) noexcept;
    static void give_back(census_entry& entry) noexcept;
    /// A failed send whose result nobody looked at. One entry for all of a place, for it may happen again and again;
    /// nobody gives it back, so it goes with who asks: when the census is closed, if no region may ask.
    void add_overlooked(std::source_location at) noexcept;

    bool empty() noexcept;
    /// Those made since the region `since` began.
    void gather(left_objects& into, std::uint64_t since);

    /// The newest one first; `older` for all of them.
    static census* newest() noexcept;
    census* const older;
    /// Of this runtime; null once it is closed. relaxed, both: who asks has made sure that it matters and stays.
    const runtime_core* of() const noexcept { return of_.load(std::memory_order_relaxed); }
    bool simulated() const noexcept {
        return simulated_.load(std::memory_order_relaxed);
    }  // relaxed: as above

private:
    explicit census(census* next_older) noexcept : older(next_older) {}
    static census& make();
    census_entry* free_entry() noexcept;
    void drop_overlooked() noexcept;
    bool unneeded() const noexcept { return first_ == nullptr && overlooked_ == nullptr && !open_; }
    void put_aside() noexcept;

    spin_lock lock_;  // guards all below
    census_entry* first_ = nullptr;
    census_entry* overlooked_ = nullptr;
    census_entry* free_ = nullptr;
    std::vector<std::unique_ptr<census_entry>> entries_;
    census* next_unused_ = nullptr;  // under the lock of those
    std::atomic<const runtime_core*> of_{nullptr};
    std::atomic<bool> simulated_{false};
    bool open_ = false;
};

/// Who has one open.
struct census_closer {
    void operator()(census* mine) const noexcept { mine->close(); }
};
using own_census = std::unique_ptr<census, census_closer>;

/// Step 3, of a runtime that has a census and whose tasks have all ended.
left_objects find_left(runtime_core& core);
/// The same on stderr, if it has one and there is something.
void report_left(runtime_core& core) noexcept;

/// What was made since its beginning, and is still there: by one simulation, or by all but simulations.
class census_region {
public:
    /// `simulation`: null for the others. Throws std::bad_alloc.
    explicit census_region(const runtime_core* simulation);
    ~census_region();
    census_region(const census_region&) = delete;
    census_region& operator=(const census_region&) = delete;

    left_objects left() const;

private:
    template <class Visit>
    void for_each_task(Visit visit) const;

    const runtime_core* const simulation_;
    std::uint64_t began_;
    std::set<std::pair<const task_block*, std::uint64_t>> tasks_before_;  // and their numbers
};
}
