// driven: the loop around a driven_runtime, of a program that watches its descriptor and nothing else.
//
//     drive_until(tasks, [&] { return done; });    // sleeps without a limit, so a lost wake-up is for ever
#pragma once

#include <runnel/driven_runtime.hpp>

#include <poll.h>

namespace support {

inline bool readable(const runnel::driven_runtime& tasks, int at_most_ms = 0) {
    pollfd shown{tasks.poll_fd(), POLLIN, 0};
    while (::poll(&shown, 1, at_most_ms) < 0) {}  // EINTR
    return shown.revents != 0;
}

template <class Done>
void drive_until(runnel::driven_runtime& tasks, Done done) {
    for (tasks.poll(); !done(); tasks.poll()) readable(tasks, -1);
}
}
