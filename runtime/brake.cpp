// See brake.hpp.
#include "brake.hpp"

#include <cstdio>
#include <cstdlib>

#include <runnel/detail/timer_node.hpp>
#include <runnel/task.hpp>
#include "runtime_core.hpp"
#include "steering.hpp"
#include "task_dump.hpp"
#include "task_life.hpp"
#include "task_names.hpp"
#include "timers.hpp"

namespace runnel::detail {

namespace {
constexpr nanoseconds_t millisecond = 1'000'000;

/// Puts a task back into its queue later. The task is not armed: nothing else may wake it.
struct pause final : timer_callback {
    explicit pause(task_block& whom) noexcept : task(whom) { node.callback = this; }
    bool hold() noexcept override { return true; }  // nobody else has it
    void run() noexcept override {
        schedule(task);
        delete this;
    }
    timer_node node;
    task_block& task;
};

void report(const task_block& task, std::coroutine_handle<> awaiter) noexcept {
    const std::source_location& where = promise_of(awaiter).await_at;
    std::fprintf(stderr,
                 "runnel: %s, goes on waiting at %s:%u although its context is cancelled; "
                 "it is slowed down, and ended by an exception after %d such waits\n",
                 introduce(task).c_str(), where.file_name(), where.line(), int{brake_throws_at});
}
}

bool brake(task_block& task, std::coroutine_handle<> awaiter) noexcept {
    if (task.refused < brake_throws_at) ++task.refused;
    if (task.refused < brake_yields_at || task.refused >= brake_throws_at) return false;
    task.leaf = awaiter;
    if (task.refused < brake_sleeps_at) {
        schedule_back(task);
        return true;
    }
    if (task.refused == brake_sleeps_at) {
        if (steering* by = current_steering(); by != nullptr) {
            by->fail(testing::failure::ignored_cancel, "a task goes on waiting at " +
                                                           place(promise_of(awaiter).await_at) +
                                                           " although it is cancelled");
        } else {
            report(task, awaiter);
            if (current_runtime().settings.strict()) std::abort();
        }
    }
    auto* later = new pause(task);
    const int step = task.refused - brake_sleeps_at;  // 1, 2, 3 … up to 100 ms
    later->node.when = clock_now() + (step < 100 ? step + 1 : 100) * millisecond;
    current_timers().insert(later->node);
    return true;
}
}
