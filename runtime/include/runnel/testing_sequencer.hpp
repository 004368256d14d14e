// testing_sequencer: steps of different tasks in one order, where a test needs just that one.
//
//   rn::testing::sequencer order;
//   // one task                                   // another
//   auto held = co_await lock.lock();             co_await order.reach(2);
//   co_await order.reach(1);                      auto mine = co_await lock.lock();   // it is held by now
//
// Steps are numbered from 1 on. reach(n) waits until n-1 has been reached: what a task does before it reaches a step
// happens before all that others do after a later one. Under run() as in a simulation, with any number of workers.
//
//   Q1  one task reaches each step, once;
//   Q2  who waits for a step is woken by the task that has reached the one before, after that goes on.
//
// Not taken: sleeping for as long as the other task surely needs; it is too short one day, and too long every day.
#pragma once

#include <cstdint>

#include "detail/operation.hpp"
#include "detail/wait_object.hpp"
#include "result.hpp"

namespace runnel::testing {

class sequencer;

/// What sequencer::reach() gives.
class [[nodiscard]] step_operation final : public detail::single_case<step_operation, result<>> {
public:
    step_operation(sequencer& of, std::uint32_t step) noexcept : of_(&of), step_(step) {
        node_.slot = &step_;
    }
    step_operation(step_operation&& other) noexcept : step_operation(*other.of_, other.step_) {}
    result<> complete(unsigned) noexcept;

    detail::wait_object* object() noexcept override;
    bool try_now(detail::late_wake&) noexcept override;
    void enlist(detail::task_block& task, std::uint64_t ticket) noexcept override;
    bool delist() noexcept override;
    detail::wait_subject subject() const noexcept override { return {"for its step of a sequencer"}; }

private:
    sequencer* of_;
    std::uint32_t step_;
    detail::wait_node node_;
};

class sequencer : detail::wait_object {
public:
    sequencer() noexcept = default;
    sequencer(const sequencer&) = delete;
    sequencer& operator=(const sequencer&) = delete;
    ~sequencer();

    /// Reaches `step` as soon as step-1 has been reached (0 has been from the beginning). A select case.
    /// Returns       success; an error when the wait was refused or ended: the step has not been reached then.
    /// Cancellation  a cancel point on every call.
    /// Threads       a task's. A step that has been reached already is misuse: check()ed.
    step_operation reach(std::uint32_t step) noexcept;

    /// The last step that was reached. Threads: any.
    std::uint32_t reached() noexcept;

private:
    friend class step_operation;
    void passed(std::uint32_t step) noexcept;

    detail::wait_list waiters_;
    std::uint32_t reached_ = 0;
};
}
