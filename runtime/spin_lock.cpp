// spin_lock: what a waiter does while somebody else has the lock.
//
//   1  look again, up to 100 times, with a pause between: the holder needs some dozen instructions;
//   2  give the processor away, up to 20 times: the holder has lost its own to a thread of our priority;
//   3  sleep 20 to 50 microseconds, again and again: the holder may have a lower priority than we, so
//      that giving way would come straight back to us.
#include <runnel/detail/spin_lock.hpp>

#include <sched.h>
#include <time.h>

namespace runnel::detail {

namespace {

constexpr unsigned pauses = 100;
constexpr unsigned yields = 20;
constexpr long shortest_sleep_ns = 20'000;
constexpr long longest_sleep_ns = 50'000;

void pause() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("isb");
#endif
}

void give_way(unsigned round) noexcept {
    if (round < pauses) return pause();
    if (round < pauses + yields) {
        sched_yield();
        return;
    }
    const long wanted = shortest_sleep_ns + 5'000L * static_cast<long>(round - pauses - yields);
    const timespec time{0, wanted < longest_sleep_ns ? wanted : longest_sleep_ns};
    nanosleep(&time, nullptr);
}
}

void spin_lock::lock_slow() noexcept {
    unsigned round = 0;
    do {
        // relaxed: a look only; the exchange decides. It keeps the line shared while we wait.
        while (taken_.load(std::memory_order_relaxed)) {
            give_way(round);
            if (round < pauses + yields + 6) ++round;
        }
        // seq_cst: as in lock().
    } while (taken_.exchange(true, std::memory_order_seq_cst));
}
}
