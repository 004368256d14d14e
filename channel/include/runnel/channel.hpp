// channel: values that go from task to task, in order, each to exactly one receiver.
//
//   auto [out, in] = rn::make_channel<int>(4);   // room for 4; 0 = a send waits for its receiver
//   rn::go(producer, std::move(out));            // co_await out.send(i)
//   while (auto n = co_await in.recv()) …        // ends when the last sender is gone and all is drained
//
// Two worlds, which do not mix:
//
//   make_channel<T>(n)   sender<T> and receiver<T>: counted, move-only ends; share() makes another of the
//                        same kind. The last sender that goes closes the channel, and in.why() tells
//                        how it went; the last receiver that goes closes it for the senders.
//   channel<T>(n)        Go's: one handle, copied freely, not counted, closed by hand.
//
// What is the same in both
//   FIFO: values arrive in the order in which their sends happened; tasks that wait to send, and tasks that
//   wait to receive, are served first come first served. A value goes straight to a receiver that waits.
//   Closing ends sending, from whichever side it comes: who waits to send or comes later gets the cause at once
//   and keeps the value, receivers get what was sent before, then the cause. Whoever waits always wakes.
//   A default-made end is Go's nil channel: never ready, so waiting for it ends by cancellation only, and
//   a select skips it. An end that was moved from is a mistake: it is check()ed.
//   T must be nothrow-movable and aligned to 16 at most: its move runs under the channel's lock, alone.
//   Ends may be used by any number of threads at once, apart from moving, assigning, resetting and ending one: an end
//   must outlive the waits for its operations (of the last of its kind that is check()ed).
//
// Not taken: a receiver's close that throws away what was sent (a receiver that wants that drops its
// end); panics for sending on a closed channel (Go): here it is an error like any other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>
#include <system_error>
#include <type_traits>
#include <utility>

#include <runnel/detail/check.hpp>
#include <runnel/from.hpp>
#include <runnel/label.hpp>
#include <runnel/result.hpp>

#include "channel_options.hpp"
#include "detail/channel_operations.hpp"
#include "send_permit.hpp"

// clang warns of an operation that is kept beyond its arguments; g++ does not know the attribute that says so.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wattributes"

namespace runnel {

namespace detail {
/// Throws std::bad_alloc.
channel_core* make_core(const element_type& type, channel_settings&& settings, bool joint,
                        std::source_location made_at);
bool add_sender_if_any(channel_core& core) noexcept;

/// g++ 12 destroys a braced aggregate that is part of an awaited expression twice.
#if defined(__clang__)
template <class>
inline constexpr bool breaks_in_await = false;
#else
template <class T>
inline constexpr bool breaks_in_await = std::is_aggregate_v<T> && !std::is_trivially_copyable_v<T>;
#endif

template <class T>
constexpr void require_element() noexcept {
    static_assert(std::is_object_v<T> && std::is_same_v<T, std::remove_cv_t<T>>,
                  "a channel carries objects: no references, no const");
    static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_destructible_v<T>,
                  "a channel moves its values under a lock: moving a T must not throw; "
                  "declare its move constructor noexcept, or send a std::unique_ptr<T>");
    static_assert(alignof(T) <= 16, "a channel's values live in coroutine frames, which are aligned to 16");
}
}

/// What a channel holds and has seen, at one moment. Values: each that was accepted is received, dropped or still here.
struct channel_stats {
    std::size_t items = 0;       // values that wait to be received
    std::size_t high_water = 0;  // the most that ever did
    std::size_t reserved = 0;    // places that are held by permits
    std::uint64_t sent = 0, received = 0, dropped = 0;
    std::int64_t oldest_age_ms = 0;  // how long the oldest of the items has waited
    std::size_t waiting_senders = 0, waiting_receivers = 0;
    std::uint32_t senders = 0, receivers = 0;  // living ends; 0 of a channel<T>, which does not count them
};

