// listener: what accepts connections, be they TCP or Unix: a descriptor with a queue of those that wait (accepting.hpp).
#pragma once

#include <cstddef>
#include <source_location>
#include <utility>

#include <runnel/label.hpp>
#include <runnel/result.hpp>

#include "accepting.hpp"
#include "descriptor.hpp"

namespace runnel::detail {

/// What listener_of<Stream>::accept() gives.
template <class Stream>
class [[nodiscard]] accept_operation final : public accept_cases {
public:
    using result_type = result<Stream>;
    accept_operation(descriptor& listener, std::source_location at) noexcept : accept_cases(listener, at) {}

    await_many<accept_operation> awaiter() noexcept { return await_many<accept_operation>(*this); }
    result_type complete(unsigned index) { return as_stream(accepted(index)); }
    result_type fail(std::error_code error) { return as_stream(not_accepted(error)); }

private:
    static result_type as_stream(result<descriptor> made) {
        if (!made) return made.error();
        return Stream(std::move(*made));
    }
};

class listener {
public:
    /// Ends accept() everywhere with errc::closed. Threads: any, as long as the listener lives.
    void close() noexcept { socket_.close(); }
    bool is_open() const noexcept { return !socket_.closed(); }

    /// How often accept() had to wait for descriptors or memory. Threads: any.
    std::size_t accept_pauses() const noexcept { return accept_pauses_of(socket_); }

    /// Its name in dumps and traces. Threads: any.
    void label(literal text) noexcept { label_listener(socket_, text); }

    /// For those who need another system call. It stays the listener's, and non-blocking.
    int native_handle() const noexcept { return socket_.fd(); }

protected:
    /// `socket` listens. Throws std::bad_alloc.
    listener(descriptor&& socket, std::source_location at) : socket_(std::move(socket)) {
        watch_listener(socket_, at);
    }
    listener(listener&&) noexcept = default;
    listener& operator=(listener&&) noexcept = default;
    ~listener() = default;

    descriptor socket_;
};

template <class Stream>
class listener_of : public listener {
public:
    /// Takes the next connection. A select case. What is transient is no error: a connection that was gone before we
    /// took it is skipped; when descriptors or memory run out, it waits from 5 to 100 ms and tries again, counts,
    /// and says so once on stderr.
    /// Returns       the stream; errc::closed after close(); errc::stopping once the runtime begins to stop, also
    ///               when connections wait, and for accepts that are shielded(): what runs may come to its end.
    /// Cancellation  a cancel point; then no connection was taken.
    /// Order         first come, first served, on both sides.
    /// Cost          two system calls for a connection that is there; for one that is waited for, those and a request.
    accept_operation<Stream> accept(std::source_location at = std::source_location::current()) noexcept {
        return accept_operation<Stream>(socket_, at);
    }

protected:
    listener_of(descriptor&& socket, std::source_location at) : listener(std::move(socket), at) {}
};
}
