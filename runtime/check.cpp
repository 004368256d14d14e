// check: one line on stderr, written by one system call without a lock or an allocation, then abort.
#include <runnel/detail/check.hpp>

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "steering.hpp"

namespace runnel::detail {

/// In a simulation: what repeats this.
static void say_seed() noexcept {
    const steering* by = current_steering();
    if (by == nullptr) return;
    char line[96];
    const int length =
        std::snprintf(line, sizeof line, "runnel: in a simulation; RUNNEL_SEED=%llu repeats it\n",
                      static_cast<unsigned long long>(by->seed()));
    [[maybe_unused]] const ssize_t ignored = write(STDERR_FILENO, line, static_cast<std::size_t>(length));
}

void check_failed(const char* what, std::source_location where) noexcept {
    char line[512];
    const int length =
        std::snprintf(line, sizeof line, "runnel: %s (%s:%u)\n", what, where.file_name(), where.line());
    if (length > 0) {
        // A line that was cut is worth printing too; a failed write leaves nothing else to do.
        const auto bytes = static_cast<std::size_t>(length) < sizeof line ? static_cast<std::size_t>(length)
                                                                          : sizeof line - 1;
        [[maybe_unused]] const ssize_t ignored = write(STDERR_FILENO, line, bytes);
    }
    say_seed();
    std::abort();
}
}
