// slot_driver: what a driver whose operations are slots (io_slots.hpp) does whatever the kernel offers below it.
//
//   prepare() gives a slot, discard() takes back one that was never started, finish() completes one. A slot whose
//   cancel message is still on its way then waits for it as `over`, and take_late() ends that (L2).
//   A standing action is told instead: finish() and take_nudge() do so, and begin_again() does as it says.
//
// What is asked of a file system and the driver has no request for is called by a thread of the blocking pool, which
// completes the slot under the lock, as a helper does:
//
//   P1  the call has the action, and the buffer in it, to its end. A message that comes meanwhile is noted and does
//       nothing; one that came before the call began has taken the operation back;
//   P2  the driver is not gone before each such thread has let go of it.
//
// A driver adds how operations begin, wait and end in the kernel, and how its owner sleeps. It has its mailbox itself,
// for it decides what of the system is asked for first.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include <runnel/detail/driver.hpp>
#include <runnel/detail/io_backend.hpp>
#include <runnel/detail/spin_lock.hpp>

#include "file_forms.hpp"
#include "io_slots.hpp"

namespace runnel::detail {

class slot_driver : public driver, public io_backend {
public:
    std::size_t in_flight() const noexcept final {
        return in_flight_.load(std::memory_order_relaxed);  // relaxed: a hint
    }
    driver_counts counts() const noexcept final;
    io_backend* io() noexcept final { return this; }

    io_request* prepare(io_action& action, task_block& task) noexcept final;
    io_request* prepare(standing_action& action) noexcept final;
    void discard(io_request& request) noexcept final { slots_.put_back(slot_of(request)); }

protected:
    /// P2.
    ~slot_driver() override;

    /// Is the slot's action one of a file for which there is no request? Then run_in_pool(), as the end of start().
    bool is_for_pool(const io_slot& slot) const noexcept;
    void run_in_pool(io_slot& slot) noexcept;
    virtual bool has_request(const file_form& form) const noexcept = 0;

    static io_slot& slot_of(io_request& request) noexcept { return static_cast<io_slot&>(request); }

    static void count(std::atomic<std::uint64_t>& what, std::uint64_t by = 1) noexcept {
        what.fetch_add(by, std::memory_order_relaxed);  // relaxed: a figure for people
    }

    // Under the lock.
    void note_begun() noexcept { add_in_flight(1); }
    /// The task goes on: nothing of its frame is touched any more. Returns 1, for sums of tasks made ready.
    unsigned finish(io_slot& slot) noexcept;
    /// Of a message that has come: was its operation over, and waited only for this one? Then it is spare.
    bool take_late(io_slot& slot) noexcept;
    /// The same: did its action rest? Then it has been told.
    bool take_nudge(io_slot& slot) noexcept;
    /// The action of the slot, which is in no queue and not in the kernel, is to be begun anew.
    virtual void begin_again(io_slot& slot) noexcept = 0;
    /// When the driver ends: tells those that the kernel does not have, or all.
    void end_standing(bool also_in_kernel) noexcept;

    // Read and written by whoever drives:
    mutable spin_lock lock_;
    io_slots slots_;
    std::size_t owed_messages_ = 0;  // operations that are over, but a canceller still looks at them
    bool closing_ = false;           // no task is told any more
    bool sleeping_ = false;          // the owner does, or is about to

    // Looked at by others, without the lock:
    struct counters {
        std::atomic<std::uint64_t> submitted{0}, completed{0}, enters{0}, sleeps{0}, helped{0}, overflows{0},
            strays{0};
    } counters_;

private:
    io_slot* take_slot(io_action& action) noexcept;
    void tell(io_slot& slot, standing_action::event what) noexcept;
    void release(io_slot& slot, bool message_under_way) noexcept;
    class pool_job;
    void add_in_flight(int by) noexcept;
    bool begin_in_pool(const io_slot& slot) noexcept;
    void end_in_pool(io_slot& slot) noexcept;

    std::atomic<std::size_t> in_flight_{0};
    std::atomic<std::size_t> in_pool_{0};
};
}
