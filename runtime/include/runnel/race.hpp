// race: several tasks at once, of which one is wanted.
//
//   auto won = co_await rn::race(answer(), gives_up_after(1s));     // the first that ends, however it ends
//   if (won.index() == 0) use(won.get<0>());
//
//   auto page = co_await rn::race_ok(fetch(mirror_a), fetch(mirror_b));   // the first that succeeds
//   if (!page) report(page.failures());                                   // nobody has: why, of each
//
//   1  the tasks run as the branches of a when_all (fork.hpp), under a context of their own;
//   2  one that ends asks whether it has won. The first that may, has: its value is moved out, and the context is
//      cancelled;
//   3  the others end, those that have not begun without having run; what they give is dropped.
//
//   R1  exactly one wins; or nobody, if all fail and a success was wanted;
//   R2  all have ended, and what they gave and were given is gone, when the race returns: it is as long as its slowest
//       loser takes to see that it is cancelled;
//   R3  a failure is kept, by whomever, before the win or after: but not that a loser says that it was cancelled
//       (errc::cancelled and its like), which is what the win has brought about;
//   R4  a cancel of the task that waits reaches all; then they end, and one wins by that, or nobody.
//
// The names: race is JavaScript's Promise.race and Rust's futures-concurrency, which has race_ok too; that one is
// JavaScript's Promise.any and folly's collectAnyWithoutException. "when_any" is the first that ends in libcoro and the
// first that succeeds elsewhere, so nothing is called that. For operations (a recv, a timer, a join) there is select(),
// which starts no tasks.
#pragma once

#include <cstddef>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "context.hpp"
#include "detail/spin_lock.hpp"
#include "failure.hpp"
#include "fork.hpp"
#include "result.hpp"

namespace runnel {

/// How one of those in a race failed.
struct race_failure : failure {
    race_failure(failure&& how, std::size_t which) noexcept : failure(std::move(how)), index(which) {}
    std::size_t index;  // which of the tasks
};

namespace detail {
class race_core;
}

/// How a race ended. `Value` is a std::variant of what the tasks give (rn::nothing for void), or the one type of all.
template <class Value>
class [[nodiscard]] raced {
public:
    using value_type = Value;
    raced(std::error_code nobody) noexcept : error_(nobody) {}

    /// Has somebody won? Always, of race().
    bool has_value() const noexcept { return value_.has_value(); }
    explicit operator bool() const noexcept { return has_value(); }
    /// Which of the tasks has won. check()ed.
    std::size_t index() const noexcept {
        detail::check(has_value(), "raced: nobody has won");
        return index_;
    }

    /// What the winner gave. Undefined by contract, check()ed in fact, when there is none.
    Value& operator*() & noexcept { return checked(); }
    const Value& operator*() const& noexcept { return const_cast<raced*>(this)->checked(); }
    Value&& operator*() && noexcept { return std::move(checked()); }
    Value* operator->() noexcept { return &checked(); }
    const Value* operator->() const noexcept { return &const_cast<raced*>(this)->checked(); }
    /// The same when that is task I, and of its type. Throws std::bad_variant_access when it is another.
    template <std::size_t I>
    decltype(auto) get() & {
        return std::get<I>(checked());
    }
    template <std::size_t I>
    decltype(auto) get() && {
        return std::get<I>(std::move(checked()));
    }
    /// What the winner gave; when nobody has won, throws the first exception that one of them threw, or else
    /// std::system_error with error().
    Value& value() & {
        if (has_value()) return *value_;
        for (const race_failure& each : failures_)
            if (each.exception != nullptr) std::rethrow_exception(each.exception);
        throw std::system_error(error_);
    }
    Value&& value() && { return std::move(value()); }

    /// When nobody has won, why the first to fail did, if that was by an error; else errc::producer_failed.
    std::error_code error() const noexcept { return has_value() ? std::error_code() : error_; }
    /// Those that failed (R3), in the order of their ends.
    const std::vector<race_failure>& failures() const noexcept { return failures_; }

private:
    friend class detail::race_core;
    raced() noexcept = default;
    Value& checked() noexcept {
        detail::check(has_value(), "raced: the value of a race that nobody has won was used");
        return *value_;
    }

    std::optional<Value> value_;
    std::size_t index_ = 0;
    std::error_code error_;
    std::vector<race_failure> failures_;
};

namespace detail {

enum class race_for : unsigned char { the_end, success };

/// What is known of a race while it runs. In the frame of who waits.
class race_core {
public:
    /// Throws std::bad_alloc.
    race_core(race_for what, std::size_t contenders) : wanted_(what) { failures_.reserve(contenders); }
    race_core(const race_core&) = delete;
    race_core& operator=(const race_core&) = delete;

    bool decided() noexcept;
    /// Step 2: one has ended. True: it has won, keeps its value, and calls cancel_others().
    bool wins(std::size_t index, failure how) noexcept;
    /// The winner's value could not be moved.
    void thrown_by_value(std::exception_ptr what) noexcept { thrown_ = std::move(what); }
    /// Called by the winner, which runs under the race's context.
    void cancel_others() noexcept;

