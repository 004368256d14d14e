// operation: how a wait case becomes something to co_await and to select on.
//
// An operation is a class that a function like recv() returns by value. It is movable until it is
// awaited, awaited as an rvalue, and has
//
//   result_type                   what co_await gives; can hold an error
//   case_count                    how many wait cases it is made of (mostly 1), or any_number
//   count()                       then: how many it is (select_any); the same from then on
//   gather(wait_case** out)       writes pointers to its cases
//   complete(unsigned index)      case `index` of them has happened: the result
//   fail(std::error_code)         the wait ended without: the result
//   awaiter()                     for co_await alone: await_one, await_many
//   suspend_alone(handle)         if it has a suspend_one() of its own, which does the same (suspend.hpp)
//   again()                       if it would not be as new by itself: after complete(), for the next wait (select_any)
//   renew()                       if it remembers a wait in which it lost: before the next (select_any)
//
// Most are one case: single_case<Self, result_type> is all of that but complete(). What is waited for by its name, as a
// join_handle or an event, is no operation but stands for one: named_awaitable.
//
// An operation of the kernel, which is none of all this, may have another form for a select: as_case() of an rvalue.
//
// Adaptors wrap operations and are operations: with_timeout adds a timer's case, select takes the cases of
// all its operations together. What the kernel cannot give back (a raw read into the caller's buffer), and
// what runs under another context (with_context, shielded), has an awaiter and no cases, so select refuses
// it at compile time.
#pragma once

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <new>
#include <system_error>
#include <type_traits>
#include <utility>

#include "wait_case.hpp"

namespace runnel::detail {

/// What a wait_code of a wait that nobody completed means: cancelled, deadline_exceeded, timed_out,
/// stopping. Called by the task that waited, on resumption.
std::error_code wait_error(unsigned code) noexcept;

template <class Op>
concept selectable = requires(std::remove_cvref_t<Op>& op, wait_case** out) {
    { std::remove_cvref_t<Op>::case_count } -> std::convertible_to<std::size_t>;
    op.gather(out);
    op.complete(0U);
    op.fail(std::error_code());
};

/// Waits that nothing ends early: a limit around one would be a lie.
template <class Op>
concept always_shielded = requires { requires std::remove_cvref_t<Op>::always_shielded; };
/// What begins by putting another context in the place of the task's.
template <class Op>
concept under_other_context = requires { requires std::remove_cvref_t<Op>::under_other_context; };

/// The assignment of an operation, which refers and does not own: made anew, not while it is waited for.
template <class Op>
Op& made_anew(Op& old, Op&& by) noexcept {
    if (&old == &by) return old;
    old.~Op();
    return *::new (static_cast<void*>(&old)) Op(std::move(by));
}

/// Of an operation that may be waited for again: after complete().
template <class Op>
void make_ready_again(Op& op) noexcept {
    if constexpr (requires { op.again(); }) op.again();
}

template <class Op>
class await_one {
public:
    explicit await_one(Op& op) noexcept : op_(op) {}
    await_one(const await_one&) = delete;
    await_one& operator=(const await_one&) = delete;

    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> awaiter) noexcept {
        if constexpr (requires { op_.suspend_alone(awaiter); })
            return op_.suspend_alone(awaiter);
        else
            return suspend_one(op_, awaiter);
    }
    typename Op::result_type await_resume() {
        const unsigned code = resume_one(op_);
        return code == 0 ? op_.complete(0) : op_.fail(wait_error(code));
    }

private:
    Op& op_;
};

/// case_count of an operation that knows it at run time only.
inline constexpr std::size_t any_number = static_cast<std::size_t>(-1);

constexpr std::size_t sum_of_counts(std::size_t a, std::size_t b) noexcept {
    return a == any_number || b == any_number ? any_number : a + b;
}
template <class Op>
constexpr std::size_t count_of(const Op& op) noexcept {
    if constexpr (Op::case_count == any_number)
        return op.count();
    else
        return Op::case_count;
}

/// Room for cases on the heap: one allocation. It stays until the wait is over.
class case_block {
public:
    case_block() noexcept = default;
    case_block(const case_block&) = delete;
    case_block& operator=(const case_block&) = delete;
    ~case_block();
    /// Once. More than 32,752 cases are check()ed: their index would not fit into the word of a task.
    several_cases make(std::size_t count, choice order);
    /// Null before make().
    wait_case** cases() const noexcept { return static_cast<wait_case**>(block_); }

private:
    void* block_ = nullptr;
};
/// In its place where it is not needed.
struct no_case_block {
    static wait_case** cases() noexcept { return nullptr; }
};

/// Room for the cases of an Op during one call; for those that are too many, a block.
template <class Op>
struct case_room {
    static constexpr bool may_need_block = Op::case_count == any_number;
    static constexpr std::size_t most = may_need_block ? 16 : Op::case_count;
    using block = std::conditional_t<may_need_block, case_block, no_case_block>;

    several_cases gather(Op& op, [[maybe_unused]] block& more) noexcept(!may_need_block) {
        several_cases all{cases, objects, turns, count_of(op), Op::order};
        if constexpr (may_need_block) {
            if (all.count > most) all = more.make(all.count, Op::order);
        }
        op.gather(all.cases);
        return all;
    }