/// What all ends have in common: whether and why the channel is closed, and how full it is.
class channel_end {
public:
    /// Does it belong to a channel? False when default-made, reset or moved from.
    explicit operator bool() const noexcept { return core_ != nullptr; }

    /// Nothing more is sent. What was sent can still be received; parked senders and receivers wake.
    /// Returns  whether this call did it: false when it was closed already, and for a nil channel.
    /// Order    the first cause counts; a false error stands for errc::closed.
    /// Threads  any. Cost: one lock, and one more per 64 tasks that wait.
    bool close(std::error_code cause = {},
               std::source_location at = std::source_location::current()) const noexcept;

    /// Why it is closed: the cause given to close(); or how the last sender went: errc::closed,
    /// producer_failed (by an exception) or producer_cancelled. A false error while it is open.
    std::error_code why(std::source_location at = std::source_location::current()) const noexcept;
    bool closed(std::source_location at = std::source_location::current()) const noexcept {
        return static_cast<bool>(why(at));
    }

    /// How many values wait to be received, at this moment; with the places that permits hold at most capacity().
    std::size_t len(std::source_location at = std::source_location::current()) const noexcept;
    std::size_t capacity(std::source_location at = std::source_location::current()) const noexcept;

    /// Gives it more room or less. With more, senders that wait go on; with less, nothing is lost: it takes no more
    /// until so much has been received. Nothing for a nil channel, and for a closed one.
    /// Throws std::bad_alloc, and has changed nothing.
    /// Threads: any. Cost: an allocation, O(values and senders that wait).
    void set_capacity(std::size_t capacity, std::source_location at = std::source_location::current()) const;

    /// What it holds and has seen. Threads: any. Cost: O(tasks that wait), under the lock.
    channel_stats stats(std::source_location at = std::source_location::current()) const noexcept;

    /// Its name in dumps and traces, for all its ends. Nothing for a nil channel. Threads: any.
    void label(literal text, std::source_location at = std::source_location::current()) const noexcept;

    /// Gives the end up now: it is as if default-made afterwards. In a select this switches a case off.
    void reset() noexcept;

protected:
    channel_end() noexcept = default;
    channel_end(detail::channel_core* core, detail::end_kind kind) noexcept;
    channel_end(const channel_end& other) noexcept;
    channel_end(channel_end&& other) noexcept;
    channel_end& operator=(channel_end&& other) noexcept;
    ~channel_end();

    /// Of one that is nil: takes over a count that has been made.
    void adopt(detail::channel_core* counted, detail::end_kind kind) noexcept {
        core_ = counted;
        kind_ = kind;
    }
    detail::channel_core* core(std::source_location at) const noexcept {
        detail::check(!moved_from_, "channel: an end was used after it was moved from", at);
        return core_;
    }

private:
    friend class detail::channel_core;
    void drop() noexcept;
    void forget() noexcept;

    detail::channel_core* core_ = nullptr;
    detail::end_kind kind_ = detail::end_kind::joint;
    bool moved_from_ = false;
};

