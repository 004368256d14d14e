// deadlock: has it come so far that nothing can ever run again?
//
// The monitor asks when no worker is counted as awake, and once more 2 ms later. The answer is yes if
//   1  tasks are left, and none of them is in a queue;
//   2  no worker waits for a deadline or for an operation in the kernel, and no blocking() call runs;
//   3  the process has no threads but ours, that which called run(), and bystanders (options): any other could
//      wake a task, also one that just waits itself (block_on(), join_handle::wait()), once it has been woken;
//   4  between the two questions no worker has run anything.
// Under 1 to 3 only a worker could change anything, and by 4 none has woken up: so nobody ever will.
//
// There is a third answer, *not yet*: a worker that is not counted as awake any more has not gone to sleep, which takes
// a moment, and nobody tells the monitor, so it asks anew for a while; or a thread of blocking() is not free (again):
// that tells the monitor when it is.
//
// Not seen as a deadlock, although it may be one: a program with threads of its own, also when they end later; and one
// that waits for a signal handler of its own. A part of the program that is stuck while the rest goes on needs another
// look.
#pragma once

#include <cstdint>

namespace runnel::detail {

class runtime_core;

enum class outlook : unsigned char { something_can_happen, not_yet, nothing_can_happen };

/// 1 to 3. Threads: the monitor's.
outlook look_ahead(const runtime_core& core) noexcept;
/// For 4: how often workers have taken a task up.
std::uint64_t turns_taken(const runtime_core& core) noexcept;
}
