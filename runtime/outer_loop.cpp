// See outer_loop.hpp, whose steps and invariants are named here; and the public face of it.
#include "outer_loop.hpp"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include <runnel/driven_runtime.hpp>
#include "runtime_core.hpp"

namespace runnel {

namespace detail {

namespace {
constexpr nanoseconds_t second = 1'000'000'000;

/// O1, while it lives.
class on_this_thread {
public:
    explicit on_this_thread(worker& here) noexcept : before_(std::exchange(tls_worker, &here)) {}
    ~on_this_thread() { tls_worker = before_; }
    on_this_thread(const on_this_thread&) = delete;
    on_this_thread& operator=(const on_this_thread&) = delete;

private:
    worker_local* const before_;
};

int or_refuse(int fd, const char* call) {
    if (fd >= 0) return fd;
    throw std::system_error(errno, std::system_category(),
                            std::string(call) + " for a driven runtime: too many open files? (ulimit -n)");
}
}

outer_loop::outer_loop(worker& driven) : driven_(driven), home_(pthread_self()) {
    driven_.attach_borrowed();
    try {
        set_ = or_refuse(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
        alarm_ = or_refuse(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), "timerfd_create");
        watch(driven_.io().poll_fd());
        watch(alarm_);
    } catch (...) {
        detach();
        throw;
    }
}

outer_loop::~outer_loop() { detach(); }

void outer_loop::watch(int fd) {
    epoll_event readable{};
    readable.events = EPOLLIN;
    or_refuse(epoll_ctl(set_, EPOLL_CTL_ADD, fd, &readable), "epoll_ctl");
}

void outer_loop::detach() noexcept {
    for (int* fd : {&set_, &alarm_})
        if (const int open = std::exchange(*fd, -1); open >= 0) ::close(open);
    if (driven_.has_driver()) {
        const on_this_thread here(driven_);
        driven_.detach();
    }
}

nanoseconds_t outer_loop::poll(unsigned turns) noexcept {
    const on_this_thread here(driven_);
    polling_ = true;
    driven_.end_doze();
    bool asleep = false;
    for (; turns > 0 && !asleep; --turns) asleep = !driven_.run_one() && driven_.doze();
    const nanoseconds_t next = asleep ? driven_.timers.earliest() : 0;
    set_alarm(next);
    polling_ = false;
    return next;
}

/// A time that has passed is as good as now; 0 would disarm it.
void outer_loop::set_alarm(nanoseconds_t when) noexcept {
    if (when == alarm_at_ && when > driven_.tick_time) return;  // O2: it has not gone off
    alarm_at_ = when;
    itimerspec at{};
    if (when != no_deadline) {
        const nanoseconds_t shown = when > 0 ? when : 1;
        at.it_value = {shown / second, shown % second};
    }
    timerfd_settime(alarm_, TFD_TIMER_ABSTIME, &at, nullptr);
}

void outer_loop::rest(nanoseconds_t at_most) const noexcept {
    pollfd readable{set_, POLLIN, 0};
    const timespec limit{at_most / second, at_most % second};
    ::ppoll(&readable, 1, &limit, nullptr);
}
}

driven_runtime::driven_runtime(const options& how)
    : runtime(std::make_unique<detail::runtime_core>(how, detail::runtime_core::in_outer_loop())) {}

std::chrono::nanoseconds driven_runtime::poll(unsigned turns) {
    detail::outer_loop& loop = *core().loop;
    if (loop.fd() < 0) return std::chrono::nanoseconds::max();  // stopped
    detail::check(loop.is_home(), "driven_runtime: poll() on another thread than made it");
    detail::check(!loop.polling(), "driven_runtime: poll() by a task of its own");
    const detail::nanoseconds_t next = loop.poll(turns);
    if (next == detail::no_deadline) return std::chrono::nanoseconds::max();
    const detail::nanoseconds_t left = next - core().drivers->now();
    return std::chrono::nanoseconds(left > 0 ? left : 0);
}

int driven_runtime::poll_fd() const noexcept { return core().loop->fd(); }
}
