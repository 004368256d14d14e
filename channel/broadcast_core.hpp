// broadcast_core: a broadcast that has forgotten its T: a ring of the last messages, and of each receiver the number of
// the next one that it is to get.
//
// Messages are numbered from 0; number k stands in place k mod capacity until number k + capacity is sent.
// Send
//   1  closed: say so;
//   2  there is room unless the ring is full and a receiver that is to be waited for has not had the oldest: its place
//      counts them. No room: queue up;
//   3  put the message over the oldest. Receivers of the kind `disconnect` that have not had that one, which its place
//      counts too, are closed;
//   4  of each receiver that is waited at, claim the first task whose wait is not over yet, and give it the message.
// Receive
//   1  where the receiver stands: at its next message; what is overwritten is missed; `latest` goes to the newest;
//   2  there is a message: take a reference to it. Whoever was the last to be waited for has made room: put the
//      messages of senders that wait into the ring, by 3 and 4 of Send, as long as there is room;
//   3  closed, for this receiver or for all: say so;
//   4  else queue up at the receiver.
//   The value is copied afterwards, without the lock.
// Close, and the end of a receiver
//   note the cause, claim all that wait; forget what a receiver has not had, which may make room: as above.
//
//   A1  while a task waits to receive whose wait is not over, its receiver has had everything; while one waits to
//       send, there is no room. So at each moment in which the lock is free all is done that can be done, and who
//       comes later never overtakes;
//   A2  awaited(k) and strict(k) of a place are the receivers of the kinds `wait` and `disconnect` that are to get
//       message k and have not. Receivers have messages in order, so awaited(k) does not fall as k grows: to know
//       that there is room only the oldest need be looked at;
//   A3  each subscription stands in one of two lists: `attended` while tasks stand in its queue, and then it has had
//       everything, `others` else. A send looks at the first only, a disconnecting one at the second too;
//   A4  under the lock runs nothing of the user's but the nothrow move of a T into its message. Messages die, and
//       claimed tasks are put into run queues, without it: what there is to do is left in an aftermath. That of an
//       operation lives in its case until it is complete, for a wait of several has other locks, and makes known one
//       wake-up at most (late_wake);
//   A5  closed is for ever, and the cause does not change; but what was closed by its own hand and still has messages
//       to get can be disconnected;
//   A6  `refs` counts senders and subscriptions, and is about memory only. Every case belongs to a living end, so a
//       core that goes has no waiters.
//
// Values are shared, one piece of memory for each message, and copied by who receives. Not taken: values in the ring
// itself, copied under a lock of their place (Tokio): a copy that takes long keeps the sender waiting, which is what
// `lag` is not to do, and one that throws does so in the lock; a requirement that copies do not throw: it refuses
// std::string.
// Waking in complete() what has become ready in between, instead of claiming under the lock: it is simpler, but a
// newcomer finds room while others wait, and whether it may take it is one more rule for the user.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include <runnel/broadcast.hpp>
#include <runnel/detail/counted.hpp>
#include <runnel/detail/wait.hpp>

namespace runnel::detail {

/// What a receiver stands for.
struct broadcast_subscription {
    static constexpr std::uint64_t open_end = UINT64_MAX;

    broadcast_subscription(broadcast_core& core, slow_receiver kind) noexcept : of(core), how(kind) {}
    bool open() const noexcept { return end == open_end; }

    broadcast_core& of;
    const slow_receiver how;
    std::uint64_t position = 0;    // the number of the next message
    std::uint64_t end = open_end;  // it gets none from this number on
    std::error_code cause;         // of its own close
    std::uint64_t missed = 0;
    wait_list waiting;
    broadcast_subscription* next = nullptr;  // A3
    broadcast_subscription* prev = nullptr;
};

/// A3: subscriptions, in the order in which they came.
class subscriptions {
public:
    broadcast_subscription* first() const noexcept { return first_; }
    void add(broadcast_subscription& one) noexcept {
        one.next = nullptr;
        one.prev = last_;
        (last_ != nullptr ? last_->next : first_) = &one;
        last_ = &one;
    }
    void remove(broadcast_subscription& one) noexcept {
        (one.prev != nullptr ? one.prev->next : first_) = one.next;
        (one.next != nullptr ? one.next->prev : last_) = one.prev;
    }

private:
    broadcast_subscription* first_ = nullptr;
    broadcast_subscription* last_ = nullptr;
};

class alignas(16) broadcast_core final : public wait_object {
public:
    static broadcast_core* make(std::size_t capacity, std::source_location made_at);

