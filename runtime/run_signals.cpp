// See run_signals.hpp.
#include "run_signals.hpp"

#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <string>
#include <system_error>

namespace runnel::detail {

namespace {

/// Signals are the process's, so this is, too.
struct all_waiting {
    std::mutex lock;
    std::condition_variable adapted;
    signal_set taken = 0;
    run_signals* first = nullptr;
};
all_waiting& waiting() noexcept {
    static all_waiting& those = *new all_waiting;  // never destroyed: a thread may come late
    return those;
}

sigset_t system_set(signal_set from) noexcept {
    sigset_t made;
    sigemptyset(&made);
    for (int number = 1; number <= 64; ++number)
        if ((from & signal_bit(number)) != 0) sigaddset(&made, number);
    return made;
}

signal_set set_of(const sigset_t& from) noexcept {
    signal_set made = 0;
    for (int number = 1; number <= 64; ++number)
        if (sigismember(&from, number) == 1) made |= signal_bit(number);
    return made;
}

[[noreturn]] void refuse(const char* call) {
    throw std::system_error(errno, std::system_category(), std::string("runnel: ") + call + " for run()");
}
}

run_signals::run_signals(bool quit_too)
    : wanted_(signal_bit(SIGINT) | signal_bit(SIGTERM) | (quit_too ? signal_bit(SIGQUIT) : 0)) {
    const sigset_t block = system_set(wanted_);
    fd_ = signalfd(-1, &block, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd_ < 0) refuse("signalfd");
    news_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (news_ < 0) {
        const int error = errno;
        ::close(fd_);
        errno = error;
        refuse("eventfd");
    }
    pthread_sigmask(SIG_BLOCK, &block, &before_);
    blocked_before_ = set_of(before_);
    join_others();
}

run_signals::~run_signals() {
    leave();
    ::close(news_);
    ::close(fd_);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

int run_signals::take() noexcept {
    signalfd_siginfo info{};
    return ::read(fd_, &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
}

void run_signals::let_go() noexcept {
    leave();
    const std::lock_guard hold(waiting().lock);
    const sigset_t ours = system_set(wanted_ & ~waiting().taken);
    pthread_sigmask(SIG_UNBLOCK, &ours, nullptr);
}

void run_signals::join_others() noexcept {
    all_waiting& those = waiting();
    const std::lock_guard hold(those.lock);
    next_ = those.first;
    those.first = this;
    listed_ = true;
    apply(those.taken);
}

void run_signals::leave() noexcept {
    all_waiting& those = waiting();
    const std::lock_guard hold(those.lock);
    if (!listed_) return;
    listed_ = false;
    run_signals** at = &those.first;
    while (*at != this) at = &(*at)->next_;
    *at = next_;
    adapted_ = true;
    those.adapted.notify_all();
}

void run_signals::adapt() noexcept {
    std::uint64_t news = 0;
    (void)!::read(news_, &news, sizeof news);
    all_waiting& those = waiting();
    const std::lock_guard hold(those.lock);
    apply(those.taken);
    adapted_ = true;
    those.adapted.notify_all();
}

/// Blocked before it is read by another, and read by another no more before it is let through.
void run_signals::apply(signal_set taken) noexcept {
    const sigset_t mask = system_set(blocked_before_ | wanted_ | taken);
    const sigset_t read = system_set(wanted_ & ~taken);
    pthread_sigmask(SIG_SETMASK, &mask, nullptr);
    (void)signalfd(fd_, &read, 0);
}

void take_signals(signal_set those) noexcept {
    all_waiting& all = waiting();
    std::unique_lock hold(all.lock);
    all.taken = those;
    for (run_signals* each = all.first; each != nullptr; each = each->next_) {
        each->adapted_ = false;
        const std::uint64_t one = 1;
        (void)!::write(each->news_, &one, sizeof one);
    }
    all.adapted.wait(hold, [&] {
        for (const run_signals* each = all.first; each != nullptr; each = each->next_)
            if (!each->adapted_) return false;
        return true;
    });
}
}
