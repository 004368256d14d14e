// select_any: a select whose cases are known at run time only, any number of them.
//
//   std::vector<decltype(in.recv())> all;                       // operations of one type, made once
//   for (auto& in : inputs) all.push_back(in.recv());
//   while (auto won = co_await rn::select_any(all)) {           // false: this wait was cancelled
//       if (auto value = won.take()) use(won.index(), *value);
//       else all.erase(all.begin() + won.index());              // closed: else it would be ready for ever
//   }
//
// It is one operation, whatever the number: with_timeout(5s, select_any(all)) limits it, and operations of several
// types stand in a select together: select(select_any(receives), select_any(sends), sleep_for(5s)) says by its index
// which of these it was, and by the index of take<0>() or take<1>() which of them. All their cases are as likely.
//
// The operations stay where they are, which is not in the select, and can be waited for again:
//
//   A1  one that lost, and one of a wait that was cancelled, is as before: it has taken nothing, and is in no queue;
//   A2  one that won is as new when it can happen again: a receive, a sleep (from then on), a lock, an event. What can
//       not is never ready from then on, like a nil channel: a send, whose value is gone, and the end of a task. It is
//       made anew by an assignment: sends[i] = out.send(rn::from(other)). One that won with an error has used up
//       nothing, and will win with that error again: a closed channel, as in Go;
//   A3  until the wait is over the operations are not moved, and what they refer to is there: the ends of the channels,
//       the values to be sent, the handles. Each is in one wait at a time, and once in it: not in two groups of a
//       select, nor waited for by two tasks.
//
// Not taken: cases of any type behind a pointer each (Go's reflect.Select): their results would be, too. Groups of one
// type keep the types. Locking the objects one after the other instead of all together (S1 of select.hpp): two selects
// that face each other would have to find out which of them goes back.
#pragma once

#include <iterator>

#include <runnel/select.hpp>

namespace runnel {

/// Which of the operations happened, and its result. False when none did: see error().
template <class Result>
class [[nodiscard]] selected_any {
public:
    explicit selected_any(std::error_code error) noexcept : won_(error) {}
    selected_any(std::size_t index, Result&& of_case)
        : won_(std::in_place_index<0>, std::move(of_case)), index_(index) {}

    /// Did one happen? (It may have happened with an error: that its channel is closed, for instance.)
    explicit operator bool() const noexcept { return static_cast<bool>(won_); }
    /// Why none did: how the wait itself was cancelled; errc::not_available from try_select_any().
    std::error_code error() const noexcept { return won_.error(); }
    /// Its place among the operations.
    std::size_t index(std::source_location at = std::source_location::current()) const noexcept {
        return won_.index(at) + index_;
    }

    /// What the operation gives when it is awaited alone.
    Result& get(std::source_location at = std::source_location::current()) & noexcept {
        return won_.template get<0>(at);
    }
    const Result& get(std::source_location at = std::source_location::current()) const& noexcept {
        return won_.template get<0>(at);
    }
    /// The same, moved out.
    Result take(std::source_location at = std::source_location::current()) {
        return won_.template take<0>(at);
    }

private:
    selected<Result> won_;
    std::size_t index_ = 0;
};

namespace detail {

template <class Ops>
using element_of_range = std::remove_reference_t<decltype(*std::data(std::declval<Ops&>()))>;

/// Says what is wrong with the elements that select_any() is given.
template <class Op>
constexpr void require_cases() noexcept {
    static_assert(!std::is_const_v<Op>, "select_any: the operations are used, so they must not be const");
    static_assert(
        !awaited_as_lvalue<Op>,
        "select_any: this is waited for by its name and is no operation: take those of x.join(), x.wait()");
    static_assert(selectable<Op> || awaited_as_lvalue<Op>,
                  "select_any: this operation is no case of a select, because it cannot be taken back");
}

/// What select_any() returns: to be awaited at once, or given to with_timeout() or a select.
template <choice Order, class Op>
class [[nodiscard]] select_any_operation {
    static_assert(Op::case_count != any_number,
                  "select_any: of operations that have a fixed number of cases each");

public:
    using result_type = selected_any<typename Op::result_type>;
    static constexpr std::size_t case_count = any_number;
    static constexpr choice order = Order;

    select_any_operation(Op* first, std::size_t ops) noexcept : first_(first), ops_(ops) {
        if constexpr (requires { first->renew(); })
            for (std::size_t i = 0; i < ops; ++i) first[i].renew();
    }

    std::size_t count() const noexcept { return ops_ * Op::case_count; }
    void gather(wait_case** out) noexcept {
        for (std::size_t i = 0; i < ops_; ++i) first_[i].gather(out + i * Op::case_count);
    }
    result_type complete(unsigned index) {
        const std::size_t which = index / Op::case_count;
        const afterwards ready_again{first_[which]};
        return result_type(which, first_[which].complete(static_cast<unsigned>(index % Op::case_count)));
    }
    result_type fail(std::error_code error) noexcept { return result_type(error); }

    await_many<select_any_operation> awaiter() noexcept { return await_many<select_any_operation>(*this); }
    result_type try_once() { return try_many_of(*this, make_error_code(errc::not_available)); }

private:
    /// A2, also when the result is an exception.
    struct afterwards {
        Op& won;
        ~afterwards() { make_ready_again(won); }
    };

    Op* first_;
    std::size_t ops_;
};

template <choice Order, class Ops>
auto any_of(Ops& ops) noexcept {
    using op = element_of_range<Ops>;
    require_cases<op>();
    return select_any_operation<Order, op>(std::data(ops), std::size(ops));
}
}

/// Waits until one of `ops` can happen, and does that one. `ops` is whatever std::data() and std::size() take: a
/// std::span, a vector, an array; of operations, whose addresses are kept (A3). Of several that can, each is as likely.
/// Returns       selected_any<…>: the index of the operation and its result.
/// Throws        what the operation that happened throws when awaited alone; std::bad_alloc, and none has happened.
/// Cancellation  a cancel point on every call; then the answer is false, and no operation has happened. Of none at all
///               it waits for that, as `select {}` does in Go.
/// Order         a task that waits has its place in the queue of each case.
/// Cost          O(n log n). For more than 16 cases one allocation of 18 bytes each. The locks of all their objects are
///               held together while the cases are tried and queue up: 10,000 for about a millisecond, in which
///               whoever else comes to one of them waits. More than 32,752 cases are check()ed.
template <class Ops>
[[nodiscard]] auto select_any(Ops&& ops) noexcept {
    return detail::any_of<detail::choice::fair>(ops);
}

/// The same with priority: of several that can happen at once, the first.
template <class Ops>
[[nodiscard]] auto select_any(in_order_t, Ops&& ops) noexcept {
    return detail::any_of<detail::choice::in_order>(ops);
}

/// Does one of `ops` if it can happen now, without waiting.
/// Returns       as select_any(); false, with errc::not_available, when none could.
/// Cancellation  none: it is tried whether the context is cancelled or not.
/// Threads       any, also outside a runtime.
template <class Ops>
auto try_select_any(Ops&& ops) {
    return detail::any_of<detail::choice::fair>(ops).try_once();
}
template <class Ops>
auto try_select_any(in_order_t, Ops&& ops) {
    return detail::any_of<detail::choice::in_order>(ops).try_once();
}
}
