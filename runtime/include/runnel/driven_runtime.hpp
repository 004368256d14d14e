// driven_runtime: a runtime without worker threads, which runs inside the event loop of another library.
//
//   rn::driven_runtime tasks;                      // on the thread that runs the loop
//   tasks.spawn(serve);                            // from any thread, as ever
//   loop.when_readable(tasks.poll_fd(), [&] { tasks.poll(); });
//   tasks.poll();                                  // once, to begin
//
// A loop that takes no descriptors calls poll() at least as often as it says.
//
//   L1  tasks run in poll() and stop(), on the thread that made the runtime, and nowhere else: what they share
//       with the rest of that thread needs no lock;
//   L2  poll() never sleeps: what it returns, and poll_fd(), say when there is something to do again. Whatever
//       comes meanwhile, from any thread, timer or socket, makes poll_fd() readable; no wake-up is lost;
//   L3  it has no thread of its own, but for those of blocking(), when they are needed. So nobody reports slow
//       turns, orphans and deadlocks: the loop's own code could wake any task.
//
// Everything else is as in runtime.hpp: channels, locks and joins reach from one runtime to another.
//
// Not taken: poll() on any thread, one at a time: completions of the kernel come to the thread that has asked
// for them. Adapters for single loops: each is the three lines above.
#pragma once

#include <runnel/runtime.hpp>

namespace runnel {

namespace detail {
class outer_loop;
}

class driven_runtime final : public runtime {
public:
    /// options::workers, spin, slow_turn, deadlock_report and orphan_report are without effect. Throws
    /// std::system_error when the driver or a descriptor is refused (what and why).
    explicit driven_runtime(const options& how = options());
    /// stop(), if it has not been called: until then tasks run on.
    ~driven_runtime() = default;

    /// Runs what is ready, at most `turns` turns of tasks; a turn ends at a wait.
    /// Returns   how long it may be until the next call, if poll_fd() is not watched: zero when more is ready,
    ///           nanoseconds::max() when only somebody else, or the kernel, can change anything.
    /// Threads   the one that made the runtime, outside of its tasks (check()ed).
    /// Cost      a few system calls: for the kernel's completions, and when the next deadline is another than before.
    std::chrono::nanoseconds poll(unsigned turns = 256);

    /// Readable (POLLIN, EPOLLIN) when poll() has something to do. Not to be read or closed; one descriptor until the
    /// destructor. A level-triggered loop needs nothing else. While the thread sleeps, the kernel may end an
    /// epoll_wait() with EINTR, as a signal does.
    int poll_fd() const noexcept;

    // stop() and the destructor run the tasks until they have ended. On the thread that made the runtime.
};
}
