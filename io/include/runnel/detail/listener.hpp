// listener: what accepts connections, be they TCP or Unix: a descriptor, the wait, and the rules of it.
//
// A listener's accept() waits in a loop, in which nothing transient is an error (io/accept_loop.hpp):
//   1  a connection that was gone before we took it is skipped;
//   2  descriptors or memory run out: it pauses from 5 to 100 ms and tries again, counts, and says so once on stderr;
//   3  none there, at a listener that somebody has made non-blocking: it waits for the next;
//   4  anything else, closing and stopping too, ends it.
#pragma once

#include <cstddef>
#include <source_location>
#include <string_view>
#include <system_error>
#include <utility>

#include <runnel/result.hpp>
#include <runnel/task.hpp>

#include "descriptor.hpp"

namespace runnel::detail {

class listener {
public:
    /// Ends accept() everywhere with errc::closed. Threads: any, as long as the listener lives.
    void close() noexcept { socket_.close(); }
    bool is_open() const noexcept { return !socket_.closed(); }

    /// How often accept() had to wait for descriptors or memory. Threads: any.
    std::size_t accept_pauses() const noexcept;

    int native_handle() const noexcept { return socket_.fd(); }

protected:
    explicit listener(descriptor&& socket) noexcept : socket_(std::move(socket)) {}
    listener(listener&&) noexcept = default;
    listener& operator=(listener&&) noexcept = default;
    ~listener() = default;

    /// Rule 2.
    void note_pause(std::error_code why) noexcept;

    descriptor socket_;

private:
    std::size_t pauses_ = 0;  // atomic in accept_loop.cpp
};

template <class Stream>
class listener_of : public listener {
public:
    /// Takes the next connection. What is transient is no error: a connection that was gone before we took
    /// it is skipped; when descriptors or memory run out, it waits from 5 to 100 ms and tries again, counts,
    /// and says so once on stderr.
    /// Returns       the stream; errc::closed after close(); errc::stopping once the runtime begins to stop, also
    ///               when connections wait, and for accepts that are shielded(): what runs may come to its end.
    /// Cancellation  a cancel point; then no connection was taken.
    /// Order         connections come as they were made; waiting tasks get them in no particular order.
    task<result<Stream>> accept(std::source_location at = std::source_location::current());

protected:
    explicit listener_of(descriptor&& socket) noexcept : listener(std::move(socket)) {}
};
}
