// See task_slab.hpp.
#include "task_slab.hpp"

#include <atomic>

namespace runnel::detail {

namespace {
constexpr std::size_t batch = 64;

spin_lock lock;  // guards free_blocks and the growth
task_block* free_blocks = nullptr;
std::atomic<block_chunk*> chunks{nullptr};

/// Adds a chunk; its blocks become free. Called under the lock.
void grow() {
    auto* chunk = new block_chunk;
    for (task_block& block : chunk->blocks) {
        block.queue_next = free_blocks;
        free_blocks = &block;
    }
    chunk->next = chunks.load(std::memory_order_relaxed);  // relaxed: written under the lock only
    chunks.store(chunk, std::memory_order_release);        // release: pairs with all_blocks()
}

struct guard {
    guard() noexcept { lock.lock(); }
    ~guard() { lock.unlock(); }
    guard(const guard&) = delete;
    guard& operator=(const guard&) = delete;
};

task_block& take_one() {
    if (free_blocks == nullptr) grow();
    task_block& block = *free_blocks;
    free_blocks = block.queue_next;
    return block;
}

void refill(block_cache& cache) {
    const guard hold;
    for (; cache.count < batch; ++cache.count) {
        task_block& block = take_one();
        block.queue_next = cache.head;
        cache.head = &block;
    }
}

void give_back(block_cache& cache, std::size_t keep) noexcept {
    const guard hold;
    for (; cache.count > keep; --cache.count) {
        task_block* block = cache.head;
        cache.head = block->queue_next;
        block->queue_next = free_blocks;
        free_blocks = block;
    }
}
}

block_chunk* all_blocks() noexcept {
    return chunks.load(std::memory_order_acquire);  // acquire: pairs with grow()
}

task_block& allocate_block(block_cache* cache) {
    if (cache == nullptr) {
        const guard hold;
        return take_one();
    }
    if (cache->head == nullptr) refill(*cache);
    task_block& block = *cache->head;
    cache->head = block.queue_next;
    --cache->count;
    return block;
}

void free_block(block_cache* cache, task_block& block) noexcept {
    if (cache == nullptr) {
        const guard hold;
        block.queue_next = free_blocks;
        free_blocks = &block;
        return;
    }
    block.queue_next = cache->head;
    cache->head = &block;
    if (++cache->count > 2 * batch) give_back(*cache, batch);
}

void drain_blocks(block_cache& cache) noexcept { give_back(cache, 0); }
}
