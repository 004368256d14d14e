// tcp: connections and what accepts them.
//
//   rn::task<> echo(rn::tcp_stream peer) {
//     while (auto chunk = co_await peer.recv())
//       if (!co_await peer.write_all(*chunk)) co_return;
//   }
//
// Each operation waits without holding a thread, ends when the task's context is cancelled, and can be
// given a deadline: `co_await with_timeout(1s, peer.recv())`. An ended stream is an error like any other
// (errc::end_of_stream), so every error ends such a loop, and nothing transient is one.
//
//   S1  one task reads and one task writes a stream at a time, and they may be two: check();
//   S2  a buffer given to an operation is the kernel's until co_await returns, which is after the kernel
//       is done with it, also when cancelled;
//   S3  bytes that were moved are reported, never lost to a cancellation or a deadline.
#pragma once

#include <cstddef>
#include <source_location>
#include <span>
#include <string_view>

#include <runnel/result.hpp>
#include <runnel/task.hpp>

#include "address.hpp"
#include "chunk.hpp"
#include "deadlines.hpp"
#include "detail/accepting.hpp"
#include "detail/descriptor.hpp"
#include "detail/io_operation.hpp"
#include "detail/readiness.hpp"
#include "transfer.hpp"

namespace runnel {

/// How to make sockets. A new one has no delay (as in Go) and its address can be bound again at once.
class tcp_options {
public:
    /// Sends small writes at once, rather than waiting for the acknowledgment of the last (TCP_NODELAY).
    tcp_options& nodelay(bool on) noexcept { return nodelay_ = on, *this; }
    /// A listener may take a port on which old connections still linger (SO_REUSEADDR).
    tcp_options& reuse_address(bool on) noexcept { return reuse_address_ = on, *this; }
    /// Several listeners may share a port, and the kernel spreads connections over them (SO_REUSEPORT).
    tcp_options& reuse_port(bool on) noexcept { return reuse_port_ = on, *this; }
    /// How many connections may wait for accept(); the system has a limit of its own (net.core.somaxconn).
    tcp_options& backlog(int connections) noexcept { return backlog_ = connections, *this; }

