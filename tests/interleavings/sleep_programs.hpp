// sleep_programs: small programs about sleeping: the futex driver alone, and workers that search, sleep and are woken.
//
// The driver, the set of sleepers and the queues are the library's. A worker's way between them is a copy of
// worker.cpp, with the same names, reduced to what decides who sleeps: no ticks by time, timers, I/O, forks or monitor.
// Whoever changes find_task(), sleep(), unpark(), post() or inject() there changes them here too.
//
// A task that waits for another keeps its worker busy meanwhile, as a loop that does not give way would: so a task
// that waits in the injector while workers sleep is found. One in the ready queue of the busy worker is no failure:
// it is not lost, and the monitor has it fetched (R2 and R3 of worker.hpp).
#pragma once

#include <memory>
#include <utility>

#include <runnel/detail/driver.hpp>
#include "queue_programs.hpp"
#include "runtime/idle.hpp"

namespace interleavings {

using runnel::detail::driver;
using runnel::detail::idle_set;

inline std::unique_ptr<driver> make_futex_driver() {
    static const auto drivers = runnel::detail::make_futex_drivers();
    return drivers->make(0);
}

/// Each writes a letter and rings; the sleeper looks for letters whenever it wakes. The first two times it sleeps until
/// a deadline at most, if so wanted.
class letters final : public program {
public:
    explicit letters(unsigned writers, bool deadline = false) : writers_(writers), deadline_(deadline) {}
    unsigned threads() const override { return 1 + writers_; }
    void thread(unsigned index) override {
        if (index == 0) return read();
        letter_[index].set(1);
        written_[index].store(1, std::memory_order_relaxed);  // the ring makes it seen
        driver_->wake();
    }
    void at_end() override { expect(read_ == writers_, "a letter was not read"); }

private:
    void read() {
        bool seen[3] = {};
        for (unsigned round = 0; read_ < writers_; ++round) {
            driver_->wait(deadline_ && round < 2 ? 1 : runnel::detail::no_deadline);
            for (unsigned i = 1; i <= writers_; ++i) {
                if (seen[i] || written_[i].load(std::memory_order_relaxed) == 0) continue;
                seen[i] = true;
                ++read_;
                // Else it may be that this one has not rung yet, and what we see of it we see by chance.
                if (writers_ == 1 && !deadline_) expect(letter_[i].get() == 1, "a letter without its text");
            }
        }
    }

    const unsigned writers_;
    const bool deadline_;
    std::unique_ptr<driver> driver_ = make_futex_driver();
    plain<int> letter_[3];
    runnel::detail::atomic<int> written_[3]{{0}, {0}, {0}};
    unsigned read_ = 0;
};

/// What is done wrong on purpose.
struct mistakes {
    bool no_second_look = false;
    bool come_back_as_nobody = false;   // I4: a searcher that finds something in step 2 does not say so
    bool wake_before_publish = false;   // of work from outside
    bool no_wake_after_search = false;  // the last searcher that finds something wakes nobody
    bool no_ring = false;               // unpark() leaves it to others to end the sleep
};

class little_runtime;

class little_worker {
public:
    void start(little_runtime& of, unsigned number) {
        core_ = &of;
        index_ = number;
        driver_ = make_futex_driver();
    }
    void run();
    void post(task_block& task);
    void unpark();
    void push_ready(task_block& task);
    bool has_stealable() const { return ready.size() != 0; }

    run_queue ready;

private:
    friend class little_runtime;
    task_block* from_injector();
    void take_messages();
    void tick();
    task_block* find_task();
    task_block* search();
    bool anything_to_do();
    void sleep(bool was_searching);

