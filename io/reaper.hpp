// reaper: takes the status of children that nobody waits for any more, so that none is left as a zombie.
//
// A thread sleeps in poll() at their descriptors; it is started by the first and ends with the last.
//
//   A1  a descriptor that was handed over is the reaper's: it closes it when the child has ended;
//   A2  no number of a process is used: somebody else may have taken the status before, and the number is another's.
#pragma once

namespace runnel::detail {

/// Takes over `pidfd`. Threads: any. Never waits for the child.
void reap_later(int pidfd) noexcept;

/// The status of a child that has ended, as waitid() gives it: 0 and `code`, `signal`; -EAGAIN: it runs; -ECHILD:
/// somebody else has taken it. It can be taken once: then the zombie is gone.
int take_status(int pidfd, int& code, int& signal) noexcept;
}
