// select: waits for several operations, of which exactly one happens.
//
//   while (auto won = co_await rn::select(jobs.recv(), out.send(rn::from(x)), rn::sleep_for(5s))) {
//     switch (won.index()) {                       // the loop ends when this wait was cancelled
//       case 0: run(*won.take<0>()); break;        // take<0>() is what `co_await jobs.recv()` gives
//       …
//
// An operation is a case: it is described here and tried there, not evaluated first. Anything that can be
// waited for and taken back is one: send, recv, sleep, ctx.done(), join, event, lock, …; a with_timeout()
// around one, or another select, is one too. The algorithm is that of every wait (detail/wait.hpp):
//
//   1  lock the objects of all cases, in the order of their addresses;
//   2  try the cases, in random order or as written; the first that can happen does, and that is all;
//   3  else queue up for all of them and park; whoever comes first claims the wait with its case's index;
//   4  resumed, leave the other queues. A case that lost has taken nothing, and sent nothing.
//
//   S1  all objects are locked while the cases are tried, so two selects that face each other on a channel
//       without room do meet: the second finds the first either before it tries or in the queue;
//   S2  operations are moved into the select. A join_handle and an event, which are waited for by name, are none
//       but may stand for one: `handle` for handle.join(), `ready` for ready.wait();
//   S3  each case has a place of its own in the queue of its object, also when several are of the same object, and
//       takes part there as any other waiter does. So two on one semaphore stand in each other's way: behind
//       acquire(5), which is not to be had, acquire(1) waits although there is one. And two on one barrier arrive
//       twice. Two cases on one channel never meet each other, nor do they hinder each other.
//
// Operations whose number is known at run time only: select_any.hpp. They may stand in a select beside others.
//
// Not taken: callbacks per case: by-value captures in an awaited expression are destroyed twice by g++ 12,
// and a `switch` can `break`, `co_return` and `co_await`. Starting all and cancelling the losers: a loser that
// had already won has to be undone, or its value is lost.
#pragma once

#include <runnel/detail/check.hpp>
#include <runnel/detail/operation.hpp>
#include <runnel/result.hpp>
#include <runnel/task.hpp>
#include <tuple>
#include <variant>

namespace runnel {

/// select(in_order, …): of the cases that are ready at once, the first as written.
struct in_order_t {
    explicit in_order_t() = default;
};
inline constexpr in_order_t in_order{};

/// Which case of a select happened, and its result. False when none did: see error().
template <class... Results>
class [[nodiscard]] selected {
public:
    /// What the N-th operation gives when it is awaited alone.
    template <std::size_t N>
    using result_of = std::variant_alternative_t<N, std::variant<Results...>>;

    explicit selected(std::error_code error) noexcept : which_(std::in_place_index<0>, error) {}
    template <std::size_t N, class Result>
    selected(std::in_place_index_t<N>, Result&& of_case)
        : which_(std::in_place_index<N + 1>, std::forward<Result>(of_case)) {}

    /// Did a case happen? (It may have happened with an error: that its channel is closed, for instance.)
    explicit operator bool() const noexcept { return which_.index() != 0; }

    /// Why none did: how the wait itself was cancelled; errc::not_available from try_select().
    std::error_code error() const noexcept {
        const std::error_code* error = std::get_if<0>(&which_);
        return error != nullptr ? *error : std::error_code();
    }

    /// The place in the list of the case that happened.
    std::size_t index(std::source_location at = std::source_location::current()) const noexcept {
        detail::check(
            which_.index() != 0,
            "select: no case happened, for the wait was cancelled: test the answer before its index()", at);
        return which_.index() - 1;
    }

    /// Its result. N must be index().
    template <std::size_t N>
    result_of<N>& get(std::source_location at = std::source_location::current()) & noexcept {
        return of_case<N>(at);
    }
    template <std::size_t N>
    const result_of<N>& get(std::source_location at = std::source_location::current()) const& noexcept {
        return const_cast<selected*>(this)->of_case<N>(at);
    }

    /// The same, moved out.
    template <std::size_t N>
    result_of<N> take(std::source_location at = std::source_location::current()) {
        return std::move(of_case<N>(at));
    }

private:
    template <std::size_t N>
    result_of<N>& of_case(std::source_location at) noexcept {
        result_of<N>* found = std::get_if<N + 1>(&which_);
        detail::check(found != nullptr, "select: this is not the case that happened", at);
        return *found;
    }

