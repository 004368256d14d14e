// io_action: what a task asks of the world outside, and what came of it.
//
// Plain data in the frame of the task that waits, understood by every back end (detail/io_backend.hpp).
// It, and what it refers to, belong to the back end from start() to its one completion.
//
// A *standing* action is in no task's frame, and nobody awaits it: it is told what comes of it, and says whether it
// goes on. It has its request for as long as it likes, and rests in between (io_watch.hpp).
#pragma once

#include <cstddef>

namespace runnel::detail {

class socket_timing;
/// For an idle timeout: so many bytes more have been moved. Threads: any.
void note_progress(socket_timing& of, std::size_t bytes) noexcept;

enum class io_kind : unsigned char {
    connect,          // `data` is an address in the system's form
    receive,          // at least one byte, or none at the end of the stream
    lease,            // the same into a buffer that the back end gives as `data`; or, `data` left null, just
                      // waits until receive_now() will find something: the buffer is needed no earlier
    send,             // at least one byte; never raises SIGPIPE
    readability,      // until data, the end of the stream or an error can be read
    receive_message,  // one message, into what the msghdr at `data` names; descriptors in it are closed on exec
    send_message,     // one message, of the msghdr at `data`; never raises SIGPIPE
    send_pieces,      // as send, of the `pieces` at `data` (detail/pieces.hpp)
    datagram,         // until receive_message_now() will find one: it is looked at, and stays there
    read,             // as receive, of any descriptor
    write,            // as send
    file              // `data` is a file_action (file_action.hpp), which says what
};

/// Is `data` where a msghdr is, rather than bytes? Then `bytes` means nothing, and a message may have none.
constexpr bool is_message(io_kind kind) noexcept {
    return kind == io_kind::receive_message || kind == io_kind::send_message;
}

struct io_action {
    io_kind kind;
    bool whole = false;         // send, send_pieces, write: complete when all is sent, or nothing more can be
    bool will_wait = false;     // receive, receive_message, read: there was nothing left a moment ago
    bool full_length = false;   // receive_message: of a datagram cut short, `moved` is the length that it had
    bool has_absorbed = false;  // send_message: see absorb.hpp
    std::size_t* absorbed = nullptr;  // send_message, datagram: counts what is absorbed; null: nothing is
    bool at_once = false;             // read, write: it is a file, or the like, and never waits
    int fd = -1;
    void* data = nullptr;                 // written to by receive, only read by the others
    std::size_t bytes = 0;                // at `data`; what was moved is taken off both
    socket_timing* watched_by = nullptr;  // what is moved is told at once, so a send goes in parts

    // The answer. Both can be set: what was moved before the error.
    std::size_t moved = 0;
    int error = 0;      // an errno
    bool more = false;  // receive: there is more to read

    void advance(std::size_t by) noexcept {
        moved += by;
        if (watched_by != nullptr) [[unlikely]]
            note_progress(*watched_by, by);
        if (kind == io_kind::send_pieces) return advance_pieces(by);
        if (is_message(kind)) return;
        data = static_cast<std::byte*>(data) + by;
        bytes -= by;
    }
    void advance_pieces(std::size_t by) noexcept;
    void lend(std::byte* buffer, std::size_t size) noexcept {
        data = buffer;
        bytes = size;
    }
    /// Receive, lease: did it find less than there was room for?
    bool drained() const noexcept { return bytes > 0 && !more; }
};

inline io_action make_action(io_kind kind) noexcept {
    io_action action{};
    action.kind = kind;
    return action;
}

class socket_calls;

class standing_action : public io_action {
public:
    enum class event : unsigned char {
        answered,    // by the world
        nudged,      // by a message, while it rested
        driver_ends  // there is nobody any more who would begin it again
    };
    enum class next : unsigned char {
        again,    // it is to be begun again
        rest,     // it keeps its request, and a message is to nudge it
        end,      // it is over, and its request too
        end_owed  // the same, but a message of its is on the way: the request is there until that has come
    };

    /// Under the back end's lock: it may wake tasks, and calls nothing of the back end but `calls`.
    virtual next hears(event what, socket_calls& calls) noexcept = 0;

protected:
    ~standing_action() = default;
};
}
