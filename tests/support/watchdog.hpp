// watchdog: ends a test program that hangs, and says in which test.
//
// A thread that looks at a deadline. Each test case sets it, its end clears it; when it passes, the name of
// the test is printed, then whatever on_expiry() was given (a task dump, say), and the program aborts.
// doctest's own timeout judges only after a case has returned, so it cannot see a hang.
//
// RUNNEL_TEST_TIMEOUT (seconds) overrides the deadline; 0 switches the watchdog off, for debuggers.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace support {

class watchdog {
public:
    /// The one of this program; starts its thread at the first use.
    static watchdog& instance();

    /// A test began: it has `limit()` from now on.
    void begin(std::string test);

    /// The test ended: nothing to watch until the next one.
    void end();

    /// Gives the running test more (or less) time, counted from now.
    void allow(std::chrono::seconds time);

    /// Called once before the abort, on the watchdog's thread, to print what helps to find the hang.
    void on_expiry(void (*report)()) noexcept;

    /// The time that a test has by default: 60 seconds, more where a sanitizer slows it down.
    static std::chrono::seconds limit();

private:
    watchdog();
    ~watchdog();
    void watch();

    std::mutex mutex_;
    std::condition_variable changed_;
    std::string test_;  // empty while no test runs
    std::chrono::steady_clock::time_point deadline_;
    void (*report_)() = nullptr;
    bool stopping_ = false;
    std::thread thread_;  // last: it uses the members above
};
}
