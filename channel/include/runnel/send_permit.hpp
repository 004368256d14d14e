// send_permit: the right to send one value, which cannot fail for want of room.
//
//   auto place = co_await out.reserve();          // waits for room: before the value is made, or taken from elsewhere
//   if (!place) co_return;
//   auto sent = place->send(next_message());      // never waits
//
// For who must not be left with a value that it cannot pass on: first the place, then the value. Also for callbacks of
// C libraries, and whoever else cannot wait: a permit may be used by any thread.
//
//   Dropped, it gives its place back, to the next that waits for one.
//   It outlives the sender that made it, and the close of the channel: what is sent by a permit is received as any
//   other value, and receivers are told of the close only when all permits are gone. It keeps nothing open, though:
//   the last sender that goes closes the channel, and says how it went.
//   When nobody is left to receive (the last receiver is gone) send() says so, and the value stays the caller's.
//
// Not taken: a permit of a channel with capacity 0, which would have to bind a receiver that waits: one that could not
// be cancelled any more, nor given a value by anybody else, for as long as the permit is kept. It is refused.
#pragma once

#include <source_location>
#include <type_traits>
#include <utility>

#include <runnel/detail/check.hpp>
#include <runnel/detail/operation.hpp>
#include <runnel/from.hpp>
#include <runnel/result.hpp>

#include "detail/held_place.hpp"
#include "detail/sent.hpp"

namespace runnel {

namespace detail {
template <class T>
class reserve_operation;
}

/// Move-only; an object of one thread at a time.
template <class T>
class [[nodiscard]] send_permit {
public:
    send_permit() noexcept = default;
    send_permit(send_permit&&) noexcept = default;
    send_permit& operator=(send_permit&&) noexcept = default;

    /// Does it still hold a place? False when default-made, moved from, used or reset.
    explicit operator bool() const noexcept { return place_.held(); }

    /// Sends `value` and is used up. A second use is check()ed.
    /// Returns       success, also when the channel was closed meanwhile; why it was closed when nobody is left to
    ///               receive: then `value` is untouched. As of any send, not to be overlooked.
    /// Cancellation  none: it does not wait.
    /// Order         as if the value was sent at this call, not when the place was reserved.
    /// Threads       any, also outside a runtime. What was written before is visible after the recv() that gets it.
    /// Cost          one move, one short lock.
    detail::sent send(T&& value, std::source_location at = std::source_location::current()) noexcept {
        return use(value, at);
    }
    /// The same for an object with a name.
    detail::sent send(from<T> value, std::source_location at = std::source_location::current()) noexcept {
        return use(value.get(), at);
    }
    /// The same for a copy. Throws what copying throws: the place is still held then.
    detail::sent send(const T& value, std::source_location at = std::source_location::current()) {
        static_assert(std::is_copy_constructible_v<T>,
                      "this T cannot be copied: send(rn::from(x)) moves it when it is sent");
        T copy(value);
        return use(copy, at);
    }
    /// Sends T(args…). Throws what building throws: the place is still held then.
    template <class... Args>
    detail::sent emplace(Args&&... args) {
        static_assert(std::is_constructible_v<T, Args...>, "emplace: no T can be made from these arguments");
        T value(std::forward<Args>(args)...);
        return use(value, std::source_location::current());
    }

    /// Gives the place back now. Threads: any. Cost: one short lock.
    void reset() noexcept { place_.give_back(); }

private:
    friend class detail::reserve_operation<T>;
    explicit send_permit(detail::held_place held) noexcept : place_(std::move(held)) {}

    detail::sent use(T& value, std::source_location at) noexcept {
        detail::check(place_.held(), "permit: it holds no place (used already, moved from or empty)", at);
        const std::error_code gone = place_.send(__builtin_addressof(value));
        return detail::sent(gone, at);
    }

    detail::held_place place_;
};

namespace detail {

/// What reserve() gives.
template <class T>
class [[nodiscard]] reserve_operation final
    : public single_case<reserve_operation<T>, result<send_permit<T>>, reserve_case> {
    using base = single_case<reserve_operation<T>, result<send_permit<T>>, reserve_case>;

public:
    explicit reserve_operation(channel_core* core) noexcept : base(core) {}
    reserve_operation(reserve_operation&& other) noexcept : reserve_operation(other.core_) {}
    reserve_operation& operator=(reserve_operation&& other) noexcept {
        return made_anew(*this, std::move(other));
    }

    result<send_permit<T>> complete(unsigned) noexcept {
        if (!this->went_through()) return result<send_permit<T>>(this->why_not());
        return result<send_permit<T>>(std::in_place, send_permit<T>(this->take()));
    }
};
}
}
