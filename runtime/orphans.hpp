// orphans: tasks that wait for channels whose every handle is theirs.
//
// A channel<T> is closed by hand. When those who wait for it are the only ones that still have handles, they wait for
// ever, while the program goes on. Go's collector can tell; here the handles themselves say where they are:
//
//   1  read all tasks, none of which runs meanwhile (else: not now): the frames that await each other, and what
//      the innermost waits for;
//   2  *candidates* have no deadline and wait for nothing but joint channels;
//   3  look through all frames, word by word: for handles of those channels (an address and a mark,
//      detail/wait_case.hpp), and for addresses within the frames of candidates;
//   4  strike out a candidate if one of its channels has a handle that is not in a candidate's frame, or if a task
//      that is none refers to its frames: it could send through a reference. Again, until nobody is struck out;
//   5  who is left is an orphan.
//
//   O1  a handle that has died or was moved from has erased its address, so what is counted is alive; and one that is
//      not found (in a vector, in an object of a plain thread) is held elsewhere: orphans are missed, not invented;
//   O2  but for references that lie in no frame: in a closure on the heap, on the stack of a thread. So it is a
//      report, and ends no program;
//   O3  steps 1 and 3 hold one task at a time, as a dump does; if a turn was taken meanwhile the answer is dropped.
//
// Not taken: a list of its handles in each channel (two words more in each, and a lock per copy).
#pragma once

#include <cstdint>
#include <optional>
#include <set>

namespace runnel::detail {

class runtime_core;

/// Their numbers. Nothing: tasks run. Threads: any. Cost: a look at every word of every frame, if there are candidates.
std::optional<std::set<std::uint64_t>> find_orphans(const runtime_core& core);
}
