// byte_stream: what reads and writes bytes in order: the base of tcp_stream, unix_stream and what else does.
//
//   rn::task<> echo(rn::tcp_stream peer) {
//     while (auto chunk = co_await peer.recv())
//       if (!co_await peer.write_all(*chunk)) co_return;
//   }
//
// Each operation waits without holding a thread, ends when the task's context is cancelled, and can be
// given a deadline: `co_await with_timeout(1s, peer.recv())`. An ended stream is an error like any other
// (errc::end_of_stream), so every error ends such a loop, and nothing transient is one. What reads is a case of a
// select, too; then it reads when it has won, and not before.
//
//   S1  one task reads and one task writes a stream at a time, and they may be two: check();
//   S2  a buffer given to an operation is the kernel's until co_await returns, which is after the kernel
//       is done with it, also when cancelled;
//   S3  bytes that were moved are reported, never lost to a cancellation or a deadline.
//
// A base and no template: what a function needs of a stream it can say as `byte_stream&`, whatever the bytes travel
// through. It has no virtual function, and is neither made nor destroyed by itself.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

#include <runnel/result.hpp>

#include "chunk.hpp"
#include "deadlines.hpp"
#include "detail/descriptor.hpp"
#include "detail/io_operation.hpp"
#include "detail/pieces.hpp"
#include "detail/readiness.hpp"
#include "transfer.hpp"

namespace runnel {

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

class [[nodiscard]] gather_operation final : public detail::io_operation_of<gather_operation> {
public:
    using result_type = transfer;
    gather_operation(detail::descriptor& on, detail::pieces&& what) noexcept;
    void prepare() noexcept;
    result_type complete(transfer done) noexcept { return done; }

private:
    detail::pieces what_;
};

/// Move-only; its destructor closes it. Its deadlines and idle timeout: deadlines.hpp.
/// Threads  an ordinary object, used by one reading and one writing task at a time; it is not moved or
///          destroyed while they wait: check(). close() may come from any task.
class byte_stream : public stream_deadlines<byte_stream> {
public:
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
    /// Order         the kernel has it when this returns, and not before: where many tasks write, what is small too
    ///               waits for the ring's next batch, and a close() by another task comes before that.
    /// Cancellation  a cancel point; bytes tells how much went out before.
    /// Cost          a plain system call while the socket's buffer has room; else one request.
    write_operation write_all(std::span<const std::byte> from) noexcept { return {socket_, from, true}; }
    write_operation write_all(std::string_view from) noexcept {
        return write_all(std::as_bytes(std::span(from)));
    }

    /// Writes all of several pieces, in their order, as if they were one: a head and a body, without copying them
    /// together. Pieces and list live until co_await returns; a piece may be empty.
    /// Returns, Cancellation  as above; bytes counts over all of them.
    /// Cost          one call or request for as many pieces as the system takes at once (1,024); no allocation up to
    ///               16 pieces, one beyond (without memory for it, 16 at a time).
    gather_operation write_all(std::span<const std::span<const std::byte>> pieces) noexcept {
        return {socket_, detail::pieces(pieces)};
    }
    gather_operation write_all(std::span<const std::string_view> pieces) noexcept {
        return {socket_, detail::pieces(pieces)};
    }

    /// Writes at least one byte of it; otherwise as write_all().
    write_operation write_some(std::span<const std::byte> from) noexcept { return {socket_, from, false}; }
    write_operation write_some(std::string_view from) noexcept {
        return write_some(std::as_bytes(std::span(from)));
    }

    /// Ends both directions. Operations in flight end with errc::closed, unless they have moved bytes.
    /// Unread data makes the system reset the connection; what was written is still delivered otherwise.
    /// Threads  any, as long as the stream lives. Never waits.
    void close() noexcept { socket_.close(); }
    bool is_open() const noexcept { return !socket_.closed(); }

    /// For those who need another system call. It stays the stream's.
    int native_handle() const noexcept { return socket_.fd(); }

protected:
    explicit byte_stream(detail::descriptor&& socket) noexcept : socket_(std::move(socket)) {}
    byte_stream(byte_stream&&) noexcept = default;
    byte_stream& operator=(byte_stream&&) noexcept = default;
    ~byte_stream() = default;

    friend class stream_deadlines<byte_stream>;
    detail::descriptor socket_;
    bool drained_ = false;  // the reader's: the last read found the end of what was there
};
}
