// uring_driver: a worker's driver and I/O back end on an io_uring of its own.
//
// An operation is a slot (io_slots.hpp), from prepare() to its last completion. Its request is
// published in the ring at once and handed over in batches: before a sleep, at each tick, or when 64 are
// there.
//
// poll()
//   1  under the lock: take the messages in (what to cancel), publish what was delayed, arm the doorbell;
//   2  enter the kernel, if anything is published or put off;
//   3  under the lock: each completion ends, or continues, an operation.
// wait() does the same, but at the end of 1 it announces that it sleeps, looks once more for messages, then
// sleeps. begin_sleep() is wait() up to there: the ring's own descriptor is readable when it has a completion, the
// doorbell's too. help() is poll() by another worker, for an owner that is busy with a long task.
//
// Messages and wake-ups come by the mailbox (mailbox.hpp), whose doorbell the ring watches.
//
//   U1  the lock guards the ring's two ends and the slots: owner and helpers take turns. No task runs and
//       nothing waits under it. The system call is made without it: the kernel orders those itself;
//   U2  before it sleeps it has announced that, and looked for messages once more (X1 of mailbox.hpp);
//   U3  each request ends by one last completion, also when it was cancelled, and the driver is not gone
//       before that: the destructor cancels what is left and waits;
//   U4  nor is it gone before each message has come whose operation is over, and its sender has let go (X3);
//   U5  from its announcement until it is back the owner's ring is its own: what a helper took out then could
//       be the doorbell's, or leave something to do that the owner would oversleep.
//
// More operations may be in flight than the completion queue has room for. Bounding them would let some
// that wait for ever, idle connections, keep out others that could go on. When too many complete at once
// the kernel keeps the rest for us (it says so, we count it, and fetch them); what it ends then are
// multishot requests, of which the doorbell is the only one, and it is armed again.
#pragma once

#include <atomic>
#include <memory>

#include "mailbox.hpp"
#include "provided_buffers.hpp"
#include "ring.hpp"
#include "slot_driver.hpp"

namespace runnel::detail {

class uring_driver final : public slot_driver {
public:
    /// On the owner's thread. Throws std::system_error: which call failed, and what to do.
    explicit uring_driver(const ring_options& options);
    ~uring_driver() override;

    unsigned poll() noexcept override;
    unsigned wait(nanoseconds_t deadline) noexcept override;
    int poll_fd() const noexcept override { return ring_.fd(); }
    bool begin_sleep() noexcept override;
    void end_sleep() noexcept override;
    void wake() noexcept override;
    void cancel(io_request& request) noexcept override;
    bool stranded() const noexcept override;
    unsigned help() noexcept override;
    nanoseconds_t now() const noexcept override;

    void start(io_request& request) noexcept override;
    bool takes_into_batch() noexcept override;
    bool has_request(const file_form& form) const noexcept override { return ring_.supports(form.opcode); }

    /// Completions that belonged to no operation: always 0, or L3 is broken. Threads: any.
    std::uint64_t strays() const noexcept;

private:
    // 1, under the lock; they return how many tasks they made ready.
    unsigned take_in() noexcept;
    void take_messages() noexcept;
    bool take_message(io_slot& slot) noexcept;
    unsigned publish_delayed() noexcept;
    bool arm_doorbell() noexcept;
    void begin_again(io_slot& slot) noexcept override;
    bool publish(io_slot& slot) noexcept;
    bool publish_cancel(std::uint64_t user_data) noexcept;
    void delay(io_slot& slot) noexcept;
    bool some_left() const noexcept;
    void note_what_is_left() noexcept;
    bool fall_asleep() noexcept;
    void come_back() noexcept;

    // 2, without it.
    int enter(int status) noexcept;
    bool worth_entering() noexcept;
    void sleep_in_kernel(nanoseconds_t timeout) noexcept;
    void note_processor() noexcept;
    void fetch_put_off() noexcept;

    // 3, under the lock.
    unsigned reap() noexcept;
    unsigned complete(std::uint64_t user_data, int status, unsigned flags) noexcept;
    unsigned settle(io_slot& slot, int status, unsigned flags) noexcept;
    void lend_provided(io_action& to, int status, unsigned flags) noexcept;

    unsigned locked_take_in() noexcept;
    unsigned take_in_as_owner() noexcept;
    unsigned locked_reap() noexcept;
    unsigned reap_as_owner() noexcept;
    void cancel_everything() noexcept;

    const clock_function clock_;

    // Read and written by whoever drives:
    provided_buffers provided_;  // outlives the ring
    ring ring_;
    io_slot_queue delayed_;
    io_request* messages_ = nullptr;  // taken out of the mailbox, not yet acted on
    std::size_t kernel_holds_ = 0;    // requests whose last completion is to come, with the doorbell's
    bool doorbell_armed_ = false;
    bool several_ = false;  // the owner's: operations have ended at once, whose tasks will ask for more

    // Looked at by others, without the lock:
    mailbox mail_;
    std::atomic<bool> has_left_{false};  // delayed slots or messages
    std::atomic<int> processor_{-1};     // where the owner was seen last
};

/// The factory of make_uring_drivers(), with other sizes or system calls: for tests.
std::unique_ptr<driver_factory> make_uring_drivers(const ring_options& options);
}
