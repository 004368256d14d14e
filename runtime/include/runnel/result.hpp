// result: a value, or the reason why there is none.
//
// Ordinary failures are values here: closed, cancelled, too late, refused, end of stream. The names
// are those of std::expected (C++23) with the error fixed to std::error_code, so that a loop reads
//
//   while (auto message = co_await inbox.recv()) use(*message);
//
// and errors of the system and of this library compare with == alike.
#pragma once

#include <concepts>
#include <new>
#include <system_error>
#include <type_traits>
#include <utility>

#include "detail/check.hpp"

namespace runnel {

/// Why an operation gave no value. Compare with ==; `message()` says it in words.
enum class errc {
    closed = 1,          // the channel or socket is closed, and drained
    cancelled,           // the context of the task is cancelled
    deadline_exceeded,   // the context's deadline has passed
    timed_out,           // the with_timeout() around this operation
    end_of_stream,       // the peer will send no more
    stopping,            // the runtime shuts down and takes nothing new
    full,                // try_send: no room, and nobody waits to receive
    empty,               // try_recv: nothing there, and nobody waits to send
    producer_failed,     // closed because the last sender was destroyed by an exception
    producer_cancelled,  // closed because the last sender's task was cancelled
    not_available,       // try_lock and the like: somebody else has it
    no_receiver,         // try_send: the channel has no room, and nobody waits to receive
    too_slow,            // closed because its receivers could not keep up (overflow::close)
    lagged,              // a receiver of a broadcast that was to miss nothing fell too far behind
    no_places,           // reserve: a channel with capacity 0 has no places that could be held
};

const std::error_category& error_category() noexcept;
inline std::error_code make_error_code(errc code) noexcept {
    return {static_cast<int>(code), error_category()};
}
}

template <>
struct std::is_error_code_enum<runnel::errc> : std::true_type {};

namespace runnel {

template <class T = void>
class result;

namespace detail {
/// The value of a result that holds `error` was used: says so, with the error and the task, and aborts.
[[noreturn]] void no_value(std::error_code error) noexcept;

template <class>
inline constexpr bool is_result = false;
template <class T>
inline constexpr bool is_result<result<T>> = true;
/// What something that gives a T, or fails on the way, gives: result<T>, or T itself if that is a result already.
template <class T>
using result_of = std::conditional_t<is_result<T>, T, result<T>>;

/// What a result<T> is made of without being told: a value, no error, and for a bool no other result.
template <class U, class T>
concept value_for = std::is_constructible_v<T, U&&> && !std::is_same_v<std::remove_cvref_t<U>, result<T>> &&
                    !std::is_same_v<std::remove_cvref_t<U>, std::error_code> &&
                    !std::is_same_v<std::remove_cvref_t<U>, errc> &&
                    !std::is_same_v<std::remove_cvref_t<U>, std::in_place_t> &&
                    !(std::is_same_v<T, bool> && is_result<std::remove_cvref_t<U>>);
}

/// A value or an error. An std::error_code given to it is an error even if T is one: a *value* of that type is
/// said with std::in_place, as the library itself does.
template <class T>
class [[nodiscard]] result {
public:
    using value_type = T;

    template <class U = T>
        requires detail::value_for<U, T>
    explicit(!std::is_convertible_v<U&&, T>)
        result(U&& value) noexcept(std::is_nothrow_constructible_v<T, U&&>)
        : value_(std::forward<U>(value)), has_value_(true) {}
    template <class... Args>
    explicit result(std::in_place_t, Args&&... args) noexcept(std::is_nothrow_constructible_v<T, Args&&...>)
        : value_(std::forward<Args>(args)...), has_value_(true) {}
    result(std::error_code error) noexcept : error_(error), has_value_(false) {}
    result(errc error) noexcept : error_(error), has_value_(false) {}