/// What sender<T> and channel<T> can do.
template <class T, class End>
class sending {
public:
    /// Sends `value`, waiting while nobody takes it and there is no room.
    /// Returns       success once it is sent; else why not: the cause of the close, or of the cancellation.
    /// Throws        what copying a T throws, before anything else happens.
    /// Cancellation  a cancel point on every call. A send that was cancelled sent nothing: `value` is untouched.
    /// Order         first come, first served among those that wait.
    /// Threads       any number at once. What was written before is visible after the recv() that gets it.
    /// Cost          one copy, one move, no allocation; one short lock, never held while waiting.
    [[nodiscard]] detail::owned_send<T> send(const T& value,
                                             std::source_location at = std::source_location::current()) const
        [[clang::lifetimebound]] {
        static_assert(std::is_copy_constructible_v<T>,
                      "this T cannot be copied: send(rn::from(x)) moves it when it is sent");
        return detail::owned_send<T>(target(at), at, value);
    }
    /// The same without the copy: refers to `value` and moves from it when it is sent, and only then.
    [[nodiscard]] detail::lent_send send(
        T&& value [[clang::lifetimebound]],
        std::source_location at = std::source_location::current()) const noexcept [[clang::lifetimebound]] {
        static_assert(!detail::breaks_in_await<T>,
                      "g++ destroys a braced aggregate in a co_await expression twice: "
                      "name it on the line before and send(rn::from(x)), or emplace its members");
        return detail::lent_send(target(at), __builtin_addressof(value), at);
    }
    /// The same for an object with a name, which stays the caller's when it is not sent.
    [[nodiscard]] detail::lent_send send(
        from<T> value, std::source_location at = std::source_location::current()) const noexcept
        [[clang::lifetimebound]] {
        return detail::lent_send(target(at), __builtin_addressof(value.get()), at);
    }
    /// Sends T(args…), built at the call unless the channel is closed already. Building runs outside
    /// the lock, so it may throw and take its time. When it is built but not sent it is destroyed: what
    /// must survive that has a name and goes through send(rn::from(x)).
    template <class... Args>
    [[nodiscard]] detail::owned_send<T> emplace(Args&&... args) const [[clang::lifetimebound]] {
        static_assert(std::is_constructible_v<T, Args...>, "emplace: no T can be made from these arguments");
        return detail::owned_send<T>(target(std::source_location::current()), std::source_location(),
                                     std::forward<Args>(args)...);
    }

    /// Sends without waiting, if somebody waits for it or there is room.
    /// Returns       success; errc::full; errc::no_receiver when it has no room at all, and nobody waits to receive
    ///               (also for a nil channel); or the cause of the close. When it fails `value` is untouched.
    /// Cancellation  none: it is tried whether the context is cancelled or not.
    /// Threads       any, also outside a runtime.
    /// Cost          as send(); when there is no room mostly a few loads, no lock and no copy.
    [[nodiscard]] result<> try_send(const T& value,
                                    std::source_location at = std::source_location::current()) const {
        detail::channel_core* const core = target(at);
        if (detail::surely_full(core)) return detail::why_not_at_once(core);
        return once(send(value, at), core);
    }
    [[nodiscard]] result<> try_send(
        T&& value, std::source_location at = std::source_location::current()) const noexcept {
        return lend_once(value, at);
    }
    [[nodiscard]] result<> try_send(
        from<T> value, std::source_location at = std::source_location::current()) const noexcept {
        return lend_once(value.get(), at);
    }

    /// Waits for room and holds a place of it: sending by the permit that this gives never waits. A place that is held
    /// counts as taken: for len() < capacity(), for other senders, and for the channel's overflow.
    /// Returns       the permit; the cause of the close, or of the cancellation; errc::no_places of a channel with
    ///               capacity 0; errc::full when there is no room and the channel's overflow is not to wait.
    /// Cancellation  a cancel point on every call. A reserve that was cancelled holds nothing.
    /// Order         first come, first served among those that wait to reserve or to send. (But a send for which a
    ///               receiver waits needs no place, and passes by.)
    /// Threads       any number at once. Cost: one short lock; no allocation, but in a channel that grows.
    [[nodiscard]] detail::reserve_operation<T> reserve(
        std::source_location at = std::source_location::current()) const noexcept [[clang::lifetimebound]] {
        return detail::reserve_operation<T>(target(at));
    }
    /// The same without waiting.
    /// Returns       as above; errc::full also when others would wait; errc::no_receiver of a nil channel.
    /// Cancellation  none: it is tried whether the context is cancelled or not.
    /// Threads       any, also outside a runtime.
    [[nodiscard]] result<send_permit<T>> try_reserve(
        std::source_location at = std::source_location::current()) const noexcept {
        detail::reserve_operation<T> op = reserve(at);
        return op.try_once() ? op.complete(0) : result<send_permit<T>>(detail::why_not_at_once(target(at)));
    }