    little_runtime* core_ = nullptr;
    unsigned index_ = 0;
    bool searching_ = false;
    std::unique_ptr<driver> driver_;
    runnel::detail::atomic<task_block*> inbox_{nullptr};
    enum state : int { awake, asleep, notified };
    runnel::detail::atomic<int> state_{awake};
};

/// Up to three workers; what is left of the threads are visitors.
class little_runtime : public program {
public:
    little_runtime(unsigned workers, unsigned visitors, mistakes which)
        : worker_count(workers), wrong(which), idle(workers), visitors_(visitors) {
        for (unsigned i = 0; i < workers; ++i) workers_[i].start(*this, i);
    }
    unsigned threads() const override { return worker_count + visitors_; }
    void thread(unsigned index) override {
        if (index < worker_count)
            workers_[index].run();
        else
            visit(index - worker_count);
    }
    unsigned patience() const override { return 100; }
    const char* at_rest() override {
        unsigned busy = 0;
        for (const job& each : jobs) busy += each.taken_times == 1 && !ended_[&each - jobs];
        for (unsigned i = 0; i < worker_count; ++i) {
            const little_worker& each = workers_[i];
            if (each.inbox_.load() != nullptr && !busy_[i]) return "a worker sleeps that has a message";
            if (each.has_stealable() && busy == 0) return "all workers sleep and one has a task";
        }
        if (queue.size() != 0 && busy < worker_count)
            return "a task waits in the injector while a worker sleeps";
        at_quiet_ = busy == 0;
        return nullptr;
    }
    void at_end() override {
        if (!at_quiet_) return;
        for (std::size_t i = 0; i < used; ++i) expect(jobs[i].taken_times == 1, "a task was lost");
        expect(idle.awake_now() == 0, "all sleep and some count as awake");
        expect(idle.worth_waking(), "all sleep and some count as searching");
    }

    // As in runtime_core.cpp.
    void inject(task_block& task) {
        if (wrong.wake_before_publish) wake_one();
        queue.push(task);
        if (!wrong.wake_before_publish) wake_one();
    }
    void wake_one() { wake(idle.worker_to_wake()); }
    little_worker& worker(unsigned index) { return workers_[index]; }
    /// The next job, filled.
    job& fresh() { return filled(jobs[used++]); }

    void run_task(task_block& task, little_worker& here, unsigned index) {
        take(&task);
        const auto number = static_cast<std::size_t>(&static_cast<job&>(task) - jobs);
        busy_[index] = true;
        body(number, here);
        busy_[index] = false;
        ended_[number] = true;
    }

    const unsigned worker_count;
    const mistakes wrong;
    injector queue;
    idle_set idle;

protected:
    virtual void visit(unsigned visitor) = 0;
    virtual void body(std::size_t /*job*/, little_worker& /*here*/) {}

    static constexpr std::size_t jobs_max = 6;
    job jobs[jobs_max];
    std::size_t used = 0;

