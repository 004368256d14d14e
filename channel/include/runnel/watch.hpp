// watch: the latest value of something, and who wants to know when it changes.
//
//   auto [set, see] = rn::make_watch<config>(load());
//   set.send(load());                                // replaces it; whoever waits goes on
//   set.modify([](config& now) { ++now.limit; });    // on top of what there is, whoever else sets
//   …
//   const config now = see.latest();                 // a copy, from any thread
//   while (auto changed = co_await see.next()) …     // each time there is one that this watcher has not seen
//
// Values have versions, and each watcher notes which it has seen. One that is slow sees the newest and not those
// between: it is for state, a broadcast is for events.
//
//   a new watcher has seen the value that was there when it came: it waits for the next. One that is share()d has
//   seen what the other has;
//   next() and changed() mark the newest as seen; latest() does not, so that to look never hides a change;
//   the last setter that goes closes it. The last value stays, and a watcher that has not seen it sees it first: then
//   changed() gives the cause, and why() how the setter went;
//   without watchers values are set all the same.
//
// Ends are counted and move-only, as of a channel. A default-made one is nil: changed() and next() are never ready, so
// that a select can leave it out, and all else is check()ed, as is all use of one that was moved from.
//
// T is copied by whoever looks, without any lock. A watch of std::shared_ptr<const T> spares that.
//
// Not taken: a reference to the value under a lock (Tokio's borrow): who keeps it stops the setter, and over a co_await
// for ever; a setter's modify under the lock: it runs what the user wrote.
#pragma once

#include <concepts>
#include <cstdint>
#include <source_location>
#include <system_error>
#include <type_traits>
#include <utility>

#include <runnel/channel.hpp>
#include <runnel/result.hpp>

#include "detail/watch_cases.hpp"

// clang warns of an operation that is kept beyond its arguments; g++ does not know the attribute that says so.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wattributes"

namespace runnel {

/// The counted end that sees. See the head of this file.
template <class T>
class [[nodiscard]] watcher : public detail::watcher_end {
public:
    watcher() noexcept = default;
    watcher(watcher&&) noexcept = default;
    watcher& operator=(watcher&&) noexcept = default;

    /// A copy of the newest value. Does not mark it as seen. Throws what copying throws.
    /// Threads: any, also outside a runtime. Cost: one short lock, not while copying.
    T latest(std::source_location at = std::source_location::current()) const {
        return current(false, at).value.template as<T>();
    }
    /// The same, and marks it as seen: the next changed() is for a later one.
    T catch_up(std::source_location at = std::source_location::current()) const {
        return current(true, at).value.template as<T>();
    }

    /// changed(), and a copy of that value: what is seen is what was marked, whatever is set meanwhile.
    /// Throws what copying throws: the value counts as seen.
    [[nodiscard]] detail::next_operation<T> next(
        std::source_location at = std::source_location::current()) const noexcept [[clang::lifetimebound]] {
        return detail::next_operation<T>(of(at));
    }

    /// One more watcher, that has seen what this one has seen. Throws std::bad_alloc.
    watcher share(std::source_location at = std::source_location::current()) const {
        return watcher(join_beside(at));
    }

private:
    template <class U>
    friend class watch_setter;
    explicit watcher(detail::watch_view* adopted) noexcept : watcher_end(adopted) {}
};

/// The counted end that sets. See the head of this file.
template <class T>
class [[nodiscard]] watch_setter : public detail::watch_setter_end {
public:
    watch_setter() noexcept = default;
    watch_setter(watch_setter&&) noexcept = default;
    watch_setter& operator=(watch_setter&&) noexcept = default;

    /// A new value in the place of the newest, made of `value` before anything is locked. Never waits.
    /// Returns  success; the cause of the close, and then nothing has changed.
    /// Throws   std::bad_alloc, or what making a T throws: nothing has changed.
    /// Threads  any number at once, also outside a runtime.
    /// Cost     memory as of a coroutine frame; O(tasks that wait), all claimed under one short lock.
    template <class U = T>
        requires std::constructible_from<T, U&&>
    result<> send(U&& value, std::source_location at = std::source_location::current()) const {
        detail::message_ref made = detail::make_message<T>(std::forward<U>(value));
        return publish(made, any_version, at).error();
    }

    /// A new value made from the newest: copies it, calls change(copy), and puts the copy in its place if no other has
    /// come there meanwhile; else again, so `change` may run several times. It runs without any lock. A `change` that
    /// returns a bool decides if there is a new value: false leaves all as it was.
    /// Returns and throws as send(), and what `change` throws. Threads: any number at once; none overwrites another's.
    template <class F>
        requires std::invocable<F&, T&>
    result<> modify(F&& change, std::source_location at = std::source_location::current()) const {
        for (;;) {
            const detail::watched old = current(at);
            detail::message_ref made = detail::make_message<T>(old.value.template as<T>());
            T& copy = *static_cast<T*>(made->value());
            if constexpr (std::is_same_v<std::invoke_result_t<F&, T&>, bool>) {
                if (!change(copy)) return why(at);
            } else {
                change(copy);
            }
            const result<bool> published = publish(made, old.version, at);
            if (!published || *published) return published.error();
        }
    }

    /// A copy of the newest value. As a watcher's.
    T latest(std::source_location at = std::source_location::current()) const {
        return current(at).value.template as<T>();
    }

    /// One more watcher, that has seen what there is now. Throws std::bad_alloc. Threads: any.
    watcher<T> subscribe(std::source_location at = std::source_location::current()) const {
        return watcher<T>(join(at));
    }

    /// One more setter. The watch stays open until all of them are gone.
    watch_setter share(std::source_location at = std::source_location::current()) const noexcept {
        return watch_setter(core(at));
    }

private:
    template <class U>
    friend std::pair<watch_setter<U>, watcher<U>> make_watch(U, std::source_location);
    explicit watch_setter(detail::watch_core& core) noexcept : watch_setter_end(core) {}
};

/// A watched value, at first `initial`. Throws std::bad_alloc. Cost: three allocations.
template <class T>
[[nodiscard]] std::pair<watch_setter<T>, watcher<T>> make_watch(
    T initial, std::source_location made_at = std::source_location::current()) {
    detail::require_element<T>();
    static_assert(std::is_copy_constructible_v<T>,
                  "whoever looks at a watched value gets a copy: watch a std::shared_ptr<const T>");
    watch_setter<T> set(detail::make_watch_core(detail::make_message<T>(std::move(initial)), made_at));
    watcher<T> see = set.subscribe();
    return {std::move(set), std::move(see)};
}
}

#pragma GCC diagnostic pop
