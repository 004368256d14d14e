// thread_wait: how a plain thread waits for what tasks wait for.
//
// It is a thread of control like any other (detail/wait.hpp): it has a task block while it waits, stands in the same
// queues, is claimed by the same CAS, and a dump shows it. What is different:
//
//   1  it is in no run queue: finish() wakes it where it sleeps, on a futex in its stack;
//   2  it has no context: nothing refuses its wait, nor ends it early, but a runtime that gives up its tasks, when it
//      is the end of one of them that the thread waits for;
//   3  its deadlines stand in timers of its own, which it fires itself: its sleep ends at the earliest.
//
//   L1  the block is taken before any lock, for that may fail; it is attached to a runtime under the locks, for only
//       there it is known that the runtime is needed, and there;
//   L2  in the view of the deadlock report (deadlock.hpp) the thread is one of the program, also while it waits: once
//       it is woken it may wake anybody.
//
// Not taken: a condition variable per object that a thread may wait at (channel, event, …): each would cost those who
// never need it, and a select of several could not be waited for.
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ctime>

#include <runnel/block_on.hpp>
#include <runnel/detail/check.hpp>
#include "context_node.hpp"
#include "runtime_core.hpp"
#include "steering.hpp"
#include "task_life.hpp"
#include "timers.hpp"
#include "wait_many.hpp"

namespace runnel::detail {

namespace {

constinit thread_local timer_heap* own_timers = nullptr;

/// What every such wait is under: 2. It never dies, for threads may wait while the program exits.
context_node& no_context() {
    static context_node& shield = *new context_node(context_node::kind::shield);
    return shield;
}

/// Where the thread sleeps, on its stack.
class thread_sleep {
public:
    thread_sleep() : task_(begin_thread_block(no_context())) {
        task_.owner = &woken_;
        own_timers = &timers_;
    }
    thread_sleep(const thread_sleep&) = delete;
    thread_sleep& operator=(const thread_sleep&) = delete;
    ~thread_sleep() {
        own_timers = nullptr;
        if (attached_) end_block(task_);
        free_ended(task_);
    }

    task_block& task() noexcept { return task_; }
    void attach(runtime_core& core) noexcept {
        check(core.loop == nullptr || !core.loop->is_home(),
              "this thread drives the runtime that it waits for: poll() until it has what it waits for");
        attach_thread_block(core, task_);
        attached_ = true;
    }

    /// Until somebody has claimed the wait.
    void sleep() noexcept {
        while (woken_.load(std::memory_order_acquire) == 0) {  // acquire: pairs with wake_thread()
            const nanoseconds_t due = timers_.earliest();
            if (due == no_deadline) {
                futex_wait(nullptr);
                continue;
            }
            const nanoseconds_t now = monotonic_now();
            if (due <= now) {
                timers_.fire_due(now);
                continue;
            }
            const nanoseconds_t left = due - now;
            constexpr nanoseconds_t second = 1'000'000'000;
            const timespec time{static_cast<time_t>(left / second), static_cast<long>(left % second)};
            futex_wait(&time);
        }
    }

private:
    void futex_wait(const timespec* longest) noexcept {
        ::syscall(SYS_futex, &woken_, FUTEX_WAIT_PRIVATE, 0, longest, nullptr, 0);
    }

    std::atomic<int> woken_{0};
    bool attached_ = false;
    timer_heap timers_;
    task_block& task_;
};

/// Steps 4 and 5.
void park(thread_sleep& sleep, const several_cases& of, const wait_cases* lists, nanoseconds_t now) noexcept {
    task_block& task = sleep.task();
    const std::uint64_t ticket = next_ticket(task);
    enlist_all(of, task, ticket);
    const void* const shown = lists != nullptr ? tagged(*lists) : of.cases[0];
    task.waits_at.store(shown, std::memory_order_relaxed);  // relaxed: published by the arming
    task.waits_since = coarse_time(now);
    arm(task, ticket, {});
}
}

timer_heap* timers_of_thread() noexcept { return own_timers; }

void wake_thread(task_block& task) noexcept {
    check(current_steering() == nullptr,
          "simulation: a task woke a thread of the program, which no seed repeats");
    auto& woken = *static_cast<std::atomic<int>*>(task.owner);
    woken.store(1, std::memory_order_release);  // release: pairs with the acquire in sleep()
    // The sleeper may be gone now; a futex wake of an address that nobody waits at does nothing.
    ::syscall(SYS_futex, &woken, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

unsigned wait_on_thread(const several_cases& of, const wait_cases* lists, runtime_core* core) {
    check(tls_worker == nullptr, "a worker must not wait in a blocking call: co_await it instead");
    if (const int ready = try_many(of); ready >= 0) return static_cast<unsigned>(ready);
    thread_sleep sleep;  // L1
    {
        locked_objects objects(of);
        late_wake wake;
        const int ready = try_cases(of, wake);
        if (ready < 0) {
            if (core != nullptr) sleep.attach(*core);
            park(sleep, of, lists, core != nullptr ? core->drivers->now() : monotonic_now());
        }
        objects.unlock();
        finish(wake);
        if (ready >= 0) return static_cast<unsigned>(ready);
    }
    sleep.sleep();
    // relaxed: acquired by the sleep.
    const unsigned code = word_bits::code_of(sleep.task().word.load(std::memory_order_relaxed));
    leave_all_but(code, of.cases, of.count);
    return code;
}

unsigned block_on_cases(const several_cases& of, const wait_cases& lists) {
    return wait_on_thread(of, of.count == 1 ? nullptr : &lists, nullptr);
}
}
