// epoll_driver: a worker's driver and I/O back end where io_uring is refused: an epoll of its own.
//
// An operation is a slot (io_slots.hpp), as on a ring. What the kernel does with a ring's requests is done here:
//
//   start()   tries it by a plain call, unless that is known to be in vain; else the slot stands in line at
//             its descriptor, one line for each direction, and the descriptor is armed
//   an event  the first in the line is tried, and completed when it is done, and so on; while some are left
//             the descriptor is armed again
//   a message "take it back": the slot leaves its line and is completed at once
//
// poll() collects events without waiting and takes the messages in; wait() announces that it sleeps, looks once more
// for messages, and sleeps in the epoll, which watches the doorbell too. begin_sleep() is wait() up to there: the
// epoll's own descriptor is readable when there is an event. help() is poll() by another worker.
//
//   E1  the lock guards slots, lines and interests: owner and helpers take turns. Calls on sockets are made under it,
//       for they never wait (E5) and move a limited amount; the owner's sleep is not;
//   E2  where slots stand in line the descriptor is armed for their direction. It is armed for one event
//       (EPOLLONESHOT): one that nobody waits for any more comes once at most;
//   E3  what a descriptor is registered with has a generation: the event of a closed one, kept alive by a forked
//       process perhaps, does not hit the next that has its number. Closing takes it out of the epoll, of which the
//       driver learns when it is armed again: so what it knows holds only while somebody stands in line there;
//   E4  from its announcement until it is back the owner's events are its own: what a helper took could be the
//       doorbell's;
//   E5  a listening descriptor is made non-blocking for good, one that connects until it has; for others each call
//       says that it is not to wait. So a stream may go on in a runtime with another driver; so may a listener, for
//       accept() waits by itself where a ring does not;
//   E6  events are taken in before messages: an operation that could end before it was taken back is done, as on
//       a ring.
//
// Not taken: one epoll for all workers (whoever holds it is woken for all, and runs what the others' caches have);
// descriptors that stay armed, edge-triggered, with what is ready noted beside them (one call less per wait, but who
// closes a descriptor would have to tell every worker's notes, and each event of a stream that nobody reads costs a
// wake-up).
#pragma once

#include <sys/epoll.h>

#include <atomic>
#include <memory>
#include <vector>

#include "mailbox.hpp"
#include "slot_driver.hpp"

namespace runnel::detail {

class epoll_driver final : public slot_driver {
public:
    /// On the owner's thread. Throws std::system_error: which call failed, and what to do.
    epoll_driver();
    ~epoll_driver() override;

    unsigned poll() noexcept override;
    unsigned wait(nanoseconds_t deadline) noexcept override;
    int poll_fd() const noexcept override { return epoll_; }
    bool begin_sleep() noexcept override;
    void end_sleep() noexcept override;
    void wake() noexcept override { mail_.wake(); }
    void cancel(io_request& request) noexcept override { mail_.send(request); }
    bool stranded() const noexcept override;
    unsigned help() noexcept override;
    nanoseconds_t now() const noexcept override { return monotonic_now(); }

    void start(io_request& request) noexcept override;
    bool has_request(const file_form&) const noexcept override { return false; }

private:
    /// Of one descriptor, by its number.
    struct interest {
        io_slot_queue in, out;
        std::uint32_t generation = 0;  // E3
        std::uint16_t armed = 0;       // for these events
        bool registered = false;       // as far as we know
    };
    static_assert(sizeof(interest) == 24, "each worker has one for each descriptor");
    struct events {
        static constexpr int most = 128;
        epoll_event each[most];
        int count = 0;
    };

    // Under the lock; they return how many tasks they made ready.
    unsigned take_in() noexcept;
    unsigned take_messages() noexcept;
    unsigned take_message(io_slot& slot) noexcept;
    unsigned collect() noexcept;
    unsigned handle(const events& those) noexcept;
    unsigned handle(const epoll_event& event) noexcept;
    unsigned serve(io_slot_queue& line) noexcept;
    unsigned fail_all(io_slot_queue& line, int error) noexcept;
    unsigned finish(io_slot& slot) noexcept;
    void begin_again(io_slot& slot) noexcept override;
    bool stand_in_line(io_slot& slot) noexcept;
    interest* interest_of(int fd) noexcept;
    int arm(int fd, interest& at) noexcept;
    int control(int operation, int fd, const interest& at, std::uint32_t for_events) noexcept;

    void sleep_until(nanoseconds_t deadline, events& into) noexcept;
    bool look(events& into, nanoseconds_t timeout) noexcept;

    mailbox mail_;  // before the epoll, which would be left behind if the doorbell were refused
    const int epoll_;

    // Read and written by whoever drives:
    std::vector<interest> interests_;
    bool bell_may_ring_ = false;  // after a sleep in somebody else's loop, which has seen it and not taken it
};
}
