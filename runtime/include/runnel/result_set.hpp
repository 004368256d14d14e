// result_set: children that each give a T, taken as they come or all in the order in which they were spawned.
//
//   rn::result_set<page> pages;
//   pages.set_limit(8);
//   for (const auto& url : urls) {
//     auto started = co_await pages.when_free().spawn(fetch, url);   // task<page> or task<result<page>>
//     if (!started) break;                                            // one has failed, or we are cancelled
//   }
//   while (auto one = co_await pages.next()) use(*std::move(one));    // as they come
//   auto end = co_await pages.join();                                 // how it ended
//
//   auto all = co_await pages.in_order();                             // or: result<std::vector<page>>
//
// It is a scope (scope.hpp, whose rules hold): one that fails cancels the others, and its failure comes out of join()
// or in_order(). What it has of its own are the results of children that have ended:
//
//   L1  each is given to one call of next() or in_order(), or destroyed with the set; by whom a result is waited for
//       when it comes gets it, in the order of their calls. A next() that ends without has taken none;
//   L2  next() gives no failures: it goes on with the results that there are, and says errc::closed when there are none
//       and will be none, since no child lives;
//   L3  a child that gives result<T> has failed if that is an error. In a result_set<result<T>> it has given a value:
//       so each may fail for itself, and all is told by next().
//
// After Kotlin's async and awaitAll, Trio's and aiotools' gathering, Rust's JoinSet. Not taken: handles that are joined
// one by one: the second to fail waits until somebody asks for it.
#pragma once

#include <source_location>
#include <vector>

#include "detail/atomic.hpp"
#include "detail/operation.hpp"
#include "detail/scope_base.hpp"

namespace runnel {

template <class T>
class result_set;

namespace detail {

/// What a child has given, until somebody takes it.
class kept_result {
public:
    explicit kept_result(std::size_t place) noexcept : place_(place) {}
    kept_result(const kept_result&) = delete;
    kept_result& operator=(const kept_result&) = delete;
    virtual ~kept_result() = default;
    static void* operator new(std::size_t bytes) { return allocate_frame(bytes); }
    static void operator delete(void* kept, std::size_t bytes) noexcept { free_frame(kept, bytes); }

    /// The how manieth child gave it.
    std::size_t place() const noexcept { return place_; }
    kept_result* next = nullptr;

private:
    const std::size_t place_;
};
template <class T>
class kept_value final : public kept_result {
public:
    kept_value(std::size_t place, T&& value) : kept_result(place), value_(std::move(value)) {}
    T& value() noexcept { return value_; }

private:
    T value_;
};

/// Those that have come and were not taken; owns them. First in, first out; under the scope's lock while it is there.
class kept_results {
public:
    kept_results() noexcept = default;
    kept_results(kept_results&& other) noexcept
        : first_(std::exchange(other.first_, nullptr)),
          last_(other.last_),
          size_(std::exchange(other.size_, 0)) {}
    kept_results& operator=(kept_results&&) = delete;
    ~kept_results() {
        while (kept_result* const one = pop()) delete one;
    }
    std::size_t size() const noexcept { return size_; }
    void push(kept_result& one) noexcept {
        one.next = nullptr;
        (first_ != nullptr ? last_->next : first_) = &one;
        last_ = &one;
        ++size_;
    }
    kept_result* pop() noexcept {
        kept_result* const one = first_;
        if (one == nullptr) return nullptr;
        first_ = one->next;
        --size_;
        return one;
    }

private:
    kept_result* first_ = nullptr;
    kept_result* last_ = nullptr;
    std::size_t size_ = 0;
};

/// Gives it to who waits for one, or keeps it. False: the set is gone, and nobody will want it.
bool deliver(scope_state& to, kept_result& one) noexcept;
/// All that were kept, in the order of their places. Throws std::bad_alloc; then they stay.
kept_results take_in_order(scope_state& of);

/// The case of a result, or that there will be none.
class next_case : public wait_case {
public:
    explicit next_case(scope_state& of) noexcept : of_(&of) {}
    wait_object* object() noexcept final;
    bool try_now(late_wake&) noexcept final;
    void enlist(task_block& task, std::uint64_t ticket) noexcept final;
    bool delist() noexcept final;
    wait_subject subject() const noexcept final { return {"for the next result of a set"}; }

protected:
    next_case(next_case&&) noexcept = default;
    ~next_case() = default;
    kept_result* got_ = nullptr;

private:
    scope_state* of_;
    wait_node node_;
};

template <class T>
class [[nodiscard]] next_result final : public single_case<next_result<T>, result<T>, next_case> {
public:
    explicit next_result(scope_state& of) noexcept : next_result::single_case(of) {}
    next_result(next_result&&) noexcept = default;
    result<T> complete(unsigned) {
        if (this->got_ == nullptr) return errc::closed;
        kept_results dies_here;
        dies_here.push(*this->got_);
        return result<T>(std::in_place, std::move(static_cast<kept_value<T>*>(this->got_)->value()));
    }
};

/// What in_order() gives: a join(), and then what the children gave.
template <class T>
class [[nodiscard]] all_results final {
public:
    using result_type = result<std::vector<T>>;
    static constexpr bool always_shielded = true;
    explicit all_results(scope_base& of) noexcept : state_(&state_of(of)), ends_(of) {}
    all_results(all_results&&) noexcept = default;