    // With the lock held, by the cases. True: decided, and the slot says how (V1).
    bool send_now(broadcast_send_case& sender) noexcept;
    bool recv_now(broadcast_recv_case& receiver) noexcept;
    void attend(broadcast_recv_case& by, task_block& task, std::uint64_t ticket) noexcept;
    void leave(broadcast_recv_case& by) noexcept;

    void add_sender() noexcept;
    void drop_sender() noexcept;
    /// Throws std::bad_alloc.
    broadcast_subscription* subscribe(slow_receiver how, std::uint64_t replay);
    broadcast_subscription* share(const broadcast_subscription& with);
    void unsubscribe(broadcast_subscription& one) noexcept;

    bool close(std::error_code cause) noexcept;
    bool close(broadcast_subscription& one, std::error_code cause) noexcept;
    std::error_code why() noexcept;
    std::error_code why(const broadcast_subscription& one) noexcept;

    std::size_t capacity() const noexcept { return capacity_; }
    std::uint64_t kept_of(const broadcast_subscription& one) noexcept;
    std::uint64_t lag_of(const broadcast_subscription& one) noexcept;
    std::uint64_t missed_by(const broadcast_subscription& one) noexcept;
    broadcast_stats stats() noexcept;
    std::uint32_t senders() const noexcept { return senders_; }
    std::uint32_t receivers() const noexcept { return receivers_; }
    std::uint32_t awaited_receivers() const noexcept { return awaited_; }

    wait_list senders_waiting;
    origin made;

private:
    struct place {
        shared_message* message = nullptr;
        std::uint32_t awaited = 0;  // A2
        std::uint32_t strict = 0;
    };

    broadcast_core(std::size_t capacity, std::source_location made_at) noexcept;
    ~broadcast_core();
    void drop_reference() noexcept;

    place& place_of(std::uint64_t number) noexcept {
        return reinterpret_cast<place*>(this + 1)[number % capacity_];
    }
    std::uint64_t oldest() const noexcept { return sent_ < capacity_ ? 0 : sent_ - capacity_; }
    std::uint64_t limit_of(const broadcast_subscription& one) const noexcept {
        return std::min(one.end, sent_);
    }
    bool has_room() noexcept { return sent_ < capacity_ || place_of(oldest()).awaited == 0; }

    void push(broadcast_send_case& sender, aftermath& later) noexcept;
    void hand_out(aftermath& later) noexcept;
    bool take(broadcast_subscription& from, broadcast_recv_case& into) noexcept;
    void let_senders_go_on(aftermath& later) noexcept;
    void disconnect_behind(std::uint64_t number) noexcept;
    void end_at(broadcast_subscription& one, std::uint64_t end, std::error_code cause) noexcept;
    void count(slow_receiver how, int change) noexcept;
    void expect(const broadcast_subscription& one, std::uint64_t from, int change) noexcept;
    void wake(broadcast_subscription& one, aftermath& later) noexcept;
    broadcast_subscription* enrol(broadcast_subscription* one) noexcept;

    const counted counts_;
    const std::size_t capacity_;
    std::uint64_t sent_ = 0;
    std::uint64_t missed_ = 0;
    std::uint64_t disconnected_ = 0;
    subscriptions attended_;
    subscriptions others_;
    relaxed<std::uint32_t> senders_ = 0;  // written under the lock; dumps look without
    relaxed<std::uint32_t> receivers_ = 0;
    relaxed<std::uint32_t> awaited_ = 0;
    std::uint32_t strict_ = 0;
    std::atomic<std::uint32_t> refs_{0};
    bool closed_ = false;
    std::error_code cause_;
    // The ring follows.
};
}
