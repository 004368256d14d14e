// timer_node: one deadline in a worker's timers.
//
// It lives in what waits (a frame, a context, a timer object) and knows its place in the heap, so it
// is taken out in O(log n). When it is due, a wait is claimed, a callback runs, or a tick is handed over:
//
//   D1  everything but `when` is guarded by the heap's lock while the node is linked;
//   D2  a due node is unlinked under the lock and acts after it: a wait by {task, ticket} copied
//       before (no frame is touched), a callback through a reference taken by hold() before;
//   D3  a tick (of a timer or ticker, whose waiters stand at the heap) is handed over under the lock.
#pragma once

#include <cstdint>

namespace runnel::detail {

struct late_wake;
struct task_block;
class timer_heap;

/// What a due node without a task does.
struct timer_callback {
    // Asked first, under the heap's lock, the node being unlinked. True: that was all, but for the waiter
    // that `wake` names; the node may be linked again. False: hold() and run() follow.
    virtual bool tick(std::int64_t /* now */, late_wake& /* wake */) noexcept { return false; }
    // Under the heap's lock: stay alive until run() has returned. False: it is just ending, do not run it.
    virtual bool hold() noexcept = 0;
    virtual void run() noexcept = 0;  // without a lock, on the worker that found it due; drops the hold

protected:
    ~timer_callback() = default;
};

struct timer_node {
    static constexpr std::uint32_t unlinked = UINT32_MAX;

    timer_heap* heap = nullptr;
    std::int64_t when = 0;  // nanoseconds of the driver's clock
    task_block* task = nullptr;
    std::uint64_t ticket = 0;
    timer_callback* callback = nullptr;  // instead of a task
    std::uint32_t place = unlinked;
    std::uint32_t sequence = 0;  // among equal deadlines
};

/// Puts a deadline into the timers of the worker that runs this, or takes it out of those where it is.
/// For waits that are no wait cases (detail/wait_case.hpp): operations in the kernel.
void start_timer(timer_node& node) noexcept;
void stop_timer(timer_node& node) noexcept;
}
