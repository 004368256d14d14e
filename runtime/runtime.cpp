// The public runtime, and run(): a program's whole life. The engine is in runtime_core.cpp.
#include <runnel/runtime.hpp>

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "runtime_core.hpp"
#include "task_life.hpp"

namespace runnel {

runtime::runtime(const options& how) : core_(std::make_unique<detail::runtime_core>(how)) {}

runtime::~runtime() {
    if (!stopped_) (void)stop();
    if (stuck_) (void)core_.release();  // its workers may run those tasks for ever
}

result<> runtime::stop() {
    detail::check(!stopped_, "runtime: stopped twice");
    const detail::worker* here = detail::current_worker();
    detail::check(here == nullptr || &here->core != core_.get(), "runtime: stopped by a task of its own");
    stopped_ = true;
    stuck_ = core_->stop(core_->settings.grace()) != 0;
    if (stuck_) return errc::timed_out;
    return {};
}

context runtime::root() const noexcept { return detail::context_access::share(&core_->root()); }

unsigned runtime::workers() const noexcept { return static_cast<unsigned>(core_->workers.size()); }

const char* runtime::driver_name() const noexcept { return core_->drivers->name(); }

runtime_counts runtime::counts() const noexcept {
    runtime_counts sum;
    for (const auto& each : core_->workers) {
        const detail::worker_counts& counts = each->counts;
        sum.started += counts.started.get();
        sum.ended += counts.ended.get();
        sum.polls += counts.polls.get();
        sum.steal_tries += counts.steal_tries.get();
        sum.steals += counts.steals.get();
        sum.parks += counts.parks.get();
        sum.wakes_sent += counts.wakes_sent.get();
        const detail::driver_counts io = each->io_counts();
        sum.submitted += io.submitted;
        sum.completed += io.completed;
        sum.enters += io.enters;
        sum.helped += io.helped;
    }
    return sum;
}

detail::task_block* runtime::start_frame(std::coroutine_handle<> frame, detail::promise_base& promise,
                                         detail::task_end_base& end, std::source_location at) {
    promise.on_done = &end;
    return detail::start_in(*core_, nullptr,
                            {frame, &promise, &end, detail::task_kind::spawned, nullptr, at, true});
}

// --- stopping() ------------------------------------------------------------------------------------

detail::wait_object* stopping_operation::object() noexcept {
    return &detail::current_runtime().stopping_object;
}

bool stopping_operation::try_now(detail::late_wake&) noexcept { return detail::current_runtime().stopping(); }

void stopping_operation::enlist(detail::task_block& task, std::uint64_t ticket) noexcept {
    node_.task = &task;
    node_.ticket = ticket;
    detail::current_runtime().stopping_waiters.push_back(node_);
}

void stopping_operation::delist() noexcept {
    if (node_.linked()) detail::current_runtime().stopping_waiters.remove(node_);
}

// --- run() -----------------------------------------------------------------------------------------

namespace detail {

namespace {
/// SIGINT and SIGTERM as a descriptor, while it lives; SIGPIPE is nobody's business in a program of sockets.
class stop_signals {
public:
    stop_signals() {
        sigemptyset(&wanted_);
        sigaddset(&wanted_, SIGINT);
        sigaddset(&wanted_, SIGTERM);
        pthread_sigmask(SIG_BLOCK, &wanted_, &before_);
        fd_ = signalfd(-1, &wanted_, SFD_CLOEXEC);
        if (fd_ >= 0) return;
        const int error = errno;
        pthread_sigmask(SIG_SETMASK, &before_, nullptr);
        throw std::system_error(error, std::system_category(), "runnel: signalfd for run()");
    }
    ~stop_signals() {
        ::close(fd_);
        pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }
    stop_signals(const stop_signals&) = delete;
    stop_signals& operator=(const stop_signals&) = delete;

    int fd() const noexcept { return fd_; }
    /// Takes the first signal; the next one has its usual effect: it ends the process.
    void take_first() noexcept {
        signalfd_siginfo info;
        (void)!::read(fd_, &info, sizeof info);
        pthread_sigmask(SIG_UNBLOCK, &wanted_, nullptr);
    }

private:
    sigset_t wanted_;
    sigset_t before_;
    int fd_ = -1;
};

/// Tells the thread that waits in poll() that the main task has ended.
class end_of_main {
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

private:
    int fd_;
};

/// The main task.
task<> supervise(task<int> body, int& status, const end_of_main& ended) {
    status = co_await std::move(body);
    ended.tell();
}

/// Returns true if a signal came before the main task had ended.
bool wait_for_end_or_signal(int ended, int signals) noexcept {
    pollfd both[] = {{ended, POLLIN, 0}, {signals, POLLIN, 0}};
    while (::poll(both, 2, -1) < 0 && errno == EINTR) {}
    return both[0].revents == 0;
}
}

int report_exit(std::error_code error) noexcept {
    const bool told_to_stop = error == errc::cancelled || error == errc::stopping;
    if (!error || (told_to_stop && current_runtime().stopping())) return 0;
    std::fprintf(stderr, "runnel: main ended with: %s\n", error.message().c_str());
    return 1;
}

int run_program(const options& how, task<int> body) {
    constexpr int did_not_stop = 3;
    stop_signals signals;
    const end_of_main ended;
    int status = 0;
    runtime_core core(how);
    auto main = task_access::release(supervise(std::move(body), status, ended));
    start_in(core, nullptr,
             request_for<void>(main, task_kind::spawned, nullptr, std::source_location::current(), false));
    if (wait_for_end_or_signal(ended.fd(), signals.fd())) signals.take_first();
    if (core.stop(how.grace()) != 0) {
        std::fflush(nullptr);
        ::_exit(did_not_stop);
    }
    return status;
}
}
}
