// worker: one thread that runs tasks, and where its next task comes from.
//
// The loop
//   1  every 61 tasks (or when the monitor asks): the tick: hand over and reap I/O, due timers, messages
//      to this worker, a share of the injector, so that a full queue of tasks cannot starve them;
//   2  `next`: what the running task has made ready last, while its data is in the cache; at most 3 times
//      in a row when others wait;
//   3  forks: the newest branch of a when_all; after 61 in a row one from `ready`;
//   4  ready: first in, first out;
//   5  a tick; the injector; then search: steal half of another's ready queue or its oldest fork. On the
//      last pass also a stale worker's `next`, its due timers and its stranded I/O (when nobody has the
//      time to search, this is done in a tick that the monitor asks for);
//   6  when options.spin says so, and no other worker does: look for that long, at all but `next` of others;
//   7  sleep in the driver, until a completion, a message, a wake-up or the next deadline.
//
//   R1  queues hold tasks that nobody else can schedule (T2 of detail/wait.hpp);
//   R2  work made ready here stays here; a sleeper is woken when `ready` holds two or more, or a fork;
//   R3  `next` is taken by exchange, so that a thief may take it from a worker that is stale: one whose
//       heartbeat the monitor has seen unchanged. Otherwise a task could wait there behind a long one;
//   R4  only the owner's thread touches what is not atomic here.
//
// Driven from outside: a worker may have no thread. Whoever has it takes all ready tasks with collect(), gives
// one at a time back with turn(), and answers for it (steering.hpp) when it would draw a random number.
//
// In somebody else's loop (outer_loop.hpp): a worker may have its thread for a while only. It is asked for one turn
// after the other, and sleeps (step 7) between two calls: doze() is the first half, end_doze() the second.
//
// Not taken: waking a worker per ready task (steal churn: a ping-pong becomes 4 to 10 times slower); a
// next slot that can always be stolen (Tokio tried and took it back), or never (a task gets stuck).
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include <runnel/detail/driver.hpp>
#include <runnel/detail/wait.hpp>
#include <runnel/detail/worker_local.hpp>
#include <runnel/metrics.hpp>
#include "fork_deque.hpp"
#include "injector.hpp"
#include "run_queue.hpp"
#include "seeded.hpp"
#include "task_slab.hpp"
#include "timers.hpp"
#include "trace_ring.hpp"

namespace runnel::detail {

class runtime_core;
class steering;

/// Counts of one worker: written by it, read by anybody.
class counter {
public:
    void add(std::uint64_t n = 1) noexcept {
        // relaxed: one writer. release: pairs with get(); who sees that a task has ended sees what it started.
        value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_release);
    }
    std::uint64_t get() const noexcept { return value_.load(std::memory_order_acquire); }  // pairs with add()

private:
    std::atomic<std::uint64_t> value_{0};
};

struct worker_counts {
    counter started, ended, freed, polls, steal_tries, steals, parks, spurious, wakes_sent, ticks, helped,
        next_hits, cancelled;
};

/// From ready to running: one task in 61 that goes into the ready queue is timed.
struct latency_counts {
    counter buckets[latency_histogram::bucket_count];
    counter sum_ns;
    void add(nanoseconds_t time) noexcept;
};

class alignas(128) worker final : public worker_local {
public:
    worker(runtime_core& core, unsigned index);
    worker(const worker&) = delete;
    worker& operator=(const worker&) = delete;

    /// The thread's body: attach, wait for the others, run() until the runtime leaves, wait, detach.
    void attach();  // throws what the driver throws
    void run() noexcept;
    void detach() noexcept;

    // --- Driven from outside ---
    /// Instead of attach(): the calling thread is left as it is. detach() ends it.
    void attach_driven(steering& by);
    /// Appends all tasks that are ready, in the order in which they became so, but for the last two.
    void collect(std::vector<task_block*>& out);
    /// Runs one of them up to its next co_await.
    void turn(task_block& task) noexcept { run_task(task); }
    void note_time(nanoseconds_t now) noexcept { tick_time = now; }
    /// Null in a plain runtime.
    steering* steered_by() const noexcept { return steering_; }

    // --- In somebody else's loop ---
    /// Instead of attach(): the calling thread is left as it is. detach() ends it.
    void attach_borrowed();
    bool has_driver() const noexcept { return driver_ != nullptr; }
    /// One turn of the loop. False: there is no task.
    bool run_one() noexcept;
    /// False: there is something to do after all.
    bool doze() noexcept;
    void end_doze() noexcept;

    // --- The owner's side ---
    void push_next(task_block& task) noexcept;   // runs soon
    void push_ready(task_block& task) noexcept;  // runs in its turn
    bool push_fork(fork_branch& branch) noexcept;
    std::uint32_t random_below(std::uint32_t bound) noexcept;
    driver& io() const noexcept { return *driver_; }
    /// What its driver did; after detach() too. Threads: any, but not during attach() and detach().
    driver_counts io_counts() const noexcept {
        return driver_ != nullptr ? driver_->counts() : last_io_counts_;
    }

