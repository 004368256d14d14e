// eventfd_driver: the driver of a worker that does no I/O and sleeps in somebody else's loop.
//
//   awake --wake--> woken --begin_sleep--> woken   a wake() before the sleep: there is none (D2)
//   awake --begin_sleep--> asleep --wake, write--> woken --end_sleep, read--> awake
//
//   V1  only a wake() that ends a sleep writes, so a burst of them costs one system call;
//   V2  end_sleep() reads always: what a slow wake() writes after it shows once too often, and no oftener.
//
// Not taken: the futex driver with a descriptor beside it, whose waker would have to ask which of the two to use.
#include <runnel/detail/driver.hpp>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include <runnel/detail/atomic.hpp>
#include <runnel/detail/check.hpp>

namespace runnel::detail {

namespace {

constexpr nanoseconds_t second = 1'000'000'000;

class eventfd_driver final : public driver {
public:
    eventfd_driver() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
        if (fd_ < 0)
            throw std::system_error(errno, std::system_category(),
                                    "eventfd: too many open files? (raise RLIMIT_NOFILE: ulimit -n)");
    }
    ~eventfd_driver() override { ::close(fd_); }
    eventfd_driver(const eventfd_driver&) = delete;
    eventfd_driver& operator=(const eventfd_driver&) = delete;

    int poll_fd() const noexcept override { return fd_; }

    bool begin_sleep() noexcept override {
        std::uint32_t seen = awake;
        // relaxed: this publishes nothing; the exchange of end_sleep() does all the synchronising.
        return state_.compare_exchange_strong(seen, asleep, std::memory_order_relaxed);
    }

    void end_sleep() noexcept override {
        // acquire: pairs with the release in wake(); what was queued before it is seen.
        state_.exchange(awake, std::memory_order_acquire);
        std::uint64_t rung = 0;
        (void)!::read(fd_, &rung, sizeof rung);  // V2
    }

    void wake() noexcept override {
        // release: pairs with the acquire in end_sleep(). Our caller queued its work before.
        if (state_.exchange(woken, std::memory_order_release) != asleep) return;
        const std::uint64_t one = 1;
        (void)!::write(fd_, &one, sizeof one);  // V1
    }

    unsigned poll() noexcept override { return 0; }

    unsigned wait(nanoseconds_t deadline) noexcept override {
        if (begin_sleep()) sleep_until(deadline);
        end_sleep();
        return 0;
    }

    void cancel(io_request&) noexcept override {
        check(false, "eventfd driver: it has no operations in the kernel that could be cancelled");
    }
    std::size_t in_flight() const noexcept override { return 0; }
    bool stranded() const noexcept override { return false; }
    unsigned help() noexcept override { return 0; }
    nanoseconds_t now() const noexcept override { return monotonic_now(); }
    driver_counts counts() const noexcept override { return {}; }

private:
    enum state : std::uint32_t { awake, asleep, woken };

    void sleep_until(nanoseconds_t deadline) const noexcept {
        const nanoseconds_t left = deadline - now();
        if (left <= 0) return;
        pollfd readable{fd_, POLLIN, 0};
        const timespec limit{left / second, left % second};
        ::ppoll(&readable, 1, deadline == no_deadline ? nullptr : &limit, nullptr);
    }

    const int fd_;
    atomic<std::uint32_t> state_{awake};
};

class eventfd_drivers final : public driver_factory {
public:
    std::unique_ptr<driver> make(unsigned) override { return std::make_unique<eventfd_driver>(); }
    nanoseconds_t now() const noexcept override { return monotonic_now(); }
    const char* name() const noexcept override { return "eventfd"; }
};
}

std::unique_ptr<driver_factory> make_eventfd_drivers() { return std::make_unique<eventfd_drivers>(); }
}
