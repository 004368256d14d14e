// frames: the depot of batches, and the slow ends of allocate_frame() and free_frame(). See frames.hpp.
#include "frames.hpp"

#include <atomic>
#include <cassert>
#include <cstdlib>
#include <mutex>
#include <utility>

#include <runnel/detail/spin_lock.hpp>

namespace runnel::detail {

namespace {

constexpr std::uint32_t batch_frames = frames_kept / 2;
constexpr std::size_t depot_bytes_per_class = std::size_t{4} << 20;

/// What a free frame holds. In a magazine and within a batch `next` links frames; the first frame of a
/// batch links the batches of the depot by `next_batch`. The smallest frame has room for both.
struct free_frame_links {
    void* next;
    void* next_batch;
};
static_assert(sizeof(free_frame_links) <= frame_class_bytes);

void*& next_of(void* frame) noexcept { return static_cast<free_frame_links*>(frame)->next; }
void*& next_batch_of(void* batch) noexcept { return static_cast<free_frame_links*>(batch)->next_batch; }

constexpr std::size_t class_of(std::size_t bytes) noexcept { return (bytes - 1) / frame_class_bytes; }
constexpr std::size_t bytes_of(std::size_t size_class) noexcept {
    return (size_class + 1) * frame_class_bytes;
}

void release(void* frames) noexcept {
    while (frames != nullptr) std::free(std::exchange(frames, next_of(frames)));
}

/// The batches of one size class.
class alignas(64) depot_shelf {
public:
    /// A batch of 32 linked frames, or nullptr.
    void* take() noexcept {
        // relaxed: a look only, which spares the lock while there is nothing; the lock decides.
        if (batches_.load(std::memory_order_relaxed) == 0) return nullptr;
        const std::lock_guard guard(lock_);
        void* const batch = first_;
        if (batch != nullptr) {
            first_ = next_batch_of(batch);
            count(-1);
            ++taken_;
        }
        return batch;
    }

    /// Keeps the batch, or frees it when there are `batches_max` already.
    void give(void* batch, std::size_t batches_max) noexcept {
        if (!keep(batch, batches_max)) release(batch);
    }

    /// Frees all, and keeps nothing any more (F3).
    void close() noexcept {
        void* batch = nullptr;
        {
            const std::lock_guard guard(lock_);
            closed_ = true;
            batch = std::exchange(first_, nullptr);
            // relaxed: written under the lock, read without it as a hint.
            batches_.store(0, std::memory_order_relaxed);
        }
        while (batch != nullptr) release(std::exchange(batch, next_batch_of(batch)));
    }

    void add_to(frame_counts& sum, std::size_t frame_bytes) noexcept {
        const std::lock_guard guard(lock_);
        sum.batches_given += given_;
        sum.batches_taken += taken_;
        sum.batches_released += released_;
        // relaxed: we hold the lock.
        sum.bytes_kept += batches_.load(std::memory_order_relaxed) * batch_frames * frame_bytes;
    }

private:
    bool keep(void* batch, std::size_t batches_max) noexcept {
        const std::lock_guard guard(lock_);
        ++given_;
        // relaxed: we hold the lock.
        if (closed_ || batches_.load(std::memory_order_relaxed) >= batches_max) {
            ++released_;
            return false;
        }
        next_batch_of(batch) = first_;
        first_ = batch;
        count(1);
        return true;
    }

    // relaxed: written under the lock only; take() reads it without, as a hint.
    void count(int change) noexcept {
        batches_.store(batches_.load(std::memory_order_relaxed) + static_cast<std::size_t>(change),
                       std::memory_order_relaxed);
    }

    spin_lock lock_;
    bool closed_ = false;
    std::atomic<std::size_t> batches_{0};
    void* first_ = nullptr;
    std::uint64_t given_ = 0;
    std::uint64_t taken_ = 0;
    std::uint64_t released_ = 0;
};

// Constant-initialised and never destroyed: a worker that a failed shutdown left behind may free
// frames while the statics of the program are destroyed.
constinit depot_shelf depot[frame_classes];

/// Frees the depot at exit, so that leak checkers find nothing of it.
const struct depot_closer {
    ~depot_closer() {
        for (depot_shelf& shelf : depot) shelf.close();
    }
} close_depot_at_exit;

void* from_malloc(std::size_t size_class) {
    void* const frame = std::malloc(bytes_of(size_class));
    if (frame == nullptr) throw std::bad_alloc();
    return frame;
}

bool refill(frame_list& magazine, std::size_t size_class) noexcept {
    void* const batch = depot[size_class].take();
    if (batch == nullptr) return false;
    magazine.head = batch;
    magazine.count = batch_frames;  // F2
    return true;
}

/// Gives the older half of a full magazine to the depot: the newer half is what the caches know.
void spill(frame_list& magazine, std::size_t size_class) noexcept {
    assert(magazine.count == frames_kept && "F2: a batch would have another length");
    void* last_kept = magazine.head;
    for (std::uint32_t i = 1; i < frames_kept - batch_frames; ++i) last_kept = next_of(last_kept);
    void* const batch = std::exchange(next_of(last_kept), nullptr);
    magazine.count -= batch_frames;
    depot[size_class].give(batch, depot_bytes_per_class / (bytes_of(size_class) * batch_frames));
}

/// The magazine for this size, or nullptr: no worker runs here, too large, or a sanitizer looks on.
frame_list* magazine_for(std::size_t size_class) noexcept {
    worker_local* const worker = tls_worker;
    if (!pooled_frames || worker == nullptr || size_class >= frame_classes) return nullptr;
    return &worker->frames[size_class];
}
}

void* allocate_frame_slow(std::size_t bytes) {
    const std::size_t size_class = class_of(bytes);
    frame_list* const magazine = magazine_for(size_class);
    if (magazine == nullptr) return from_malloc(size_class);
    if (magazine->head == nullptr && !refill(*magazine, size_class)) return from_malloc(size_class);
    void* const frame = magazine->head;
    magazine->head = next_of(frame);
    --magazine->count;
    return frame;
}

void free_frame_slow(void* frame, std::size_t bytes) noexcept {
    const std::size_t size_class = class_of(bytes);
    frame_list* const magazine = magazine_for(size_class);
    if (magazine == nullptr) return std::free(frame);
    if (magazine->count == frames_kept) spill(*magazine, size_class);
    next_of(frame) = magazine->head;
    magazine->head = frame;
    ++magazine->count;
}

void drain_frames(worker_local& worker) noexcept {
    for (frame_list& magazine : worker.frames) {
        release(magazine.head);
        magazine = {};
    }
}

frame_counts count_frames() noexcept {
    frame_counts sum;
    for (std::size_t i = 0; i < frame_classes; ++i) depot[i].add_to(sum, bytes_of(i));
    return sum;
}
}
