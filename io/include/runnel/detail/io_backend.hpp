// io_backend: how socket operations reach the world outside. One per worker, made with its driver.
//
// The driver (runtime's seam, detail/driver.hpp) sleeps and completes; this is its other face, through
// which operations get in. io_uring implements both; epoll and simulation can take its place.
//
//   task     request = prepare(action, task)     a slot that a canceller may look at
//            arm_io(task, request)              refused: discard(request)
//            start(request)                     from here on all belongs to the back end
//   driver   writes the answer, then complete_io(task)   exactly once (D3 of detail/driver.hpp)
//
// A standing action has a request, too, but no task: instead of completing, the driver tells it what has happened, and
// does as it says. A message (driver::cancel) takes it back when it is under way, and nudges it when it rests.
//
//   B1  prepare, discard and start are called on the worker that owns the back end;
//   B2  start() may complete the request before it returns: the caller touches nothing after it;
//   B3  a request that was taken back completes with what had been transferred, else with ECANCELED.
#pragma once

#include <runnel/detail/driver.hpp>

#include "buffer_pool.hpp"
#include "io_action.hpp"
#include "socket_calls.hpp"

namespace runnel::detail {

struct file_action;

class io_backend : public socket_calls {
public:
    /// nullptr when there is no memory for it.
    virtual io_request* prepare(io_action& action, task_block& task) noexcept = 0;
    virtual io_request* prepare(standing_action& action) noexcept = 0;
    virtual void discard(io_request& request) noexcept = 0;
    virtual void start(io_request& request) noexcept = 0;
    /// Is there something to be handed over to the kernel anyway, so that one request more costs no call? The next
    /// thing that is started is that one.
    virtual bool takes_into_batch() noexcept { return false; }

    /// Of a file: not a pipe, nor a terminal. Never waits.
    virtual bool has_position(int fd) noexcept;

    /// What a file has in memory, if it can be read without waiting: a count, 0 at its end; else -EAGAIN.
    virtual long read_file_now(int fd, const file_action& what) noexcept;

    /// Memory for what was received, of this worker. Threads: the owner.
    buffer_pool& buffers() noexcept { return buffers_; }

protected:
    ~io_backend() = default;

private:
    buffer_pool buffers_;
};

/// That of the worker that runs this. check() when its runtime has a driver without I/O.
io_backend& current_io() noexcept;
}