    /// Throws what the winner threw.
    template <class Value>
    raced<Value> outcome(std::optional<Value>&& won) {
        if (thrown_ != nullptr) std::rethrow_exception(std::move(thrown_));
        raced<Value> end;
        if (won) end.value_.emplace(*std::move(won));
        end.index_ = winner_;
        if (!end.has_value()) end.error_ = first_error();
        end.failures_ = std::move(failures_);
        return end;
    }

private:
    std::error_code first_error() const noexcept;
    static constexpr std::size_t nobody = SIZE_MAX;
    spin_lock lock_;  // guards all below, until all have ended
    const race_for wanted_;
    std::size_t winner_ = nobody;
    std::exception_ptr thrown_;
    std::vector<race_failure> failures_;
};

/// Runs them (step 1).
task<> run_race(std::vector<task<>> contenders);

template <class T, class Keep>
task<> contend(race_core& race, std::size_t index, task<T> body, Keep keep) {
    static_assert(!std::is_reference_v<T>, "race: a reference would outlive what the task was given");
    if (race.decided()) co_return;  // step 3
    outcome<T> out;
    failure how;
    try {
        if constexpr (std::is_void_v<T>)
            co_await std::move(body);
        else
            out.set_value(co_await std::move(body));
    } catch (...) {
        how.exception = std::current_exception();
    }
    if constexpr (holds_error<T>)
        if (const T* value = out.peek(); value != nullptr) how.error = error_in(*value);
    const bool threw = how.exception != nullptr;
    if (!race.wins(index, std::move(how))) co_return;
    try {
        if (!threw) keep(out);
    } catch (...) {
        race.thrown_by_value(std::current_exception());
    }
    race.cancel_others();
}

template <class T>
fork_value<T> value_of(outcome<T>& out) {
    if constexpr (std::is_void_v<T>)
        return nothing{};
    else
        return out.take();
}

template <class Value, class... Ts, std::size_t... I>
std::vector<task<>> contenders_of(race_core& race, std::optional<Value>& won, std::index_sequence<I...>,
                                  task<Ts>&... tasks) {
    (task_access::frame_of(tasks), ...);  // check()s that there is one
    std::vector<task<>> all;
    all.reserve(sizeof...(Ts));
    (all.push_back(contend(race, I, std::move(tasks),
                           [&won](outcome<Ts>& out) { won.emplace(std::in_place_index<I>, value_of(out)); })),
     ...);
    return all;
}
template <class Value, class T>
std::vector<task<>> contenders_of(race_core& race, std::optional<Value>& won, std::vector<task<T>>& tasks) {
    std::vector<task<>> all;
    all.reserve(tasks.size());
    for (task<T>& each : tasks) {
        task_access::frame_of(each);
        all.push_back(contend(race, all.size(), std::move(each),
                              [&won](outcome<T>& out) { won.emplace(value_of(out)); }));
    }
    return all;
}

template <class... Ts>
task<raced<std::variant<fork_value<Ts>...>>> race_of(race_for what, task<Ts>... tasks) {
    race_core race(what, sizeof...(Ts));
    std::optional<std::variant<fork_value<Ts>...>> won;
    auto contenders = contenders_of(race, won, std::index_sequence_for<Ts...>(), tasks...);
    co_await run_race(std::move(contenders));
    co_return race.outcome(std::move(won));
}
template <class T>
task<raced<fork_value<T>>> race_of_many(race_for what, std::vector<task<T>> tasks) {
    check(!tasks.empty(), "race: of no tasks, nobody can win");
    race_core race(what, tasks.size());
    std::optional<fork_value<T>> won;
    auto contenders = contenders_of(race, won, tasks);
    co_await run_race(std::move(contenders));
    co_return race.outcome(std::move(won));
}
}

/// Runs the tasks at the same time, until the first has ended; cancels the others and waits for their ends (R2).
/// Returns       what the first gave, an error too, and which it was; failures of others (R3).
/// Throws        what the first threw.
/// Cancellation  of the task that waits reaches all of them (R4).
/// Order         on one worker they begin in order; the first may end, and win, before others have begun.
/// Threads       they may run on any worker, at once. What one starts by go() lives on; a scope's children do not.
/// Cost          a frame per task and five allocations.
template <class... Ts>
task<raced<std::variant<detail::fork_value<Ts>...>>> race(task<Ts>... tasks) {
    static_assert(sizeof...(Ts) > 0, "race: of no tasks, nobody can win");
    return detail::race_of(detail::race_for::the_end, std::move(tasks)...);
}
/// The same for any number of tasks of one type; for none it is misuse: check()ed.
template <class T>
task<raced<detail::fork_value<T>>> race(std::vector<task<T>> tasks) {
    return detail::race_of_many(detail::race_for::the_end, std::move(tasks));
}

/// The same, but one that fails does not win: the others go on. A task fails by an exception, or by giving what says of
/// itself that it is an error (a result, a transfer, an std::error_code).
/// Returns       what the first to succeed gave; when all have failed, nothing, and why each of them did.
/// Throws        nothing of theirs: value() does.
template <class... Ts>
task<raced<std::variant<detail::fork_value<Ts>...>>> race_ok(task<Ts>... tasks) {
    static_assert(sizeof...(Ts) > 0, "race_ok: of no tasks, nobody can win");
    return detail::race_of(detail::race_for::success, std::move(tasks)...);
}
template <class T>
task<raced<detail::fork_value<T>>> race_ok(std::vector<task<T>> tasks) {
    return detail::race_of_many(detail::race_for::success, std::move(tasks));
}
}
