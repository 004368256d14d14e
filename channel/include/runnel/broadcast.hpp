// broadcast: every receiver gets every message that was sent after it joined.
//
//   auto [out, in] = rn::make_broadcast<text>(16);            // keeps the last 16 for who is slower
//   auto late = out.subscribe(rn::slow_receiver::wait);       // joins now, and loses nothing
//   auto shown = co_await out.send(line);                     // to how many receivers
//   while (auto line = co_await in.recv()) {                  // ends when the last sender is gone and all is had
//     if (line.missed() > 0) …                                // so many were lost right before this one
//     use(*line);
//
// Both ends are counted and move-only, like those of make_channel(). share() makes another of the same: of a sender,
// or of a receiver, which then gets on its own what this one has not had yet. The last sender that goes closes the
// broadcast, and why() tells how it went; the last receiver that goes changes nothing: sends succeed and reach nobody.
//
// A receiver that is slower than the senders has one of four fates, by its own choice (slow_receiver):
//
//   lag         the default. Nobody waits for it: what it has not had when `capacity` more are sent is lost, the oldest
//               first, and the next value says how many;
//   wait        the senders wait until it has had the oldest;
//   latest      it has no backlog: it gets the newest, and is told how many it skipped;
//   disconnect  in the moment in which it would lose one it is closed with errc::lagged; what was kept for it is gone,
//               too, so it gets all up to some message and nothing after that.
//
// A loss is told beside the value and is never an error: an error ends the loop, and the loop is to go on.
//
// What is the same for all
//   Receivers that have the same messages have them in the same order, that of their sends. Closing ends sending;
//   receivers get what was sent before, then the cause. Whoever waits always wakes. A default-made end is nil: never
//   ready; one that was moved from is check()ed. Tasks that share one receiver take its messages in turn.
//   The last `capacity` messages are kept until they are overwritten or the last end goes, whoever has had them: for
//   subscribe(replay(n)). A message is one piece of memory, whatever the number of
//   receivers, which comes from where coroutine frames come from: in the long run nothing is allocated for it.
//   T is as in a channel, and copied once for each receiver, by the receiver, without any lock. A broadcast of
//   std::shared_ptr<const T> spares it that.
//
// Not taken: a receiver that shares one position with another (that is what a channel is for); an error for a lag
// (Tokio): it ends the usual loop of those who did not think of it; freeing a message as soon as all have had it
// (Tokio): it needs a count for each that all receivers write to, and leaves nothing to replay.
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>
#include <system_error>
#include <utility>

#include <runnel/channel.hpp>
#include <runnel/from.hpp>
#include <runnel/label.hpp>
#include <runnel/result.hpp>

#include "detail/broadcast_cases.hpp"
#include "detail/end_pointer.hpp"

// clang warns of an operation that is kept beyond its arguments; g++ does not know the attribute that says so.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wattributes"

namespace runnel {

/// For subscribe(): the last `count` messages first, as far as they are kept.
class replay {
public:
    explicit constexpr replay(std::size_t count) noexcept : count_(count) {}
    constexpr std::size_t count() const noexcept { return count_; }

private:
    std::size_t count_;
};

/// What a broadcast holds and has seen, at one moment.
struct broadcast_stats {
    std::uint64_t sent = 0;          // messages
    std::size_t kept = 0;            // of them: those that are still there, for who is slower and for replay
    std::uint64_t longest_lag = 0;   // how many messages the slowest receiver has not had
    std::uint64_t missed = 0;        // by all receivers together, as their values have told
    std::uint64_t disconnected = 0;  // receivers that were closed with errc::lagged
    std::size_t waiting_senders = 0, waiting_receivers = 0;  // tasks
    std::uint32_t senders = 0, receivers = 0;  // living ends; of receivers those that get what is sent now
};

/// What a receiver of a broadcast gets: a result<T>, and how many messages it lost right before.
template <class T>
class [[nodiscard]] received : public result<T> {
public:
    received(std::error_code error) noexcept : result<T>(error) {}
    received(errc error) noexcept : result<T>(error) {}
    template <class U>
    received(std::uint64_t missed, std::in_place_t, U&& value)
        : result<T>(std::in_place, std::forward<U>(value)), missed_(missed) {}