    class awaiter_type {
    public:
        explicit awaiter_type(all_results& of) noexcept : state_(of.state_), ends_(of.ends_) {}
        awaiter_type(const awaiter_type&) = delete;
        awaiter_type& operator=(const awaiter_type&) = delete;
        bool await_ready() const noexcept { return false; }
        bool await_suspend(std::coroutine_handle<> awaiter) noexcept { return ends_.await_suspend(awaiter); }
        result_type await_resume() {
            if (const result<> joined = ends_.await_resume(); !joined) return joined.error();
            kept_results all = take_in_order(*state_);
            std::vector<T> values;
            values.reserve(all.size());
            while (kept_result* const one = all.pop()) {
                kept_results dies_here;
                dies_here.push(*one);
                values.push_back(std::move(static_cast<kept_value<T>*>(one)->value()));
            }
            return values;
        }

    private:
        scope_state* state_;
        join_children::awaiter_type ends_;
    };
    awaiter_type awaiter() noexcept { return awaiter_type(*this); }

private:
    scope_state* state_;
    join_children ends_;
};

/// A child of a result_set<T>: its error, if it gave one instead of a T.
template <class T, class U>
task<std::error_code> bring_result(scope_state* to, std::size_t place, task<U> body) {
    U got = co_await std::move(body);
    kept_result* kept = nullptr;
    if constexpr (std::is_same_v<U, T>) {
        kept = new kept_value<T>(place, std::move(got));
    } else {
        if (!got) co_return got.error();
        kept = new kept_value<T>(place, *std::move(got));
    }
    if (!deliver(*to, *kept)) delete kept;
    co_return std::error_code();
}
template <class T, class U>
task<std::error_code> child_of(result_set<T>& of, task<U> body) {
    static_assert(std::is_same_v<U, T> || std::is_same_v<U, result<T>>,
                  "result_set<T>: its children return rn::task<T> or rn::task<rn::result<T>>");
    return bring_result<T>(&state_of(of), of.next_place(), std::move(body));
}
}

/// A scope whose children give a T each. An object of the task that made it; spawn() also from its children.
template <class T>
class result_set final : public detail::scope_base, public detail::scope_spawner<result_set<T>> {
    static_assert(std::is_object_v<T> && std::is_move_constructible_v<T>,
                  "result_set: of values that can be moved");

public:
    explicit result_set(std::source_location at = std::source_location::current()) : scope_base(true, at) {}

    // spawn(f, args…), when_free().spawn(f, args…), if_free().spawn(f, args…): see detail::scope_spawner. `f` returns
    // task<T>, or task<result<T>>: L3. Cost: one frame more than a scope's, and a block for the result.

    /// Waits for a result that was not yet taken. A select case.
    /// Returns       the one that came first; errc::closed when no child lives and all were taken: how it ended is what
    ///               join() says. An error when the wait was refused or ended: nothing is taken then.
    /// Cancellation  a cancel point on every call.
    /// Order         of their ends; of those that call it, first come, first served.
    /// Threads       a task's; any number at once, but not of children of the set, who would wait for themselves.
    /// Cost          one short lock; no allocation.
    detail::next_result<T> next() noexcept { return detail::next_result<T>(state_of(*this)); }

    /// Waits until all children have ended, as join().
    /// Returns  their results that were not taken, in the order of the calls of spawn(); the error of the first child
    ///          that failed with one, or cancelled: then they stay, and next() still gives them.
    /// Throws   the exception of the first child that failed with one; std::bad_alloc.
    detail::all_results<T> in_order() noexcept { return detail::all_results<T>(*this); }

    /// As scope::join(). What was not taken stays.
    detail::join_children join() noexcept { return detail::join_children(*this); }

private:
    template <class Result, class U>
    friend task<std::error_code> detail::child_of(result_set<Result>& of, task<U> body);
    // relaxed: only unique, and in order for each task.
    std::size_t next_place() noexcept { return places_.fetch_add(1, std::memory_order_relaxed); }

    detail::atomic<std::size_t> places_{0};
};
}
