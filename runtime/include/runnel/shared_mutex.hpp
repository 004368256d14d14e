// shared_mutex: many readers, or one writer.
//
//   auto reading = co_await table_lock.lock_shared();   // together with other readers
//   auto writing = co_await table_lock.lock();          // alone
//
// Fair: all stand in one queue. A reader that comes while a writer waits queues up behind it, so writers do not
// starve; all readers at the head of the queue go in together, so readers do not either.
//
//   W1  it is free, or has one writer, or has readers;
//   W2  while somebody waits, the oldest of those whose wait is not over may not go in beside who is in.
//
// A task that reads already and locks it shared once more may deadlock: a writer can have queued up between the two.
// Not taken: readers that overtake (more throughput, starving writers); an upgrade from reader to writer (two of those
// deadlock: give the shared lock back, lock, and look again).
#pragma once

#include <cstdint>
#include <utility>

#include "detail/check.hpp"
#include "detail/operation.hpp"
#include "detail/wait_queue.hpp"
#include "result.hpp"

namespace runnel {

class shared_mutex;

/// Holds a shared_mutex together with other readers; unlocks it at its end. Move-only, may be moved to another task.
class [[nodiscard]] shared_guard {
public:
    shared_guard(shared_guard&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
    shared_guard& operator=(shared_guard&& other) noexcept {
        std::swap(of_, other.of_);
        return *this;
    }
    ~shared_guard() { unlock(); }

    /// Unlocks early. Nothing when that has been done. Threads: any.
    void unlock() noexcept;
    /// Does it still hold the mutex?
    explicit operator bool() const noexcept { return of_ != nullptr; }

private:
    friend class shared_mutex;
    friend class exclusive_guard;
    friend class lock_shared_operation;
    explicit shared_guard(shared_mutex& of) noexcept : of_(&of) {}
    shared_mutex* of_;
};

/// Holds a shared_mutex alone; unlocks it at its end. Move-only, may be moved to another task.
class [[nodiscard]] exclusive_guard {
public:
    exclusive_guard(exclusive_guard&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
    exclusive_guard& operator=(exclusive_guard&& other) noexcept {
        std::swap(of_, other.of_);
        return *this;
    }
    ~exclusive_guard() { unlock(); }

    /// Unlocks early. Nothing when that has been done. Threads: any.
    void unlock() noexcept;
    /// Becomes a reader, without letting a writer in between; readers that wait at the head of the queue come in.
    /// Must still hold it: check()ed. Threads: any.
    shared_guard downgrade() && noexcept;
    /// Does it still hold the mutex?
    explicit operator bool() const noexcept { return of_ != nullptr; }

private:
    friend class shared_mutex;
    friend class lock_exclusive_operation;
    explicit exclusive_guard(shared_mutex& of) noexcept : of_(&of) {}
    shared_mutex* of_;
};

/// What both kinds of lock have in common.
class shared_mutex_case : public detail::queue_case {
public:
    bool try_now(detail::late_wake&) noexcept final;
    void enlist(detail::task_block& task, std::uint64_t ticket) noexcept final;
    bool delist() noexcept final;
    void pass_on() noexcept final;
    detail::wait_subject subject() const noexcept final;

protected:
    shared_mutex_case(shared_mutex& at, bool alone) noexcept;
    shared_mutex_case(shared_mutex_case&&) noexcept = default;
    ~shared_mutex_case() = default;
    shared_mutex& of() const noexcept;

    bool alone_;
};

/// What shared_mutex::lock() gives.
class [[nodiscard]] lock_exclusive_operation final
    : public detail::single_case<lock_exclusive_operation, result<exclusive_guard>, shared_mutex_case> {
public:
    explicit lock_exclusive_operation(shared_mutex& at) noexcept : single_case(at, true) {}
    lock_exclusive_operation(lock_exclusive_operation&&) noexcept = default;
    result<exclusive_guard> complete(unsigned) noexcept { return exclusive_guard(of()); }
};

/// What shared_mutex::lock_shared() gives.
class [[nodiscard]] lock_shared_operation final
    : public detail::single_case<lock_shared_operation, result<shared_guard>, shared_mutex_case> {
public:
    explicit lock_shared_operation(shared_mutex& at) noexcept : single_case(at, false) {}
    lock_shared_operation(lock_shared_operation&&) noexcept = default;
    result<shared_guard> complete(unsigned) noexcept { return shared_guard(of()); }
};

class shared_mutex : detail::wait_queue {
public:
    shared_mutex(std::source_location made_at = std::source_location::current()) noexcept
        : wait_queue(made_at) {}
    ~shared_mutex() {
        detail::check(!writer_ && readers_ == 0 && waiting.empty(),
                      "shared_mutex: ends while it is held or waited for");
    }

    /// Locks it for this task alone, waiting while anybody has it. A select case, like lock_shared().
    /// Returns       a guard; an error when the wait was refused or ended, and then it is not locked.
    /// Cancellation  a cancel point on every call, also when it is free.
    /// Order         first come, first served, among readers and writers alike (W2).
    /// Threads       a task's. What those before wrote before they unlocked is seen.
    /// Cost          one short spin lock; no allocation.
    lock_exclusive_operation lock() noexcept { return lock_exclusive_operation(*this); }
    /// The same together with other readers.
    lock_shared_operation lock_shared() noexcept { return lock_shared_operation(*this); }

    /// Locks it if nobody has it, or for reading if no writer has it, and nobody waits.
    /// Returns       a guard, or errc::not_available.
    /// Threads       any, also outside a runtime.
    result<exclusive_guard> try_lock() noexcept;
    result<shared_guard> try_lock_shared() noexcept;

    /// Its name in dumps and traces. Threads: any.
    void label(literal text) noexcept { made.set_label(text); }

private:
    friend class shared_guard;
    friend class exclusive_guard;
    friend class shared_mutex_case;
    bool enter(bool alone) noexcept;
    void leave(bool alone, bool stay_as_reader = false) noexcept;
    void let_in() noexcept;
    bool has_room_for(bool alone) const noexcept { return !writer_ && (!alone || readers_ == 0); }

    bool writer_ = false;
    std::uint64_t readers_ = 0;
};

inline shared_mutex_case::shared_mutex_case(shared_mutex& at, bool alone) noexcept
    : queue_case(at), alone_(alone) {}
inline shared_mutex& shared_mutex_case::of() const noexcept { return static_cast<shared_mutex&>(*at_); }
inline void shared_guard::unlock() noexcept {
    if (shared_mutex* const held = std::exchange(of_, nullptr)) held->leave(false);
}
inline void exclusive_guard::unlock() noexcept {
    if (shared_mutex* const held = std::exchange(of_, nullptr)) held->leave(true);
}
inline shared_guard exclusive_guard::downgrade() && noexcept {
    detail::check(of_ != nullptr, "exclusive_guard: downgraded although it holds nothing");
    of_->leave(true, true);
    return shared_guard(*std::exchange(of_, nullptr));
}
}
