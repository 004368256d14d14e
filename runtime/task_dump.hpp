// task_dump: who waits for what, where and since when; without stopping anybody.
//
//   1  scan the slab. A task that waits is *held* (detail/wait.hpp): whoever wakes it meanwhile leaves it to
//      us to put it into its queue, so its chain of frames stands still;
//   2  read the coroutines that await each other (P1 of task.hpp), what the innermost waits for, its context;
//   3  let go of it. Of a task that runs or is ready only what is atomic is read;
//   4  those that are alike in everything but number and time become one group; the oldest wait comes first.
//
//   E1  one task is held at a time, while at most 32 frames of it are read;
//   E2  no lock is taken and no memory is touched that is not a held task's: the dump cannot deadlock, and a
//       program that hangs can be dumped wherever it hangs.
//
// Not taken: stopping the world (a million tasks take longer than a tick); a list of all tasks (a lock or two
// writes per task for something that is read once a month).
#pragma once

#include <cstdint>
#include <set>
#include <source_location>
#include <string>
#include <vector>

#include <runnel/detail/driver.hpp>
#include <runnel/detail/wait_case.hpp>

namespace runnel::detail {

class runtime_core;
struct task_block;

enum class task_state : unsigned char { waits, in_kernel, runs, thread };

/// One of those that a task waits for, copied while it was held.
struct wait_shown {
    wait_subject is;
    const char* label = nullptr;
    std::source_location made_at;  // line 0: not known
};

/// What one task shows.
struct task_record {
    std::uint64_t id = 0;
    task_state state = task_state::runs;
    const char* name = nullptr;  // null: it has none
    std::source_location spawned_at;
    std::vector<std::source_location> chain;  // the innermost first
    bool chain_cut = false;
    std::vector<wait_shown> waits;  // for one of these
    std::size_t more_waits = 0;     // and so many
    int fd = -1;                    // in the kernel: of this descriptor
    nanoseconds_t since = 0;
    bool cancelled = false;
    nanoseconds_t deadline = no_deadline;
};

/// Tasks alike: the record of the one that waits longest, and what differs.
struct task_group {
    task_record oldest;
    std::size_t count = 0;
    nanoseconds_t newest_since = 0;
    std::vector<std::uint64_t> ids;  // the first few
};

/// Task `from` waits for nothing but what task `to` would have to do.
struct wait_edge {
    std::uint64_t from, to;
    const char* what;
};

struct task_dump {
    std::vector<task_group> groups;
    std::vector<wait_edge> edges;
};

/// Is it a task of this runtime that has not ended? A look, while it is not held: tasks come and go.
bool is_live(const task_block& task, const runtime_core& core) noexcept;

/// So many cases of a wait are looked at; of one with more, none.
inline constexpr std::size_t cases_max = 256;

/// Step 1. False: it does not wait, or another dump has it just now. Threads: any.
bool hold(task_block& task) noexcept;
/// Step 3. Returns whether it has been woken meanwhile: then it goes on now.
bool let_go(task_block& task) noexcept;

/// Steps 1 to 4. Of these numbers only, if they are given. Threads: any, several at once.
task_dump dump(const runtime_core& core, const std::set<std::uint64_t>* only = nullptr);
/// Tasks that wait for each other in a ring, from the lowest number on; empty when there are none.
std::vector<wait_edge> find_cycle(const std::vector<wait_edge>& edges);
/// All that as text. `now` is the time that "since" is counted up to.
std::string describe_tasks(const runtime_core& core, nanoseconds_t now);
std::string describe(const std::vector<task_group>& groups, nanoseconds_t now);
/// The same after the line "all tasks are asleep: deadlock", and the ring of tasks if there is one.
std::string describe_deadlock(const runtime_core& core, nanoseconds_t now);

/// Those tasks wait for channels that nobody else holds (orphans.hpp).
std::string describe_orphans(const runtime_core& core, const std::set<std::uint64_t>& orphans,
                             nanoseconds_t now);

/// FILE:LINE without folders.
std::string place(const std::source_location& where);
/// In a coroutine of the library that stands around the user's?
bool is_ours(const std::source_location& where) noexcept;
}
