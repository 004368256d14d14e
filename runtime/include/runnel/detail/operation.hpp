// operation: how a wait case becomes something to co_await and to select on.
//
// An operation is a class that a function like recv() returns by value. It is movable until it is
// awaited, awaited as an rvalue, and has
//
//   result_type                   what co_await gives; can hold an error
//   case_count                    how many wait cases it is made of (mostly 1)
//   gather(wait_case** out)       writes pointers to its cases
//   complete(unsigned index)      case `index` of them has happened: the result
//   fail(std::error_code)         the wait ended without: the result
//   awaiter()                     for co_await alone: await_one, await_many
//
// Adaptors wrap operations and are operations: with_timeout adds a timer's case, with_context the
// case of the other context's end. select takes the cases of all its operations together. Whatever
// the kernel cannot give back (a raw read into the caller's buffer) has an awaiter and no cases, so
// select refuses it at compile time.
#pragma once

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <system_error>
#include <type_traits>

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

template <class Op>
class await_one {
public:
    explicit await_one(Op& op) noexcept : op_(op) {}
    await_one(const await_one&) = delete;
    await_one& operator=(const await_one&) = delete;

    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> awaiter) noexcept { return suspend_one(op_, awaiter); }
    typename Op::result_type await_resume() {
        const unsigned code = resume_one(op_);
        return code == 0 ? op_.complete(0) : op_.fail(wait_error(code));
    }

private:
    Op& op_;
};

template <class Op>
class await_many {
public:
    explicit await_many(Op& op) noexcept : op_(op) {}
    await_many(const await_many&) = delete;
    await_many& operator=(const await_many&) = delete;

    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> awaiter) noexcept {
        wait_case* cases[Op::case_count];
        op_.gather(cases);
        return suspend_many(cases, Op::case_count, Op::order, awaiter);
    }
    typename Op::result_type await_resume() {
        wait_case* cases[Op::case_count];
        op_.gather(cases);
        const unsigned code = resume_many(cases, Op::case_count);
        return code < Op::case_count ? op_.complete(code) : op_.fail(wait_error(code));
    }

private:
    Op& op_;
};
}
