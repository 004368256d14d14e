// mailbox: messages to a driver, "take this operation back", and the bell that ends its sleep.
//
//   awake --wake--> woken --fall_asleep--> no            a wake() before the sleep: there is none (D2 of driver.hpp)
//   awake --fall_asleep--> asleep --wake, bell--> woken --come_back--> awake
//
// A message is the link in the operation's own slot: it allocates nothing, and comes from any thread.
//
//   X1  a message is pushed, then the state is read; the owner writes `asleep`, then looks for messages: all
//       seq_cst, so one of the two sees the other;
//   X2  only a wake() that ends a sleep rings, so a burst of them costs one system call;
//   X3  a driver is not gone before each sender has let go: a plain thread may come late, when the task that it
//       cancelled has already ended.
#pragma once

#include <atomic>

#include <runnel/detail/driver.hpp>

#include "doorbell.hpp"

namespace runnel::detail {

class mailbox {
public:
    /// Threads: any, both.
    void send(io_request& message) noexcept {
        senders_.fetch_add(1);
        // relaxed: a guess; the CAS decides.
        io_request* head = inbox_.load(std::memory_order_relaxed);
        do {
            message.inbox_next = head;
        } while (!inbox_.compare_exchange_weak(head, &message));  // seq_cst: X1
        if (state_.load() == asleep) wake();
        senders_.fetch_sub(1);  // the last access: X3
    }
    void wake() noexcept {
        if (state_.exchange(woken) == asleep) bell_.ring();
    }

    // --- The driver's ---
    bool empty() const noexcept { return inbox_.load() == nullptr; }  // seq_cst: X1
    /// A hint.
    bool looks_empty() const noexcept {
        // relaxed: a hint.
        return inbox_.load(std::memory_order_relaxed) == nullptr;
    }
    /// All there are, linked by inbox_next, the newest first.
    io_request* take() noexcept { return looks_empty() ? nullptr : inbox_.exchange(nullptr); }

    /// False: somebody has woken it already.
    bool fall_asleep() noexcept {
        int seen = awake;
        return state_.compare_exchange_strong(seen, asleep);
    }
    /// An exchange: what was written before the wake() that it may replace is seen.
    void come_back() noexcept { state_.exchange(awake); }

    /// X3.
    bool has_senders() const noexcept { return senders_.load() > 0; }
    int bell_fd() const noexcept { return bell_.fd(); }

private:
    enum state : int { awake, asleep, woken };

    alignas(64) std::atomic<io_request*> inbox_{nullptr};
    std::atomic<int> state_{awake};
    std::atomic<int> senders_{0};
    doorbell bell_;
};
}
