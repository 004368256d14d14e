// driver: the seam between a worker and the world outside: sleep until there is something to do.
//
// Each worker owns one driver. Completions of kernel operations, wake-ups by other threads and the
// next deadline all end the same sleep. The folder io implements the seam with io_uring; a runtime
// that does no I/O sleeps on a futex; simulation puts virtual time and a simulated network here.
// So no clock is read and no system call made for I/O anywhere else.
//
//   D1  poll() and wait(), whole or in halves, are the owner's; wake(), cancel(), stranded() and help() are anybody's;
//   D2  a wake() before the sleep ends the next sleep: no wake-up is lost;
//   D3  an operation's buffer and its request are the kernel's until the driver has completed it,
//       and the driver completes each request exactly once, cancelled or not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "relaxed.hpp"

namespace runnel::detail {

struct task_block;
class io_backend;

/// Nanoseconds of the driver's monotonic clock.
using nanoseconds_t = std::int64_t;
inline constexpr nanoseconds_t no_deadline = INT64_MAX;

/// The system's monotonic clock: what a driver on the real world has as its now().
nanoseconds_t monotonic_now() noexcept;

class driver;

/// What an operation in the kernel waits for, as dumps show it.
enum class kernel_wait : unsigned char {
    something,
    to_connect,
    to_receive,
    to_send,
    until_readable,
    for_file
};

/// What a canceller knows of an operation in the kernel: whom to ask to take it back. Lives in the
/// driver's slab: reused, but never unmapped while the runtime lives, because a canceller may still
/// look at it after the operation has ended.
struct io_request {
    driver* owner = nullptr;
    io_request* inbox_next = nullptr;  // the link of the message "cancel this"; one per operation
    relaxed<int> fd = -1;              // for dumps, as the next
    relaxed<kernel_wait> what = kernel_wait::something;
};

/// What a driver did since it was made. Written by whoever drives; read by anybody.
struct driver_counts {
    std::uint64_t submitted = 0;
    std::uint64_t completed = 0;
    std::uint64_t enters = 0;  // system calls that submit or wait
    std::uint64_t sleeps = 0;
    std::uint64_t helped = 0;  // completions reaped by another worker
    std::uint64_t overflows = 0;
};

class driver {
public:
    virtual ~driver() = default;

    /// Hands new operations to the kernel and completes finished ones; never sleeps.
    /// Returns how many tasks it made ready.
    virtual unsigned poll() noexcept = 0;

    /// Like poll(), but sleeps first until a completion, a wake() or `deadline` (absolute).
    virtual unsigned wait(nanoseconds_t deadline) noexcept = 0;

    // For a worker that sleeps in somebody else's loop: wait() in two halves. Other drivers need none of these.
    /// Readable when a sleep that has begun should end. -1: this driver cannot.
    virtual int poll_fd() const noexcept { return -1; }
    /// As wait(), up to the sleep; from here on a wake() shows at poll_fd(). False: there is something to do at once.
    virtual bool begin_sleep() noexcept { return false; }
    /// After each begin_sleep().
    virtual void end_sleep() noexcept {}

    /// Ends the current or the next wait(). Threads: any. Cost: a system call; callers coalesce.
    virtual void wake() noexcept = 0;

    /// Asks for the operation to be taken back; it completes all the same, later. Threads: any.
    virtual void cancel(io_request& request) noexcept = 0;

    /// Operations that the kernel holds or will be given. Threads: any (a hint, except the owner's).
    virtual std::size_t in_flight() const noexcept = 0;

    /// Is there something that only waits for the owner to come by? Threads: any. Cost: loads; with epoll a system
    /// call.
    virtual bool stranded() const noexcept = 0;

    /// Does the owner's poll() for it while it is busy with a long task; ready tasks go to the
    /// calling worker. Returns how many. Threads: any worker.
    virtual unsigned help() noexcept = 0;

    /// The clock. Threads: any.
    virtual nanoseconds_t now() const noexcept = 0;

    /// Through which sockets and files reach the world; nullptr when this driver only sleeps.
    /// Declared by runtime, known to io alone (io/include/runnel/detail/io_backend.hpp).
    virtual io_backend* io() noexcept { return nullptr; }

    virtual driver_counts counts() const noexcept = 0;
};

/// The drivers of one runtime: made before its workers, outlives them.
class driver_factory {
public:
    virtual ~driver_factory() = default;
    /// For one worker; called on its own thread. Throws std::system_error with a message that says
    /// which call failed and what to do.
    virtual std::unique_ptr<driver> make(unsigned worker) = 0;
    /// Several runtimes may ask at once. Threads: any.
    virtual nanoseconds_t now() const noexcept = 0;
    virtual const char* name() const noexcept = 0;
};

/// A futex to sleep on and the monotonic clock: for runtimes that do no I/O. In runtime/futex_driver.cpp.
std::unique_ptr<driver_factory> make_futex_drivers();
/// The same to be polled, for a worker without a thread. In runtime/eventfd_driver.cpp.
std::unique_ptr<driver_factory> make_eventfd_drivers();
/// The ring, and epoll. Implemented by io (io/drivers).
std::unique_ptr<driver_factory> make_uring_drivers();
std::unique_ptr<driver_factory> make_epoll_drivers();
/// The first that can be had; says on stderr why when it is not the ring (io/drivers/choose_driver.cpp).
std::unique_ptr<driver_factory> make_io_drivers();
}
