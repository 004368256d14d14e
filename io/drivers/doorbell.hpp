// doorbell: what wakes a worker that sleeps in its ring: an eventfd that a multishot poll watches.
//
// Each ring() makes the poll complete once. Nobody reads the eventfd: the poll fires on writes, not on its
// being readable, and arming it anew fires at once when there ever was a write. So a ring() between two
// polls is not lost.
//
// Not taken: a message from ring to ring (IORING_OP_MSG_RING), which only a thread with a ring can send.
#pragma once

namespace runnel::detail {

class doorbell {
public:
    /// Throws std::system_error.
    doorbell();
    ~doorbell();
    doorbell(const doorbell&) = delete;
    doorbell& operator=(const doorbell&) = delete;

    /// Threads: any. Cost: a system call.
    void ring() const noexcept;
    int fd() const noexcept { return fd_; }

private:
    int fd_;
};
}