    /// Waits until the channel is closed: for a sender that wants to know that nobody is left to receive, though it has
    /// nothing to send at the moment. A select case; `co_await out.on_closed()` ends with success when it is closed.
    /// Cancellation  a cancel point on every call, also when it is closed. Of a nil channel: never ready.
    /// Threads       any number at once. Cost: one short lock; no allocation.
    [[nodiscard]] detail::closed_operation on_closed(
        std::source_location at = std::source_location::current()) const noexcept {
        return detail::closed_operation(target(at));
    }

private:
    result<> lend_once(T& value, std::source_location at) const noexcept {
        detail::channel_core* const core = target(at);
        if (detail::surely_full(core)) return detail::why_not_at_once(core);
        return once(detail::lent_send(core, __builtin_addressof(value), at), core);
    }
    template <class Send>
    static result<> once(Send op, const detail::channel_core* core) noexcept {
        return op.try_once() ? op.complete(0) : result<>(detail::why_not_at_once(core));
    }
    detail::channel_core* target(std::source_location at) const noexcept {
        return static_cast<const End*>(this)->core(at);
    }
};

/// What receiver<T> and channel<T> can do.
template <class T, class End>
class receiving {
public:
    /// Takes the next value, waiting until there is one.
    /// Returns       the value; else why there is none: the cause of the close, once all that was sent is
    ///               received, or of the cancellation.
    /// Cancellation  a cancel point on every call. A recv that was cancelled has taken nothing, and one
    ///               that has its value keeps it.
    /// Order         first come, first served among those that wait.
    /// Threads       any number at once.
    /// Cost          two moves, no allocation; one short lock, never held while waiting.
    [[nodiscard]] detail::recv_operation<T> recv(
        std::source_location at = std::source_location::current()) const noexcept [[clang::lifetimebound]] {
        return detail::recv_operation<T>(static_cast<const End*>(this)->core(at));
    }

    /// Takes the next value if there is one, or if somebody waits to send one.
    /// Returns       the value; errc::empty (also for a nil channel); or the cause of the close.
    /// Cancellation  none: it is tried whether the context is cancelled or not.
    /// Threads       any, also outside a runtime.
    /// Cost          as recv(); when there is nothing mostly a few loads, and no lock.
    [[nodiscard]] result<T> try_recv(
        std::source_location at = std::source_location::current()) const noexcept {
        detail::channel_core* const core = static_cast<const End*>(this)->core(at);
        if (detail::surely_empty(core)) return errc::empty;
        detail::recv_operation<T> op(core);
        return op.try_once() ? op.complete(0) : result<T>(errc::empty);
    }
};

template <class T>
class receiver;
template <class T>
class weak_sender;

/// The counted end to send into. See the head of this file.
template <class T>
class [[nodiscard]] sender : public channel_end, public sending<T, sender<T>> {
public:
    sender() noexcept = default;
    sender(sender&&) noexcept = default;
    sender& operator=(sender&&) noexcept = default;

    /// One more sender of the same channel. The channel stays open until all of them are gone.
    sender share(std::source_location at = std::source_location::current()) const noexcept {
        core(at);
        return sender(static_cast<const channel_end&>(*this));
    }

private:
    friend class weak_sender<T>;
    friend class sending<T, sender>;
    template <class U>
    friend std::pair<sender<U>, receiver<U>> make_channel(channel_options<U>, std::source_location);

    explicit sender(detail::channel_core* made) noexcept : channel_end(made, detail::end_kind::sender) {}
    explicit sender(const channel_end& other) noexcept : channel_end(other) {}
};

