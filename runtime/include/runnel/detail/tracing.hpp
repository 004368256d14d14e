// tracing: what the hot paths tell a trace (runnel/trace.hpp), when there is one.
//
// Off, they ask `traced` of their worker, which is at hand there, and that is all: one branch that is always
// predicted. Everything else is called out of line.
//
//   Q1  all of these are called on a worker whose `traced` is set, by the thread that it runs on;
//   Q2  they read what the caller owns or has locked, and change nothing but the ring.
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>

#include "wait_case.hpp"
#include "worker_local.hpp"

namespace runnel::detail {

struct task_block;

/// May what runs here call those below? Threads: any.
inline bool traced() noexcept { return tls_worker != nullptr && tls_worker->traced != nullptr; }

/// The running task begins to wait, at `task.waits_at`. With the objects locked, before it is armed.
void trace_wait(const task_block& task) noexcept;
/// `done` has just happened without waiting, and has claimed the waiter in `wake`. Before that goes on.
void trace_done(wait_case& done, const late_wake& wake) noexcept;
/// Something has been done to an object: "close".
void trace_done(const char* what, const wait_object& to, const origin& named) noexcept;

/// The running task is armed for an operation on `fd`; it has not been started yet.
void trace_submit(const task_block& task, const char* what, int fd, std::size_t bytes) noexcept;
/// How it ended: what was moved, or -errno. `waited`: after a trace_submit().
void trace_complete(const char* what, int fd, std::int64_t result, bool waited) noexcept;
}
