// io_operation: what every socket operation is: one action for the back end, and the task that awaits it.
//
// It lives in the awaiting frame, with the answer, so nothing is allocated.
//
//   1  the context is cancelled: refused, before anything is tried;
//   2  enter the socket's lane; it is closed: errc::closed; its deadline has passed: timed_out;
//   3  when it is likely to succeed at once, try it by a plain call: done, without a suspension;
//   4  take a request, arm, arm the time limit if there is one, and start it. Nothing is touched then;
//   5  the back end has written the answer and completed the wait: disarm the limit, leave the lane, and
//      say how it ended. What was moved wins over a cancellation or a limit that came too late.
//
//   O1  between 4 and 5 the buffer and this object stay where they are: the frame is suspended until the
//       action's last completion, cancelled or not;
//   O2  the limit is armed after the task and before the action: it finds the wait, and cannot come after
//       its end. One that goes off meanwhile has sent its message, and the action is over at once.
//
// These are no select cases: what the kernel has read into a caller's buffer cannot be put back. That is
// decided here, by type: there is no gather(). Those that read have another form for that: as_case(), readiness.hpp.
#pragma once

#include <coroutine>
#include <cstdint>
#include <utility>

#include <runnel/detail/operation.hpp>
#include <runnel/detail/timer_node.hpp>

#include "../transfer.hpp"
#include "descriptor.hpp"
#include "io_action.hpp"

namespace runnel::detail {

class socket_calls;

template <class Op>
class timed_operation;

class io_operation {
public:
    io_operation(io_operation&&) noexcept = default;  // before it is awaited
    io_operation& operator=(io_operation&&) = delete;

    /// Steps 1 to 4, called last in await_suspend.
    bool suspend(std::coroutine_handle<> awaiter, timer_node* limit) noexcept;
    /// Step 5, called in await_resume. Throws cancellation_ignored at the 256th refused wait in a row.
    runnel::transfer outcome(timer_node* limit);

protected:
    io_operation(descriptor& on, lane which, const io_action& what) noexcept
        : on_(&on), action_(what), lane_(which) {}
    explicit io_operation(const io_action& what) noexcept : on_(nullptr), action_(what), lane_(lane::call) {}
    ~io_operation() = default;

    descriptor* on_;  // nullptr: what has none, as a path
    io_action action_;
    bool try_first_ = false;  // step 3
    bool may_wait_ = true;    // else step 3, tried first, is all: resource_unavailable_try_again
    bool alone_ = true;       // no second operation in this lane: check()
    /// Step 3 in the operation's own words, and of its own count: what was moved, or -errno.
    long (*now_)(io_operation& self, socket_calls& calls) noexcept = nullptr;

private:
    /// Step 3: how much a plain call has moved, or -errno.
    long move_now() noexcept;
    /// The same of a receive or lease: what a plain call gives, or -EAGAIN.
    long receive_now() noexcept;
    enum class progress : unsigned char { made, refused, armed };

    bool nothing_to_move() const noexcept;
    bool joins_batch() const noexcept;
    bool try_now() noexcept;
    bool go_on(task_block& task, std::coroutine_handle<> awaiter) noexcept;
    bool start(task_block& task, std::coroutine_handle<> awaiter, timer_node* limit) noexcept;
    void take_leased() noexcept;
    void trace_outcome() const noexcept;
    std::error_code reason();

    lane lane_;
    entry entered_ = entry::closed;
    progress progress_ = progress::made;
};

template <class Op>
class await_io {
public:
    explicit await_io(Op& op) noexcept : op_(op) {}
    await_io(const await_io&) = delete;
    await_io& operator=(const await_io&) = delete;

    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> awaiter) noexcept { return op_.suspend(awaiter, nullptr); }
    typename Op::result_type await_resume() { return op_.complete(op_.outcome(nullptr)); }

private:
    Op& op_;
};

template <class Op>
class await_limited_io {
public:
    await_limited_io(Op& op, std::int64_t limit) noexcept : op_(op) { timer_.when = limit; }
    await_limited_io(const await_limited_io&) = delete;
    await_limited_io& operator=(const await_limited_io&) = delete;

    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> awaiter) noexcept { return op_.suspend(awaiter, &timer_); }
    typename Op::result_type await_resume() { return op_.complete(op_.outcome(&timer_)); }

private:
    Op& op_;
    timer_node timer_;
};

/// What with_timeout() makes of an operation: it ends after `limit` nanoseconds with errc::timed_out.
template <class Op>
class [[nodiscard]] limited_io {
public:
    using result_type = typename Op::result_type;

    limited_io(Op&& op, std::int64_t limit) noexcept : op_(std::move(op)), limit_(limit) {}
    await_limited_io<Op> awaiter() noexcept { return await_limited_io<Op>(op_.prepared(), limit_); }

    /// In a select it is the limit of one case (runnel/time.hpp).
    auto as_case() && noexcept
        requires has_case<Op>
    {
        return timed_operation<case_of<Op>>(limit_, std::move(op_).as_case());
    }

    /// The shorter one counts: with_timeout(1s, with_timeout(2s, …)).
    limited_io with_limit(std::int64_t limit) && noexcept {
        return limited_io(std::move(op_), limit < limit_ ? limit : limit_);
    }

private:
    Op op_;
    std::int64_t limit_;
};

/// What the operations `Op` have in common; they add result_type and complete(transfer).
template <class Op>
class io_operation_of : public io_operation {
public:
    await_io<Op> awaiter() noexcept { return await_io<Op>(prepared()); }

    /// The hook of with_timeout().
    limited_io<Op> with_limit(std::int64_t nanoseconds) && noexcept {
        return limited_io<Op>(std::move(static_cast<Op&>(*this)), nanoseconds);
    }

    /// What is left to do once the operation has its final place in the frame.
    Op& prepared() noexcept {
        Op& self = static_cast<Op&>(*this);
        if constexpr (requires { self.prepare(); }) self.prepare();
        return self;
    }

protected:
    using io_operation::io_operation;
};
}
