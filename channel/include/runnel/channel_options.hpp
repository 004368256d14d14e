// channel_options: how a channel is made, beyond its capacity.
//
//   auto [out, in] = rn::make_channel<reading>(rn::channel_options<reading>(100)
//                                                  .overflow(rn::overflow::drop_oldest)
//                                                  .on_drop([&](reading&&, rn::dropped) { ++lost; }));
//
// A hook is a callable that the channel owns. It runs outside the channel's lock, in the task or thread whose operation
// brought it about, so hooks of several may run at once, and it may use the channel. It must not throw.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace runnel {

/// The capacity of a channel that always has room. Its memory grows with what waits in it, and goes back when that has
/// been received.
inline constexpr std::size_t unbounded = SIZE_MAX;

/// What a send does when there is no room (with capacity 0: when nobody waits to receive).
enum class overflow : unsigned char {
    wait,         // until there is
    fail,         // the send gives errc::full, and the value stays the caller's
    drop_newest,  // the send succeeds, and its value is dropped
    drop_oldest,  // what has waited longest is dropped in its favour (with capacity 0: as drop_newest)
    keep_latest,  // as drop_oldest, with room for one
    close,        // the channel is closed with errc::too_slow: for a receiver that cannot keep up
};

/// Why a value was given to on_drop().
enum class dropped : unsigned char {
    newest,       // overflow::drop_newest
    oldest,       // overflow::drop_oldest or keep_latest
    undelivered,  // it was sent, and nobody is left to receive it
};

namespace detail {

/// A hook, its callable forgotten.
class value_hook {
public:
    virtual ~value_hook() = default;
    virtual void run(void* value, dropped why) noexcept = 0;
};
class level_hook {
public:
    virtual ~level_hook() = default;
    virtual void run(std::size_t items) noexcept = 0;
};

template <class T, class F>
class value_hook_of final : public value_hook {
public:
    explicit value_hook_of(F&& f) : f_(std::move(f)) {}
    void run(void* value, dropped why) noexcept override { f_(std::move(*static_cast<T*>(value)), why); }

private:
    F f_;
};
template <class F>
class level_hook_of final : public level_hook {
public:
    explicit level_hook_of(F&& f) : f_(std::move(f)) {}
    void run(std::size_t items) noexcept override { f_(items); }

private:
    F f_;
};

/// What the core is told. Owns the hooks until it takes them.
struct channel_settings {
    channel_settings() noexcept = default;
    channel_settings(channel_settings&& other) noexcept
        : capacity(other.capacity),
          soft_limit(other.soft_limit),
          when_full(other.when_full),
          grows(other.grows),
          on_drop(std::exchange(other.on_drop, nullptr)),
          on_level(std::exchange(other.on_level, nullptr)) {}
    channel_settings& operator=(channel_settings&&) = delete;
    ~channel_settings() {
        delete on_drop;
        delete on_level;
    }

    std::size_t capacity = 0;
    std::size_t soft_limit = unbounded;
    overflow when_full = overflow::wait;
    bool grows = false;  // its memory, with what is in it
    value_hook* on_drop = nullptr;
    level_hook* on_level = nullptr;
};
}

/// Each setter returns the object. Made in the call of make_channel() or channel(), and moved into it.
template <class T>
class channel_options {
public:
    /// Room for so many values; 0: each send waits for its receiver; rn::unbounded.
    explicit channel_options(std::size_t capacity) noexcept {
        settings_.capacity = capacity;
        settings_.grows = capacity == unbounded;
    }
    /// Of an unbounded channel: it holds so many at most, and has memory for those that it does hold.
    channel_options&& hard_limit(std::size_t items) && noexcept {
        settings_.capacity = items;
        settings_.grows = true;
        return std::move(*this);
    }

    /// Default overflow::wait.
    channel_options&& overflow(runnel::overflow how) && noexcept {
        settings_.when_full = how;
        return std::move(*this);
    }
    /// Called as f(T&&, dropped) for each value that the channel drops. Throws std::bad_alloc.
    template <class F>
    channel_options&& on_drop(F f) && {
        auto* hook = new detail::value_hook_of<T, F>(std::move(f));
        delete std::exchange(settings_.on_drop, hook);
        return std::move(*this);
    }
    /// Called as f(number of values) when so many wait to be received; again only after half of them are gone.
    /// Throws std::bad_alloc.
    template <class F>
    channel_options&& soft_limit(std::size_t items, F f) && {
        auto* hook = new detail::level_hook_of<F>(std::move(f));
        delete std::exchange(settings_.on_level, hook);
        settings_.soft_limit = items;
        return std::move(*this);
    }

    detail::channel_settings&& settings() && noexcept { return std::move(settings_); }

private:
    detail::channel_settings settings_;
};
}
