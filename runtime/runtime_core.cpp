// See runtime_core.hpp; its phases and invariants are named here.
#include "runtime_core.hpp"

#include <linux/futex.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <stdexcept>
#include <string>
#include <system_error>

#include "cpu_budget.hpp"
#include "steering.hpp"
#include "task_dump.hpp"
#include "task_life.hpp"

namespace runnel::detail {

namespace {
driver_kind kind_of_driver(const options& how) {
    if (how.driver() != driver_kind::automatic) return how.driver();
    const char* const wish = std::getenv("RUNNEL_DRIVER");
    if (wish == nullptr || *wish == '\0') return driver_kind::automatic;
    if (std::strcmp(wish, "uring") == 0) return driver_kind::uring;
    if (std::strcmp(wish, "epoll") == 0) return driver_kind::epoll;
    if (std::strcmp(wish, "none") == 0) return driver_kind::none;
    throw std::invalid_argument(std::string("RUNNEL_DRIVER=") + wish +
                                ": unknown driver; use uring, epoll or none");
}

std::unique_ptr<driver_factory> drivers_for(const options& how, bool polled = false) {
    if (how.drivers_from() != nullptr) return how.drivers_from()();
    switch (kind_of_driver(how)) {
        case driver_kind::automatic:
            return make_io_drivers();
        case driver_kind::uring:
            return make_uring_drivers();
        case driver_kind::epoll:
            return make_epoll_drivers();
        case driver_kind::none:
            break;
    }
    return polled ? make_eventfd_drivers() : make_futex_drivers();
}

// The number of a task has ten bits for its worker (next_id() in go.cpp).
constexpr unsigned workers_max = 1023;

unsigned worker_count(const options& how) {
    if (how.workers() > workers_max)
        throw std::invalid_argument("options::workers(" + std::to_string(how.workers()) + "): at most " +
                                    std::to_string(workers_max) + " workers; use 0 for one per processor");
    return how.workers() != 0 ? how.workers() : std::min(usable_cpus(), workers_max);
}
}

/// Where the workers' threads meet: all have a driver, and all have left their loops.
struct runtime_core::meeting {
    std::mutex lock;
    std::condition_variable changed;
    unsigned threads = 0;  // that there are: fewer than workers if the system has no more
    unsigned attached = 0;
    unsigned left = 0;
    bool open = false;
    std::exception_ptr failure;
};

runtime_core::runtime_core(const options& how, std::unique_ptr<driver_factory> from, unsigned worker_count,
                           unsigned blocking_threads)
    : settings(how),
      drivers(std::move(from)),
      counts(how.leak_report() ? &census::open(this, blocking_threads == blocking_pool::driven) : nullptr),
      idle(worker_count),
      blocking(blocking_threads),
      root_(new context_node(context_node::kind::root)),
      shield_(new context_node(context_node::kind::shield)),
      meeting_(std::make_unique<meeting>()) {
    for (unsigned i = 0; i < worker_count; ++i) workers.push_back(std::make_unique<worker>(*this, i));
}

runtime_core::runtime_core(const options& how, monitor::listener* deadlocks)
    : runtime_core(how, drivers_for(how), worker_count(how), how.blocking_threads()) {
    watch.listen(deadlocks);
    blocking.tell(watch);
    start_threads();
}

runtime_core::runtime_core(const options& how, steering& by, std::unique_ptr<driver_factory> from)
    : runtime_core(how, std::move(from), 1, blocking_pool::driven) {
    steering_ = &by;
    home_ = pthread_self();
    workers[0]->attach_driven(by);
}

runtime_core::runtime_core(const options& how, in_outer_loop)
    : runtime_core(how, drivers_for(how, true), 1, how.blocking_threads()) {
    loop = std::make_unique<outer_loop>(*workers[0]);
}

runtime_core::~runtime_core() {
    loop.reset();                  // before its worker
    context_timers_lock().lock();  // X5
    workers.clear();
    context_timers_lock().unlock();
    shield_->unref();
    root_->unref();
}

void runtime_core::worker_thread(worker& self) noexcept {
    try {
        self.attach();
    } catch (...) {
        const std::lock_guard hold(meeting_->lock);
        if (meeting_->failure == nullptr) meeting_->failure = std::current_exception();
    }
    std::unique_lock hold(meeting_->lock);
    ++meeting_->attached;
    meeting_->changed.notify_all();
    meeting_->changed.wait(hold, [this] { return meeting_->open; });
    if (meeting_->failure == nullptr) {
        hold.unlock();
        self.run();
        hold.lock();
    }
    ++meeting_->left;  // nobody looks at another's driver any more once all have left
    meeting_->changed.notify_all();
    meeting_->changed.wait(hold, [this] { return meeting_->left == meeting_->threads; });
    hold.unlock();
    self.detach();
}

static std::exception_ptr no_thread(const std::system_error& error, const std::string& whose) {
    return std::make_exception_ptr(std::system_error(
        error.code(),
        "runnel: no thread for " + whose + " (see ulimit -u, ulimit -v, the cgroup's pids.max)"));
}

/// Starts the workers' threads, as many as the system has, and the monitor's once all have their drivers.
void runtime_core::start_threads() {
    std::exception_ptr failure;
    threads_.reserve(workers.size());
    try {
        for (const auto& each : workers)
            threads_.emplace_back([this, &self = *each] { worker_thread(self); });
    } catch (const std::system_error& error) {
        const std::string worker = "worker " + std::to_string(threads_.size());
        failure = no_thread(error, worker + " of '" + settings.name() + "'");
    }
    std::unique_lock hold(meeting_->lock);
    meeting_->threads = static_cast<unsigned>(threads_.size());
    meeting_->changed.wait(hold, [this] { return meeting_->attached == meeting_->threads; });
    if (failure == nullptr) failure = meeting_->failure;
    if (failure == nullptr) try {
            watch.start();
        } catch (const std::system_error& error) {
            failure = no_thread(error, "the monitor of '" + settings.name() + "'");
        }
    meeting_->failure = failure;
    meeting_->open = true;
    meeting_->changed.notify_all();
    hold.unlock();
    if (failure == nullptr) return;
    for (std::thread& thread : threads_) thread.join();
    std::rethrow_exception(std::move(failure));  // the destructor runs: the object was complete
}

// --- Waking ----------------------------------------------------------------------------------------

void runtime_core::inject(task_block& task) noexcept {
    check(steering_ == nullptr || pthread_equal(home_, pthread_self()),
          "simulation: a task was woken by a thread of the program, which no seed repeats");
    const visit here(*this);  // U2: the task may end, and the runtime with it, before we have rung
    queue.push(task);
    wake_one();
}

void runtime_core::wake_one() noexcept { wake(idle.worker_to_wake()); }

bool runtime_core::wake_helper() noexcept {
    const int sleeper = idle.any_sleeper();
    wake(sleeper);
    return sleeper >= 0;
}

void runtime_core::wake(int sleeper) noexcept {
    if (sleeper < 0) return;
    if (worker* here = current_worker(); here != nullptr) here->counts.wakes_sent.add();
    workers[static_cast<std::size_t>(sleeper)]->unpark();
}

// --- Stopping --------------------------------------------------------------------------------------

std::int64_t runtime_core::live() const noexcept {
    std::int64_t live = outside_started.load(std::memory_order_acquire);  // acquire: pairs with end_block()
    for (const auto& each : workers)  // ended first: a task may end between the two, not begin before
        live -= static_cast<std::int64_t>(each->counts.ended.get());
    for (const auto& each : workers) live += static_cast<std::int64_t>(each->counts.started.get());
    return live;
}

void runtime_core::begin_stopping() noexcept {
    if (stopping_.exchange(true)) return;
    for (bool more = true; more;) {
        winners won;
        stopping_object.lock.lock();
        while (!won.full()) {
            wait_node* waiter = stopping_waiters.pop_front();
            if (waiter == nullptr) break;
            task_block& task = *waiter->task;
            won.add(task, claim(*waiter));
        }
        more = won.full();
        stopping_object.lock.unlock();
        won.finish_all();
    }
}

/// Phase 3 for what runs under the root itself: it arms by a plain store, so one scan may miss it (X4).
void runtime_core::cancel_root_tasks() noexcept {
    std::vector<std::pair<std::uint64_t, task_block*>> driven;  // in a simulation: by number, not by address
    for_each_block([&](task_block& task) {
        // relaxed: hints; the claim of the same epoch confirms ctx (T3).
        if (task.runtime.load(std::memory_order_relaxed) != this) return;
        const std::uint64_t word = task.word.load();
        const std::uint64_t state = word & word_bits::state_mask;
        // relaxed: as above.
        if ((state != word_bits::armed && state != word_bits::armed_io) ||
            task.ctx.load(std::memory_order_relaxed) != root_)
            return;
        if (steering_ == nullptr)
            finish(task, claim(task, word, wait_code::cancelled));
        else
            driven.emplace_back(task.id, &task);
    });
    std::sort(driven.begin(), driven.end());
    for (const auto& [id, task] : driven)
        finish(*task, claim(*task, task->word.load(), wait_code::cancelled));
}

/// Between two looks, while others run the tasks; or we do, if nobody else can.
void runtime_core::rest(nanoseconds_t deadline, long& pause_ns) noexcept {
    if (steering_ != nullptr) return steering_->rest(deadline);
    if (loop != nullptr) {
        if (loop->poll(1000) != 0) loop->rest(pause_ns);
    } else {
        const timespec pause{0, pause_ns};
        nanosleep(&pause, nullptr);
    }
    if (pause_ns < 1'000'000) pause_ns *= 2;
}

/// They are no reason to wait: only the cancel can bring their moment. (One whose moment has just come, and that has
/// not had its turn yet, may find the root cancelled.)
bool runtime_core::only_functions_left() const noexcept {
    const std::int64_t tasks = live();
    // relaxed: read after live(): while the runtime stops no new ones begin, so what is one of both then was it before.
    return tasks != 0 && tasks == idle_functions.load(std::memory_order_relaxed);
}

bool runtime_core::wait_until_quiet(nanoseconds_t deadline, bool cancelling) noexcept {
    long pause_ns = 20'000;
    for (;;) {
        if (cancelling) cancel_root_tasks();
        // U2: visitors that start tasks are looked for before, those that wake tasks after.
        if (visitors_.load() == 0 && live() == 0 && visitors_.load() == 0) return true;
        if (drivers->now() >= deadline || (!cancelling && only_functions_left())) return false;
        rest(deadline, pause_ns);
    }
}

std::size_t runtime_core::report_stuck() noexcept {
    std::size_t stuck = 0;
    for_each_block([&](const task_block& task) {
        // relaxed: a report about tasks that do not move.
        const bool ours = task.runtime.load(std::memory_order_relaxed) == this;
        if (ours && task.kind != task_kind::thread && !task.ended) ++stuck;
    });
    if (stuck != 0 && steering_ == nullptr)
        std::fprintf(stderr, "runnel: %zu %s of '%s' did not stop\n%s", stuck, stuck == 1 ? "task" : "tasks",
                     settings.name().c_str(), describe(dump(*this).groups, drivers->now()).c_str());
    return stuck;
}

/// Plain threads that wait for what will not end.
void runtime_core::give_up_threads() noexcept {
    for_each_block([this](task_block& task) {
        // relaxed: hints; the claim decides.
        if (task.runtime.load(std::memory_order_relaxed) != this || task.kind != task_kind::thread) return;
        finish(task, claim(task, task.word.load(), wait_code::cancelled));
    });
}

static nanoseconds_t later(nanoseconds_t now, std::chrono::nanoseconds by) noexcept {
    return by.count() > no_deadline - now ? no_deadline : now + by.count();
}

std::size_t runtime_core::stop(std::chrono::nanoseconds grace) noexcept {
    begin_stopping();
    if (!wait_until_quiet(later(drivers->now(), grace), false)) {
        cancel_tree(*root_, errc::cancelled, errc::stopping);
        while (!wait_until_quiet(later(drivers->now(), settings.cancel_grace()), true)) {
            const std::size_t stuck = report_stuck();
            if (stuck == 0) continue;  // the last has just ended
            give_up_threads();
            return stuck;
        }
    }
    join_workers();
    return 0;
}

static void report_blocking(const std::vector<left_call>& left) noexcept {
    for (const left_call& call : left)
        std::fprintf(stderr, "runnel: a blocking() call of task %llu, started at %s:%u, did not end\n",
                     static_cast<unsigned long long>(call.task_id), call.spawned_at.file_name(),
                     call.spawned_at.line());
}

void runtime_core::join_workers() noexcept {
    if (!threads_.empty()) watch.stop();
    report_blocking(blocking.stop(settings.cancel_grace().count()));
    if (steering_ != nullptr) return workers[0]->detach();
    if (loop != nullptr) return loop->detach();
    {
        // Held, so that no worker leaves, and closes its doorbell, before all have been rung.
        const std::lock_guard hold(meeting_->lock);
        leaving_.store(true);
        for (const auto& each : workers) each->unpark();
    }
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
}
}