    bool at_quiet() const { return at_quiet_; }

private:
    void wake(int sleeper) {
        if (sleeper >= 0) workers_[sleeper].unpark();
    }
    const unsigned visitors_;
    bool at_quiet_ = true;
    bool busy_[3] = {};
    bool ended_[jobs_max] = {};
    little_worker workers_[3];
};

// --- As in worker.cpp --------------------------------------------------------------------------------

inline void little_worker::push_ready(task_block& task) {
    ready.push(task);
    if (core_->idle.worth_waking() && ready.size() >= 2) core_->wake_one();
}

inline void little_worker::post(task_block& task) {
    task_block* head = inbox_.load(std::memory_order_relaxed);
    do {
        task.queue_next = head;
    } while (
        !inbox_.compare_exchange_weak(head, &task, std::memory_order_release, std::memory_order_relaxed));
    unpark();
}

inline void little_worker::unpark() {
    if (state_.exchange(notified) == asleep && !core_->wrong.no_ring) driver_->wake();
}

inline task_block* little_worker::from_injector() {
    const std::uint32_t size = core_->queue.size();
    if (size == 0) return nullptr;
    task_block* taken[8];
    const std::uint32_t count = core_->queue.pop(taken, size / core_->worker_count + 1);
    if (count == 0) return nullptr;
    for (std::uint32_t i = 1; i < count; ++i) push_ready(*taken[i]);
    return taken[0];
}

inline void little_worker::take_messages() {
    if (inbox_.load(std::memory_order_relaxed) == nullptr) return;
    task_block* stack = inbox_.exchange(nullptr, std::memory_order_acquire);
    while (stack != nullptr) push_ready(*std::exchange(stack, stack->queue_next));
}

inline void little_worker::tick() {
    if (task_block* const task = from_injector(); task != nullptr) push_ready(*task);
}

inline task_block* little_worker::find_task() {
    take_messages();
    if (task_block* const task = ready.pop(); task != nullptr) return task;
    tick();
    if (task_block* const task = ready.pop(); task != nullptr) return task;
    return search();
}

inline task_block* little_worker::search() {
    if (!searching_) {
        if (!core_->idle.start_searching()) return nullptr;
        searching_ = true;
    }
    for (unsigned i = 1; i < core_->worker_count; ++i) {
        little_worker& victim = core_->worker((index_ + i) % core_->worker_count);
        if (victim.ready.size() != 0 && victim.ready.steal_into(ready) != 0) return ready.pop();
    }
    return from_injector();
}

inline bool little_worker::anything_to_do() {
    if (core_->queue.size() != 0 || inbox_.load(std::memory_order_relaxed) != nullptr) return true;
    for (unsigned i = 1; i < core_->worker_count; ++i)
        if (core_->worker((index_ + i) % core_->worker_count).has_stealable()) return true;
    return false;
}

inline void little_worker::sleep(bool was_searching) {
    core_->idle.sleep(index_, was_searching);
    const bool found = !core_->wrong.no_second_look && anything_to_do();
    if (!found) {
        int seen = awake;
        if (state_.compare_exchange_strong(seen, asleep)) driver_->wait(runnel::detail::no_deadline);
        state_.exchange(awake);
    }
    searching_ = found && was_searching && !core_->wrong.come_back_as_nobody;  // I4
    if (!core_->idle.come_back(index_, searching_)) searching_ = true;
}

inline void little_worker::run() {
    for (;;) {  // until at rest
        task_block* const task = find_task();
        if (task == nullptr) {
            sleep(searching_);
            continue;
        }
        if (searching_) {
            searching_ = false;
            if (core_->idle.stop_searching() && !core_->wrong.no_wake_after_search) core_->wake_one();
        }
        core_->run_task(*task, *this, index_);
    }
}

// --- Programs --------------------------------------------------------------------------------------

/// A visitor injects tasks one after the other; the first waits for the last one.
class injected final : public little_runtime {
public:
    injected(unsigned workers, unsigned count, mistakes which = {})
        : little_runtime(workers, 1, which), count_(count) {}

protected:
    void visit(unsigned) override {
        for (unsigned i = 0; i < count_; ++i) inject(fresh());
    }
    void body(std::size_t number, little_worker&) override {
        if (number + 1 == count_) last_done_.store(1, std::memory_order_release);
        if (number == 0)
            while (last_done_.load(std::memory_order_acquire) == 0) {}
    }

private:
    const unsigned count_;
    runnel::detail::atomic<int> last_done_{0};
};

/// Of two tasks that were injected together the last waits for the first: a worker that has taken both runs the last
/// first, and the other one is to be woken for the backlog (R2).
class backlog final : public little_runtime {
public:
    backlog() : little_runtime(2, 1, {}) {}
    const char* at_rest() override {
        const char* const wrong_anyway = little_runtime::at_rest();
        return wrong_anyway != nullptr || at_quiet() ? wrong_anyway : "a task waits behind a busy worker";
    }

protected:
    void visit(unsigned) override {
        for (int i = 0; i < 2; ++i) inject(fresh());
    }
    void body(std::size_t number, little_worker&) override {
        if (number == 0) first_done_.store(1, std::memory_order_release);
        if (number == 1)
            while (first_done_.load(std::memory_order_acquire) == 0) {}
    }

private:
    runnel::detail::atomic<int> first_done_{0};
};

/// Two visitors send each worker a message.
class posted final : public little_runtime {
public:
    explicit posted(mistakes which = {}) : little_runtime(2, 2, which) {
        for (int i = 0; i < 3; ++i) fresh();
    }

protected:
    void visit(unsigned visitor) override {
        worker(0).post(filled(jobs[visitor]));
        if (visitor == 1) worker(1).post(filled(jobs[2]));
    }
};

/// A task makes two others ready where it runs.
class spawned final : public little_runtime {
public:
    explicit spawned(unsigned workers, mistakes which = {}) : little_runtime(workers, 1, which) {}

protected:
    void visit(unsigned) override { inject(fresh()); }
    void body(std::size_t number, little_worker& here) override {
        if (number != 0) return;
        for (int i = 0; i < 3; ++i) here.push_ready(fresh());
    }
};
}
