// singleflight: many ask for the same at the same time; it is fetched once, and all get it.
//
//   rn::singleflight<std::string, page> pages;
//   auto got = co_await pages.run(url, fetch, url);      // result<page>: a copy for each
//
//   Z1  of one key, one flight is in the air; who asks meanwhile waits for it, whatever function it brings;
//   Z2  a flight is a task of its own: it belongs to none of those that wait, but when the last of them has given up
//       it is cancelled. It sees the values of the context of who asked first, and ends with the runtime;
//   Z3  all that wait get the same: the value, the error, or the exception.
//
// It keeps nothing: who asks after the flight has landed starts another. After Go's x/sync singleflight.
#pragma once

#include <memory>
#include <optional>
#include <unordered_map>

#include "context.hpp"
#include "detail/spawning.hpp"
#include "detail/spin_lock.hpp"
#include "go.hpp"
#include "shared_future.hpp"

namespace runnel {

template <class Key, class T, class Hash = std::hash<Key>, class Equal = std::equal_to<Key>>
class singleflight {
public:
    singleflight() : air_(std::make_shared<airspace>()) {}

    /// Waits for the flight of `key`; if there is none, starts f(args…), a coroutine that returns task<T> or
    /// task<result<T>>. `f` and `args` are kept as by go(). The key is copied, or moved out of rn::from(it). Hash and
    /// Equal are called under a spin lock: they must not throw, and should be quick.
    /// Returns       what it gives (Z3); an error when the wait was refused or ended, or the runtime stops.
    /// Throws        what it throws; what copying a T, or a key, throws.
    /// Cancellation  ends this wait; the flight only if nobody else waits (Z2).
    /// Threads       a task's; any number at once.
    /// Cost          two look-ups under a short lock; who is first pays a task and three allocations.
    template <class K = Key, class F, class... Args>
    task<result<T>> run(K&& key, F&& f, Args&&... args) {
        detail::refuse_what_dies_twice<F, K, Args...>();
        static_assert(std::is_convertible_v<decltype(detail::to_keep(std::forward<K>(key))), Key>,
                      "singleflight: this is no key, and cannot be made one");
        return board<detail::kept_t<F>, detail::kept_t<Args>...>(
            air_, detail::to_keep(std::forward<K>(key)), detail::to_keep(std::forward<F>(f)),
            detail::to_keep(std::forward<Args>(args))...);
    }

    /// Who asks for `key` from now on starts another flight; those that wait get theirs. Threads: any.
    void forget(const Key& key) { air_->take(key, nullptr); }
    /// Flights in the air. Threads: any.
    std::size_t size() const noexcept { return air_->size(); }

private:
    struct flight {
        flight(shared_future<T> future, cancellable under)
            : landing(std::move(future)), ctx(std::move(under.ctx)), cancel(std::move(under.cancel)) {}
        shared_future<T> landing;
        context ctx;
        cancel_function cancel;
        std::size_t waiting = 0;  // under the lock
    };
    using flight_ref = std::shared_ptr<flight>;

    /// Shared with the flights, which may outlive us.
    class airspace {
    public:
        /// The flight of `key`, or `fresh` in its place if that is not null; counts who asks.
        flight_ref join(const Key& key, const flight_ref& fresh) {
            const locked hold(lock_);
            const auto at = flights_.find(key);
            flight_ref found = at != flights_.end() ? at->second : fresh;
            if (found == nullptr) return nullptr;
            if (at == flights_.end()) flights_.emplace(key, found);
            ++found->waiting;
            return found;
        }
        /// Somebody gives up, or has what it wanted. True: it was the last, and the flight is out of the air now.
        bool leave(const Key& key, flight& of) noexcept {
            flight_ref dies_without_the_lock;
            const locked hold(lock_);
            if (--of.waiting != 0) return false;
            dies_without_the_lock = erase(key, &of);
            return true;
        }
        /// Out of the air; null: whichever it is.
        void take(const Key& key, const flight* which) noexcept {
            flight_ref dies_without_the_lock;
            const locked hold(lock_);
            dies_without_the_lock = erase(key, which);
        }
        std::size_t size() const noexcept {
            const locked hold(lock_);
            return flights_.size();
        }

