// watch_cases: a watched value that has forgotten its T, as far as public headers must know it.
//
// The templates in watch.hpp know T and nothing of the algorithm, which is in watch_core.cpp. As in a channel a case's
// node.slot is null once it went through (V1 of channel_core.hpp); until then it points to the case.
#pragma once

#include <cassert>
#include <cstdint>
#include <source_location>
#include <system_error>

#include <runnel/detail/operation.hpp>
#include <runnel/label.hpp>
#include <runnel/result.hpp>

#include "end_pointer.hpp"
#include "shared_message.hpp"

namespace runnel::detail {

class watch_core;
struct watch_view;

/// A value and its version.
struct watched {
    message_ref value;
    std::uint64_t version = 0;
};

/// Until there is a version that the view has not seen. `of` null: the end is nil, never ready.
class watch_case : public wait_case {
public:
    wait_object* object() noexcept final;
    bool try_now(late_wake&) noexcept final;
    void enlist(task_block& task, std::uint64_t ticket) noexcept final;
    bool delist() noexcept final;
    wait_subject subject() const noexcept final;
    const char* done(const late_wake&) const noexcept final;

protected:
    watch_case(watch_view* of, bool takes) noexcept : of_(of), takes_(takes) { node_.slot = this; }
    watch_case(watch_case&& other) noexcept : watch_case(other.of_, other.takes_) {}
    ~watch_case() { assert(!node_.linked() && "N3: the frame of a parked task was destroyed"); }

    bool went_through() const noexcept { return node_.slot == nullptr; }
    std::error_code why() const noexcept;
    void unsee() noexcept { node_.slot = this; }
    message_ref taken_;  // the newest value at that moment, if it takes_ one

private:
    friend class watch_core;
    watch_view* of_;
    wait_node node_;
    const bool takes_;
};

/// What changed() gives.
class [[nodiscard]] changed_operation final : public single_case<changed_operation, result<>, watch_case> {
public:
    explicit changed_operation(watch_view* of) noexcept : single_case(of, false) {}
    changed_operation(changed_operation&&) noexcept = default;
    changed_operation& operator=(changed_operation&& other) noexcept {
        return made_anew(*this, std::move(other));
    }
    result<> complete(unsigned) noexcept { return went_through() ? result<>() : result<>(why()); }
    void again() noexcept { unsee(); }
};

/// What next() gives.
template <class T>
class [[nodiscard]] next_operation final : public single_case<next_operation<T>, result<T>, watch_case> {
    using base = single_case<next_operation<T>, result<T>, watch_case>;

public:
    explicit next_operation(watch_view* of) noexcept : base(of, true) {}
    next_operation(next_operation&&) noexcept = default;
    next_operation& operator=(next_operation&& other) noexcept { return made_anew(*this, std::move(other)); }
    result<T> complete(unsigned) {
        if (!this->went_through()) return this->why();
        const message_ref mine = std::move(this->taken_);
        return result<T>(std::in_place, mine.template as<T>());
    }
    void again() noexcept { this->unsee(); }
};

/// The end that sets: counted, move-only.
class watch_setter_end {
public:
    /// Does it belong to a value? False when default-made, reset or moved from.
    explicit operator bool() const noexcept { return core_.get() != nullptr; }

    /// No value more. Who waits for a change gets the cause, and so do those who come later and have seen the last.
    /// Returns  whether this call did it: false when it was closed already.
    /// Order    the first cause counts; a false error stands for errc::closed.
    /// Threads  any. Cost: O(tasks that wait), all claimed under one short lock.
    bool close(std::error_code cause = {},
               std::source_location at = std::source_location::current()) const noexcept;

    /// Why it is closed: the cause given to close(). A false error while it is open. Threads: any.
    std::error_code why(std::source_location at = std::source_location::current()) const noexcept;
    bool closed(std::source_location at = std::source_location::current()) const noexcept {
        return static_cast<bool>(why(at));
    }