    // --- Anybody's side ---
    /// A task that must run on this worker.
    void post(task_block& task) noexcept;
    /// Ends its sleep; it is counted as awake by whoever took it off the sleepers, or comes back itself.
    void unpark() noexcept;
    void ask_for_tick() noexcept { tick_asked_.store(true, std::memory_order_relaxed); }  // relaxed: a hint
    bool sleeping() const noexcept {
        return state_.load(std::memory_order_relaxed) == asleep;
    }  // relaxed: a hint
    bool has_stealable() const noexcept { return ready.size() != 0 || !forks.empty(); }
    /// Anything that it would do if it were awake?
    bool has_work() const noexcept {
        if (has_stealable()) return true;
        // relaxed: hints.
        return next_.load(std::memory_order_relaxed) != nullptr ||
               inbox_.load(std::memory_order_relaxed) != nullptr;  // relaxed: as above
    }
    /// Goes up with each turn.
    std::uint64_t heartbeat() const noexcept { return counts.polls.get(); }
    /// Who has the turn, or had the last one before the worker fell asleep, or null. The block may be another
    /// task's by the time that it is looked at.
    const task_block* turn_of() const noexcept {
        return turn_of_.load(std::memory_order_relaxed);  // relaxed: a hint
    }
    bool stale() const noexcept { return stale_.load(std::memory_order_relaxed); }       // relaxed: a hint
    void set_stale(bool now) noexcept { stale_.store(now, std::memory_order_relaxed); }  // relaxed: a hint
    /// What only a helper can serve while this worker is busy: I/O, timers, its next task.
    bool needs_help(nanoseconds_t now) const noexcept;
    /// Called by another worker; ready tasks go to that one's queues. Returns whether there was any.
    bool help(worker& helper, nanoseconds_t now) noexcept;

    // --- Trace: in trace.cpp ---
    /// From the owner's next tick on; that of the calling worker at once. Threads: workers.
    void start_trace(std::size_t events);
    void stop_trace() noexcept;
    std::vector<trace_event> trace_events();
    void trace_wake(const task_block& task) noexcept;

    runtime_core& core;
    const unsigned index;
    block_cache blocks;
    timer_heap timers;  // its owner is told once the driver is there
    run_queue ready;
    fork_deque forks;
    worker_counts counts;
    latency_counts latency;
    std::uint64_t last_id = 0;

private:
    task_block* find_task() noexcept;
    task_block* pop_local() noexcept;
    task_block* take_next() noexcept;
    task_block* pop_fork() noexcept;
    task_block* from_injector() noexcept;
    task_block* search() noexcept;
    task_block* steal_from(worker& victim) noexcept;
    bool take_messages() noexcept;
    void tick() noexcept;
    void help_others() noexcept;
    /// acquire: pairs with start_trace(), which another thread may have run: the ring that it made is seen whole.
    void note_trace() noexcept { traced = trace_.load(std::memory_order_acquire); }
    bool begin_trace(std::size_t events) noexcept;
    void tell_of_trace() noexcept;
    void trace_turn_begins(const task_block& task) noexcept;
    void trace_turn_ends() noexcept;
    void run_task(task_block& task) noexcept;
    bool work_in_sight() const noexcept;
    bool spin() noexcept;
    bool announce_sleep() noexcept;
    void sleep(bool was_searching) noexcept;
    void come_back(bool searches) noexcept;
    bool anything_to_do() noexcept;

    std::unique_ptr<driver> driver_;
    driver_counts last_io_counts_;
    unsigned tasks_since_tick_ = 0;
    unsigned next_in_a_row_ = 0;
    unsigned forks_in_a_row_ = 0;
    bool searching_ = false;
    bool dozing_ = false;
    bool time_the_next_ = false;         // that goes into `ready`
    const task_block* timed_ = nullptr;  // that one; another worker may have stolen it
    nanoseconds_t timed_since_ = 0;
    std::uint64_t polls_when_asleep_ = UINT64_MAX;
    const nanoseconds_t spin_ns_;  // 0: never; so when there are more workers than processors
    seeded random_;
    steering* steering_ = nullptr;
    int turn_budget_ = budget_per_resumption;  // 1 when driven: each co_await is a point of decision

    std::atomic<trace_ring*> trace_{nullptr};  // what `traced` is to become
    std::uint64_t traced_turn_ = 0;            // the task of the last turn that was traced
    spin_lock trace_lock_;                     // guards the next
    std::vector<std::unique_ptr<trace_ring>> trace_rings_;

    alignas(64) std::atomic<task_block*> next_{nullptr};
    std::atomic<const task_block*> turn_of_{nullptr};

    alignas(64) std::atomic<task_block*> inbox_{nullptr};  // a stack through queue_next
    enum state : int { awake, asleep, notified };
    std::atomic<int> state_{awake};
    std::atomic<bool> tick_asked_{false};
    std::atomic<bool> stale_{false};
};

inline worker* current_worker() noexcept { return static_cast<worker*>(tls_worker); }

/// Uniform below `bound`, from the worker's own generator (on plain threads from a thread's).
std::uint32_t random_below(std::uint32_t bound) noexcept;

/// A fork that is popped or stolen gets a task block of its own. Implemented in fork.cpp.
task_block* start_fork(fork_branch& branch, worker& here) noexcept;
}
