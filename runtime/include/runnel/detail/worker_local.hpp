// worker_local: what inlined code touches of the worker that runs it.
//
// A coroutine is resumed by one worker and suspended on it, but its next resumption may be on
// another. So nothing here is kept over a suspension: code reads the pointer `tls_worker` again
// each time. The pointer's *value* is safe; clang moves *addresses* of thread-locals over
// suspensions (docs/compilers.md), which is why there is only this one pointer.
//
//   W1  tls_worker is set on a worker's thread only, and while it runs tasks;
//   W2  all members are the owner's: no other thread reads or writes them (but for the totals, to read);
//   W3  budget counts down what one resumption may do without going back to the worker's loop:
//       transfers between coroutines and operations that were ready at once. At zero the chain is
//       cut. That is fairness, and the bound of the stack where the compiler makes no tail call of
//       a symmetric transfer (g++ at -O0 and under ASan and TSan).
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <new>

#include "sanitized.hpp"

namespace runnel::detail {

struct task_block;
class trace_ring;

/// Who is told when a thread of control has ended, and what its block must do then.
enum class task_kind : unsigned char {
    free,     // in the slab
    spawned,  // by go(): a join_handle may stand for it
    child,    // of a scope or task_set
    fork,     // a branch of when_all that runs on its own
    thread,   // a plain thread that waits in a blocking call
};

inline constexpr int budget_per_resumption = 128;
inline constexpr std::size_t frame_class_bytes = 64;
inline constexpr std::size_t frame_classes = 32;  // 64 bytes to 2 KiB

/// How code is being left: for destructors that pass it on, as a channel's last sender does.
enum class leaving : unsigned char { normally, by_exception, cancelled };

/// Free frames of one size, linked through their first word.
struct frame_list {
    void* head = nullptr;
    std::uint32_t count = 0;
};

/// A count of the worker's, at which anybody may look. (By built-ins: <atomic> would make task.hpp three times as
/// long.)
class worker_total {
public:
    // relaxed: one writer, and a value that orders nothing.
    void add(std::uint64_t n = 1) noexcept { __atomic_store_n(&value_, value_ + n, __ATOMIC_RELAXED); }
    std::uint64_t get() const noexcept {
        return __atomic_load_n(&value_, __ATOMIC_RELAXED);
    }  // relaxed: as above

private:
    std::uint64_t value_ = 0;
};

/// What went through channels by tasks of this worker, for metrics.
struct channel_totals {
    worker_total direct;      // from a sender straight to a receiver
    worker_total put, taken;  // into a buffer, out of one
    worker_total closed;
};

/// What operations of its tasks have moved and made. Files are not in it.
struct io_totals {
    worker_total received, sent;  // bytes
    worker_total accepted, connected, not_connected;
    worker_total errors;
};

struct worker_local {
    task_block* running = nullptr;      // the thread of control that runs now
    std::coroutine_handle<> put_aside;  // cut from a chain of transfers; the loop resumes it
    int budget = 0;
    channel_totals channels;
    trace_ring* traced = nullptr;           // where events go (detail/tracing.hpp); null: nowhere
    std::int64_t tick_time = 0;             // the clock as of the last tick, or the last return from sleep
    leaving task_left = leaving::normally;  // while an ended task's frame is destroyed: how it ended
    frame_list frames[frame_classes];
    io_totals moved;
};

extern constinit thread_local worker_local* tls_worker [[gnu::tls_model("initial-exec")]];

/// Goes on with `next`, or puts it aside for the worker's loop when the budget is used up.
/// Every await_suspend that returns a handle returns transfer(handle).
inline std::coroutine_handle<> transfer(std::coroutine_handle<> next) noexcept {
    worker_local* worker = tls_worker;
    if (--worker->budget > 0) [[likely]]
        return next;
    worker->put_aside = next;
    return std::noop_coroutine();
}

/// A frame of `bytes`, from the worker's free list when that has one. Throws std::bad_alloc.
void* allocate_frame_slow(std::size_t bytes);
void free_frame_slow(void* frame, std::size_t bytes) noexcept;

// Under a sanitizer every frame comes from malloc, so that a use after free is seen with its stack.
// (Both ways round a size up to its class, so translation units of either kind may meet.)
inline constexpr bool pooled_frames = !address_sanitized && !thread_sanitized;

inline constexpr std::uint32_t frames_kept = 64;  // per worker and size, before a batch goes to the depot

inline void* allocate_frame(std::size_t bytes) {
    if constexpr (pooled_frames) {
        const std::size_t size_class = (bytes - 1) / frame_class_bytes;
        worker_local* worker = tls_worker;
        if (worker != nullptr && size_class < frame_classes) [[likely]] {
            frame_list& list = worker->frames[size_class];
            if (list.head != nullptr) [[likely]] {
                void* frame = list.head;
                list.head = *static_cast<void**>(frame);
                --list.count;
                return frame;
            }
        }
    }
    return allocate_frame_slow(bytes);
}

inline void free_frame(void* frame, std::size_t bytes) noexcept {
    if constexpr (pooled_frames) {
        const std::size_t size_class = (bytes - 1) / frame_class_bytes;
        worker_local* worker = tls_worker;
        if (worker != nullptr && size_class < frame_classes) [[likely]] {
            frame_list& list = worker->frames[size_class];
            if (list.count < frames_kept) [[likely]] {
                *static_cast<void**>(frame) = list.head;
                list.head = frame;
                ++list.count;
                return;
            }
        }
    }
    free_frame_slow(frame, bytes);
}
}
