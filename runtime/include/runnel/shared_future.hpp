// shared_future: a value that comes once, for any number of waiters.
//
//   rn::promise<config> loading;
//   rn::shared_future<config> loaded = loading.future();   // copied freely
//   …
//   auto got = co_await loaded;                            // result<config>, a copy
//   if (co_await loaded.ready()) use(loaded.value());      // the same without the copy
//
// The end of a task is a value for one (join_handle). This is for many, and for a value that no task of ours makes.
//
//   F1  it is settled once, with a value, an error or an exception, and stays so;
//   F2  a promise that goes without having settled it settles it: with errc::producer_failed when an exception threw it
//       away, producer_cancelled when its task was cancelled, else closed. So nobody waits for ever;
//   F3  the value is not touched between its making and its end, so all may look at it at once.
//
// Not taken: callbacks (`then`): a task that awaits it says the same, can be cancelled, and shows in a dump.
#pragma once

#include <atomic>
#include <exception>
#include <new>
#include <utility>

#include "detail/check.hpp"
#include "detail/operation.hpp"
#include "detail/wait_queue.hpp"
#include "result.hpp"

namespace runnel {

namespace detail {

/// What a promise and its futures share, the value apart. On the heap; goes with its last handle.
class future_state : public wait_queue {
public:
    explicit future_state(std::source_location made_at) noexcept : wait_queue(made_at) {}

    void add_handle() noexcept;
    void drop_handle() noexcept;
    /// Handles besides the one that asks.
    bool has_others() const noexcept;

    /// The value, if that is what it is, has been made. Once.
    void settle(std::error_code error, std::exception_ptr exception) noexcept;
    /// F2.
    void abandon() noexcept;
    // acquire: pairs with the release in settle(), for who asks without the lock.
    bool settled() const noexcept { return settled_.load(std::memory_order_acquire); }
    /// Of a settled one: throws its exception, gives its error, or success.
    result<> outcome() const;
    bool has_value() const noexcept { return settled() && !error_ && exception_ == nullptr; }
    /// On a plain thread, as block_on() of it. Misuse on a worker is check()ed. Throws std::bad_alloc.
    void wait_on_thread();

protected:
    ~future_state() = default;

private:
    virtual void destroy() noexcept = 0;

    std::error_code error_;
    std::exception_ptr exception_;
    std::atomic<bool> settled_{false};
    std::atomic<std::uint32_t> handles_{1};
};

template <class T>
class future_value final : public future_state {
public:
    explicit future_value(std::source_location made_at) noexcept : future_state(made_at) {}
    template <class... Args>
    void make(Args&&... args) {
        ::new (static_cast<void*>(&value)) T(std::forward<Args>(args)...);
    }
    union {
        T value;
    };

private:
    ~future_value() {
        if (has_value()) value.~T();
    }
    void destroy() noexcept override { delete this; }
};
template <>
class future_value<void> final : public future_state {
public:
    using future_state::future_state;
    void make() noexcept {}

private:
    void destroy() noexcept override { delete this; }
};

/// One reference to a state, or none.
class future_handle {
public:
    future_handle() noexcept = default;
    explicit future_handle(future_state* adopted) noexcept : state_(adopted) {}
    future_handle(const future_handle& other) noexcept : state_(other.state_) {
        if (state_ != nullptr) state_->add_handle();
    }
    future_handle(future_handle&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
    future_handle& operator=(future_handle other) noexcept {
        std::swap(state_, other.state_);
        return *this;
    }
    ~future_handle() {
        if (state_ != nullptr) state_->drop_handle();
    }
    future_state* get() const noexcept { return state_; }

private:
    future_state* state_ = nullptr;
};

class settled_case : public queue_case {
public:
    explicit settled_case(future_state& of) noexcept : queue_case(of) {}
    settled_case(settled_case&&) noexcept = default;
    bool try_now(late_wake&) noexcept final;
    wait_subject subject() const noexcept final;

protected:
    ~settled_case() = default;
    future_state& of() const noexcept { return static_cast<future_state&>(*at_); }
};

/// What shared_future::ready() gives.
class [[nodiscard]] ready_operation final : public single_case<ready_operation, result<>, settled_case> {
public:
    explicit ready_operation(future_state& of) noexcept : single_case(of) {}
    ready_operation(ready_operation&&) noexcept = default;
    result<> complete(unsigned) { return of().outcome(); }
};

/// What `co_await future` means.
template <class T>
class [[nodiscard]] value_operation final : public single_case<value_operation<T>, result<T>, settled_case> {
    using base = single_case<value_operation<T>, result<T>, settled_case>;

public:
    explicit value_operation(future_state& of) noexcept : base(of) {}
    value_operation(value_operation&&) noexcept = default;
    result<T> complete(unsigned) {
        const result<> how = this->of().outcome();
        if (!how) return how.error();
        if constexpr (std::is_void_v<T>)
            return {};
        else
            return result<T>(std::in_place, static_cast<future_value<T>&>(this->of()).value);
    }
};
}

/// Copyable; copies stand for the same value. Default-made it stands for none, and must not be waited for.
template <class T = void>
class shared_future : public detail::named_awaitable<shared_future<T>, detail::value_operation<T>> {
    static_assert(std::is_void_v<T> || (std::is_object_v<T> && std::is_same_v<T, std::remove_cv_t<T>>),
                  "a future holds an object, or nothing: no reference, no const");

public:
    shared_future() noexcept = default;