    private:
        flight_ref erase(const Key& key, const flight* which) {
            const auto at = flights_.find(key);
            if (at == flights_.end() || (which != nullptr && at->second.get() != which)) return nullptr;
            flight_ref found = std::move(at->second);
            flights_.erase(at);
            return found;
        }
        struct locked {
            explicit locked(detail::spin_lock& lock) noexcept : of(lock) { of.lock(); }
            ~locked() { of.unlock(); }
            detail::spin_lock& of;
        };
        mutable detail::spin_lock lock_;
        std::unordered_map<Key, flight_ref, Hash, Equal> flights_;
    };

    /// One who waits, from its boarding to its end.
    class passenger {
    public:
        passenger(std::shared_ptr<airspace> air, const Key& key) : air_(std::move(air)), key_(key) {
            of_ = air_->join(key, nullptr);
            if (of_ != nullptr) return;
            promise<T> settles;
            auto fresh =
                std::make_shared<flight>(settles.future(), with_cancel(without_cancel(current_context())));
            of_ = air_->join(key, fresh);
            if (of_ == fresh) first_.emplace(std::move(settles));
        }
        passenger(const passenger&) = delete;
        passenger& operator=(const passenger&) = delete;
        ~passenger() {
            if (air_->leave(key_, *of_)) of_->cancel();  // Z2; nothing when it has landed
        }
        /// What the one that found no flight in the air must settle.
        std::optional<promise<T>>& first() noexcept { return first_; }
        const flight_ref& flown() const noexcept { return of_; }

    private:
        const std::shared_ptr<airspace> air_;
        const Key& key_;
        flight_ref of_;
        std::optional<promise<T>> first_;
    };

    /// All that the task of a flight needs.
    template <class U>
    struct passage {
        passage(std::shared_ptr<airspace> air_, Key key_, flight_ref of_, promise<T> settles_, task<U> body_)
            : air(std::move(air_)),
              key(std::move(key_)),
              of(std::move(of_)),
              settles(std::move(settles_)),
              body(std::move(body_)) {}
        std::shared_ptr<airspace> air;
        Key key;
        flight_ref of;
        promise<T> settles;  // dies unsettled when the task is refused: then those that wait are told so
        task<U> body;
    };

    template <class U>
    static task<> fly(passage<U> p) {
        result<T> got(errc::closed);
        std::exception_ptr thrown;
        try {
            // Shielded from who asked first (Z2); the end of the runtime reaches it.
            auto in_flight = with_context(p.of->ctx, std::move(p.body));
            auto under_root = with_context(detail::root_context(), std::move(in_flight));
            if constexpr (std::is_void_v<U>) {
                co_await shielded(std::move(under_root));
                got = result<T>();
            } else {
                got = co_await shielded(std::move(under_root));
            }
        } catch (...) {
            thrown = std::current_exception();
        }
        p.air->take(p.key, p.of.get());
        if (thrown == nullptr && got) thrown = land(p.settles, got);
        if (thrown != nullptr)
            p.settles.set_exception(std::move(thrown));
        else if (!got)
            p.settles.set_error(got.error());
    }

    /// What moving the value throws.
    static std::exception_ptr land(promise<T>& settles, result<T>& got) noexcept {
        try {
            if constexpr (std::is_void_v<T>)
                settles.set_value();
            else
                settles.set_value(*std::move(got));
            return nullptr;
        } catch (...) {
            return std::current_exception();
        }
    }

    template <class F, class... Args>
    static task<result<T>> board(std::shared_ptr<airspace> air, Key key, F f, Args... args) {
        passenger here(air, key);
        if (here.first()) {
            auto body = detail::body(std::move(f), std::move(args)...);
            using value = typename detail::task_value<decltype(body)>::type;
            static_assert(
                std::is_assignable_v<result<T>&, std::conditional_t<std::is_void_v<value>, result<>, value>>,
                "singleflight: the function must return task<T> or task<result<T>>");
            go(fly<value>, passage<value>(air, key, here.flown(), *std::move(here.first()), std::move(body)));
        }
        shared_future<T> landing = here.flown()->landing;
        auto got = co_await landing;
        co_return got;
    }

    std::shared_ptr<airspace> air_;
};
}