    std::variant<std::error_code, Results...> which_;
};

namespace detail {

/// Says what is wrong with an argument of select().
template <class Op>
constexpr void require_case() noexcept {
    using op = std::remove_cvref_t<Op>;
    constexpr bool temporary = awaited_as_lvalue<op> && !std::is_lvalue_reference_v<Op>;
    static_assert(!temporary, "this is waited for by its name: auto end = go(…) first, then select(end, …)");
    static_assert(!is_task<op>, "a task is no case: go(…) it, and select on its join_handle");
    static_assert(!always_shielded<op>, "a scope's join() is no case of a select, because it waits for all "
                                        "children, whatever happens: cancel() the scope, then join() it");
    static_assert(
        !under_other_context<op>,
        "with_context(), shielded(), and with_timeout() of a task, make no case of a select: await them "
        "in a task of their own, and select on its handle");
    static_assert(
        temporary || is_task<op> || always_shielded<op> || under_other_context<op> || selectable<case_of<Op>>,
        "this operation is no case of a select, because it cannot be taken back once it has begun: "
        "put with_timeout() around it, or start it with go() and select on the handle");
    static_assert(!std::is_lvalue_reference_v<Op> || awaited_as_lvalue<op>,
                  "an operation refers to its arguments: make it in the select that waits for it");
}

template <class Op>
constexpr std::size_t cases_of() noexcept {  // or any_number
    if constexpr (selectable<Op>)
        return Op::case_count;
    else
        return 0;  // already reported
}

/// What select() returns: to be awaited at once, or given to with_timeout() or another select.
template <choice Order, class... Ops>
class [[nodiscard]] select_operation {
public:
    using result_type = selected<typename Ops::result_type...>;
    static constexpr std::size_t case_count = [] {
        std::size_t sum = 0;
        ((sum = sum_of_counts(sum, cases_of<Ops>())), ...);
        return sum;
    }();
    static constexpr choice order = Order;
    static_assert(case_count > 0, "a select without cases never ends: say co_await current_context().done()");
    static_assert(case_count <= 64 || case_count == any_number,
                  "a select has 64 cases at most, those of the operations in it counted");

    explicit select_operation(Ops&&... ops) noexcept : ops_(std::move(ops)...) {}
    select_operation(select_operation&&) noexcept = default;

    std::size_t count() const noexcept {
        return std::apply([](const Ops&... ops) { return (count_of(ops) + ... + 0); }, ops_);
    }
    void gather(wait_case** out) noexcept { gather_from<0>(out); }
    result_type complete(unsigned index) { return complete_from<0>(index); }
    result_type fail(std::error_code error) noexcept { return result_type(error); }

    /// One case costs what its operation costs.
    auto awaiter() noexcept {
        if constexpr (case_count == 1)
            return await_one<select_operation>(*this);
        else
            return await_many<select_operation>(*this);
    }
    operator wait_case&() noexcept
        requires(case_count == 1)
    {
        wait_case* only;
        gather(&only);
        return *only;
    }

    result_type try_once() { return try_many_of(*this, make_error_code(errc::not_available)); }
    void again() noexcept {
        std::apply([](Ops&... ops) { (make_ready_again(ops), ...); }, ops_);
    }

private:
    template <std::size_t N>
    void gather_from(wait_case** out) noexcept {
        if constexpr (N < sizeof...(Ops)) {
            std::get<N>(ops_).gather(out);
            gather_from<N + 1>(out + count_of(std::get<N>(ops_)));
        }
    }
    /// `index` is counted from the first case of operation N.
    template <std::size_t N>
    result_type complete_from(unsigned index) {
        if constexpr (N + 1 < sizeof...(Ops)) {
            const auto count = static_cast<unsigned>(count_of(std::get<N>(ops_)));
            if (index >= count) return complete_from<N + 1>(index - count);
        }
        return result_type(std::in_place_index<N>, std::get<N>(ops_).complete(index));
    }

    std::tuple<Ops...> ops_;
};
}

/// Waits until one of `ops` can happen, and does that one. Of several that can, each is as likely; that
/// holds for every call anew, whatever the order in which they are written.
/// Returns       selected<…>: the index of the operation and its result.
/// Throws        what the operation that happened throws when it is awaited alone.
/// Cancellation  a cancel point on every call; then the answer is false, and no operation has happened.
/// Order         a task that waits has its place in the queue of each case.
/// Cost          no allocation; the lock of each case's object, two passes. One case costs as without select.
template <class... Ops>
[[nodiscard]] auto select(Ops&&... ops) noexcept {
    (detail::require_case<Ops>(), ...);
    return detail::select_operation<detail::choice::fair, detail::case_of<Ops>...>(
        detail::case_meant_by<Ops>(ops)...);
}

/// The same with priority: of several that can happen at once, the first as written.
template <class... Ops>
[[nodiscard]] auto select(in_order_t, Ops&&... ops) noexcept {
    (detail::require_case<Ops>(), ...);
    return detail::select_operation<detail::choice::in_order, detail::case_of<Ops>...>(
        detail::case_meant_by<Ops>(ops)...);
}

/// Go's select with a default: does one of `ops` if it can happen now, without waiting.
/// Returns       as select(); false, with errc::not_available, when none could.
/// Cancellation  none: it is tried whether the context is cancelled or not.
/// Threads       any, also outside a runtime: there stopping() is never ready, and blocking() is check()ed.
template <class... Ops>
auto try_select(Ops&&... ops) {
    return select(std::forward<Ops>(ops)...).try_once();
}
}
