// testing_clock: virtual time by hand, in a simulation.
//
//   rn::testing::virtual_clock clock;       // time stands still now, although all tasks wait
//   auto session = rn::go(keep_alive, …);
//   co_await clock.advance(29s);            // what is due until then happens, and nothing after it
//   rn::testing::expect(pings == 0);
//   co_await clock.advance(1s);
//   rn::testing::expect(pings == 1);
//
// Without one time jumps to the next deadline whenever all tasks wait (testing.hpp).
#pragma once

#include <chrono>

#include "task.hpp"
#include "time.hpp"

namespace runnel::testing {

/// While one lives, time passes by advance() only. Simulations only, one at a time (both check()ed).
class virtual_clock {
public:
    virtual_clock();
    virtual_clock(const virtual_clock&) = delete;
    virtual_clock& operator=(const virtual_clock&) = delete;
    ~virtual_clock();

    clock::time_point now() const noexcept { return clock::now(); }

    /// Lets `time` pass: all that is due until then, its end included, happens in its order; returns when every
    /// other task waits again. Cancelled, it returns at once, and time stands where it is.
    task<> advance(std::chrono::nanoseconds time);
};

/// The turn of the running task takes that long: time passes although others are ready, and what is due meanwhile
/// comes late for them. Simulations only (check()ed). See also options::slow_turns().
void spend(std::chrono::nanoseconds time);
}
