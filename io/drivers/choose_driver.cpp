// Which driver a runtime gets that did not ask for one: the ring, and where it is refused, epoll.
//
// Found out by trial, never by the kernel's version: whether a ring can be had depends on the container's seccomp
// profile, on a sysctl and on limits, too. Once it is known that it can, nobody tries again; why not is said once.
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include <runnel/detail/driver.hpp>

#include "ring.hpp"

namespace runnel::detail {

namespace {
/// What another driver helps against. Too many open files it would not survive either.
bool is_refusal(const std::error_code& error) noexcept {
    switch (error.value()) {
        case EPERM:
        case EACCES:
        case ENOSYS:
        case EINVAL:
        case ENOMEM:
            return true;
        default:
            return false;
    }
}

/// Throws what is no refusal.
bool ring_can_be_had() {
    try {
        ring_options small;
        small.sq_entries = 4;
        small.cq_entries = 8;
        const ring trial(small);
        return true;
    } catch (const std::system_error& refused) {
        if (!is_refusal(refused.code())) throw;
        static std::atomic<bool> said{false};
        if (!said.exchange(true))
            std::fprintf(stderr, "runnel: epoll instead of io_uring: %s\n", refused.what());
        return false;
    }
}
}

std::unique_ptr<driver_factory> make_io_drivers() {
    static std::atomic<bool> known{false};
    // relaxed, both: whoever does not know it yet finds it out again.
    if (!known.load(std::memory_order_relaxed)) {
        if (!ring_can_be_had()) return make_epoll_drivers();
        known.store(true, std::memory_order_relaxed);
    }
    return make_uring_drivers();
}
}
