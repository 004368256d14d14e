// io_action: what a task asks of the world outside, and what came of it.
//
// Plain data in the frame of the task that waits, understood by every back end (detail/io_backend.hpp).
// It, and what it refers to, belong to the back end from start() to its one completion.
#pragma once

#include <cstddef>

namespace runnel::detail {

enum class io_kind : unsigned char {
    accept,           // a connection; `moved` becomes its descriptor
    connect,          // `data` is an address in the system's form
    receive,          // at least one byte, or none at the end of the stream
    lease,            // the same into a buffer that the back end gives as `data`; or, `data` left null, just
                      // waits until receive_now() will find something: the buffer is needed no earlier
    send,             // at least one byte; never raises SIGPIPE
    readability,      // until data, the end of the stream or an error can be read
    receive_message,  // one message, into what the msghdr at `data` names; descriptors in it are closed on exec
    send_message,     // one message, of the msghdr at `data`; never raises SIGPIPE
    datagram          // until receive_message_now() will find one: it is looked at, and stays there
};

/// Is `data` where a msghdr is, rather than bytes? Then `bytes` means nothing, and a message may have none.
constexpr bool is_message(io_kind kind) noexcept {
    return kind == io_kind::receive_message || kind == io_kind::send_message;
}

struct io_action {
    io_kind kind;
    bool whole = false;         // send: complete when all is sent, or nothing more can be
    bool will_wait = false;     // receive, receive_message: there was nothing left a moment ago
    bool full_length = false;   // receive_message: of a datagram cut short, `moved` is the length that it had
    bool has_absorbed = false;  // send_message: see absorb.hpp
    std::size_t* absorbed = nullptr;  // send_message, datagram: counts what is absorbed; null: nothing is
    int fd = -1;
    void* data = nullptr;   // written to by receive, only read by the others
    std::size_t bytes = 0;  // at `data`; what was moved is taken off both

    // The answer. Both can be set: what was moved before the error.
    std::size_t moved = 0;
    int error = 0;      // an errno
    bool more = false;  // receive: there is more to read

    void advance(std::size_t by) noexcept {
        moved += by;
        if (is_message(kind)) return;
        data = static_cast<std::byte*>(data) + by;
        bytes -= by;
    }
    void lend(std::byte* buffer, std::size_t size) noexcept {
        data = buffer;
        bytes = size;
    }
    /// Receive, lease: did it find less than there was room for?
    bool drained() const noexcept { return bytes > 0 && !more; }
};
}
