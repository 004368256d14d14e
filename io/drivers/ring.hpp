// ring: one io_uring, wrapped; nothing is decided here.
//
// Two queues shared with the kernel. Requests (SQEs) go into the first one, and each is published at once
// by moving the queue's tail, so that any thread can hand what is published to the kernel. Completions
// (CQEs) come back in the second one. The kernel puts them there when the thread that submitted the
// request passes through the kernel (COOP_TASKRUN): it is not interrupted for it, but the ring's flags
// tell everybody that something is ready (TASKRUN_FLAG).
//
//   R1  one thread at a time prepares and publishes, and one takes completions: they hold the driver's lock;
//   R2  enter() is anybody's at any time: the kernel serialises it;
//   R3  what enter() has not taken stays published, and the next enter() offers it again.
//
// Not taken: DEFER_TASKRUN and SINGLE_ISSUER. They save a little, but then nobody can help a ring whose
// owner is busy with a long task. SQPOLL: a kernel thread that burns a processor. liburing's own
// submission functions: they publish only when they submit.
#pragma once

#include <liburing.h>

#include <bitset>
#include <cstddef>
#include <cstdint>

#include <runnel/detail/driver.hpp>

namespace runnel::detail {

/// The system call; tests put one here that fails, or that takes less than it is given.
using enter_function = int (*)(unsigned fd, unsigned to_submit, unsigned min_complete, unsigned flags,
                               void* argument, std::size_t argument_bytes) noexcept;
int system_enter(unsigned fd, unsigned to_submit, unsigned min_complete, unsigned flags, void* argument,
                 std::size_t argument_bytes) noexcept;

/// The driver's clock, in nanoseconds; tests put one here that does something when it is read.
using clock_function = std::int64_t (*)() noexcept;

struct ring_options {
    unsigned sq_entries = 256;
    // Room for the completions of so many operations at once. More may be in flight (most of them wait
    // for a peer); if too many complete at once, the kernel keeps the rest until we have made room.
    unsigned cq_entries = 4096;
    // Threads of the kernel that wait for this ring's files at once, where a file system cannot do it without one. They
    // are made on demand and end after five idle seconds. The kernel's default is four for each processor: few where
    // they wait for a disk, not for a processor. How many may wait for pipes and terminals stays the kernel's default.
    unsigned file_workers = 32;
    unsigned flags_withheld = 0;      // what an older kernel would not know: for tests, as is
    unsigned operations_known = 256;  // requests from this number on
    bool provides_buffers = true;
    enter_function enter = system_enter;
    clock_function clock = monotonic_now;
};

/// Those of whoever asks for no others. Tests change them before the first runtime is made.
ring_options& usual_ring_options() noexcept;

class ring {
public:
    /// Throws std::system_error that says which call failed and what can be done about it.
    explicit ring(const ring_options& options);
    ~ring();
    ring(const ring&) = delete;
    ring& operator=(const ring&) = delete;

    /// A cleared request to fill, or nullptr when the queue is full of what the kernel has not taken yet.
    io_uring_sqe* next() noexcept;
    /// The request that next() gave is complete: whoever enters may hand it over.
    void publish() noexcept;

    /// Published and not yet taken. Threads: any (a hint, except under the driver's lock).
    unsigned unsubmitted() const noexcept;
    /// Threads: any.
    bool has_completions() const noexcept;
    /// Completions that appear when the thread that submitted them enters the kernel. Threads: any.
    bool has_task_work() const noexcept { return (flags() & IORING_SQ_TASKRUN) != 0; }
    /// Completions that found no room and appear at the next enter() with GETEVENTS. Threads: any.
    bool overflowed() const noexcept { return (flags() & IORING_SQ_CQ_OVERFLOW) != 0; }

    /// Hands over what is published. Returns how many the kernel took, or -errno. Threads: any.
    int submit() noexcept;
    /// The same, and lets completions appear that wait for us or for room.
    int submit_and_collect() noexcept;
    /// The same, and sleeps until there is a completion or the time is over (-ETIME); INT64_MAX: never.
    int submit_and_wait(std::int64_t timeout_ns) noexcept;
    /// Sleeps without handing anything over.
    int wait(std::int64_t timeout_ns) noexcept;

    /// The oldest completion, or nullptr.
    const io_uring_cqe* front() const noexcept;
    void pop() noexcept;

    /// Readable (to poll() and epoll) when there is a completion.
    int fd() const noexcept { return ring_.ring_fd; }
    bool has_feature(unsigned feature) const noexcept { return (ring_.features & feature) != 0; }
    /// Shares a ring of buffers with the kernel, as the group 0. False: it cannot. The memory stays the caller's, and
    /// is there as long as this.
    bool provide(io_uring_buf_ring& buffers, unsigned count) noexcept;
    /// Has this kernel such a request? As it says itself.
    bool supports(unsigned operation) const noexcept { return operation < 256 && supported_[operation]; }

private:
    unsigned flags() const noexcept;
    void ask_what_it_supports(unsigned operations_known) noexcept;
    int enter_and_wait(unsigned to_submit, std::int64_t timeout_ns) noexcept;

    mutable io_uring ring_{};
    std::bitset<256> supported_;
    enter_function enter_;
};
}
