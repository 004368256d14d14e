// futex_driver: the driver of a worker that does no I/O. It sleeps on a futex.
//
//   awake --wake--> permit --wait--> awake        a wake() before the sleep ends it at once (D2)
//   awake --wait--> asleep --wake--> permit       only this wake() makes a system call
//   asleep --deadline--> awake
//
// Invariants
//   P1  only the owner enters `asleep` and takes the permit;
//   P2  there is at most one permit: a burst of wakes costs one system call;
//   P3  poll() does not take the permit: the wake() was meant for a sleep.
//
// The deadline is absolute on the monotonic clock (FUTEX_WAIT_BITSET), so a spurious return just
// sleeps again. Not taken: std::atomic::wait, which has no deadline; a condition variable, whose
// mutex every waker would have to take.
#include <runnel/detail/driver.hpp>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

#include <runnel/detail/atomic.hpp>
#include <runnel/detail/check.hpp>

namespace runnel::detail {

nanoseconds_t monotonic_now() noexcept {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * std::int64_t{1'000'000'000} + time.tv_nsec;
}

namespace {

constexpr nanoseconds_t second = 1'000'000'000;

class futex_driver final : public driver {
public:
    unsigned poll() noexcept override { return 0; }

    unsigned wait(nanoseconds_t deadline) noexcept override {
        std::uint32_t seen = awake;
        // relaxed: this step publishes nothing; the exchange below does all the synchronising.
        if (state_.compare_exchange_strong(seen, asleep, std::memory_order_relaxed)) {
            sleep_until(deadline);
        }
        // acquire: pairs with the release in wake(); what was queued before it is seen. An exchange,
        // because a wake() may land between the deadline and this line: that one is taken too.
        state_.exchange(awake, std::memory_order_acquire);
        return 0;
    }

    void wake() noexcept override {
        // release: pairs with the acquire in wait(). Our caller queued its work before.
        if (state_.exchange(permit, std::memory_order_release) != asleep) return;
        syscall(SYS_futex, address(), FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
    }

    void cancel(io_request&) noexcept override {
        check(false, "futex driver: it has no operations in the kernel that could be cancelled");
    }
    std::size_t in_flight() const noexcept override { return 0; }
    bool stranded() const noexcept override { return false; }
    unsigned help() noexcept override { return 0; }
    nanoseconds_t now() const noexcept override { return monotonic_now(); }

    driver_counts counts() const noexcept override {
        driver_counts counts;
        // relaxed: a figure for people.
        counts.sleeps = sleeps_.load(std::memory_order_relaxed);
        counts.enters = counts.sleeps;
        return counts;
    }

private:
    enum state : std::uint32_t { awake, permit, asleep };

    void sleep_until(nanoseconds_t deadline) noexcept {
        const timespec time{deadline / second, deadline % second};
        const timespec* const until = deadline == no_deadline ? nullptr : &time;
        // relaxed: a count for people, written by the owner only.
        sleeps_.store(sleeps_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        // relaxed: the exchange in wait() does the synchronising.
        while (state_.load(std::memory_order_relaxed) == asleep) {
            const long status = syscall(SYS_futex, address(), FUTEX_WAIT_BITSET_PRIVATE, asleep, until,
                                        nullptr, FUTEX_BITSET_MATCH_ANY);
            if (status == -1 && errno == ETIMEDOUT) return;
        }
    }

    void* address() noexcept {
        static_assert(sizeof state_ == 4 && std::atomic<std::uint32_t>::is_always_lock_free);
        return &state_;
    }

    atomic<std::uint32_t> state_{awake};
    atomic<std::uint64_t> sleeps_{0};
};

class futex_drivers final : public driver_factory {
public:
    std::unique_ptr<driver> make(unsigned) override { return std::make_unique<futex_driver>(); }
    nanoseconds_t now() const noexcept override { return monotonic_now(); }
    const char* name() const noexcept override { return "futex"; }
};
}

std::unique_ptr<driver_factory> make_futex_drivers() { return std::make_unique<futex_drivers>(); }
}
