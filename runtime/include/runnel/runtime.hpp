// runtime: the workers that run tasks; and run(), a program's whole life.
//
//   int main() { return rn::run(serve); }            // SIGINT and SIGTERM stop it in phases
//
//   rn::runtime background(rn::options().workers(2).name("jobs"));     // or inside another program
//   auto sum = background.spawn(add, 1, 2).wait();                     // from a plain thread
//
// Several runtimes may live in one process. Stopping has phases (runtime_core.hpp): first nothing new is
// taken and stopping() is told; then, after a time of grace, the root context is cancelled, which ends
// every wait that is not shielded; what still does not stop is reported by name and place.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "context.hpp"
#include "go.hpp"
#include "stopping.hpp"

namespace runnel {

struct runtime_metrics;

namespace detail {
class driver_factory;
}

/// Where a runtime's workers sleep and do I/O.
enum class driver_kind : unsigned char {
    automatic,  // RUNNEL_DRIVER=uring|epoll|none if set, else the ring, or epoll where that is refused
    uring,      // io_uring
    epoll,      // the same where there is no io_uring
    none,       // a futex: timers and wake-ups, no I/O
};

/// How a runtime is made. Each setter returns the object, each getter has the same name.
class options {
public:
    /// 0 (the default): one per processor that this process may use: its affinity and cgroup quota. At most
    /// 1023; more are refused when the runtime is made (std::invalid_argument).
    options& workers(unsigned count) noexcept { return workers_ = count, *this; }
    options& name(std::string text) { return name_ = std::move(text), *this; }
    options& driver(driver_kind kind) noexcept { return driver_ = kind, *this; }
    /// From `stopping` to the cancel of the root context. Default 0.
    options& grace(std::chrono::nanoseconds time) noexcept { return grace_ = time, *this; }
    /// From the cancel until what is left is given up and reported. Default 5 s.
    options& cancel_grace(std::chrono::nanoseconds time) noexcept { return cancel_grace_ = time, *this; }
    /// How long a worker without work looks for some before it sleeps. Default: see runtime/README.md.
    options& spin(std::chrono::nanoseconds time) noexcept { return spin_ = time, *this; }
    /// Threads for blocking(), at least 1. Default 512.
    options& blocking_threads(unsigned most) noexcept {
        return blocking_threads_ = most > 0 ? most : 1, *this;
    }
    /// A task that holds its worker for so long without waiting is reported on stderr, once per such turn. 0: none
    /// is. Default 100 ms; it is looked for every 2 ms.
    options& slow_turn(std::chrono::nanoseconds time) noexcept { return slow_turn_ = time, *this; }
    /// run() prints what all tasks do on SIGQUIT, instead of ending with a core. Default off.
    options& dump_on_quit(bool on) noexcept { return dump_on_quit_ = on, *this; }
    /// run() looks whether nothing can ever run again; then it prints all tasks and ends the process.
    /// A program with threads of its own is not looked at, for any of them could wake a task. Default on.
    options& deadlock_report(bool on) noexcept { return deadlock_report_ = on, *this; }
    /// So many threads of the program never wake a task (they write logs, …): a deadlock is one in spite of them.
    options& bystander_threads(unsigned count) noexcept { return bystander_threads_ = count, *this; }
    /// Tasks that wait for a channel<T> to which nobody else has a handle are looked for when all workers sleep, at
    /// most this often, and reported on stderr, once each; the program goes on. 0: none are. Default 10 s.
    options& orphan_report(std::chrono::nanoseconds every) noexcept { return orphan_report_ = every, *this; }
    /// When the runtime is destroyed, or run() returns, it prints on stderr what is left of the channels, contexts,
    /// timers, tickers, sockets and listeners that its tasks have made, and of its tasks those whose join_handle was
    /// kept: how many, made where. What others have taken over by then is left, too. A runtime with tasks that did
    /// not stop has said so already, and prints nothing. Default off. Cost: a lock for each when it is made, and
    /// when it goes.
    options& leak_report(bool on) noexcept { return leak_report_ = on, *this; }
    /// For tests: a task that is reported for ignoring cancellation ends the program. Default off.
    options& strict(bool on) noexcept { return strict_ = on, *this; }

    unsigned workers() const noexcept { return workers_; }
    const std::string& name() const noexcept { return name_; }
    driver_kind driver() const noexcept { return driver_; }
    std::chrono::nanoseconds grace() const noexcept { return grace_; }
    std::chrono::nanoseconds cancel_grace() const noexcept { return cancel_grace_; }
    std::chrono::nanoseconds spin() const noexcept { return spin_; }
    unsigned blocking_threads() const noexcept { return blocking_threads_; }
    std::chrono::nanoseconds slow_turn() const noexcept { return slow_turn_; }
    bool dump_on_quit() const noexcept { return dump_on_quit_; }
    bool deadlock_report() const noexcept { return deadlock_report_; }
    unsigned bystander_threads() const noexcept { return bystander_threads_; }
    std::chrono::nanoseconds orphan_report() const noexcept { return orphan_report_; }
    bool leak_report() const noexcept { return leak_report_; }
    bool strict() const noexcept { return strict_; }

