// barrier: a number of tasks that go on together, round after round.
//
//   rn::barrier turn(4);                          // each of four tasks:
//   while (…) { step(); if (!co_await turn.arrive()) co_return; }
//
// One round: the first three that arrive wait, the fourth lets all of them go on, and the next round begins.
//
//   B1  a round is complete when as many have arrived as take part, and not before;
//   B2  whose wait ends by a cancel before that has not arrived: the round waits for another. Whoever was there when
//       the round became complete is told so, also when it is cancelled at that moment;
//   B3  who arrives for the next round never gets into the one that is just going on.
//
// In a select, another case that happens in the very moment in which the round becomes complete may win although the
// arrival counted: rounds() tells.
#pragma once

#include <cstdint>

#include "detail/check.hpp"
#include "detail/operation.hpp"
#include "detail/wait_queue.hpp"
#include "result.hpp"

namespace runnel {

class barrier;

/// What barrier::arrive() gives.
class [[nodiscard]] arrive_operation final
    : public detail::single_case<arrive_operation, result<bool>, detail::queue_case> {
public:
    explicit arrive_operation(barrier& at) noexcept;
    arrive_operation(arrive_operation&&) noexcept = default;
    result<bool> complete(unsigned) noexcept;
    result<bool> fail(std::error_code error) noexcept;

    bool try_now(detail::late_wake&) noexcept override;
    void enlist(detail::task_block& task, std::uint64_t ticket) noexcept override;
    bool delist() noexcept override;
    detail::wait_subject subject() const noexcept override;

private:
    barrier& of() const noexcept;
    std::uint64_t round_ = 0;  // the one that it has arrived for
    bool last_ = false;
    bool counted_ = false;  // B2
};

class barrier : detail::wait_queue {
public:
    /// For `parties` tasks, at least one: check()ed.
    explicit barrier(std::uint64_t parties,
                     std::source_location made_at = std::source_location::current()) noexcept
        : wait_queue(made_at), parties_(parties) {
        detail::check(parties != 0, "barrier: for nobody", made_at);
    }
    ~barrier() { detail::check(waiting.empty(), "barrier: ends while it is waited for"); }

    /// Arrives, and waits for the others of this round. A select case.
    /// Returns       true to the one that came last, false to the others; an error when the wait was refused or ended,
    ///               and then it has not arrived (B2).
    /// Cancellation  a cancel point on every call, also for the last.
    /// Order         those of a round go on in the order in which they came.
    /// Threads       a task's. What each wrote before it arrived is seen by all after.
    /// Cost          one short spin lock, the last two; no allocation.
    arrive_operation arrive() noexcept { return arrive_operation(*this); }

    /// One task fewer takes part, from this round on: for one that has not arrived, and will not. Completes the
    /// round if only that one was missing. More often than there are parties is misuse: check()ed. Threads: any.
    void leave() noexcept;

    /// How many rounds are complete. Threads: any.
    std::uint64_t rounds() noexcept;

    /// Its name in dumps and traces. Threads: any.
    void label(literal text) noexcept { made.set_label(text); }

private:
    friend class arrive_operation;
    void forget_ended_waits() noexcept;
    bool complete_round() noexcept;
    void release_before(std::uint64_t round) noexcept;

    std::uint64_t parties_;
    std::uint64_t arrived_ = 0;
    std::uint64_t round_ = 0;
};

inline arrive_operation::arrive_operation(barrier& at) noexcept : single_case(at) {}
inline barrier& arrive_operation::of() const noexcept { return static_cast<barrier&>(*at_); }
}