    /// How many messages were sent between the one that this receiver had before and this one.
    std::uint64_t missed() const noexcept { return missed_; }

private:
    std::uint64_t missed_ = 0;
};

namespace detail {

/// What recv() of a broadcast gives.
template <class T>
class [[nodiscard]] broadcast_recv final
    : public single_case<broadcast_recv<T>, received<T>, broadcast_recv_case> {
    using base = single_case<broadcast_recv<T>, received<T>, broadcast_recv_case>;

public:
    explicit broadcast_recv(broadcast_subscription* of) noexcept : base(of) {}
    broadcast_recv(broadcast_recv&&) noexcept = default;
    broadcast_recv& operator=(broadcast_recv&& other) noexcept { return made_anew(*this, std::move(other)); }

    received<T> complete(unsigned) {
        const message_ref taken = this->take();
        if (!taken) return received<T>(this->why());
        return received<T>(this->missed(), std::in_place, taken.template as<T>());
    }
    void again() noexcept { this->untake(); }
};

/// What send() and emplace() of a broadcast give. Knows no T at all.
class [[nodiscard]] broadcast_send final
    : public single_case<broadcast_send, result<std::size_t>, broadcast_send_case> {
public:
    broadcast_send(broadcast_core* core, message_ref message, void* source = nullptr) noexcept
        : single_case(core, std::move(message), source) {}
    broadcast_send(broadcast_send&&) noexcept = default;
    broadcast_send& operator=(broadcast_send&& other) noexcept { return made_anew(*this, std::move(other)); }

    result<std::size_t> complete(unsigned) noexcept { return how_it_went(); }
    void again() noexcept { spend(); }
};

/// What all ends that send into broadcasts have in common.
class broadcast_sender_end {
public:
    /// Does it belong to a broadcast? False when default-made, reset or moved from.
    explicit operator bool() const noexcept { return core_.get() != nullptr; }

    /// Nothing more is sent; receivers get what was sent before, then the cause. All that wait wake.
    /// Returns  whether this call did it: false when it was closed already, and for a nil end.
    /// Order    the first cause counts; a false error stands for errc::closed.
    /// Threads  any. Cost: O(tasks that wait), all claimed under one short lock.
    bool close(std::error_code cause = {},
               std::source_location at = std::source_location::current()) const noexcept;

    /// Why it is closed: the cause given to close(). A false error while it is open.
    std::error_code why(std::source_location at = std::source_location::current()) const noexcept;
    bool closed(std::source_location at = std::source_location::current()) const noexcept {
        return static_cast<bool>(why(at));
    }

    /// How many receivers a message reaches that is sent at this moment. Threads: any.
    std::size_t receivers(std::source_location at = std::source_location::current()) const noexcept;
    std::size_t capacity(std::source_location at = std::source_location::current()) const noexcept;

    /// What it holds and has seen. Threads: any. Cost: O(receivers and tasks that wait), under the lock.
    broadcast_stats stats(std::source_location at = std::source_location::current()) const noexcept;

    /// Its name in dumps and traces, for all its ends. Nothing for a nil one. Threads: any.
    void label(literal text, std::source_location at = std::source_location::current()) const noexcept;

    /// Gives the end up now: it is as if default-made afterwards.
    void reset() noexcept;

protected:
    broadcast_sender_end() noexcept = default;
    /// One more sender of `core`.
    explicit broadcast_sender_end(broadcast_core* core) noexcept;
    broadcast_sender_end(broadcast_sender_end&&) noexcept = default;
    broadcast_sender_end& operator=(broadcast_sender_end&& other) noexcept;
    ~broadcast_sender_end() { drop(); }

    broadcast_core* core(std::source_location at) const noexcept {
        return core_.checked("broadcast: an end was used after it was moved from", at);
    }
    broadcast_subscription* join(slow_receiver how, replay last, std::source_location at) const;

private:
    void drop() noexcept;
    end_pointer<broadcast_core> core_;
};

/// What all receivers of broadcasts have in common.
class broadcast_receiver_end {
public:
    /// Does it belong to a broadcast? False when default-made, reset or moved from.
    explicit operator bool() const noexcept { return of_.get() != nullptr; }

    /// Ends this receiver alone: it gets what was sent before, then the cause, and is not counted any more. To end
    /// all there is the sender's close(); to throw the rest away, reset().
    /// Returns  whether this call did it: false when it was closed already, also by the sender, and for a nil one.
    /// Threads  any.
    bool close(std::error_code cause = {},
               std::source_location at = std::source_location::current()) const noexcept;

    /// Why it gets no more: the cause given to close(); how the last sender went: errc::closed, producer_failed (by
    /// an exception) or producer_cancelled; errc::lagged. A false error while it is open.
    std::error_code why(std::source_location at = std::source_location::current()) const noexcept;
    bool closed(std::source_location at = std::source_location::current()) const noexcept {
        return static_cast<bool>(why(at));
    }

