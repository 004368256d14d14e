// An eventfd; see doorbell.hpp.
#include "doorbell.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>

namespace runnel::detail {

doorbell::doorbell() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (fd_ < 0)
        throw std::system_error(errno, std::system_category(),
                                "eventfd: too many open files? (raise RLIMIT_NOFILE: ulimit -n)");
}

doorbell::~doorbell() { close(fd_); }

void doorbell::ring() const noexcept {
    const std::uint64_t once = 1;
    [[maybe_unused]] const ssize_t written = write(fd_, &once, sizeof once);  // fails only after 2^64 - 2
}
}
