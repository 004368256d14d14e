// sync: a mutex whose waiters can be cancelled, and events.
//
//   auto guard = co_await accounts_lock.lock();
//   if (!guard) co_return;                         // cancelled, and not locked
//
//   co_await ready.wait();                         // until somebody has called ready.set()
//
// All are wait objects with a queue. They hold up tasks, never a worker.
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
#include "detail/wait_queue.hpp"
#include "label.hpp"
#include "result.hpp"

namespace runnel {

class mutex;
class condition;

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
    friend class condition;
    explicit guard(mutex& of) noexcept : of_(&of) {}
    mutex* of_;
};

/// What mutex::lock() gives.
class [[nodiscard]] lock_operation final
    : public detail::single_case<lock_operation, result<guard>, detail::queue_case> {
public:
    explicit lock_operation(mutex& of) noexcept;
    lock_operation(lock_operation&&) noexcept = default;
    result<guard> complete(unsigned) noexcept { return guard(of()); }

    bool try_now(detail::late_wake&) noexcept override;
    detail::wait_subject subject() const noexcept override;

private:
    mutex& of() const noexcept;
};

/// One owner at a time. Not recursive. May be held over a co_await.
class mutex : detail::wait_queue {
public:
    mutex(std::source_location made_at = std::source_location::current()) noexcept : wait_queue(made_at) {}
    ~mutex() { detail::check(!taken_ && waiting.empty(), "mutex: ends while it is held or waited for"); }

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
    void label(literal text) noexcept { made.set_label(text); }

private:
    friend class guard;
    friend class lock_operation;
    void unlock() noexcept;

    bool taken_ = false;
    detail::relaxed<std::uint64_t> owner_ = 0;  // for dumps: the number of the task, if it was one
};

inline lock_operation::lock_operation(mutex& of) noexcept : single_case(of) {}
inline mutex& lock_operation::of() const noexcept { return static_cast<mutex&>(*at_); }
inline void guard::unlock() noexcept {
    if (mutex* const held = std::exchange(of_, nullptr)) held->unlock();
}

class event;

/// What event::wait() gives.
class [[nodiscard]] event_operation final
    : public detail::single_case<event_operation, result<>, detail::queue_case> {
public:
    explicit event_operation(event& of) noexcept;
    event_operation(event_operation&&) noexcept = default;

    bool try_now(detail::late_wake&) noexcept override;
    detail::wait_subject subject() const noexcept override;
};

/// Something that has happened, or has not yet: a door that stays open once set, until reset.
class event : detail::wait_queue, public detail::named_awaitable<event, event_operation> {
public:
    event(std::source_location made_at = std::source_location::current()) noexcept : wait_queue(made_at) {}
    ~event() { detail::check(waiting.empty(), "event: ends while it is waited for"); }

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
    void label(literal text) noexcept { made.set_label(text); }

private:
    friend class event_operation;

    bool set_ = false;
};

inline event_operation::event_operation(event& of) noexcept : single_case(of) {}

class auto_event;

/// What auto_event::wait() gives.
class [[nodiscard]] auto_event_operation final
    : public detail::single_case<auto_event_operation, result<>, detail::queue_case> {
public:
    explicit auto_event_operation(auto_event& of) noexcept;
    auto_event_operation(auto_event_operation&&) noexcept = default;

    bool try_now(detail::late_wake&) noexcept override;
    detail::wait_subject subject() const noexcept override;
};

/// A door that lets one pass each time it is set, and is closed behind it. Sets that nobody has used yet are one:
/// "there is something to look at", however often it was said. (semaphore(0) counts them.)
class auto_event : detail::wait_queue, public detail::named_awaitable<auto_event, auto_event_operation> {
public:
    auto_event(std::source_location made_at = std::source_location::current()) noexcept
        : wait_queue(made_at) {}
    ~auto_event() { detail::check(waiting.empty(), "auto_event: ends while it is waited for"); }

    /// Lets the one pass that has waited longest, or the next that comes. Returns whether this call made a difference:
    /// false if it was set already.
    /// Threads: any, also outside a runtime. Cost: one short lock.
    bool set() noexcept;

    /// Waits until it is set, and takes that; `co_await work` is the same, and so is `work` in a select or a
    /// with_timeout().
    /// Returns       success; an error when the wait was refused or ended, and then it has taken nothing.
    /// Cancellation  a cancel point on every call, also when it is set.
    /// Order         first come, first served.
    /// Threads       a task's. What was written before the set() that lets it pass is seen.
    /// Cost          one short spin lock; no allocation.
    auto_event_operation wait() noexcept { return auto_event_operation(*this); }
    auto_event_operation operation() noexcept { return wait(); }

    /// Its name in dumps and traces. Threads: any.
    void label(literal text) noexcept { made.set_label(text); }

private:
    friend class auto_event_operation;

    bool set_ = false;
};

inline auto_event_operation::auto_event_operation(auto_event& of) noexcept : single_case(of) {}
}
