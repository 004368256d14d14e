// metrics: what a runtime has done and holds just now, in numbers.
//
//   auto now = background.metrics();                     // any thread; or rn::current_metrics() in a task
//   std::printf("%llu tasks live\n", now.live);
//   body = rn::to_prometheus(now);                       // what an HTTP handler at /metrics sends
//
// Each worker counts for itself with plain loads and stores (one writer), so counting costs nothing that two
// would share, and a snapshot disturbs nobody. Numbers of different workers are not of one instant.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace runnel {

/// Of one worker, or summed over all. Counters since the start, unless "now" is said.
struct worker_metrics {
    std::uint64_t started = 0, ended = 0;       // tasks
    std::uint64_t polls = 0;                    // turns: resumptions of a task by the loop
    std::uint64_t next_hits = 0;                // of them: what the running task had made ready last
    std::uint64_t steal_tries = 0, steals = 0;  // looks at another's queue; those that found something
    std::uint64_t parks = 0, spurious = 0;      // sleeps; those after which there was nothing to do
    std::uint64_t wakes_sent = 0;               // to sleeping workers
    std::uint64_t ticks = 0;
    std::uint64_t cancelled = 0;                             // waits that ended by a cancel or a deadline
    std::uint64_t submitted = 0, completed = 0, enters = 0;  // kernel operations; system calls for them
    std::uint64_t helped = 0;                                // completions reaped for a busy worker
    std::uint64_t overflows = 0;                             // of the completion queue
    // Values that this worker put into a channel or took out of one, for whomever; not what plain threads do.
    std::uint64_t sent = 0, received = 0;
    std::uint64_t direct = 0;  // of both: from a sender straight to a receiver
    std::uint64_t channels_closed = 0;
    // What its tasks did with sockets and pipes. A datagram that was cut short counts as it was sent.
    std::uint64_t bytes_received = 0, bytes_sent = 0;
    std::uint64_t accepted = 0, connected = 0;  // connections
    std::uint64_t not_connected = 0;            // attempts that failed or were given up
    std::uint64_t io_errors = 0;                // what the system answered to an operation, of files too
    std::uint64_t ready = 0, forks = 0, timers = 0, in_kernel = 0;  // now: lengths of its queues

    worker_metrics& operator+=(const worker_metrics& other) noexcept;
};

/// From ready to running, sampled: about one of 61 tasks that wait in a queue.
struct latency_histogram {
    static constexpr std::size_t bucket_count = 24;
    std::array<std::uint64_t, bucket_count> buckets{};  // the i-th: below 2^i microseconds (the last: any)
    std::uint64_t samples = 0;
    std::uint64_t sum_ns = 0;

    /// The bound in nanoseconds below which `share` (0 to 1) of the samples lie; 0 without samples.
    std::uint64_t quantile(double share) const noexcept;
};

struct runtime_metrics {
    std::string name;    // options::name
    std::string driver;  // what it sleeps in
    std::vector<worker_metrics> workers;
    worker_metrics total;
    std::uint64_t live = 0;      // tasks now
    std::uint64_t injected = 0;  // now: tasks in the queue that all workers share
    std::uint64_t blocking_calls = 0, blocking_threads = 0, blocking_queued = 0;  // begun; now; now
    std::uint64_t frame_bytes_kept = 0;  // free coroutine frames of the whole process, in the depot
    latency_histogram latency;
};

/// Of the runtime that runs this. Threads: workers (check()ed); for others there is runtime::metrics().
runtime_metrics current_metrics();

/// The text format of Prometheus (0.0.4), families sorted, each with HELP and TYPE; one label set per worker.
std::string to_prometheus(const runtime_metrics& of);
}
