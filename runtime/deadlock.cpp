// See deadlock.hpp.
#include "deadlock.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include <runnel/detail/sanitized.hpp>
#include "runtime_core.hpp"

namespace runnel::detail {

namespace {
/// A thread that the kernel made for an operation of ours.
bool is_kernels(const char* id) noexcept {
    char path[64], name[8] = {};
    std::snprintf(path, sizeof path, "/proc/self/task/%.16s/comm", id);
    const int file = ::open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    const bool read = ::read(file, name, sizeof name - 1) > 0;
    ::close(file);
    return read && std::strncmp(name, "iou-", 4) == 0;
}

constexpr unsigned tool_threads = thread_sanitized ? 1 : 0;  // ThreadSanitizer has one of its own

/// 3. Without /proc nothing is known, and there may be others.
bool has_other_threads(unsigned ours) noexcept {
    DIR* all = ::opendir("/proc/self/task");
    if (all == nullptr) return true;
    unsigned count = 0;
    while (const dirent* each = ::readdir(all))
        if (each->d_name[0] != '.' && !is_kernels(each->d_name)) ++count;
    ::closedir(all);
    return count > ours + tool_threads;
}
}

outlook look_ahead(const runtime_core& core) noexcept {
    if (core.stopping() || core.live() == 0 || core.queue.size() != 0) return outlook::something_can_happen;
    bool all_sleep = true;
    for (const auto& each : core.workers) {
        if (each->has_work() || each->timers.earliest() != no_deadline || each->io().in_flight() != 0)
            return outlook::something_can_happen;
        all_sleep = all_sleep && each->sleeping();
    }
    const blocking_counts blocking = core.blocking.counts();
    if (blocking.queued != 0) return outlook::something_can_happen;
    if (!all_sleep || blocking.idle != blocking.threads) return outlook::not_yet;
    const auto workers = static_cast<unsigned>(core.workers.size());
    const unsigned ours = workers + 1 + blocking.threads + 1;  // the monitor, and who called run()
    return has_other_threads(ours + core.settings.bystander_threads()) ? outlook::something_can_happen
                                                                       : outlook::nothing_can_happen;
}

std::uint64_t turns_taken(const runtime_core& core) noexcept {
    std::uint64_t turns = 0;
    for (const auto& each : core.workers) turns += each->counts.polls.get() + each->counts.parks.get();
    return turns;
}
}
