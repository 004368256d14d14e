// sync: a mutex whose waiters can be cancelled, and an event.
//
//   auto guard = co_await accounts_lock.lock();
//   if (!guard) co_return;                         // cancelled, and not locked
//
//   co_await ready.wait();                         // until somebody has called ready.set()
//
// Both are wait objects with a queue. They hold up tasks, never a worker.
//
//   L1  fair: unlock() makes the oldest waiter the owner, it does not free the lock for whoever is
//       faster; so nobody starves, and who was passed over is known;
//   L2  waiters are woken through the run queue, never inside unlock() or set(): the caller's stack and
//       its other locks stay out of it;
//   L3  unlock() and set() touch the object for the last time before the waiter can go on, so it may be
//       destroyed as soon as the last waiter has returned.
#pragma once

#include <utility>

#include "detail/check.hpp"
#include "detail/operation.hpp"
#include "detail/relaxed.hpp"
#include "detail/wait_object.hpp"
#include "label.hpp"
#include "result.hpp"

namespace runnel {

class mutex;

/// Holds a mutex; unlocks it at its end. Move-only, and may be moved to another task.
class [[nodiscard]] guard {
public:
    guard(guard&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
    guard& operator=(guard&& other) noexcept {
        std::swap(of_, other.of_);
        return *this;
    }
    ~guard() { unlock(); }

    /// Unlocks early. Nothing when that has been done. Threads: any.
    void unlock() noexcept;
    /// Does it still hold the mutex?
    explicit operator bool() const noexcept { return of_ != nullptr; }

private:
    friend class mutex;
    friend class lock_operation;
    explicit guard(mutex& of) noexcept : of_(&of) {}
    mutex* of_;
};

/// What mutex::lock() gives.
class [[nodiscard]] lock_operation final : public detail::single_case<lock_operation, result<guard>> {
public:
    explicit lock_operation(mutex& of) noexcept : of_(&of) {}
    lock_operation(lock_operation&&) noexcept = default;
    result<guard> complete(unsigned) noexcept { return guard(*of_); }

    detail::wait_object* object() noexcept override;
    bool try_now(detail::late_wake&) noexcept override;
    void enlist(detail::task_block& task, std::uint64_t ticket) noexcept override;
    void delist() noexcept override;
    detail::wait_subject subject() const noexcept override;

private:
    mutex* of_;
    detail::wait_node node_;
};

/// One owner at a time. Not recursive. May be held over a co_await.
class mutex : detail::wait_object {
public:
    mutex(std::source_location made_at = std::source_location::current()) noexcept : origin_(made_at) {}
    mutex(const mutex&) = delete;
    mutex& operator=(const mutex&) = delete;
    ~mutex() { detail::check(!taken_ && waiters_.empty(), "mutex: ends while it is held or waited for"); }

    /// Locks it, waiting while another has it. A select case.
    /// Returns       a guard; an error when the wait was refused or ended, and then it is not locked.
    /// Cancellation  a cancel point on every call, also when the mutex is free.
    /// Order         first come, first served (L1).
    /// Threads       a task's. What the last owner wrote before unlock() is seen.
    /// Cost          one short spin lock; no allocation.
    lock_operation lock() noexcept { return lock_operation(*this); }

    /// Locks it if it is free.
    /// Returns       a guard, or errc::not_available.
    /// Threads       any, also outside a runtime.
    result<guard> try_lock() noexcept;

    /// Is it held by anybody? A hint, unless the caller knows. Threads: any.
    bool is_locked() noexcept;

    /// Its name in dumps and traces. Threads: any.
    void label(literal text) noexcept { origin_.set_label(text); }

private:
    friend class guard;
    friend class lock_operation;
    void unlock() noexcept;

    detail::wait_list waiters_;
    bool taken_ = false;
    detail::relaxed<std::uint64_t> owner_ = 0;  // for dumps: the number of the task, if it was one
    detail::origin origin_;
};

inline void guard::unlock() noexcept {
    if (mutex* const held = std::exchange(of_, nullptr)) held->unlock();
}

class event;

/// What event::wait() gives.
class [[nodiscard]] event_operation final : public detail::single_case<event_operation, result<>> {
public:
    explicit event_operation(event& of) noexcept : of_(&of) {}
    event_operation(event_operation&&) noexcept = default;

    detail::wait_object* object() noexcept override;
    bool try_now(detail::late_wake&) noexcept override;
    void enlist(detail::task_block& task, std::uint64_t ticket) noexcept override;
    void delist() noexcept override;
    detail::wait_subject subject() const noexcept override;

private:
    event* of_;
    detail::wait_node node_;
};

/// Something that has happened, or has not yet: a door that stays open once set, until reset.
class event : detail::wait_object, public detail::named_awaitable<event, event_operation> {
public:
    event(std::source_location made_at = std::source_location::current()) noexcept : origin_(made_at) {}
    event(const event&) = delete;
    event& operator=(const event&) = delete;
    ~event() { detail::check(waiters_.empty(), "event: ends while it is waited for"); }

    /// Lets all pass who wait now or later. Returns whether this call did it: false if it was set.
    /// Threads: any, also outside a runtime. Cost: O(waiters), all claimed under one short lock.
    bool set() noexcept;

    /// Closes the door again. Who has passed has passed. Threads: any.
    void reset() noexcept;

    /// Threads: any. True: what was written before set() is seen.
    bool is_set() noexcept;

    /// Waits until it is set; `co_await ready` is the same, and so is `ready` in a select or a with_timeout().
    /// Returns       success; an error when the wait was refused or ended.
    /// Cancellation  a cancel point on every call, also when it is set.
    /// Order         waiters go on in the order in which they came.
    /// Threads       a task's. What was written before set() is seen.
    /// Cost          one short spin lock; no allocation.
    event_operation wait() noexcept { return event_operation(*this); }
    event_operation operation() noexcept { return wait(); }

    /// Its name in dumps and traces. Threads: any.
    void label(literal text) noexcept { origin_.set_label(text); }

private:
    friend class event_operation;

    detail::wait_list waiters_;
    bool set_ = false;
    detail::origin origin_;
};
}
