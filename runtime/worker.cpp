// The loop of a worker; its order is in worker.hpp, whose steps and invariants are named here.
#include "worker.hpp"

#include <bit>
#include <utility>

#include "cpu_budget.hpp"
#include "runtime_core.hpp"
#include "steering.hpp"
#include "task_life.hpp"

namespace runnel::detail {

constinit thread_local worker_local* tls_worker [[gnu::tls_model("initial-exec")]] = nullptr;

namespace {
constexpr unsigned tasks_per_tick = 61;  // prime, so that no periodic pattern of tasks falls in step
constexpr unsigned next_in_a_row_max = 3;
constexpr unsigned forks_in_a_row_max = 61;
constexpr std::uint32_t injector_share_max = 128;
constexpr unsigned steal_passes = 4;
constexpr unsigned looks_per_poll = 16;
}

std::uint32_t random_below(std::uint32_t bound) noexcept {
    if (worker* here = current_worker(); here != nullptr) return here->random_below(bound);
    thread_local seeded chance{reinterpret_cast<std::uintptr_t>(&chance)};
    return chance.below(bound);
}

std::uint32_t worker::random_below(std::uint32_t bound) noexcept {
    return steering_ == nullptr ? random_.below(bound) : steering_->choose(bound);
}

static nanoseconds_t spin_time(const options& how) {
    const nanoseconds_t time = how.spin().count();
    return time > 0 && how.workers() <= usable_cpus() ? time : 0;
}

worker::worker(runtime_core& of, unsigned number)
    : core(of), index(number), spin_ns_(spin_time(of.settings)), random_(number + 1) {}

void latency_counts::add(nanoseconds_t time) noexcept {
    const auto us = static_cast<std::uint64_t>(time > 0 ? time : 0) / 1000;
    const auto bucket = static_cast<std::size_t>(std::bit_width(us));
    buckets[bucket < latency_histogram::bucket_count ? bucket : latency_histogram::bucket_count - 1].add();
    sum_ns.add(static_cast<std::uint64_t>(time > 0 ? time : 0));
}

// --- Making tasks ready ----------------------------------------------------------------------------

void worker::push_next(task_block& task) noexcept {
    // relaxed: only we fill it; a thief can only have emptied it since.
    if (next_.load(std::memory_order_relaxed) == nullptr) {
        next_.store(&task, std::memory_order_release);  // release: pairs with the thief's exchange in help()
        return;
    }
    // acq_rel: as above; acquire is for the one that comes back.
    if (task_block* pushed_out = next_.exchange(&task, std::memory_order_acq_rel); pushed_out != nullptr)
        push_ready(*pushed_out);
}

void worker::push_ready(task_block& task) noexcept {
    if (time_the_next_) [[unlikely]] {
        time_the_next_ = false;
        timed_ = &task;
        timed_since_ = driver_->now();
    }
    if (!ready.push(task)) [[unlikely]] {
        task_block* half[run_queue::capacity / 2 + 1];
        const std::uint32_t count = ready.pop_half(half);
        if (count == 0) {  // a thief is copying; it will leave room, but not now
            core.inject(task);
            return;
        }
        half[count] = &task;
        core.queue.push(half, count + 1);
        core.wake_one();
        return;
    }
    if (core.idle.worth_waking() && ready.size() >= 2)  // R2
        core.wake_one();
}

bool worker::push_fork(fork_branch& branch) noexcept {
    if (!forks.push(branch)) return false;
    if (core.idle.worth_waking()) core.wake_one();
    return true;
}

void worker::post(task_block& task) noexcept {
    // relaxed: a guess; the CAS decides.
    task_block* head = inbox_.load(std::memory_order_relaxed);
    do {
        task.queue_next = head;
        // release: pairs with the acquire in take_messages(). relaxed on failure: tried again.
    } while (
        !inbox_.compare_exchange_weak(head, &task, std::memory_order_release, std::memory_order_relaxed));
    unpark();
}

void worker::unpark() noexcept {
    // seq_cst, an exchange even if it is already `notified`: the sleeper that reads it sees what we wrote.
    if (state_.exchange(notified) == asleep) driver_->wake();
}

// --- Where the next task comes from ----------------------------------------------------------------

task_block* worker::take_next() noexcept {
    // relaxed: our own; empty stays empty.
    if (next_.load(std::memory_order_relaxed) == nullptr) return nullptr;
    return next_.exchange(nullptr, std::memory_order_acquire);  // R3; acquire: whoever put it in, was us
}

task_block* worker::pop_fork() noexcept {
    fork_branch* branch = forks.pop();
    return branch != nullptr ? start_fork(*branch, *this) : nullptr;
}

task_block* worker::pop_local() noexcept {
    if (next_in_a_row_ < next_in_a_row_max) {
        if (task_block* task = take_next(); task != nullptr) {
            ++next_in_a_row_;
            return task;
        }
    }
    // Counted by the row: less work, and a snapshot lags by one at most.
    if (next_in_a_row_ != 0) counts.next_hits.add(std::exchange(next_in_a_row_, 0));
    if (forks_in_a_row_ < forks_in_a_row_max) {
        if (task_block* task = pop_fork(); task != nullptr) {
            ++forks_in_a_row_;
            return task;
        }
    }
    forks_in_a_row_ = 0;
    if (task_block* task = ready.pop(); task != nullptr) return task;
    if (task_block* task = take_next(); task != nullptr) return task;
    return pop_fork();
}

task_block* worker::from_injector() noexcept {
    const std::uint32_t size = core.queue.size();
    if (size == 0) return nullptr;
    const auto workers = static_cast<std::uint32_t>(core.workers.size());
    const std::uint32_t share = size / workers + 1;
    task_block* taken[injector_share_max];
    const std::uint32_t count =
        core.queue.pop(taken, share < injector_share_max ? share : injector_share_max);
    if (count == 0) return nullptr;
    for (std::uint32_t i = 1; i < count; ++i) push_ready(*taken[i]);
    return taken[0];
}

bool worker::take_messages() noexcept {
    // relaxed: a look; the exchange takes.
    if (inbox_.load(std::memory_order_relaxed) == nullptr) return false;
    task_block* stack = inbox_.exchange(nullptr, std::memory_order_acquire);  // acquire: pairs with post()
    task_block* in_order = nullptr;
    while (stack != nullptr) {
        task_block* task = stack;
        stack = task->queue_next;
        task->queue_next = in_order;
        in_order = task;
    }
    while (in_order != nullptr) {
        task_block* task = in_order;
        in_order = task->queue_next;
        push_ready(*task);
    }
    return true;
}

void worker::tick() noexcept {
    tasks_since_tick_ = 0;
    tick_asked_.store(false, std::memory_order_relaxed);  // relaxed: a hint
    counts.ticks.add();
    time_the_next_ = true;
    driver_->poll();
    tick_time = driver_->now();
    note_trace();
    if (timers.earliest() <= tick_time) timers.fire_due(tick_time);
    if (task_block* task = from_injector(); task != nullptr) push_ready(*task);
    if (core.take_help_request()) help_others();
}

/// Busy as we are: what is stuck behind a long task has nobody else.
void worker::help_others() noexcept {
    for (const auto& other : core.workers) {
        if (other.get() == this || !other->stale()) continue;
        other->help(*this, tick_time);
        other->ready.steal_into(ready);
        if (fork_branch* branch = other->forks.steal(); branch != nullptr)
            push_ready(*start_fork(*branch, *this));
    }
}

task_block* worker::steal_from(worker& victim) noexcept {
    counts.steal_tries.add();
    if (victim.ready.size() != 0 && victim.ready.steal_into(ready) != 0) {
        counts.steals.add();
        return ready.pop();
    }
    if (!victim.forks.empty()) {
        if (fork_branch* branch = victim.forks.steal(); branch != nullptr) {
            counts.steals.add();
            return start_fork(*branch, *this);
        }
    }
    return nullptr;
}

task_block* worker::search() noexcept {
    const auto count = static_cast<unsigned>(core.workers.size());
    if (!searching_) {
        if (count < 2 || !core.idle.start_searching()) return nullptr;
        searching_ = true;
    }
    for (unsigned pass = 0; pass < steal_passes; ++pass) {
        const unsigned first = random_below(count);
        for (unsigned i = 0; i < count; ++i) {
            worker& victim = *core.workers[(first + i) % count];
            if (&victim == this) continue;
            if (task_block* task = steal_from(victim); task != nullptr) return task;
            if (pass == steal_passes - 1 && victim.stale() && victim.help(*this, driver_->now()))
                if (task_block* task = pop_local(); task != nullptr) return task;
        }
        if (task_block* task = from_injector(); task != nullptr) return task;
    }
    return nullptr;
}

bool worker::needs_help(nanoseconds_t now) const noexcept {
    return next_.load(std::memory_order_relaxed) != nullptr ||  // relaxed: a hint
           has_stealable() || timers.earliest() <= now || driver_->stranded();
}

bool worker::help(worker& helper, nanoseconds_t now) noexcept {
    unsigned found = timers.fire_due(now);
    if (driver_->stranded()) {
        const unsigned reaped = driver_->help();
        helper.counts.helped.add(reaped);
        found += reaped;
    }
    // acquire: pairs with push_next(). R3.
    if (task_block* task = next_.exchange(nullptr, std::memory_order_acquire); task != nullptr) {
        helper.push_ready(*task);
        ++found;
    }
    return found != 0;
}

task_block* worker::find_task() noexcept {
    take_messages();
    // relaxed: a hint.
    if (++tasks_since_tick_ >= tasks_per_tick || tick_asked_.load(std::memory_order_relaxed)) tick();
    if (task_block* task = pop_local(); task != nullptr) return task;
    tick();
    if (task_block* task = pop_local(); task != nullptr) return task;
    return search();
}

// --- The loop --------------------------------------------------------------------------------------
// What decides who sleeps, here and above, is copied into tests/interleavings/sleep_programs.hpp: change it there too.

bool worker::anything_to_do() noexcept {
    // relaxed: the announcement of sleep was seq_cst (I1), as was the push of what must not be missed.
    if (core.queue.size() != 0 || inbox_.load(std::memory_order_relaxed) != nullptr || core.leaving())
        return true;
    for (const auto& other : core.workers)
        if (other.get() != this && other->has_stealable()) return true;
    return false;
}

/// Something that a sleeper would be woken for (R2)?
bool worker::work_in_sight() const noexcept {
    // relaxed: it is looked at again and again, and before sleeping once more.
    if (core.queue.size() != 0 || inbox_.load(std::memory_order_relaxed) != nullptr || core.leaving())
        return true;
    for (const auto& other : core.workers)
        if (other.get() != this && (other->ready.size() >= 2 || !other->forks.empty())) return true;
    return false;
}

/// Returns whether there may be a task now.
bool worker::spin() noexcept {
    if (spin_ns_ == 0 || !core.idle.start_spinning()) return false;
    turn_of_.store(nullptr, std::memory_order_relaxed);  // relaxed: a hint
    const nanoseconds_t until = driver_->now() + spin_ns_;
    nanoseconds_t now = 0;
    bool found = false;
    do {
        for (unsigned i = 0; i < looks_per_poll && !found; ++i) found = work_in_sight();
        now = driver_->now();
        found = found || driver_->poll() != 0 || timers.earliest() <= now;
    } while (!found && now < until);
    core.idle.stop_spinning();
    return found;
}

/// False: somebody has woken us already.
bool worker::announce_sleep() noexcept {
    int seen = awake;
    if (!state_.compare_exchange_strong(seen, asleep)) return false;
    counts.parks.add();
    if (std::exchange(polls_when_asleep_, counts.polls.get()) == counts.polls.get()) counts.spurious.add();
    turn_of_.store(nullptr, std::memory_order_relaxed);  // relaxed: a hint
    return true;
}

void worker::sleep(bool was_searching) noexcept {
    core.idle.sleep(index, was_searching);
    const bool found = anything_to_do();
    if (!found) {
        if (announce_sleep()) {
            driver_->wait(timers.earliest());
            tick_time = driver_->now();  // a task that runs before the next tick is not to think it long ago
        }
        state_.exchange(awake);  // seq_cst, an exchange: we see what the one that woke us wrote
    }
    come_back(found && was_searching);  // I4
    core.watch.note_awake();            // M1: now that we are counted as awake
}

void worker::come_back(bool searches) noexcept {
    // False: whoever took us off has counted us as searching.
    searching_ = !core.idle.come_back(index, searches) || searches;
}

void worker::run_task(task_block& task) noexcept {
    if (task.routed && task.pinned != index && task.pinned < core.workers.size()) [[unlikely]] {
        core.workers[task.pinned]->post(task);
        return;
    }
    if (&task == timed_) [[unlikely]] {
        timed_ = nullptr;
        latency.add(driver_->now() - timed_since_);
    }
    running = &task;
    turn_of_.store(&task, std::memory_order_relaxed);  // relaxed: a hint
    budget = turn_budget_;
    counts.polls.add();
    if (traced != nullptr) [[unlikely]]
        trace_turn_begins(task);
    task.leaf.resume();
    if (traced != nullptr) [[unlikely]]
        trace_turn_ends();
    if (put_aside) {  // W3: a chain was cut; `running` may be another by now
        running->leaf = std::exchange(put_aside, {});
        end_unparked(*running);
        push_next(*running);
    }
    running = nullptr;
}

bool worker::run_one() noexcept {
    task_block* task = find_task();
    if (task == nullptr) return false;
    if (searching_) {
        searching_ = false;
        if (core.idle.stop_searching()) core.wake_one();  // there may be more where this came from
    }
    run_task(*task);
    return true;
}

void worker::run() noexcept {
    while (!core.leaving())
        if (!run_one() && !spin()) sleep(searching_);
}

// --- What the rest of the library asks of the worker that runs it -----------------------------------

task_block& running_task() noexcept {
    const worker_local* here = tls_worker;
    check(here != nullptr && here->running != nullptr,
          "awaited outside a runtime: use run() or runtime::spawn()");
    return *here->running;
}

runtime_core& current_runtime() noexcept {
    worker* here = current_worker();
    check(here != nullptr, "used outside a runtime");
    return here->core;
}

driver& current_driver() noexcept {
    worker* here = current_worker();
    check(here != nullptr, "used outside a runtime");
    return here->io();
}

timer_heap& current_timers() noexcept {
    worker* here = current_worker();
    check(here != nullptr, "used outside a runtime");
    return here->timers;
}

steering* current_steering() noexcept {
    const worker* here = current_worker();
    return here != nullptr ? here->steered_by() : nullptr;
}

blocking_pool& current_blocking_pool() noexcept { return current_runtime().blocking; }

nanoseconds_t clock_now() noexcept {
    if (const worker* here = current_worker(); here != nullptr) return here->io().now();
    return monotonic_now();
}

nanoseconds_t tick_time() noexcept {
    const worker* here = current_worker();
    return here != nullptr ? here->tick_time : monotonic_now();
}

/// A plain thread may be of no runtime.
static void route(task_block& task, runtime_core* core) noexcept {
    if (task.kind == task_kind::thread)
        wake_thread(task);
    else if (task.routed && task.pinned < core->workers.size())
        core->workers[task.pinned]->post(task);
    else
        core->inject(task);
}

void schedule(task_block& task) noexcept {
    worker* here = current_worker();
    runtime_core* core =
        task.runtime.load(std::memory_order_relaxed);  // relaxed: set when the task was started
    if (here != nullptr && &here->core == core && !task.routed) [[likely]] {
        if (here->traced != nullptr) [[unlikely]]
            here->trace_wake(task);
        here->push_next(task);
    } else {
        route(task, core);
    }
}

void schedule_back(task_block& task) noexcept {
    worker* here = current_worker();
    runtime_core* core =
        task.runtime.load(std::memory_order_relaxed);  // relaxed: set when the task was started
    if (here != nullptr && &here->core == core && !task.routed) {
        if (here->traced != nullptr) [[unlikely]]
            here->trace_wake(task);
        here->push_ready(task);
    } else {
        route(task, core);
    }
}
}
