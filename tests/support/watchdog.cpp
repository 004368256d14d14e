// watchdog: see the header.
#include "watchdog.hpp"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "build_kind.hpp"

namespace support {

watchdog& watchdog::instance() {
    static watchdog one;
    return one;
}

watchdog::watchdog() {
    if (limit().count() == 0) return;
    // The thread must not be the one that takes a signal which a test is waiting for.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] { watch(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

watchdog::~watchdog() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_one();
    if (thread_.joinable()) thread_.join();
}

void watchdog::begin(std::string test) {
    const std::lock_guard lock(mutex_);
    test_ = std::move(test);
    deadline_ = std::chrono::steady_clock::now() + limit();
    changed_.notify_one();
}

void watchdog::end() {
    const std::lock_guard lock(mutex_);
    test_.clear();
    changed_.notify_one();
}

void watchdog::allow(std::chrono::seconds time) {
    const std::lock_guard lock(mutex_);
    deadline_ = std::chrono::steady_clock::now() + time;
    changed_.notify_one();
}

void watchdog::on_expiry(void (*report)()) noexcept {
    const std::lock_guard lock(mutex_);
    report_ = report;
}

std::chrono::seconds watchdog::limit() {
    if (const char* seconds = std::getenv("RUNNEL_TEST_TIMEOUT"))
        return std::chrono::seconds(std::atoi(seconds));
    return std::chrono::seconds(sanitized ? 300 : 60);
}

void watchdog::watch() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        if (test_.empty()) {
            changed_.wait(lock);
        } else if (std::chrono::steady_clock::now() < deadline_) {
            changed_.wait_until(lock, deadline_);
        } else {
            std::fprintf(stderr, "\nwatchdog: the test \"%s\" hangs\n", test_.c_str());
            if (report_) report_();
            std::abort();
        }
    }
}
}