    wait_case* cases[most];
    wait_object* objects[most];
    std::uint16_t turns[most];
};

/// Throws, as co_await does, std::bad_alloc for an operation that needs a block; then it has not waited.
template <class Op, auto Suspend = suspend_many>
class await_many : wait_cases {
    using room = case_room<Op>;

public:
    explicit await_many(Op& op) noexcept : wait_cases{list_cases}, op_(op) {}
    await_many(const await_many&) = delete;
    await_many& operator=(const await_many&) = delete;

    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> awaiter) noexcept(!room::may_need_block) {
        room here;
        const several_cases all = here.gather(op_, block_);
        return Suspend(all, *this, awaiter);
    }
    typename Op::result_type await_resume() {
        wait_case* here[room::most]{};
        wait_case** cases = block_.cases();
        if (cases == nullptr) op_.gather(cases = here);
        const std::size_t count = count_of(op_);
        const unsigned code = resume_many(cases, count);
        return code < count ? op_.complete(code) : op_.fail(wait_error(code));
    }

private:
    static std::size_t list_cases(wait_cases& of, wait_case** out, std::size_t space) noexcept {
        auto& self = static_cast<await_many&>(of);
        const std::size_t count = count_of(self.op_);
        wait_case** const cases = self.block_.cases();
        if (cases != nullptr)
            for (std::size_t i = 0; i < count && i < space; ++i) out[i] = cases[i];
        else if (count <= space)
            self.op_.gather(out);
        return count;
    }
    Op& op_;
    [[no_unique_address]] typename room::block block_;
};

/// Does one of its cases if that can be done without waiting; else it fails with `otherwise`.
template <class Op>
typename Op::result_type try_many_of(Op& op, std::error_code otherwise) {
    case_room<Op> here;
    typename case_room<Op>::block more;
    const int index = try_many(here.gather(op, more));
    return index < 0 ? op.fail(otherwise) : op.complete(static_cast<unsigned>(index));
}

/// An operation of one case, which it is itself: derived from this. `Case` is wait_case or a class between.
/// complete() gives "done"; who has a value to give hides it by its own.
template <class Self, class Result, class Case = wait_case>
class single_case : public Case {
public:
    using result_type = Result;
    static constexpr std::size_t case_count = 1;
    static constexpr choice order = choice::fair;

    await_one<Self> awaiter() noexcept { return await_one<Self>(static_cast<Self&>(*this)); }
    void gather(wait_case** out) noexcept { *out = this; }
    Result complete(unsigned) noexcept { return Result(); }
    Result fail(std::error_code error) noexcept { return Result(error); }

protected:
    using Case::Case;
    single_case() = default;
    single_case(single_case&&) noexcept = default;
    single_case& operator=(single_case&&) = delete;
    ~single_case() = default;
};

/// The awaiter of the operation that an object stands for, which lives in it.
template <class Op>
class await_own {
public:
    template <class Object>
    explicit await_own(Object& of) noexcept : op_(of.operation()), inner_(op_.awaiter()) {}
    await_own(const await_own&) = delete;
    await_own& operator=(const await_own&) = delete;

    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> awaiter) noexcept { return inner_.await_suspend(awaiter); }
    typename Op::result_type await_resume() { return inner_.await_resume(); }

private:
    Op op_;
    decltype(std::declval<Op&>().awaiter()) inner_;
};

/// What is waited for by its name: Self::operation() makes the operation that `co_await x` means, and select(x, …) and
/// with_timeout(d, x).
template <class Self, class Op>
class named_awaitable {
public:
    using result_type = typename Op::result_type;
    static constexpr bool awaited_as_lvalue = true;
    await_own<Op> awaiter() noexcept { return await_own<Op>(static_cast<Self&>(*this)); }
    /// Of one that is const, where that may be waited for: a handle that a lambda has captured.
    await_own<Op> awaiter() const noexcept
        requires requires(const Self& self) { self.operation(); }
    {
        return await_own<Op>(static_cast<const Self&>(*this));
    }

protected:
    named_awaitable() = default;
    ~named_awaitable() = default;
};

template <class Op>
concept stands_for_operation = std::is_lvalue_reference_v<Op> && requires(Op op) { op.operation(); };

/// The operation that an argument of select() or an adaptor means.
template <class Op>
decltype(auto) meant_by(std::remove_reference_t<Op>& op) noexcept {
    if constexpr (stands_for_operation<Op>)
        return op.operation();
    else
        return static_cast<Op&&>(op);
}
template <class Op>
using meant_t = std::remove_cvref_t<decltype(meant_by<Op>(std::declval<std::remove_reference_t<Op>&>()))>;

/// An operation of the kernel that has another form for a select.
template <class Op>
concept has_case = !std::is_lvalue_reference_v<Op> && requires(Op&& op) { std::move(op).as_case(); };

/// The same as meant_by(), of an argument of select().
template <class Op>
decltype(auto) case_meant_by(std::remove_reference_t<Op>& op) noexcept {
    if constexpr (has_case<Op>)
        return std::move(op).as_case();
    else
        return meant_by<Op>(op);
}
template <class Op>
using case_of =
    std::remove_cvref_t<decltype(case_meant_by<Op>(std::declval<std::remove_reference_t<Op>&>()))>;
}
