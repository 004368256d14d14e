// descriptors: what a test with pipes and children must not leave: open descriptors, and children.
#pragma once

#include <dirent.h>
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>

namespace test {

/// How many this process has open, but for the one that counts.
inline int open_descriptors() {
    DIR* const all = opendir("/proc/self/fd");
    if (all == nullptr) std::abort();
    int count = -3;  // ".", "..", and this one
    while (readdir(all) != nullptr) ++count;
    closedir(all);
    return count;
}

/// Is there a child of ours, running or a zombie? It is not reaped.
inline bool has_children() {
    siginfo_t info{};
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD;
}

/// At the end of its scope as many descriptors are open as at its beginning, and no child is left.
class nothing_left {
public:
    nothing_left() : before_(open_descriptors()) {}
    ~nothing_left() {
        // What the reaper has is gone as soon as the child is: SIGKILL and a moment.
        for (int look = 0; look < 2000 && (has_children() || open_descriptors() != before_); ++look)
            usleep(1000);
        CHECK_FALSE(has_children());
        CHECK(open_descriptors() == before_);
    }
    nothing_left(const nothing_left&) = delete;
    nothing_left& operator=(const nothing_left&) = delete;

private:
    int before_;
};
}
