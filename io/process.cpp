// See runnel/process.hpp, child_state.hpp and spawning.hpp.
#include <runnel/process.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <utility>

#include <runnel/context.hpp>
#include <runnel/detail/check.hpp>
#include <runnel/detail/simulated_world.hpp>
#include <runnel/scope.hpp>
#include <runnel/signals.hpp>

#include "call_socket.hpp"
#include "child_state.hpp"
#include "reaper.hpp"
#include "spawning.hpp"

namespace runnel {

std::string to_string(const exit_status& end) {
    if (end.exited()) return "exited with " + std::to_string(end.code());
    return "killed by " + signal_error(end.signal()).message();
}

// --- command ---------------------------------------------------------------------------------------

command& command::note(std::string name, std::string value, bool is_set) {
    std::erase_if(changes_, [&](const change& each) { return each.name == name; });
    changes_.push_back({std::move(name), std::move(value), is_set});
    return *this;
}

command& command::descriptor(int fd, int as) {
    detail::check(as >= 3 && as <= 255, "command: a descriptor is passed under a number from 3 to 255");
    passed_.emplace_back(fd, as);
    return *this;
}

result<process> command::start(std::source_location at) const {
    detail::check(detail::current_world() == nullptr, "command: a simulation has no processes");
    detail::check(streams_[0].is() != stdio::kind::merged && streams_[1].is() != stdio::kind::merged,
                  "command: only error goes to_output()");
    return spawning(*this).start(at);
}

std::string command::explain(std::error_code why) const {
    std::string text = "cannot start '" + program_ + "'";
    if (!directory_.empty()) text += " in '" + directory_ + "'";
    return text + ": " + why.message();
}

// --- child_state -----------------------------------------------------------------------------------

namespace detail {

child_state::child_state(int pidfd, int number, bool own_group, std::source_location at) noexcept
    : pid(number), own_group_(own_group), ended_(pidfd < 0), lost_(ended_ ? ECHILD : 0) {
    if (ended_) return;
    handle = descriptor(pidfd, counted_kind::process, at, when_closed::told);
    siginfo_t info{};  // is it our child? See step 3 of spawning.hpp
    ended_ = waitid(P_PIDFD, static_cast<id_t>(pidfd), &info, WEXITED | WNOHANG | WNOWAIT) < 0;
    lost_ = ended_ ? ECHILD : 0;
}

/// Under the lock.
bool child_state::look() noexcept {
    if (ended_) return true;
    const int status = take_status(handle.fd(), code_, signal_);
    if (status == -EAGAIN) return false;
    lost_ = -status;
    return ended_ = true;
}

bool child_state::ended(result<exit_status>& out) noexcept {
    const std::lock_guard hold(lock_);
    if (!look()) return false;
    if (lost_ != 0)
        out = detail::system_error(-lost_);
    else
        out = exit_status(code_, signal_);
    return true;
}

int child_state::signal(int number) noexcept {
    const std::lock_guard hold(lock_);
    if (ended_ || (!own_group_ && look())) return -ESRCH;
    if (own_group_) {
        siginfo_t info{};
        const int ours = waitid(P_PIDFD, static_cast<id_t>(handle.fd()), &info, WEXITED | WNOHANG | WNOWAIT);
        if (ours == 0) return ::kill(-pid, number) < 0 ? -errno : 0;  // W2
    }
    constexpr long pidfd_send_signal = 424;
    return syscall(pidfd_send_signal, handle.fd(), number, nullptr, 0U) < 0 ? -errno : 0;
}

int child_state::release() noexcept {
    const std::lock_guard hold(lock_);
    if (look()) return -1;
    ended_ = true;
    lost_ = ECHILD;
    if (handle.watch() == nullptr) return handle.release();
    return fcntl(handle.fd(), F_DUPFD_CLOEXEC, 0);  // the number stays the watch's: W4 of io_watch.hpp
}

}

// --- Waiting for the end ---------------------------------------------------------------------------

process_wait::process_wait(detail::child_state& of) noexcept
    : io_operation_of(of.handle, detail::lane::in, detail::make_action(detail::io_kind::readability)),
      of_(&of) {
    alone_ = false;
    try_first_ = true;
    now_ = [](io_operation& self, detail::socket_calls&) noexcept {
        return static_cast<process_wait&>(self).has_ended() ? 1L : -EAGAIN;
    };
}

bool process_wait::has_ended() const noexcept {
    result<exit_status> ignored = errc::cancelled;
    return of_->ended(ignored);
}

detail::descriptor& process_wait::where() const noexcept { return of_->handle; }

/// Whatever has ended the wait: what is known counts. Of one that is traced (strace, gdb) the system says that it has
/// ended, and how only when the tracer has been told, which is soon.
result<exit_status> process_wait::complete(transfer done) noexcept {
    result<exit_status> end = errc::cancelled;
    for (int i = 0; i < 1'000; ++i) {
        if (of_->ended(end)) return end;
        if (done.error) return done.error;
        constexpr timespec moment{0, 100'000};
        nanosleep(&moment, nullptr);
    }
    return std::make_error_code(std::errc::resource_unavailable_try_again);
}

// --- process ---------------------------------------------------------------------------------------

process& process::operator=(process&& other) noexcept {
    process old(std::move(*this));
    state_ = std::exchange(other.state_, nullptr);
    input_ = std::move(other.input_);
    output_ = std::move(other.output_);
    error_ = std::move(other.error_);
    return *this;
}

process::~process() {
    if (state_ == nullptr) return;
    (void)state_->signal(SIGKILL);
    give_up();
}

/// R4.
void process::give_up() noexcept {
    const int pidfd = state_->release();
    if (pidfd >= 0) detail::reap_later(pidfd);
    delete std::exchange(state_, nullptr);
}

void process::detach() && noexcept {
    detail::check(state_ != nullptr, "process: detached after it was moved from");
    give_up();
    input_.close();
    output_.close();
    error_.close();
}

int process::pid() const noexcept { return state_->pid; }
int process::native_handle() const noexcept { return state_->handle.fd(); }

process_wait process::wait() noexcept {
    detail::check(state_ != nullptr, "process: waited for after it was moved from");
    return process_wait(*state_);
}

result<> process::kill(int signal) noexcept {
    detail::check(state_ != nullptr, "process: signalled after it was moved from");
    const int status = state_->signal(signal);
    if (status < 0) return detail::system_error(status);
    return {};
}

namespace {
task<result<exit_status>> terminate_within(process& child, std::chrono::nanoseconds grace) {
    (void)child.kill(SIGTERM);
    auto end = co_await with_timeout(grace, child.wait());
    if (end || end.error() != errc::timed_out) co_return end;
    (void)child.kill(SIGKILL);
    co_return co_await child.wait();
}
}

task<result<exit_status>> process::terminate(std::chrono::nanoseconds grace) {
    co_return co_await shielded(terminate_within(*this, grace));
}

// --- Running to the end ----------------------------------------------------------------------------

task<result<exit_status>> run_process(command what, std::chrono::nanoseconds grace) {
    if (const context here = current_context(); here.cancelled()) co_return here.err();
    auto child = what.start();
    if (!child) co_return child.error();
    auto end = co_await child->wait();
    if (!end) (void)co_await child->terminate(grace);
    co_return end;
}

namespace {

/// What collects the streams of one child. The first failure ends the others.
struct collector {
    explicit collector(const output_options& options) noexcept : how(options) {}
    const output_options& how;
    process_output got;
};

task<result<>> collect(pipe_reader& from, std::string& into, std::size_t limit) {
    for (;;) {
        auto more = co_await from.recv();
        if (!more) {
            if (more.error() == errc::end_of_stream) co_return result<>();
            co_return more.error();
        }
        const std::size_t room = limit - into.size();
        into.append(more->text().substr(0, room));
        if (more->size() > room) co_return std::make_error_code(std::errc::message_size);
    }
}

/// A child that does not read to the end is not wrong.
task<result<>> feed(pipe_writer& to, const std::string& text) {
    const transfer written = co_await to.write_all(text);
    to.close();
    if (written || written.error == std::errc::broken_pipe) co_return result<>();
    co_return written.error;
}

task<result<exit_status>> talk(scope& all, process& child, collector& into) {
    all.spawn(collect, borrow(child.output()), borrow(into.got.out), into.how.limit());
    if (child.error().is_open())
        all.spawn(collect, borrow(child.error()), borrow(into.got.err), into.how.limit());
    if (child.input().is_open()) all.spawn(feed, borrow(child.input()), borrow(into.how.input()));
    const result<> moved = co_await all.join();
    if (!moved) co_return moved.error();
    co_return co_await child.wait();
}
}

task<process_output> output(command what, output_options how) {
    what.output(stdio::pipe()).input(how.has_input() ? stdio::pipe() : stdio::null());
    if (what.stream(2).is() == stdio::kind::inherit) what.error(stdio::pipe());
    collector into(how);
    into.got.error = current_context().err();
    if (into.got.error) co_return std::move(into.got);
    auto child = what.start();
    if (!child) {
        into.got.error = child.error();
        co_return std::move(into.got);
    }
    auto end = co_await scoped(talk, borrow(*child), borrow(into));
    if (end) {
        into.got.status = *end;
    } else {
        into.got.error = end.error();
        const auto ended = co_await child->terminate(how.grace());
        if (ended) into.got.status = *ended;
    }
    co_return std::move(into.got);
}
}