    /// How many values came after the first. Threads: any.
    std::uint64_t version(std::source_location at = std::source_location::current()) const noexcept;
    /// How many watchers there are. A hint. Threads: any.
    std::size_t receivers(std::source_location at = std::source_location::current()) const noexcept;

    /// Its name in dumps and traces, for all its ends. Threads: any.
    void label(literal text, std::source_location at = std::source_location::current()) const noexcept;

    /// Gives the end up now: it is as if default-made afterwards.
    void reset() noexcept;

protected:
    static constexpr std::uint64_t any_version = UINT64_MAX;

    watch_setter_end() noexcept = default;
    /// Of a value that has just been made, or one more.
    explicit watch_setter_end(watch_core& core) noexcept;
    watch_setter_end(watch_setter_end&&) noexcept = default;
    watch_setter_end& operator=(watch_setter_end&& other) noexcept;
    ~watch_setter_end() { drop(); }

    watch_core& core(std::source_location at) const noexcept;
    watched current(std::source_location at) const noexcept;
    /// Puts `value` in the place of the newest, which `value` then is, if that has version `expected`, or any.
    /// Returns whether it did; the cause of the close.
    result<bool> publish(message_ref& value, std::uint64_t expected, std::source_location at) const noexcept;
    watch_view* join(std::source_location at) const;

private:
    void drop() noexcept;
    end_pointer<watch_core> core_;
};

/// The end that sees: counted, move-only.
class watcher_end {
public:
    /// Does it belong to a value? False when default-made, reset or moved from.
    explicit operator bool() const noexcept { return of_.get() != nullptr; }

    /// Waits until there is a version that this watcher has not seen; then it has seen the newest.
    /// Returns       success; the cause of the close, once it has seen the last; an error when the wait was refused or
    ///               ended, and then it has seen nothing more.
    /// Cancellation  a cancel point on every call.
    /// Order         all that wait go on with the same change, in the order in which they came.
    /// Threads       a task's. The watcher must outlive the wait. What was written before the value was set is seen.
    /// Cost          one short lock; no allocation.
    [[nodiscard]] changed_operation changed(
        std::source_location at = std::source_location::current()) const noexcept {
        return changed_operation(of(at));
    }

    /// Is there a version that it has not seen? Marks nothing. Threads: any.
    bool has_changed(std::source_location at = std::source_location::current()) const noexcept;
    /// How many values came after the first. Threads: any.
    std::uint64_t version(std::source_location at = std::source_location::current()) const noexcept;
    /// Which of them it has seen. Threads: any.
    std::uint64_t seen(std::source_location at = std::source_location::current()) const noexcept;

    /// Why there will be no more: the cause given to close(); or how the last setter went: errc::closed,
    /// producer_failed (by an exception) or producer_cancelled. A false error while it is open. Threads: any.
    std::error_code why(std::source_location at = std::source_location::current()) const noexcept;
    bool closed(std::source_location at = std::source_location::current()) const noexcept {
        return static_cast<bool>(why(at));
    }

    /// The value's name in dumps and traces, for all its ends. Threads: any.
    void label(literal text, std::source_location at = std::source_location::current()) const noexcept;

    /// Gives the end up now: it is as if default-made afterwards. While it is waited for this is misuse, as is its
    /// end: check()ed.
    void reset() noexcept;

protected:
    watcher_end() noexcept = default;
    explicit watcher_end(watch_view* adopted) noexcept : of_(adopted) {}
    watcher_end(watcher_end&&) noexcept = default;
    watcher_end& operator=(watcher_end&& other) noexcept;
    ~watcher_end() { drop(); }

    watch_view* of(std::source_location at) const noexcept;
    watch_view& checked(std::source_location at) const noexcept;
    watched current(bool marks, std::source_location at) const noexcept;
    watch_view* join_beside(std::source_location at) const;

private:
    void drop() noexcept;
    end_pointer<watch_view> of_;
};

/// Throws std::bad_alloc. No end is counted yet.
watch_core& make_watch_core(message_ref initial, std::source_location made_at);
}
