// file_forms: the table of what can be asked of a file system: as a request to a ring, and as a plain call.
//
// One row for each, so that the drivers cannot differ: epoll makes the call where io_uring sends the request, and
// io_uring makes it too for what its kernel has no request for. That is found out by asking the ring (the operations
// it supports, IORING_REGISTER_PROBE), never by the kernel's version.
//
//   F1  a row's request and its call read the same fields, and answer alike: a count, or -errno;
//   F2  a call may block, so it is made by a thread of the blocking pool. It is made again when a signal interrupted
//       it, as the driver asks again for a request that ended so;
//   F3  a request moves 4 MiB at most, and the rest is asked for anew: bytes that are in memory are copied when the
//       request is handed over, by the worker. A call moves 1 GiB: the kernel counts up to 2 GiB, in an int.
#pragma once

#include <runnel/detail/file_action.hpp>

struct io_uring_sqe;

namespace runnel::detail {

struct file_form {
    static constexpr unsigned no_request = 256;

    const char* name;
    unsigned opcode;  // or no_request
    void (*fill)(io_uring_sqe& request, int fd, const file_action& what) noexcept;
    long (*call)(int fd, const file_action& what) noexcept;  // gives -1 and errno
};

const file_form& form_of(file_kind kind) noexcept;

/// Of a request that is cleared but for its user_data.
void fill_file_request(io_uring_sqe& request, const io_action& what) noexcept;

/// Makes the call, and again for what is left: the action is over then.
void call_file(io_action& what) noexcept;
}
