// semaphore: a number of permits, of which each task takes as many as its work weighs, and gives them back.
//
//   rn::semaphore slots(4);
//   auto permit = co_await slots.acquire();      // waits while all four are taken
//   if (!permit) co_return;                      // cancelled, and nothing taken
//
//   co_await memory.acquire(image.bytes());      // a weighted one
//
// Fair: permits go to the oldest waiter, and nobody overtakes it, so one that wants many is not starved by those that
// want few. One that wants more than there will ever be waits until it is cancelled, and all behind it wait too.
//
//   H1  while somebody waits, the oldest of those whose wait is not over wants more than is free;
//   H2  permits that were claimed for a waiter are its own, also when it is cancelled at that moment: it has them.
//
// After Go's x/sync semaphore. Not taken: an acquire that takes what there is and waits for the rest with it: two of
// those deadlock.
#pragma once

#include <cstdint>
#include <utility>

#include "detail/check.hpp"
#include "detail/operation.hpp"
#include "detail/wait_queue.hpp"
#include "result.hpp"

namespace runnel {

class semaphore;

/// Permits that were taken; gives them back at its end, so the semaphore must outlive it. Move-only, and may be moved
/// to another task.
class [[nodiscard]] permit {
public:
    permit(permit&& other) noexcept
        : of_(std::exchange(other.of_, nullptr)), count_(std::exchange(other.count_, 0)) {}
    permit& operator=(permit&& other) noexcept {
        std::swap(of_, other.of_);
        std::swap(count_, other.count_);
        return *this;
    }
    ~permit() { release(); }

    std::uint64_t count() const noexcept { return count_; }
    /// Does it still hold any?
    explicit operator bool() const noexcept { return count_ != 0; }
    /// Gives them back early. Nothing when that has been done. Threads: any.
    void release() noexcept;
    /// Keeps `count` of them and gives the others to the permit that it returns: to give them back at another time.
    /// More than there are is misuse: check()ed.
    permit split(std::uint64_t count) noexcept {
        detail::check(count <= count_, "permit: split by more than it holds");
        count_ -= count;
        return permit(of_, count);
    }
    /// Never gives them back: the semaphore has so many fewer from now on, until somebody release()s them.
    void forget() noexcept { count_ = 0; }

private:
    friend class semaphore;
    friend class acquire_operation;
    permit(semaphore* of, std::uint64_t count) noexcept : of_(of), count_(count) {}

    semaphore* of_;
    std::uint64_t count_;
};

/// What semaphore::acquire() gives.
class [[nodiscard]] acquire_operation final
    : public detail::single_case<acquire_operation, result<permit>, detail::queue_case> {
public:
    acquire_operation(semaphore& of, std::uint64_t count) noexcept;
    acquire_operation(acquire_operation&&) noexcept = default;
    result<permit> complete(unsigned) noexcept { return permit(&of(), count_); }

    bool try_now(detail::late_wake&) noexcept override;
    void enlist(detail::task_block& task, std::uint64_t ticket) noexcept override;
    bool delist() noexcept override;
    void pass_on() noexcept override;
    detail::wait_subject subject() const noexcept override;

private:
    semaphore& of() const noexcept;
    std::uint64_t count_;
};

class semaphore : detail::wait_queue {
public:
    explicit semaphore(std::uint64_t permits,
                       std::source_location made_at = std::source_location::current()) noexcept
        : wait_queue(made_at), free_(permits) {}
    ~semaphore() { detail::check(waiting.empty(), "semaphore: ends while it is waited for"); }

    /// Takes `count` permits, waiting until they are free and nobody is before us. A select case.
    /// Returns       a permit; an error when the wait was refused or ended, and then nothing is taken.
    /// Cancellation  a cancel point on every call, also when there are enough.
    /// Order         first come, first served (H1).
    /// Threads       a task's. What was written before the release() of the permits is seen.
    /// Cost          one short spin lock; no allocation.
    acquire_operation acquire(std::uint64_t count = 1) noexcept { return acquire_operation(*this, count); }

    /// Takes them if they are free and nobody waits.
    /// Returns       a permit, or errc::not_available.
    /// Threads       any, also outside a runtime.
    result<permit> try_acquire(std::uint64_t count = 1) noexcept;

    /// `count` permits more, for all who wait: what a permit does at its end. Also permits that were never taken,
    /// so that a semaphore can count what has happened: semaphore(0), release() by who does it, acquire() by who
    /// waits for it. More than 2^64 in all is misuse: check()ed.
    /// Threads: any. Cost: O(waiters that can go on), all claimed under one short lock.
    void release(std::uint64_t count = 1) noexcept;

    /// Permits that are free. A hint, unless the caller knows. Threads: any.
    std::uint64_t available() noexcept;

    /// Its name in dumps and traces. Threads: any.
    void label(literal text) noexcept { made.set_label(text); }

private:
    friend class acquire_operation;
    bool take(std::uint64_t count) noexcept;

    std::uint64_t free_;
};

inline void permit::release() noexcept {
    if (const std::uint64_t held = std::exchange(count_, 0); held != 0) of_->release(held);
}
inline acquire_operation::acquire_operation(semaphore& of, std::uint64_t count) noexcept
    : single_case(of), count_(count) {}
inline semaphore& acquire_operation::of() const noexcept { return static_cast<semaphore&>(*at_); }
}