    /// How many messages it could receive now without waiting: at most capacity().
    std::size_t len(std::source_location at = std::source_location::current()) const noexcept;
    /// How many were sent that it has not had: len() and those that are lost, which the next value will tell.
    std::uint64_t lag(std::source_location at = std::source_location::current()) const noexcept;
    /// How many it has missed in all, as its values have told.
    std::uint64_t missed(std::source_location at = std::source_location::current()) const noexcept;
    std::size_t capacity(std::source_location at = std::source_location::current()) const noexcept;

    /// The broadcast's name in dumps and traces, for all its ends. Nothing for a nil one. Threads: any.
    void label(literal text, std::source_location at = std::source_location::current()) const noexcept;

    /// Gives the receiver up now, with what it has not had: it is as if default-made afterwards. Senders that waited
    /// for it go on. While one of its recv()s is waited for this is misuse, as is its end: check()ed.
    void reset() noexcept;

protected:
    broadcast_receiver_end() noexcept = default;
    explicit broadcast_receiver_end(broadcast_subscription* adopted) noexcept : of_(adopted) {}
    broadcast_receiver_end(broadcast_receiver_end&&) noexcept = default;
    broadcast_receiver_end& operator=(broadcast_receiver_end&& other) noexcept;
    ~broadcast_receiver_end() { drop(); }

    broadcast_subscription* of(std::source_location at) const noexcept {
        return of_.checked("broadcast: an end was used after it was moved from", at);
    }
    broadcast_subscription* join_beside(std::source_location at) const;

private:
    void drop() noexcept;
    end_pointer<broadcast_subscription> of_;
};
}

/// The counted end to receive from. See the head of this file.
template <class T>
class [[nodiscard]] broadcast_receiver : public detail::broadcast_receiver_end {
public:
    broadcast_receiver() noexcept = default;
    broadcast_receiver(broadcast_receiver&&) noexcept = default;
    broadcast_receiver& operator=(broadcast_receiver&&) noexcept = default;

    /// Takes the next message, waiting until there is one.
    /// Returns       a copy, and how many were missed() before it; else why there is none: the cause of the close,
    ///               once it has had all that was sent before, or of the cancellation.
    /// Throws        what copying a T throws: the message counts as received.
    /// Cancellation  a cancel point on every call. A recv that was cancelled has taken nothing, and one that has its
    ///               message keeps it.
    /// Order         first come, first served among tasks that wait at the same receiver.
    /// Threads       any number at once. The receiver must outlive the wait.
    /// Cost          one short lock, never held while waiting or copying; no allocation of its own.
    [[nodiscard]] detail::broadcast_recv<T> recv(
        std::source_location at = std::source_location::current()) const noexcept [[clang::lifetimebound]] {
        return detail::broadcast_recv<T>(of(at));
    }

    /// Takes the next message if there is one.
    /// Returns       as recv(); errc::empty when it would have to wait, also for a nil one.
    /// Cancellation  none: it is tried whether the context is cancelled or not.
    /// Threads       any, also outside a runtime.
    [[nodiscard]] received<T> try_recv(std::source_location at = std::source_location::current()) const {
        detail::broadcast_recv<T> op = recv(at);
        if (!op.try_once()) return errc::empty;
        return op.complete(0);
    }

    /// One more receiver that has had what this one has had, of the same kind. Throws std::bad_alloc.
    broadcast_receiver share(std::source_location at = std::source_location::current()) const {
        return broadcast_receiver(join_beside(at));
    }

private:
    template <class U>
    friend class broadcast_sender;
    explicit broadcast_receiver(detail::broadcast_subscription* adopted) noexcept
        : broadcast_receiver_end(adopted) {}
};

/// The counted end to send into. See the head of this file.
template <class T>
class [[nodiscard]] broadcast_sender : public detail::broadcast_sender_end {
public:
    broadcast_sender() noexcept = default;
    broadcast_sender(broadcast_sender&&) noexcept = default;
    broadcast_sender& operator=(broadcast_sender&&) noexcept = default;

