// runtimes: the short way to run a task on plain workers, and to say on which of them it runs.
//
//     run_on(2, [&]() -> rn::task<> { ... CHECK(x); co_return; });
//
//     co_await move_to(1);             // this task runs on worker 1 from here on, until it moves again
//     CHECK(worker_index() == 1);
//     co_await move_to(anywhere);      // from the next suspension on it runs where it likes
#pragma once

#include <runnel/runtime.hpp>

#include <system_error>
#include <vector>

#include "runtime/worker.hpp"

namespace support {

/// Workers without I/O: they sleep on a futex.
inline runnel::options workers(unsigned count) {
    runnel::options how;
    how.workers(count).driver(runnel::driver_kind::none).strict(true);
    return how;
}

/// The same, with epoll, and with io_uring where the kernel lets us: what concerns sleeping and waking holds on all.
inline std::vector<runnel::options> on_each_driver(unsigned count) {
    std::vector<runnel::options> all{workers(count), workers(count).driver(runnel::driver_kind::epoll)};
    all.push_back(workers(count).driver(runnel::driver_kind::uring));
    try {
        const runnel::runtime probe(all.back());
    } catch (const std::system_error&) {
        all.pop_back();
    }
    return all;
}

/// Runs body() as the first task of a runtime with `count` workers, stops the runtime, and gives the value.
template <class F>
auto run_on(unsigned count, F&& body) {
    runnel::runtime here(workers(count));
    auto end = here.spawn(std::forward<F>(body)).wait();
    here.stop().value();
    return end;
}

/// The worker that runs this.
inline unsigned worker_index() noexcept { return runnel::detail::current_worker()->index; }

inline constexpr unsigned anywhere = runnel::detail::task_block::anywhere;

class [[nodiscard]] move_to {
public:
    using result_type = void;
    explicit move_to(unsigned worker) noexcept : worker_(worker) {}

    class awaiter_type {
    public:
        explicit awaiter_type(unsigned worker) noexcept : worker_(worker) {}
        awaiter_type(const awaiter_type&) = delete;
        awaiter_type& operator=(const awaiter_type&) = delete;
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> awaiter) noexcept {
            runnel::detail::task_block& task = runnel::detail::running_task();
            task.pinned = static_cast<std::uint16_t>(worker_);
            task.routed = worker_ != anywhere;
            task.leaf = awaiter;
            runnel::detail::schedule_back(task);  // it may run there at once: `this` is gone
        }
        void await_resume() const noexcept {}

    private:
        unsigned worker_;
    };
    awaiter_type awaiter() const noexcept { return awaiter_type(worker_); }

private:
    unsigned worker_;
};
}
