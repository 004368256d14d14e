// io_action: what a task asks of the world outside, and what came of it.
//
// Plain data in the frame of the task that waits, understood by every back end (detail/io_backend.hpp).
// It, and what it refers to, belong to the back end from start() to its one completion.
#pragma once

#include <cstddef>

namespace runnel::detail {

enum class io_kind : unsigned char {
    accept,       // a connection; `moved` becomes its descriptor
    connect,      // `data` is an address in the system's form
    receive,      // at least one byte, or none at the end of the stream
    lease,        // the same into a buffer that the back end gives as `data`; or, `data` left null, just
                  // waits until receive_now() will find something: the buffer is needed no earlier
    send,         // at least one byte; never raises SIGPIPE
    readability,  // until data, the end of the stream or an error can be read
    read,         // as receive, of any descriptor
    write         // as send
};

struct io_action {
    io_kind kind;
    bool whole = false;      // send, write: complete when all is sent, or nothing more can be
    bool will_wait = false;  // receive, read: there was nothing left a moment ago
    bool at_once = false;    // read, write: it is a file, or the like, and never waits
    int fd = -1;
    void* data = nullptr;   // written to by receive, only read by the others
    std::size_t bytes = 0;  // at `data`; what was moved is taken off both

    // The answer. Both can be set: what was moved before the error.
    std::size_t moved = 0;
    int error = 0;      // an errno
    bool more = false;  // receive: there is more to read

    void advance(std::size_t by) noexcept {
        data = static_cast<std::byte*>(data) + by;
        bytes -= by;
        moved += by;
    }
    void lend(std::byte* buffer, std::size_t size) noexcept {
        data = buffer;
        bytes = size;
    }
    /// Receive, lease: did it find less than there was room for?
    bool drained() const noexcept { return bytes > 0 && !more; }
};
}
