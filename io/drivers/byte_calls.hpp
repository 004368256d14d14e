// byte_calls: read and write on any descriptor, without waiting, and without a signal.
//
// O_NONBLOCK is a flag of the open file, which other processes have too, so it is not touched (Y1 of
// detail/byte_end.hpp). That a call is not to wait is asked for with the call:
//   1  RWF_NOWAIT: sockets know it, and pipes since Linux 6.4 (not FIFOs);
//   2  where the kernel or the file does not: if the flag is set, as it is where the open file is ours alone (a FIFO
//      that we have opened, a terminal that we have opened anew), by a plain call. Else poll() says whether there is
//      something; a write is then at most as long as the room that poll() has promised. Between the two calls another
//      process may have been faster: then this one waits, as the program's own read would;
//   3  what is always ready, as a file, is read and written by a plain call (`at_once`).
//
// A write into a pipe that nobody reads raises SIGPIPE in the thread that makes it:
//   4  RWF_NOSIGNAL, since Linux 6.18: none is raised;
//   5  before that the signal is blocked meanwhile, and if the call has raised one that was not there before, taken
//      away. (Our workers block it anyway, but a thread in somebody else's loop is his.)
#pragma once

#include <atomic>
#include <cstddef>

namespace runnel::detail {

struct io_action;

/// What was moved, or -errno; -EAGAIN when it would have to wait. 0: the end of the stream.
long read_bytes_now(int fd, void* to, std::size_t bytes, bool at_once) noexcept;
long write_bytes_now(int fd, const void* from, std::size_t bytes, bool at_once) noexcept;

/// The same for an action of the kinds read and write. False: it has to wait, for the rest perhaps.
bool go_on_reading(io_action& what) noexcept;
bool go_on_writing(io_action& what) noexcept;

/// Does poll() say that it is always ready, and epoll that it cannot be waited for (Y2 of detail/byte_end.hpp)?
bool never_waits(int fd) noexcept;

/// Step 4 is possible, as far as we know. Tests put it off.
extern std::atomic<bool> kernel_knows_no_signal;
}