    /// Does it stand for anything?
    bool valid() const noexcept { return state_.get() != nullptr; }
    /// Threads: any. True: what was written before is seen.
    bool is_ready() const noexcept { return checked().settled(); }

    /// `co_await future`, and `future` in a select or a with_timeout(): waits for the value.
    /// Returns       a copy of the value; the error that it was settled with; an error when the wait was refused or
    ///               ended.
    /// Throws        the exception that it was settled with, or what copying throws.
    /// Cancellation  a cancel point on every call, also when it is ready. Ends the wait of this one only.
    /// Order         waiters go on in the order in which they came.
    /// Threads       a task's; the future must outlive the wait. What was written before it was settled is seen.
    /// Cost          one short spin lock; no allocation.
    detail::value_operation<T> operation() const noexcept {
        static_assert(std::is_void_v<T> || std::is_copy_constructible_v<T>,
                      "this value cannot be copied: co_await future.ready(), then look at future.value()");
        return detail::value_operation<T>(checked());
    }
    /// The same without the copy: success when there is a value().
    detail::ready_operation ready() const noexcept { return detail::ready_operation(checked()); }

    /// The value of one that is ready. Throws the exception, or std::system_error for the error, that it was settled
    /// with. Not ready: check()ed. Lives as long as any handle. Threads: any.
    std::add_lvalue_reference_t<const T> value(
        std::source_location at = std::source_location::current()) const {
        detail::check(is_ready(), "shared_future: its value() was asked for before it is ready", at);
        checked().outcome().value();
        if constexpr (!std::is_void_v<T>) return static_cast<detail::future_value<T>&>(*state_.get()).value;
    }

    /// Waits on a plain thread, then the same. Misuse on a worker is check()ed.
    std::add_lvalue_reference_t<const T> wait() const {
        checked().wait_on_thread();
        return value();
    }

private:
    template <class>
    friend class promise;
    explicit shared_future(detail::future_handle of) noexcept : state_(std::move(of)) {}
    detail::future_state& checked() const noexcept {
        detail::check(valid(), "shared_future: it stands for nothing (default-made or moved from)");
        return *state_.get();
    }

    detail::future_handle state_;
};

/// The duty to settle a value. Move-only.
template <class T = void>
class promise {
public:
    /// Throws std::bad_alloc. Cost: one allocation, for the value too.
    explicit promise(std::source_location made_at = std::source_location::current())
        : state_(new detail::future_value<T>(made_at)) {}
    promise(promise&&) noexcept = default;
    promise& operator=(promise&& other) noexcept {
        promise old(std::move(other));
        std::swap(state_, old.state_);
        std::swap(kept_, old.kept_);
        return *this;
    }
    ~promise() {
        if (state_.get() != nullptr && !kept_) state_.get()->abandon();  // F2
    }

    /// One more handle of the value. Threads: any, at once.
    shared_future<T> future() const noexcept { return shared_future<T>(state_); }
    /// Does anybody hold a future of it? False: the work may be saved. Threads: any.
    bool wanted() const noexcept { return checked().has_others(); }

    /// Makes the value of `args`, and wakes all who wait. A second time is misuse: check()ed.
    /// Throws what making it throws: then it is not settled.
    /// Threads: any, also outside a runtime. Cost: O(waiters), all claimed under one short lock.
    template <class... Args>
    void set_value(Args&&... args) {
        detail::future_value<T>& state = unsettled();
        state.make(std::forward<Args>(args)...);
        settle({}, nullptr);
    }
    /// The same with an error, or an exception. A false one, or none, stands for errc::closed.
    void set_error(std::error_code error) noexcept {
        unsettled();
        settle(error ? error : make_error_code(errc::closed), nullptr);
    }
    void set_exception(std::exception_ptr thrown) noexcept {
        if (thrown == nullptr) return set_error(make_error_code(errc::closed));
        unsettled();
        settle({}, std::move(thrown));
    }

    /// Its name in dumps and traces. Threads: any.
    void label(literal text) noexcept { checked().made.set_label(text); }

private:
    detail::future_value<T>& checked() const noexcept {
        detail::check(state_.get() != nullptr, "promise: used after it was moved from");
        return static_cast<detail::future_value<T>&>(*state_.get());
    }
    detail::future_value<T>& unsettled() const noexcept {
        detail::check(!kept_, "promise: settled twice");
        return checked();
    }
    void settle(std::error_code error, std::exception_ptr thrown) noexcept {
        kept_ = true;
        state_.get()->settle(error, std::move(thrown));
    }

    detail::future_handle state_;
    bool kept_ = false;
};
}
