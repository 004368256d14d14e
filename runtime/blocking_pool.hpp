// blocking_pool: the threads on which blocking() calls run.
//
//   1  submit: into the queue; when more calls wait than threads are idle, start a thread, up to a limit;
//   2  a thread takes calls from the queue, oldest first; idle for 10 seconds, it ends;
//   3  stop: calls that no thread has begun are refused; the threads end after their present call. Those
//      that do not in time are left behind, with their calls, and named.
//
// Invariants
//   B1  all state is guarded by one mutex, which is not held while a call runs or a thread wakes a task;
//   B2  a thread refers to the shared state only, never to the pool: it may be left behind;
//   B3  no thread takes asynchronous signals: those are for the program's own threads.
#pragma once

#include <cstdint>
#include <memory>
#include <source_location>
#include <vector>

#include <runnel/blocking.hpp>
#include <runnel/detail/driver.hpp>

namespace runnel::detail {

class monitor;

/// A call that was still running when the pool had to stop.
struct left_call {
    std::uint64_t task_id;
    std::source_location spawned_at;  // of the task that asked for it
};

struct blocking_counts {
    std::uint64_t calls = 0;  // begun
    unsigned threads = 0;
    unsigned idle = 0;
    std::size_t queued = 0;
};

class blocking_pool {
public:
    static constexpr unsigned driven = 0;  // threads: none, whoever drives the runtime take()s the calls

    explicit blocking_pool(unsigned threads_max);
    blocking_pool(const blocking_pool&) = delete;
    blocking_pool& operator=(const blocking_pool&) = delete;
    /// stop(0), for what no stop() has ended.
    ~blocking_pool();

    /// Who is told, until stop(), when a thread has nothing to do any more. Before the first submit().
    void tell(monitor& of) noexcept;

    /// Takes the job; one of its parties is the pool's from now on. Threads: any.
    void submit(blocking_job& job) noexcept;

    /// For a pool without threads: the oldest call, to be run() and drop()ped; null when none waits.
    blocking_job* take() noexcept;

    /// Step 3: waits at most `grace` for running calls. Those that it returns run on, and wake nobody.
    /// Threads: none that runs one of the calls.
    std::vector<left_call> stop(nanoseconds_t grace);

    blocking_counts counts() const noexcept;

private:
    struct shared;
    const std::shared_ptr<shared> shared_;
};
}
