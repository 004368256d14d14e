// outer_loop: drives the one worker of a runtime from somebody else's event loop: see driven_runtime.hpp.
//
// poll()
//   1  end the sleep that the last call began: from here on nobody rings;
//   2  take turns, as the worker's own loop does, until there are none or they have been enough;
//   3  none: begin a sleep. Whoever has work for us from now on rings, which the driver's descriptor shows; what came
//      before is seen by the look that comes after the announcement (worker.hpp, driver.hpp). Something seen: from 2;
//   4  set the alarm to the next deadline, or to now if there is more to do.
//
//   O1  the thread is the worker's in 1 to 4, and a plain one outside; a poll() inside another runtime's task gives
//       the thread back to that one;
//   O2  after poll() the alarm stands at the deadline that it was to return at, or has gone off: a due alarm
//       stays readable until it is set anew.
//
// Not taken: a driver that keeps the alarm in its ring: a timeout there is a request for each change, and takes a
// completion to cancel.
#pragma once

#include <pthread.h>

#include <runnel/detail/driver.hpp>

namespace runnel::detail {

class worker;

class outer_loop {
public:
    /// Makes the calling thread that of the worker. Throws std::system_error.
    explicit outer_loop(worker& driven);
    ~outer_loop();
    outer_loop(const outer_loop&) = delete;
    outer_loop& operator=(const outer_loop&) = delete;

    /// Returns when it wants to be called again, by the driver's clock: 0 for at once.
    nanoseconds_t poll(unsigned turns) noexcept;
    /// Sleeps until there is something to do, or for `at_most`.
    void rest(nanoseconds_t at_most) const noexcept;
    /// Before the destructor, after which the worker has no driver.
    void detach() noexcept;
    int fd() const noexcept { return set_; }
    bool is_home() const noexcept { return pthread_equal(home_, pthread_self()) != 0; }
    /// Does a task of it run? Also when that is in the poll() of another runtime.
    bool polling() const noexcept { return polling_; }

private:
    void watch(int fd);
    void set_alarm(nanoseconds_t when) noexcept;

    worker& driven_;
    const pthread_t home_;
    int set_ = -1;    // an epoll of the driver's descriptor and the alarm
    int alarm_ = -1;  // a timerfd
    nanoseconds_t alarm_at_ = no_deadline;
    bool polling_ = false;
};
}
