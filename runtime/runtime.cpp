// The public runtime, and run(): a program's whole life. The engine is in runtime_core.cpp.
#include <runnel/runtime.hpp>

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "run_signals.hpp"
#include "runtime_core.hpp"
#include "task_dump.hpp"
#include "task_life.hpp"

namespace runnel {

runtime::runtime(const options& how) : core_(std::make_unique<detail::runtime_core>(how)) {}

runtime::runtime(std::unique_ptr<detail::runtime_core> core) noexcept : core_(std::move(core)) {}

runtime::~runtime() {
    if (!stopped_) (void)stop();
    if (stuck_)
        (void)core_.release();  // its workers may run those tasks for ever
    else
        detail::report_left(*core_);
}

result<> runtime::stop() {
    detail::check(!stopped_, "runtime: stopped twice");
    const detail::worker* here = detail::current_worker();
    detail::check(here == nullptr || &here->core != core_.get(), "runtime: stopped by a task of its own");
    if (core_->loop != nullptr) {
        detail::check(core_->loop->is_home(), "driven_runtime: stopped on another thread than made it");
        detail::check(!core_->loop->polling(), "driven_runtime: stopped by a task of its own");
    }
    stopped_ = true;
    stuck_ = core_->stop(core_->settings.grace()) != 0;
    if (stuck_) return errc::timed_out;
    return {};
}

context runtime::root() const noexcept { return detail::context_access::share(&core_->root()); }

unsigned runtime::workers() const noexcept { return static_cast<unsigned>(core_->workers.size()); }

const char* runtime::driver_name() const noexcept { return core_->drivers->name(); }

detail::task_block* runtime::start_frame(std::coroutine_handle<> frame, detail::promise_base& promise,
                                         detail::task_end_base& end, std::source_location at) {
    promise.on_done = &end;
    return detail::start_in(*core_, nullptr,
                            {frame, &promise, &end, detail::task_kind::spawned, nullptr, at, true});
}

// --- stopping() ------------------------------------------------------------------------------------

detail::wait_object* stopping_operation::object() noexcept {
    detail::worker* here = detail::current_worker();
    return here != nullptr ? &here->core.stopping_object : nullptr;
}

bool stopping_operation::try_now(detail::late_wake&) noexcept { return detail::current_runtime().stopping(); }

void stopping_operation::enlist(detail::task_block& task, std::uint64_t ticket) noexcept {
    detail::current_runtime().stopping_waiters.enlist(node_, task, ticket);
}

bool stopping_operation::delist() noexcept {
    return node_.linked() && detail::current_runtime().stopping_waiters.delist(node_);
}

// --- run() -----------------------------------------------------------------------------------------

namespace detail {

namespace {
/// Tells the thread that waits in poll() that the main task has ended, or never will.
class end_of_main final : public monitor::listener {
public:
    end_of_main() : fd_(eventfd(0, EFD_CLOEXEC)) {
        if (fd_ < 0) throw std::system_error(errno, std::system_category(), "runnel: eventfd for run()");
    }
    ~end_of_main() { ::close(fd_); }
    end_of_main(const end_of_main&) = delete;
    end_of_main& operator=(const end_of_main&) = delete;

    int fd() const noexcept { return fd_; }
    void tell() const noexcept {
        const std::uint64_t one = 1;
        (void)!::write(fd_, &one, sizeof one);
    }
    void deadlocked() noexcept override {
        deadlock_.store(true);
        tell();
    }
    bool deadlock() const noexcept { return deadlock_.load(); }

private:
    int fd_;
    std::atomic<bool> deadlock_{false};
};

/// The main task.
task<> supervise(task<int> body, int& status, const end_of_main& ended) {
    status = co_await std::move(body);
    ended.tell();
}

/// Without destructors: tasks still use what they would destroy.
[[noreturn]] void end_process(int status) noexcept {
    std::fflush(nullptr);
    ::_exit(status);
}

/// Returns when the main task has ended, or a signal has told the program to stop.
void wait_for_the_end(const end_of_main& ended, run_signals& signals, const runtime_core& core) {
    pollfd all[] = {{ended.fd(), POLLIN, 0}, {signals.news_fd(), POLLIN, 0}, {signals.fd(), POLLIN, 0}};
    for (bool goes_on = true; goes_on;) {
        while (::poll(all, 3, -1) < 0 && errno == EINTR) {}
        if (all[0].revents != 0) return signals.leave();
        if (all[1].revents != 0) signals.adapt();
        const int number = all[2].revents != 0 ? signals.take() : 0;
        goes_on = number == 0 || number == SIGQUIT;
        if (number == SIGQUIT) std::fputs(describe_tasks(core, core.drivers->now()).c_str(), stderr);
    }
    signals.let_go();
}
}

int report_exit(std::error_code error) noexcept {
    const bool told_to_stop = error == errc::cancelled || error == errc::stopping;
    if (!error || (told_to_stop && current_runtime().stopping())) return 0;
    std::fprintf(stderr, "runnel: main ended with: %s\n", error.message().c_str());
    return 1;
}

int run_program(const options& how, task<int> body) {
    run_signals signals(how.dump_on_quit());
    constexpr int deadlock = 2, did_not_stop = 3;
    end_of_main ended;
    int status = 0;
    runtime_core core(how, how.deadlock_report() ? &ended : nullptr);
    auto main = task_access::release(supervise(std::move(body), status, ended));
    start_in(core, nullptr,
             request_for<void>(main, task_kind::spawned, nullptr, std::source_location::current(), false));
    wait_for_the_end(ended, signals, core);
    if (ended.deadlock()) {
        std::fprintf(stderr, "runnel: %s", describe_deadlock(core, core.drivers->now()).c_str());
        end_process(deadlock);
    }
    if (core.stop(how.grace()) != 0) end_process(did_not_stop);
    report_left(core);
    return status;
}
}
}
