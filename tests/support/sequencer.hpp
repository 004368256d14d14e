// sequencer: makes plain threads do things in the order that a test names.
//
// A counter of steps. wait_for(3) sleeps until the count has reached 3, advance() makes it one more; so a
// test writes an interleaving down as numbers instead of guessing it with sleeps.
//
//     sequencer order;
//     std::thread other([&] { order.wait_for(1); poke(); order.advance(); });
//     arm(); order.advance();   // 1: armed
//     order.wait_for(2);        // 2: poked
#pragma once

#include <condition_variable>
#include <mutex>

namespace support {

class sequencer {
public:
    /// Sleeps until at least `step` advances have happened. Sees everything written before them.
    void wait_for(int step) {
        std::unique_lock lock(mutex_);
        reached_.wait(lock, [&] { return step_ >= step; });
    }

    /// One step further; wakes whoever waits for it.
    void advance() {
        const std::lock_guard lock(mutex_);
        ++step_;
        reached_.notify_all();
    }

    /// Waits for `step`, then makes it `step + 1`: this thread's turn in a row of turns.
    void turn(int step) {
        wait_for(step);
        advance();
    }

    int step() const {
        const std::lock_guard lock(mutex_);
        return step_;
    }

private:
    mutable std::mutex mutex_;
    std::condition_variable reached_;
    int step_ = 0;
};
}
