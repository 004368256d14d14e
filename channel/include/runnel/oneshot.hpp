// oneshot: one value, from one task to another.
//
//   auto [reply, answer] = rn::make_oneshot<int>();
//   rn::go(ask, std::move(reply));        // … reply.send(42);
//   auto got = co_await answer;           // the value; or how the sender went without sending
//
// A channel with room for one whose ends are used up: sending never waits, and whoever waits for the answer is told
// when the other has gone. A promise (shared_future.hpp) has its value for many; this one gives it away.
#pragma once

#include "channel.hpp"

namespace runnel {

template <class T>
class oneshot_receiver;

/// The right to send once. Move-only.
template <class T>
class [[nodiscard]] oneshot_sender {
public:
    oneshot_sender() noexcept = default;

    /// Sends, and is used up: it is moved from. It is not touched any more once the value is there, so it may live
    /// where the receiver, when it has the value, destroys it.
    /// Returns  success; errc::closed when nobody is left to receive: then `value` is untouched.
    /// Threads: any, also outside a runtime. Cost: one move, one short lock.
    [[nodiscard]] result<> send(T&& value) && noexcept {
        const sender<T> out = std::move(out_);
        return out.try_send(std::move(value));
    }
    [[nodiscard]] result<> send(from<T> value) && noexcept {
        const sender<T> out = std::move(out_);
        return out.try_send(value);
    }

    /// Is nobody left to receive? Threads: any.
    bool closed() const noexcept { return out_.closed(); }
    /// Waits until nobody is left to receive: the work may be saved. A select case; see sending::on_closed().
    [[nodiscard]] detail::closed_operation on_closed() const noexcept { return out_.on_closed(); }
    /// Its name in dumps and traces, for both ends. Threads: any.
    void label(literal text, std::source_location at = std::source_location::current()) const noexcept {
        out_.label(text, at);
    }
    explicit operator bool() const noexcept { return static_cast<bool>(out_); }

private:
    template <class U>
    friend std::pair<oneshot_sender<U>, oneshot_receiver<U>> make_oneshot(std::source_location);
    explicit oneshot_sender(sender<T> out) noexcept : out_(std::move(out)) {}

    sender<T> out_;
};

/// The right to receive it. Move-only.
template <class T>
class [[nodiscard]] oneshot_receiver
    : public detail::named_awaitable<oneshot_receiver<T>, detail::recv_operation<T>> {
public:
    oneshot_receiver() noexcept = default;

    /// `co_await answer`, and `answer` in a select or a with_timeout(): waits for the value.
    /// Returns       the value, once; else (also when it has been received) errc::closed, producer_failed or
    ///               producer_cancelled: how the sender went; or the cause of the cancellation.
    /// Cancellation  a cancel point on every call; the value is not lost.
    /// Threads       a task's. What was written before it was sent is seen.
    detail::recv_operation<T> operation() const noexcept { return in_.recv(); }
    /// The value if it is there; errc::empty while it is not.  Threads: any.
    [[nodiscard]] result<T> try_recv() const noexcept { return in_.try_recv(); }
    /// Its name in dumps and traces, for both ends. Threads: any.
    void label(literal text, std::source_location at = std::source_location::current()) const noexcept {
        in_.label(text, at);
    }
    explicit operator bool() const noexcept { return static_cast<bool>(in_); }

private:
    template <class U>
    friend std::pair<oneshot_sender<U>, oneshot_receiver<U>> make_oneshot(std::source_location);
    explicit oneshot_receiver(receiver<T> in) noexcept : in_(std::move(in)) {}

    receiver<T> in_;
};

/// Throws std::bad_alloc. Cost: one allocation.
template <class T>
[[nodiscard]] std::pair<oneshot_sender<T>, oneshot_receiver<T>> make_oneshot(
    std::source_location made_at = std::source_location::current()) {
    auto [out, in] = make_channel<T>(1, made_at);
    return {oneshot_sender<T>(std::move(out)), oneshot_receiver<T>(std::move(in))};
}
}
