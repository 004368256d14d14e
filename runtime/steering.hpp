// steering: who decides, in a simulated runtime, what is otherwise left to chance.
//
// A worker that has one is driven by it (worker.hpp, "driven from outside") and asks it wherever it would
// draw a random number. What a plain runtime would end the program for is told to it instead.
#pragma once

#include <cstdint>
#include <string>

#include <runnel/detail/driver.hpp>
#include <runnel/detail/simulated_world.hpp>
#include <runnel/testing.hpp>

namespace runnel::detail {

struct task_block;
struct wait_object;
class wait_list;

class steering : public simulator {
public:
    /// Notes a failure; the first counts. The run ends at the next point.
    virtual void fail(testing::failure kind, std::string what) noexcept = 0;
    /// Goes on by one point, or lets time pass, at most until `deadline`: for who waits outside the loop.
    virtual void rest(nanoseconds_t deadline) noexcept = 0;
    virtual std::uint64_t seed() const noexcept = 0;
    /// Whoever waits here goes on when all others wait.
    virtual wait_object& all_wait() noexcept = 0;
    virtual wait_list& all_waiters() noexcept = 0;
    /// Time passes up to there and no further; no_deadline: freely.
    virtual void hold_time(nanoseconds_t until) noexcept = 0;
    virtual bool holds_time() const noexcept = 0;
    /// Time passes although tasks are ready.
    virtual void spend(nanoseconds_t time) noexcept = 0;
    /// What surrounds its tasks; made when it is first asked for.
    virtual simulated_world& world() = 0;

protected:
    ~steering() = default;
};

/// That of the worker that runs this; null in a plain runtime and outside.
steering* current_steering() noexcept;
}