/// Stands for a sender that is not counted: it keeps the channel from nothing, and gives a sender while there is one.
/// For who may have something to send, but is no reason to wait for it: a timer, a cache, a registry.
template <class T>
class [[nodiscard]] weak_sender : public channel_end {
public:
    weak_sender() noexcept = default;
    explicit weak_sender(const sender<T>& of, std::source_location at = std::source_location::current())
        : weak_sender(of.core(at)) {}
    weak_sender(weak_sender&&) noexcept = default;
    weak_sender& operator=(weak_sender&&) noexcept = default;

    /// A sender of the same channel; a nil one when the last has gone, or the channel is closed. Threads: any.
    sender<T> lock(std::source_location at = std::source_location::current()) const noexcept {
        detail::channel_core* const channel = core(at);
        if (channel == nullptr || !detail::add_sender_if_any(*channel)) return {};
        sender<T> found;
        found.adopt(channel, detail::end_kind::sender);
        return found;
    }

private:
    explicit weak_sender(detail::channel_core* of) noexcept : channel_end(of, detail::end_kind::weak) {}
};

/// The counted end to receive from. See the head of this file.
template <class T>
class [[nodiscard]] receiver : public channel_end, public receiving<T, receiver<T>> {
public:
    receiver() noexcept = default;
    receiver(receiver&&) noexcept = default;
    receiver& operator=(receiver&&) noexcept = default;

    /// One more receiver of the same channel: each value goes to one of them.
    receiver share(std::source_location at = std::source_location::current()) const noexcept {
        core(at);
        return receiver(static_cast<const channel_end&>(*this));
    }

private:
    friend class receiving<T, receiver>;
    template <class U>
    friend std::pair<sender<U>, receiver<U>> make_channel(channel_options<U>, std::source_location);

    explicit receiver(detail::channel_core* made) noexcept : channel_end(made, detail::end_kind::receiver) {}
    explicit receiver(const channel_end& other) noexcept : channel_end(other) {}
};

/// A channel of counted ends with room for `capacity` values; 0: every send waits for its receiver.
/// Throws std::bad_alloc. Cost: one allocation, for all of the room.
template <class T>
[[nodiscard]] std::pair<sender<T>, receiver<T>> make_channel(
    channel_options<T> how, std::source_location made_at = std::source_location::current()) {
    detail::require_element<T>();
    detail::channel_core* core =
        detail::make_core(detail::element_of<T>, std::move(how).settings(), false, made_at);
    return {sender<T>(core), receiver<T>(core)};
}
template <class T>
[[nodiscard]] std::pair<sender<T>, receiver<T>> make_channel(
    std::size_t capacity, std::source_location made_at = std::source_location::current()) {
    return make_channel<T>(channel_options<T>(capacity), made_at);
}

/// Go's channel: one handle for both directions. Copies are the same channel, whose memory lives until
/// the last of them goes; it is closed by close() alone. Default-made it is nil.
template <class T>
class channel : public channel_end, public sending<T, channel<T>>, public receiving<T, channel<T>> {
public:
    channel() noexcept = default;
    /// With room for `capacity` values. Throws std::bad_alloc.
    explicit channel(std::size_t capacity, std::source_location made_at = std::source_location::current())
        : channel(channel_options<T>(capacity), made_at) {}
    explicit channel(channel_options<T> how, std::source_location made_at = std::source_location::current())
        : channel_end(detail::make_core(detail::element_of<T>, std::move(how).settings(), true, made_at),
                      detail::end_kind::joint) {
        detail::require_element<T>();
    }
    channel(const channel&) noexcept = default;
    channel(channel&&) noexcept = default;
    channel& operator=(channel&&) noexcept = default;
    channel& operator=(const channel& other) noexcept { return *this = channel(other); }

    /// Are they the same channel?
    friend bool operator==(const channel& a, const channel& b) noexcept {
        const auto here = std::source_location::current();
        return a.core(here) == b.core(here);
    }

private:
    friend class sending<T, channel>;
    friend class receiving<T, channel>;
};
}

#pragma GCC diagnostic pop
