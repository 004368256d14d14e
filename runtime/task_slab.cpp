// See task_slab.hpp.
#include "task_slab.hpp"

#include <atomic>
#include <cassert>
#include <utility>

namespace runnel::detail {

namespace {
constexpr std::size_t batch = 64;
static_assert(block_chunk::size % batch == 0);

spin_lock lock;  // guards batches, strays and the growth
task_block* batches = nullptr;
block_cache strays;  // of threads without a worker, and of workers that ended
std::atomic<block_chunk*> chunks{nullptr};

struct guard {
    guard() noexcept { lock.lock(); }
    ~guard() { lock.unlock(); }
    guard(const guard&) = delete;
    guard& operator=(const guard&) = delete;
};

void add_batch(task_block& first) noexcept {
    first.member_next = batches;
    batches = &first;
}

/// Adds a chunk; its blocks become free. Called under the lock.
void grow() {
    auto* chunk = new block_chunk;
    for (std::size_t i = 0; i < block_chunk::size; ++i)
        if (i % batch != batch - 1) chunk->blocks[i].queue_next = &chunk->blocks[i + 1];
    for (std::size_t i = 0; i < block_chunk::size; i += batch) add_batch(chunk->blocks[i]);
    chunk->next = chunks.load(std::memory_order_relaxed);  // relaxed: written under the lock only
    chunks.store(chunk, std::memory_order_release);        // release: pairs with all_blocks()
}

/// Called under the lock, with an empty cache.
void refill(block_cache& cache) {
    if (batches == nullptr) grow();
    cache.head = batches;
    cache.count = batch;
    batches = std::exchange(cache.head->member_next, nullptr);
}

task_block& take(block_cache& cache) noexcept {
    task_block& block = *cache.head;
    cache.head = block.queue_next;
    --cache.count;
    return block;
}

void put(block_cache& cache, task_block& block) noexcept {
    block.queue_next = cache.head;
    cache.head = &block;
    ++cache.count;
}

/// Cuts off all but the newest `batch` blocks, whose memory the processor's caches know.
task_block& older_half(block_cache& cache) noexcept {
    assert(cache.count == 2 * batch && "a batch would have another length");
    task_block* last_kept = cache.head;
    for (std::size_t i = 1; i < batch; ++i) last_kept = last_kept->queue_next;
    cache.count = batch;
    return *std::exchange(last_kept->queue_next, nullptr);
}

void put_stray(task_block& block) noexcept {  // under the lock
    put(strays, block);
    if (strays.count == 2 * batch) add_batch(older_half(strays));
}
}

block_chunk* all_blocks() noexcept {
    return chunks.load(std::memory_order_acquire);  // acquire: pairs with grow()
}

task_block& allocate_block(block_cache* cache) {
    if (cache == nullptr) {
        const guard hold;
        if (strays.head == nullptr) refill(strays);
        return take(strays);
    }
    if (cache->head == nullptr) {
        const guard hold;
        refill(*cache);
    }
    task_block& block = take(*cache);
    // Of many that are started together each comes from cold memory: fetch the next while this one is filled.
    prefetch_block(cache->head);
    return block;
}

void free_block(block_cache* cache, task_block& block) noexcept {
    if (cache == nullptr) {
        const guard hold;
        return put_stray(block);
    }
    put(*cache, block);
    if (cache->count < 2 * batch) return;
    task_block& older = older_half(*cache);
    const guard hold;
    add_batch(older);
}

void drain_blocks(block_cache& cache) noexcept {
    const guard hold;
    while (cache.head != nullptr) put_stray(take(cache));
}
}
