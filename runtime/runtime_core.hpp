// runtime_core: the workers of one runtime and what they share.
//
// Starting: each worker makes its driver on its own thread; the constructor returns when all have, or
// throws what the first failing one threw, with the others stopped.
//
// Stopping, in phases
//   1  stopping: the flag and the event are set; go() and spawns from plain threads are refused; whoever
//      waits for stopping() goes on; scopes may still spawn;
//   2  grace: until no task is left but functions that wait for the end of a context, or options.grace has passed;
//   3  cancel: the root context and all below it; the slab is scanned every millisecond, since a task of
//      the root arms by a plain store (X4), until no task is left or options.cancel_grace has passed;
//   4  report what did not stop: which task, started where, waits where. run() then ends the process;
//      an embedded runtime leaks those tasks and says so in stop()'s result;
//   5  workers leave their loops; each closes its driver on its own thread, after the kernel has
//      completed what it held; join; free.
//
//   U1  a task counts as live from its start until its block is free; live() is exact once all is quiet;
//   U2  a plain thread that starts or wakes a task is a visitor meanwhile: the runtime does not go, and a
//       start that has not seen `stopping` is counted before the runtime looks whether all is quiet.
#pragma once

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <runnel/runtime.hpp>
#include "blocking_pool.hpp"
#include "census.hpp"
#include "context_node.hpp"
#include "idle.hpp"
#include "monitor.hpp"
#include "outer_loop.hpp"
#include "worker.hpp"

namespace runnel::detail {

class runtime_core {
public:
    /// Throws std::system_error when a driver or thread cannot be had. `deadlocks`: who wants to know of them.
    explicit runtime_core(const options& how, monitor::listener* deadlocks = nullptr);
    /// One worker without a thread, driven by the calling one: see steering.hpp.
    runtime_core(const options& how, steering& by, std::unique_ptr<driver_factory> drivers);
    /// One worker without a thread, which runs in the loop of the calling one: see outer_loop.hpp.
    struct in_outer_loop {};
    runtime_core(const options& how, in_outer_loop);
    ~runtime_core();  // stop()ped before
    runtime_core(const runtime_core&) = delete;
    runtime_core& operator=(const runtime_core&) = delete;

    /// Phases 1 to 5. Returns how many tasks did not stop. Once. Threads: not a worker's; its home, if it has one.
    std::size_t stop(std::chrono::nanoseconds grace) noexcept;
    /// Phase 1 alone. Threads: any.
    void begin_stopping() noexcept;
    bool stopping() const noexcept { return stopping_.load(); }
    bool leaving() const noexcept {
        // relaxed: pairs with nothing; the unpark() that follows the store makes it seen.
        return leaving_.load(std::memory_order_relaxed);
    }

    std::int64_t live() const noexcept;
    /// Of the tasks that live, those that wait for the end of a context only to run a function then (after_func.hpp).
    std::atomic<std::int64_t> idle_functions{0};

    /// U2, while it lives.
    class visit {
    public:
        explicit visit(runtime_core& of) noexcept : of_(of) { of_.visitors_.fetch_add(1); }
        ~visit() { of_.visitors_.fetch_sub(1); }
        visit(const visit&) = delete;
        visit& operator=(const visit&) = delete;

    private:
        runtime_core& of_;
    };

    /// Work for any worker, from outside one. Threads: any.
    void inject(task_block& task) noexcept;
    /// Wakes a sleeper if nobody searches: after publishing work.
    void wake_one() noexcept;
    /// Something stranded: wakes a sleeper in any case. Returns whether there was one.
    bool wake_helper() noexcept;
    /// Something stranded, and nobody sleeps: the next worker that comes to its tick helps.
    void ask_for_help() noexcept { help_asked_.store(true, std::memory_order_relaxed); }  // relaxed: a hint
    /// Takes that request. Cost: a load when there is none.
    bool take_help_request() noexcept {
        // relaxed: a hint.
        return help_asked_.load(std::memory_order_relaxed) &&
               help_asked_.exchange(false, std::memory_order_relaxed);
    }

    context_node& root() noexcept { return *root_; }
    context_node& shield() noexcept { return *shield_; }

    const options settings;
    std::unique_ptr<driver_factory> drivers;
    const own_census counts;  // null: nobody wants to know what it leaves
    injector queue;
    idle_set idle;
    std::vector<std::unique_ptr<worker>> workers;
    blocking_pool blocking;
    monitor watch{*this};
    std::unique_ptr<outer_loop> loop;  // in which its only worker runs; mostly none
    std::atomic<std::int64_t> outside_started{
        0};  // tasks begun by plain threads, less those that ended there
    wait_object stopping_object;
    wait_list stopping_waiters;

private:
    struct meeting;

    runtime_core(const options& how, std::unique_ptr<driver_factory> from, unsigned worker_count,
                 unsigned blocking_threads);
    void start_threads();
    void worker_thread(worker& self) noexcept;
    void wake(int sleeper) noexcept;
    void rest(nanoseconds_t deadline, long& pause_ns) noexcept;
    bool only_functions_left() const noexcept;
    bool wait_until_quiet(nanoseconds_t deadline, bool cancelling) noexcept;
    void cancel_root_tasks() noexcept;
    void give_up_threads() noexcept;
    std::size_t report_stuck() noexcept;
    void join_workers() noexcept;

    context_node* root_;
    context_node* shield_;
    std::atomic<bool> stopping_{false};
    std::atomic<bool> leaving_{false};
    std::atomic<bool> help_asked_{false};
    std::atomic<int> visitors_{0};
    std::unique_ptr<meeting> meeting_;
    std::vector<std::thread> threads_;
    steering* steering_ = nullptr;  // when driven from outside
    pthread_t home_{};              // by this thread
};
}
