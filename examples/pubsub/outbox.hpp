// outbox: what one client has still to be sent, bounded in bytes.
//
// Any number of publishers put messages in, the client's own session puts replies in, one writer takes both
// out in order. Putting never waits. When messages pile up because the client reads slowly, the policy
// decides: the oldest messages go, counted, or the client goes. A reply is never dropped: a client that
// misses one takes the next one for it. So replies have a queue of their own, and tickets keep the order
// between the two.
//
//   publishers --put()---> [ messages ] \                          a full queue drops at its old end
//                                         > by ticket --take()--> writer
//   session ----reply()--> [ replies  ] /                          the session reads no more while it is long
//
// Invariants
//   O1  queued messages are at most `limit` bytes;
//   O2  once take() has found nothing, the next change wakes the writer: no wake-up is lost, and a burst
//   costs one; O3  what was taken is the writer's: only what is queued can be dropped.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <vector>

#include "message.hpp"

namespace pubsub {

/// How an outbox calls its writer. It must outlive the outbox: let one object hold both.
class notifier {
public:
    /// There is something to take, or the outbox was closed. Any thread may call this; it must not wait.
    virtual void wake() noexcept = 0;

protected:
    ~notifier() = default;
};

enum class slow_policy { drop_oldest, disconnect };

struct outbox_options {
    std::size_t limit = 32u << 20;
    slow_policy slow = slow_policy::drop_oldest;
};

/// What slowness has cost, over all outboxes.
struct losses {
    std::atomic<std::uint64_t> messages_dropped{0};
    std::atomic<std::uint64_t> clients_dropped{0};
};

class outbox {
public:
    outbox(notifier& writer, outbox_options options, losses& lost)
        : writer_(writer), options_(options), lost_(lost) {}

    /// Queues a message, or a reference to it. False if this client will not get it.
    /// Threads: any; messages of one publisher stay in order.
    bool put(message& news);

    /// Queues the reply to a request. `protocol` is the version in force from here on: messages queued after
    /// this reply are encoded in it.
    void reply(std::string bytes, int protocol);

    /// Nothing more will be put. The writer still takes what is queued.
    void finish();

    /// The client is gone, or has to go: nothing will be put or taken any more. Always wakes the writer.
    void close();

    /// Moves the oldest entries to `batch`, at most `bytes_max` together, or one that is bigger. It leaves
    /// `batch` empty when there is nothing now, and is false when there never will be.
    /// Threads: the writer only.
    bool take(std::vector<frame>& batch, std::size_t bytes_max);

    bool closed() const;
    std::size_t reply_bytes() const;    // queued replies: a session stops reading while they are many
    std::size_t message_bytes() const;  // queued messages

private:
    enum class state { open, finishing, closed };
    struct entry {
        std::uint64_t ticket;
        frame bytes;
    };
    using queue = std::deque<entry>;

    bool make_room(std::size_t size);
    queue* oldest();
    frame take_from(queue& from);
    void wake_writer(std::unique_lock<std::mutex>& lock);

    notifier& writer_;
    const outbox_options options_;
    losses& lost_;

    mutable std::mutex mutex_;  // held for a few instructions, never while waiting
    queue messages_;
    queue replies_;
    std::size_t message_bytes_ = 0;
    std::size_t reply_bytes_ = 0;
    std::uint64_t next_ticket_ = 0;
    int protocol_ = 2;
    state state_ = state::open;
    bool writer_idle_ = false;  // O2
};
}
