// task_slab: where task blocks come from, and how all of them are found.
//
// Blocks live in chunks that are never given back: a late waker may look at the word of a block whose
// task has ended, and the dump and the root's cancel scan all of them without a lock. Free blocks are
// kept per worker and exchanged with a common list, 64 at a time: linked by queue_next, and the batches
// by member_next of their first.
//
//   S1  a chunk, once linked, stays; the chain of chunks only grows at its head;
//   S2  a block's epoch survives its reuse: the ticket of an earlier life never matches.
#pragma once

#include <cstddef>

#include <runnel/detail/wait.hpp>

namespace runnel::detail {

/// Free blocks of one worker. Owner's only.
struct block_cache {
    task_block* head = nullptr;
    std::size_t count = 0;
};

/// Throws std::bad_alloc. `cache` is null on a thread without a worker.
task_block& allocate_block(block_cache* cache);
void free_block(block_cache* cache, task_block& block) noexcept;
void drain_blocks(block_cache& cache) noexcept;

/// Fetches a block that is filled or run soon. Any address: it is a hint.
inline void prefetch_block(const task_block* block) noexcept {
    __builtin_prefetch(block, 1);
    // By number: the address may be null, which pointers cannot be counted on from.
    __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(block) + 64), 1);
}

struct block_chunk {
    static constexpr std::size_t size = 256;
    task_block blocks[size];
    block_chunk* next = nullptr;
};
/// The newest chunk; follow `next` for all.
block_chunk* all_blocks() noexcept;

template <class Visit>
void for_each_block(Visit visit) {
    for (block_chunk* chunk = all_blocks(); chunk != nullptr; chunk = chunk->next)
        for (task_block& block : chunk->blocks) visit(block);
}
}
