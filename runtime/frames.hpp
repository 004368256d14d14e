// frames: where coroutine frames come from when the worker's own free lists cannot help.
//
// Frames are made and freed by the million, mostly on one worker, in few sizes. Three levels:
//
//   1  the worker's magazine: one free list per size class (64 bytes to 2 KiB), no lock, inlined
//      (detail/worker_local.hpp). It holds at most 64 frames of a size;
//   2  the depot: per size class a stack of batches of 32 frames, one lock per batch. A full
//      magazine gives its older half, an empty one takes a batch; so a producer's frames come back
//      from the consumer that frees them. It keeps at most 4 MiB of a size;
//   3  malloc: for what the depot lacks or has too much of, for larger frames, and for threads that
//      are no workers.
//
// Invariants
//   F1  every frame is one malloc of its size rounded up to the class, whoever allocates or frees
//       it, so that any level may free what another has allocated;
//   F2  a batch in the depot has exactly 32 frames;
//   F3  after the exit of the program has begun the depot is empty and stays so.
//
// Not taken: one heap per worker with remote frees (mimalloc's way): it is an allocator of its own; and
// slabs: the memory of a burst of tasks could never be given back. The depot belongs to the process,
// not to a runtime: it holds raw memory and nothing that a runtime owns.
#pragma once

#include <runnel/detail/worker_local.hpp>

#include <cstddef>
#include <cstdint>

namespace runnel::detail {

/// Frees all that the worker's magazines hold.
/// Threads: the worker's own, when it will run no task any more, or anybody's after that.
void drain_frames(worker_local& worker) noexcept;

/// What passed between magazines and the depot since the program began; one batch is 32 frames.
struct frame_counts {
    std::uint64_t batches_given = 0;     // by full magazines
    std::uint64_t batches_taken = 0;     // by empty magazines
    std::uint64_t batches_released = 0;  // of the given ones: to malloc, because the depot was full
    std::size_t bytes_kept = 0;          // in the depot now
};

/// Threads: any. Cost: a lock per size class.
frame_counts count_frames() noexcept;
}