    result(const result& other) : has_value_(other.has_value_) { copy_from(other); }
    result(result&& other) noexcept(std::is_nothrow_move_constructible_v<T>) : has_value_(other.has_value_) {
        copy_from(std::move(other));
    }
    result& operator=(result other) noexcept(std::is_nothrow_move_constructible_v<T>) {
        destroy();
        if (std::exchange(has_value_, false)) ::new (static_cast<void*>(&error_)) std::error_code();
        if (other.has_value_)  // throws, perhaps: then there is no value
            ::new (static_cast<void*>(&value_)) T(std::move(other.value_));
        else
            error_ = other.error_;
        has_value_ = other.has_value_;
        return *this;
    }
    ~result() { destroy(); }

    bool has_value() const noexcept { return has_value_; }
    explicit operator bool() const noexcept { return has_value_; }

    /// The value. Undefined by contract, check()ed in fact, when there is none.
    T& operator*() & noexcept { return checked(); }
    const T& operator*() const& noexcept { return const_cast<result*>(this)->checked(); }
    T&& operator*() && noexcept { return std::move(checked()); }
    T* operator->() noexcept { return &checked(); }
    const T* operator->() const noexcept { return &const_cast<result*>(this)->checked(); }

    /// The value; throws std::system_error with the error when there is none.
    T& value() & { return throwing(); }
    const T& value() const& { return const_cast<result*>(this)->throwing(); }
    T&& value() && { return std::move(throwing()); }
    template <class U>
    T value_or(U&& other) const& {
        return has_value_ ? value_ : static_cast<T>(std::forward<U>(other));
    }
    template <class U>
    T value_or(U&& other) && {
        return has_value_ ? std::move(value_) : static_cast<T>(std::forward<U>(other));
    }

    /// The error; a default-made one (which is false) when there is a value.
    std::error_code error() const noexcept { return has_value_ ? std::error_code() : error_; }

private:
    template <class Other>
    void copy_from(Other&& other) {
        if (has_value_)
            ::new (static_cast<void*>(&value_)) T(std::forward<Other>(other).value_);
        else
            ::new (static_cast<void*>(&error_)) std::error_code(other.error_);
    }
    void destroy() noexcept {
        if (has_value_) value_.~T();
    }
    T& checked() noexcept {
        if (!has_value_) [[unlikely]]
            detail::no_value(error_);
        return value_;
    }
    T& throwing() {
        if (!has_value_) throw std::system_error(error_);
        return value_;
    }

    union {
        T value_;
        std::error_code error_;
    };
    bool has_value_;
};

/// Done, or why not. Not [[nodiscard]]: `co_await sleep_for(1s);` reads as it should, and a task that overlooks
/// its cancellation is braked. Where ignoring would lose something (send), the type derived from it is.
template <>
class result<void> {
public:
    using value_type = void;

    result() noexcept = default;  // done
    result(std::error_code error) noexcept : error_(error) {}
    result(errc error) noexcept : error_(error) {}

    bool has_value() const noexcept { return !error_; }
    explicit operator bool() const noexcept { return !error_; }
    void operator*() const noexcept {
        if (error_) [[unlikely]]
            detail::no_value(error_);
    }
    void value() const {
        if (error_) throw std::system_error(error_);
    }
    std::error_code error() const noexcept { return error_; }

private:
    std::error_code error_;
};

// --- Whatever says of itself that it has failed --------------------------------------------------------

namespace detail {
template <class T>
concept gives_error = requires(const T& t) {
    { t.error() } -> std::convertible_to<std::error_code>;
};
template <class T>
concept has_error_member = requires(const T& t) {
    { t.error } -> std::convertible_to<std::error_code>;
};
/// A value that can say that it is a failure: an error, a result, a transfer and their like.
template <class T>
concept holds_error = std::is_same_v<T, std::error_code> || gives_error<T> || has_error_member<T>;

/// Its error; a false one when it is none. Of a result that notices whether anybody looks at it this is no look.
template <holds_error T>
std::error_code error_in(const T& value) noexcept {
    if constexpr (std::is_same_v<T, std::error_code>)
        return value;
    else if constexpr (requires { value.unseen_error(); })
        return value.unseen_error();
    else if constexpr (has_error_member<T>)
        return value.error;
    else if constexpr (requires {
                           value.has_value();
                       })  // std::expected's error() is there only without a value
        return value.has_value() ? std::error_code() : std::error_code(value.error());
    else
        return value.error();
}
}
}