    bool nodelay() const noexcept { return nodelay_; }
    bool reuse_address() const noexcept { return reuse_address_; }
    bool reuse_port() const noexcept { return reuse_port_; }
    int backlog() const noexcept { return backlog_; }

private:
    bool nodelay_ = true;
    bool reuse_address_ = true;
    bool reuse_port_ = false;
    int backlog_ = 4096;
};

class tcp_stream;

class [[nodiscard]] connect_operation final : public detail::io_operation_of<connect_operation> {
public:
    using result_type = result<tcp_stream>;
    connect_operation(result<address> to, const tcp_options& how, std::source_location at) noexcept;
    connect_operation(connect_operation&&) noexcept = default;
    void prepare() noexcept;
    result_type complete(transfer done) noexcept;

private:
    result<address> to_;
    detail::descriptor socket_;
    tcp_options how_;
    std::source_location at_;
};

/// What the reading operations are in a select: detail/readiness.hpp.
class [[nodiscard]] read_case final : public detail::reading_case<read_case, result<std::size_t>> {
public:
    read_case(detail::descriptor& on, bool& drained, std::span<std::byte> to) noexcept
        : reading_case(on), drained_(drained), to_(to) {}
    result_type complete(unsigned) noexcept;

private:
    bool& drained_;
    std::span<std::byte> to_;
};

class [[nodiscard]] readable_case final : public detail::reading_case<readable_case, result<>> {
public:
    explicit readable_case(detail::descriptor& on) noexcept : reading_case(on) {}
    result_type complete(unsigned) noexcept;
};

class [[nodiscard]] receive_case final : public detail::reading_case<receive_case, result<chunk>> {
public:
    receive_case(detail::descriptor& on, bool& drained) noexcept : reading_case(on), drained_(drained) {}
    result_type complete(unsigned) noexcept;

private:
    bool& drained_;
};

class [[nodiscard]] read_operation final : public detail::io_operation_of<read_operation> {
public:
    using result_type = result<std::size_t>;
    read_operation(detail::descriptor& on, bool& drained, std::span<std::byte> to) noexcept;
    result_type complete(transfer done) noexcept;
    read_case as_case() && noexcept {
        return {*on_, drained_, {static_cast<std::byte*>(action_.data), action_.bytes}};
    }

private:
    bool& drained_;
};

class [[nodiscard]] readable_operation final : public detail::io_operation_of<readable_operation> {
public:
    using result_type = result<>;
    explicit readable_operation(detail::descriptor& on) noexcept;
    result_type complete(transfer done) noexcept { return done.error; }
    readable_case as_case() && noexcept { return readable_case(*on_); }
};

class [[nodiscard]] receive_operation final : public detail::io_operation_of<receive_operation> {
public:
    using result_type = result<chunk>;
    receive_operation(detail::descriptor& on, bool& drained) noexcept;
    result_type complete(transfer done) noexcept;
    receive_case as_case() && noexcept { return {*on_, drained_}; }

private:
    bool& drained_;
};

class [[nodiscard]] write_operation final : public detail::io_operation_of<write_operation> {
public:
    using result_type = transfer;
    write_operation(detail::descriptor& on, std::span<const std::byte> from, bool whole) noexcept;
    result_type complete(transfer done) noexcept { return done; }
};

/// One TCP connection; move-only. The destructor closes it. Its deadlines and idle timeout: deadlines.hpp.
/// Threads  an ordinary object, used by one reading and one writing task at a time; it is not moved or
///          destroyed while they wait: check(). close() and shutdown_write() may come from any task.
class tcp_stream : public stream_deadlines<tcp_stream> {
public:
    /// Connects to `to`, or to what address::parse() makes of the text.
    /// Returns       the stream; connection_refused, timed_out (by the system) and the like; invalid_argument.
    /// Cancellation  a cancel point; a connection that is cancelled is closed.
    static connect_operation connect(const address& to, const tcp_options& how = {},
                                     std::source_location at = std::source_location::current()) noexcept;
    static connect_operation connect(std::string_view to, const tcp_options& how = {},
                                     std::source_location at = std::source_location::current());

    /// Reads at least one byte and at most `to` takes, as soon as there are some.
    /// Returns       how many; errc::end_of_stream when the peer has finished; errc::closed after close().
    /// Cancellation  a cancel point; then nothing was read.
    /// Cost          one request; the buffer is occupied while it waits (recv() needs none).
    read_operation read_some(std::span<std::byte> to) noexcept { return {socket_, drained_, to}; }

    /// The same into leased memory, which is taken only when bytes are there.
    /// Returns       a chunk of at least one byte; errors as read_some().
    /// Cancellation  a cancel point; then nothing was read.
    receive_operation recv() noexcept { return {socket_, drained_}; }

    /// Waits until recv() or read_some() will not wait: for bytes, the end of the stream, or an error.
    /// Cancellation  a cancel point.
    readable_operation readable() noexcept { return readable_operation(socket_); }

    /// Writes all of it.
    /// Returns       how many bytes the kernel has taken, and the error if those are not all;
    ///               broken_pipe or connection_reset when the peer is gone. Never raises SIGPIPE.
    /// Cancellation  a cancel point; bytes tells how much went out before.
    /// Cost          a plain system call while the socket's buffer has room; else one request.
    write_operation write_all(std::span<const std::byte> from) noexcept { return {socket_, from, true}; }
    write_operation write_all(std::string_view from) noexcept {
        return write_all(std::as_bytes(std::span(from)));
    }

    /// Writes at least one byte of it; otherwise as write_all().
    write_operation write_some(std::span<const std::byte> from) noexcept { return {socket_, from, false}; }
    write_operation write_some(std::string_view from) noexcept {
        return write_some(std::as_bytes(std::span(from)));
    }

