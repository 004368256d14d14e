// child_state: one child process: its descriptor, and its status once somebody has taken it.
//
//   W1  the status is taken once, under the lock; from then on it is kept here, and no signal is sent;
//   W2  a group has the number of its leader, which nobody else gets while the leader has not been reaped: so it is
//       signalled under the same lock, and only while the system says that the leader is our child.
#pragma once

#include <mutex>
#include <source_location>

#include <runnel/detail/descriptor.hpp>
#include <runnel/process.hpp>

namespace runnel::detail {

class child_state {
public:
    /// `pidfd` < 0: there is no such process any more; somebody else has taken its status.
    child_state(int pidfd, int pid, bool own_group, std::source_location at) noexcept;

    /// True: it has ended, and `out` is how.
    bool ended(result<exit_status>& out) noexcept;
    int signal(int number) noexcept;
    /// Takes its descriptor; -1 when it has ended.
    int release() noexcept;

    descriptor handle;  // readable when it has ended
    const int pid;

private:
    bool look() noexcept;

    std::mutex lock_;
    const bool own_group_;
    bool ended_ = false;
    int lost_ = 0;  // an errno: why the status is not known
    int code_ = 0, signal_ = 0;
};
}