    /// For tests and simulation: drivers of one's own, instead of driver().
    using driver_maker = std::unique_ptr<detail::driver_factory> (*)();
    options& drivers_from(driver_maker make) noexcept { return drivers_from_ = make, *this; }
    driver_maker drivers_from() const noexcept { return drivers_from_; }

private:
    unsigned workers_ = 0;
    std::string name_ = "runnel";
    driver_kind driver_ = driver_kind::automatic;
    std::chrono::nanoseconds grace_{0};
    std::chrono::nanoseconds cancel_grace_{std::chrono::seconds(5)};
    std::chrono::nanoseconds spin_{0};
    unsigned blocking_threads_ = 512;
    std::chrono::nanoseconds slow_turn_{std::chrono::milliseconds(100)};
    std::chrono::nanoseconds orphan_report_{std::chrono::seconds(10)};
    bool dump_on_quit_ = false;
    unsigned bystander_threads_ = 0;
    bool deadlock_report_ = true;
    bool leak_report_ = false;
    bool strict_ = false;
    driver_maker drivers_from_ = nullptr;
};

/// Workers, and the tasks that they run.
class runtime : public detail::spawner<runtime> {
public:
    /// Starts the workers. Throws std::system_error when the driver is refused (what and why) or a thread
    /// cannot be had.
    explicit runtime(const options& how = options());
    /// stop(), if it has not been called.
    ~runtime();
    runtime(const runtime&) = delete;
    runtime& operator=(const runtime&) = delete;

    // spawn(f, args…): as go(), under the root context, from any thread. Returns a join_handle, which a plain
    // thread may wait() for. Refused once the runtime begins to stop.

    /// Stops in phases and returns errc::timed_out when tasks were left that did not stop (they are leaked, and
    /// reported on stderr). Threads: not from a task of this runtime (check()ed).
    result<> stop();

    /// The root context: cancelled by stop(), never before.
    context root() const noexcept;
    unsigned workers() const noexcept;
    const char* driver_name() const noexcept;
    /// What it has done, in numbers: metrics.hpp. Threads: any, until the destructor.
    runtime_metrics metrics() const;
    /// What its tasks do: see dump.hpp. Threads: any, until the destructor.
    std::string dump_tasks() const;

protected:
    explicit runtime(std::unique_ptr<detail::runtime_core> core) noexcept;
    detail::runtime_core& core() const noexcept { return *core_; }

private:
    friend class detail::spawner<runtime>;
    template <class T>
    join_handle<T> start(task<T> body, std::source_location at) {
        return handle_access::start(std::move(body), at, [&](auto frame) {
            return start_frame(frame, frame.promise(), detail::end_of_task<T>, at);
        });
    }
    detail::task_block* start_frame(std::coroutine_handle<> frame, detail::promise_base& promise,
                                    detail::task_end_base& end, std::source_location at);

    std::unique_ptr<detail::runtime_core> core_;  // stays until the end: others may be about to spawn
    bool stopped_ = false;
    bool stuck_ = false;
};

namespace detail {
int run_program(const options& how, task<int> body);
/// The exit status for an error that main ended with, which is printed; that it was told to stop is none.
int report_exit(std::error_code error) noexcept;

template <class T>
task<int> as_exit_status(task<T> body) {
    if constexpr (std::is_void_v<T>) {
        co_await std::move(body);
        co_return 0;
    } else if constexpr (holds_error<T>) {
        T end = co_await std::move(body);
        co_return report_exit(error_in(end));
    } else {
        co_return static_cast<int>(co_await std::move(body));
    }
}
}

/// Runs f(args…) as the main task of a runtime of its own, until it has returned and everything has stopped.
/// SIGINT and SIGTERM begin to stop it; a second one ends the process at once.
/// Returns   the exit status: what a task<int> returned; 0 for task<> ; 1 for a result with an error, which is
///           printed. A deadlock is reported and ends the process with status 2, a task that does not stop with 3.
/// Throws    what making the runtime throws, before f runs.
/// Aborts    with a report when f throws: there is nobody to receive it.
/// Threads   the caller's waits. Its signal mask is put back before it returns.
template <class F, class... Args>
    requires(!std::is_same_v<std::remove_cvref_t<F>, options>)
int run(F&& f, Args&&... args) {
    return detail::run_program(
        options(), detail::as_exit_status(detail::body(std::forward<F>(f), std::forward<Args>(args)...)));
}
template <class F, class... Args>
int run(const options& how, F&& f, Args&&... args) {
    return detail::run_program(
        how, detail::as_exit_status(detail::body(std::forward<F>(f), std::forward<Args>(args)...)));
}
}