    /// Sends a copy of `value` to all receivers, waiting while one with slow_receiver::wait has not had the oldest.
    /// Returns       to how many receivers it was sent, which may be none; else why not: the cause of the close, or of
    ///               the cancellation.
    /// Throws        std::bad_alloc, or what copying a T throws, before anything else happens.
    /// Cancellation  a cancel point on every call. A send that was cancelled sent nothing: `value` is untouched.
    /// Order         first come, first served among those that wait.
    /// Threads       any number at once. What was written before is visible after the recv() that gets it.
    /// Cost          memory for a message, as of a coroutine frame, and one copy; O(receivers that wait) under one
    ///               short lock.
    [[nodiscard]] detail::broadcast_send send(
        const T& value, std::source_location at = std::source_location::current()) const {
        detail::broadcast_core* const to = core(at);
        return {to, built(to, value)};
    }
    /// The same, moving from `value` when it is sent, and only then.
    [[nodiscard]] detail::broadcast_send send(
        T&& value [[clang::lifetimebound]], std::source_location at = std::source_location::current()) const {
        static_assert(!detail::breaks_in_await<T>,
                      "g++ destroys a braced aggregate in a co_await expression twice: "
                      "name it on the line before and send(rn::from(x)), or emplace its members");
        return lent(value, at);
    }
    /// The same for an object with a name, which stays the caller's when it is not sent.
    [[nodiscard]] detail::broadcast_send send(
        from<T> value, std::source_location at = std::source_location::current()) const {
        return lent(value.get(), at);
    }
    /// Sends T(args…), built at the call unless the broadcast is closed already.
    template <class... Args>
    [[nodiscard]] detail::broadcast_send emplace(Args&&... args) const {
        detail::broadcast_core* const to = core(std::source_location::current());
        return {to, built(to, std::forward<Args>(args)...)};
    }

    /// Sends without waiting, if nobody has to be waited for.
    /// Returns       as send(); errc::full when it would have to wait, also for a nil end.
    /// Cancellation  none: it is tried whether the context is cancelled or not.
    /// Threads       any, also outside a runtime.
    result<std::size_t> try_send(const T& value,
                                 std::source_location at = std::source_location::current()) const {
        return once(send(value, at));
    }
    result<std::size_t> try_send(T&& value, std::source_location at = std::source_location::current()) const {
        return once(lent(value, at));
    }
    result<std::size_t> try_send(from<T> value,
                                 std::source_location at = std::source_location::current()) const {
        return once(lent(value.get(), at));
    }

    /// One more receiver, for what is sent from now on, and for the last messages before if `last` says so.
    /// Throws   std::bad_alloc. Threads: any. Of a closed broadcast it gets the replay, then the cause.
    broadcast_receiver<T> subscribe(slow_receiver how = slow_receiver::lag, replay last = replay(0),
                                    std::source_location at = std::source_location::current()) const {
        return broadcast_receiver<T>(join(how, last, at));
    }
    broadcast_receiver<T> subscribe(replay last,
                                    std::source_location at = std::source_location::current()) const {
        return subscribe(slow_receiver::lag, last, at);
    }

    /// One more sender of the same broadcast. It stays open until all of them are gone.
    broadcast_sender share(std::source_location at = std::source_location::current()) const noexcept {
        return broadcast_sender(core(at));
    }

private:
    template <class U>
    friend std::pair<broadcast_sender<U>, broadcast_receiver<U>> make_broadcast(std::size_t, slow_receiver,
                                                                                std::source_location);
    explicit broadcast_sender(detail::broadcast_core* core) noexcept : broadcast_sender_end(core) {}

    template <class... Args>
    static detail::message_ref built(detail::broadcast_core* to, Args&&... args) {
        static_assert(std::is_constructible_v<T, Args...>, "no T can be made from these arguments");
        if (!detail::may_take_more(to)) return {};
        return detail::make_message<T>(std::forward<Args>(args)...);
    }
    detail::broadcast_send lent(T& value, std::source_location at) const {
        detail::broadcast_core* const to = core(at);
        if (!detail::may_take_more(to)) return {to, detail::message_ref()};
        return {to, detail::message_ref(detail::shared_message::make(detail::element_of<T>)),
                __builtin_addressof(value)};
    }
    static result<std::size_t> once(detail::broadcast_send op) noexcept {
        if (!op.try_once()) return errc::full;
        return op.complete(0);
    }
};

/// A broadcast that keeps the last `capacity` messages for those who are slower, 1 at least: check()ed. The receiver
/// that comes with it is of the kind `first`. Throws std::bad_alloc. Cost: one allocation, and one per receiver.
template <class T>
[[nodiscard]] std::pair<broadcast_sender<T>, broadcast_receiver<T>> make_broadcast(
    std::size_t capacity, slow_receiver first = slow_receiver::lag,
    std::source_location made_at = std::source_location::current()) {
    detail::require_element<T>();
    static_assert(std::is_copy_constructible_v<T>,
                  "each receiver of a broadcast gets a copy: broadcast a std::shared_ptr<const T>");
    broadcast_sender<T> out(detail::make_broadcast_core(capacity, made_at));
    broadcast_receiver<T> in = out.subscribe(first);
    return {std::move(out), std::move(in)};
}
}

#pragma GCC diagnostic pop