    /// Half-close: the peer reads the end of the stream after what was written; we can go on reading.
    /// Never waits.
    result<> shutdown_write() noexcept;

    /// Ends both directions. Operations in flight end with errc::closed, unless they have moved bytes.
    /// Unread data makes the system reset the connection; what was written is still delivered otherwise.
    /// Threads  any, as long as the stream lives. Never waits.
    void close() noexcept { socket_.close(); }
    bool is_open() const noexcept { return !socket_.closed(); }

    result<> set_nodelay(bool on) noexcept;
    result<address> local_address() noexcept;
    result<address> peer_address() noexcept;

    /// For those who need another system call. It stays the stream's.
    int native_handle() const noexcept { return socket_.fd(); }

private:
    friend class connect_operation;
    friend class accept_operation;
    friend class stream_deadlines<tcp_stream>;
    explicit tcp_stream(detail::descriptor&& socket) noexcept : socket_(std::move(socket)) {}

    detail::descriptor socket_;
    bool drained_ = false;  // the reader's: the last read found the end of what was there
};

class [[nodiscard]] accept_operation final : public detail::accept_cases {
public:
    using result_type = result<tcp_stream>;
    accept_operation(detail::descriptor& listener, std::source_location at) noexcept
        : accept_cases(listener, at) {}

    detail::await_many<accept_operation> awaiter() noexcept {
        return detail::await_many<accept_operation>(*this);
    }
    result_type complete(unsigned index) noexcept { return as_stream(accepted(index)); }
    result_type fail(std::error_code error) noexcept { return as_stream(not_accepted(error)); }

private:
    static result_type as_stream(result<detail::descriptor> made) noexcept;
};

/// A socket that takes connections; move-only. The destructor closes it.
/// Threads  accept() by any number of tasks at once; not moved or destroyed while they wait: check().
class tcp_listener {
public:
    /// Listens at `on`, or what address::parse() makes of the text; port 0 lets the system choose.
    /// Returns  the listener, which already takes connections; address_in_use, permission_denied and the
    ///          like; invalid_argument. Never waits. Threads: any, also outside of a runtime.
    static result<tcp_listener> bind(const address& on, const tcp_options& how = {},
                                     std::source_location at = std::source_location::current());
    static result<tcp_listener> bind(std::string_view on, const tcp_options& how = {},
                                     std::source_location at = std::source_location::current());

    /// Takes the next connection. A select case. What is transient is no error: a connection that was gone before we
    /// took it is skipped; when descriptors or memory run out, it waits from 5 to 100 ms and tries again, counts, and
    /// says so once on stderr.
    /// Returns       the stream; errc::closed after close(); errc::stopping once the runtime begins to stop, also
    ///               when connections wait, and for accepts that are shielded(): what runs may come to its end.
    /// Cancellation  a cancel point; then no connection was taken.
    /// Order         first come, first served, on both sides.
    /// Cost          two system calls for a connection that is there; for one that is waited for, those and a request.
    accept_operation accept(std::source_location at = std::source_location::current()) noexcept;

    /// Where it listens, with the port that the system chose.
    const address& local_address() const noexcept { return local_; }

    /// Ends accept() everywhere with errc::closed. Threads: any, as long as the listener lives.
    void close() noexcept { socket_.close(); }
    bool is_open() const noexcept { return !socket_.closed(); }

    /// How often accept() had to wait for descriptors or memory. Threads: any.
    std::size_t accept_pauses() const noexcept { return detail::accept_pauses_of(socket_); }

    /// Its name in dumps and traces. Threads: any.
    void label(literal text) noexcept { socket_.watch()->made.set_label(text); }

    /// For those who need another system call. It stays the listener's, and non-blocking.
    int native_handle() const noexcept { return socket_.fd(); }

private:
    tcp_listener(detail::descriptor&& socket, const address& local) noexcept
        : socket_(std::move(socket)), local_(local) {}

    detail::descriptor socket_;
    address local_;
};
}
