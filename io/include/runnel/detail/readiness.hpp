// readiness: what makes reading from a descriptor a case of a select.
//
//   auto won = co_await rn::select(peer.recv(), orders.recv(), rn::sleep_for(30s));
//
// A reading operation is small, and waits in the kernel when it is awaited alone. In a select its as_case() stands in
// its place: it waits at the watch of its descriptor (io_watch.hpp) until there is something to read, and reads when it
// has won. So a case that lost has read nothing, and a buffer is needed no earlier.
//
// What a lone call takes in one piece, as a datagram, is received by its operation, made anew (whole_case).
//
//   Y1  one task reads a descriptor at a time, so what has been seen to be there is still there when it reads. Where
//       another process reads it, too, a case may win and find nothing: std::errc::resource_unavailable_try_again;
//   Y2  the watch is made when a select waits for the first time: 160 bytes that a connection does not need otherwise.
#pragma once

#include <cerrno>
#include <cstddef>
#include <system_error>
#include <utility>

#include <runnel/detail/operation.hpp>
#include <runnel/detail/wait_queue.hpp>
#include <runnel/result.hpp>

#include "../chunk.hpp"
#include "../transfer.hpp"
#include "buffer_pool.hpp"
#include "descriptor.hpp"
#include "io_watch.hpp"
#include "socket_calls.hpp"

namespace runnel::detail {

/// Where a case stands that need not wait: nobody ever queues up there.
wait_queue& no_queue() noexcept;

/// Of a number that make() has given.
std::error_code why_not_read(long status) noexcept;

class readiness_case : public queue_case {
public:
    /// Step 1 of io_watch.hpp. Threads: a task's; on a plain thread for try_select() only.
    void prime() noexcept;
    bool try_now(late_wake&) noexcept final;
    void enlist(task_block& task, std::uint64_t ticket) noexcept final;
    wait_subject subject() const noexcept final { return {"to receive"}; }
    /// L of the watch. Step 3, for who stands there: is it time to go on? `failed`: an errno of the watch's.
    bool goes_on(int failed, socket_calls& calls, int number) noexcept;
    /// It is primed once in a wait, and no more when that has ended.
    void renew() noexcept { primed_ = false; }

protected:
    explicit readiness_case(descriptor& on, bool by_many = false) noexcept;
    readiness_case(readiness_case&&) noexcept = default;
    ~readiness_case() = default;

    /// Would a read not wait? Threads: the task's, and that of the driver as long as that waits.
    virtual bool is_there(socket_calls& calls, int fd) noexcept;

    /// Step 4: what `call(socket_calls&, fd)` gives, or the error for which it cannot be made, negative. `counted`: it
    /// has put the bytes into the figures itself.
    template <class Call>
    long make(Call call, bool counted = false) noexcept {
        if (error_ != 0) return -error_;
        const entry how = on_->begin(lane::in, !by_many_);
        if (how < entry::in) return how == entry::late ? -ETIME : -EBADF;
        const long made = call(current_sockets(), on_->fd());
        if (how == entry::watched && made > 0)
            note_progress(*on_->timing_if_any(), static_cast<std::size_t>(made));
        note(made, counted);
        on_->leave(lane::in);
        return made;
    }

    descriptor* on_;

private:
    void stand_at_watch() noexcept;
    /// For metrics and traces.
    void note(long moved, bool counted) const noexcept;

    io_watch* watch_ = nullptr;
    const bool by_many_;  // Y1 does not hold: each finds it there, as the end of a process
    bool primed_ = false;
    bool ready_ = false;  // there is something, or the wait makes no sense: try it
    bool waited_ = false;
    int error_ = 0;    // of the watch
    int number_ = -1;  // as long as the watch has not ended
};

/// `Self` has complete() and is made of the operation that it stands for.
template <class Self, class Result>
class reading_case : public single_case<Self, Result, readiness_case> {
public:
    void gather(wait_case** out) noexcept {
        this->prime();
        *out = this;
    }
    bool suspend_alone(std::coroutine_handle<> awaiter) noexcept {
        this->prime();
        return suspend_one(*this, awaiter);
    }

protected:
    using single_case<Self, Result, readiness_case>::single_case;

    /// Step 4 of what reads into leased memory: `read(socket_calls&, fd, to, room)`.
    template <class Read>
    result<chunk> lease_and(Read read, bool& drained) noexcept {
        std::byte* const buffer = lease_buffer();
        if (buffer == nullptr) return why_not_read(-ENOMEM);
        constexpr std::size_t room = buffer_pool::buffer_bytes;
        const long moved = this->make([&](auto& calls, int fd) { return read(calls, fd, buffer, room); });
        if (moved > 0) {
            drained = static_cast<std::size_t>(moved) < room;
            return make_chunk::of(buffer, static_cast<std::size_t>(moved));
        }
        give_back_buffer(buffer);
        if (moved < 0) return why_not_read(moved);
        return errc::end_of_stream;
    }
};

/// `Op` is what is awaited alone. It has anew(), the same that was not begun, and take(), its plain call; if it is to
/// be looked for in its own way, is_there(). counts_itself: make(). by_many: several tasks may wait for one.
template <class Op>
class [[nodiscard]] whole_case final : public reading_case<whole_case<Op>, typename Op::result_type> {
public:
    explicit whole_case(Op&& of) noexcept
        : reading_case<whole_case, typename Op::result_type>(of.where(), Op::by_many), op_(std::move(of)) {}
    whole_case(whole_case&&) noexcept = default;

    typename Op::result_type complete(unsigned) {
        Op one = op_.anew();
        one.prepared();
        const auto take = [&](socket_calls& calls, int fd) { return one.take(calls, fd); };
        const long moved = this->make(take, Op::counts_itself);
        if (moved < 0) return one.complete(runnel::transfer(0, why_not_read(moved)));
        return one.complete(runnel::transfer(static_cast<std::size_t>(moved), std::error_code()));
    }

private:
    bool is_there(socket_calls& calls, int fd) noexcept override {
        if constexpr (requires { op_.is_there(calls, fd); })
            return op_.is_there(calls, fd);
        else
            return readiness_case::is_there(calls, fd);
    }

    Op op_;
};
}
