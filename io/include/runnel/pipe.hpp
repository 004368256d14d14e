// pipe: the two ends of a pipe, and whatever else bytes can be read from or written to by a plain descriptor.
//
//   auto [reader, writer] = rn::make_pipe().value();
//   rn::go(produce, std::move(writer));             // the last writer gone: end of stream
//   rn::buffered_reader lines(reader);
//   while (auto line = co_await lines.read_line()) use(*line);
//
// They have the shape of a tcp_stream, each end its half, and its rules: S1 to S3 of tcp.hpp. A FIFO is opened by its
// path; a descriptor that somebody else has made is taken over by own().
//
//   P1  nothing raises SIGPIPE, on whatever thread: a pipe that nobody reads any more is broken_pipe;
//   P2  the flags of the open file stay as they are (Y1 of detail/byte_end.hpp): an end can be given to a child that
//       expects a plain blocking one;
//   P3  a file is read and written by plain calls, which hold the worker for as long as the disk takes.
//
// Not taken: IORING_OP_READ and WRITE. A write there raises SIGPIPE in whatever thread, and of a descriptor with
// O_NONBLOCK both say EAGAIN instead of waiting; so we wait for readiness, and then make a call that does not wait.
#pragma once

#include <cstddef>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <runnel/result.hpp>
#include <runnel/task.hpp>

#include "chunk.hpp"
#include "detail/byte_end.hpp"
#include "detail/io_operation.hpp"
#include "detail/readiness.hpp"
#include "transfer.hpp"

namespace runnel {

/// What recv() of a pipe_reader is in a select.
class [[nodiscard]] pipe_receive_case final : public detail::reading_case<pipe_receive_case, result<chunk>> {
public:
    explicit pipe_receive_case(detail::byte_end& on) noexcept : reading_case(on.of()), end_(on) {}
    result_type complete(unsigned) noexcept;

private:
    detail::byte_end& end_;
};

class [[nodiscard]] pipe_read_operation final : public detail::io_operation_of<pipe_read_operation> {
public:
    using result_type = result<std::size_t>;
    pipe_read_operation(detail::byte_end& on, std::span<std::byte> to) noexcept;
    result_type complete(transfer done) noexcept;

private:
    bool& drained_;
};

class [[nodiscard]] pipe_receive_operation final : public detail::io_operation_of<pipe_receive_operation> {
public:
    using result_type = result<chunk>;
    explicit pipe_receive_operation(detail::byte_end& on) noexcept;
    pipe_receive_operation(pipe_receive_operation&&) noexcept = default;
    void prepare() noexcept;
    result_type complete(transfer done) noexcept;
    pipe_receive_case as_case() && noexcept { return pipe_receive_case(end_); }

private:
    detail::byte_end& end_;
    std::byte* lease_ = nullptr;
};

class [[nodiscard]] pipe_readable_operation final : public detail::io_operation_of<pipe_readable_operation> {
public:
    using result_type = result<>;
    explicit pipe_readable_operation(detail::byte_end& on) noexcept;
    result_type complete(transfer done) noexcept { return done.error; }
};

class [[nodiscard]] pipe_write_operation final : public detail::io_operation_of<pipe_write_operation> {
public:
    using result_type = transfer;
    pipe_write_operation(detail::byte_end& on, std::span<const std::byte> from, bool whole) noexcept;
    result_type complete(transfer done) noexcept { return done; }
};

/// What bytes come out of; move-only. The destructor closes it.
/// Threads  an ordinary object, read by one task at a time; it is not moved or destroyed while that waits: check().
///          close() may come from any task.
class pipe_reader {
public:
    /// None: is_open() is false.
    pipe_reader() noexcept = default;

    /// Opens a FIFO, or a file, a terminal, a device. Never waits: whoever reads waits for the first writer.
    /// Returns  the reader; no_such_file_or_directory, permission_denied and the like.
    /// Threads  any. check(): not in a simulation, which has no files.
    static result<pipe_reader> open(const std::string& path,
                                    std::source_location at = std::source_location::current()) noexcept;
    /// Takes over a descriptor, which it closes at its end. Its flags stay as they are.
    /// Threads  any. check(): not in a simulation.
    static pipe_reader own(int fd, std::source_location at = std::source_location::current()) noexcept;

    /// Reads at least one byte and at most `to` takes, as soon as there are some.
    /// Returns       how many; errc::end_of_stream when all writers are gone; errc::closed after close().
    /// Cancellation  a cancel point; then nothing was read.
    pipe_read_operation read_some(std::span<std::byte> to) noexcept { return {end_, to}; }

    /// The same into leased memory, which is taken when the operation begins. A select case.
    /// Returns       a chunk of at least one byte; errors as read_some().
    /// Cancellation  a cancel point; then nothing was read.
    pipe_receive_operation recv() noexcept { return pipe_receive_operation(end_); }

    /// Waits until there is something to read, the end of the stream, or an error. (When others read the same pipe,
    /// they may have it first.)
    /// Cancellation  a cancel point.
    pipe_readable_operation readable() noexcept { return pipe_readable_operation(end_); }

    /// An operation in flight ends with errc::closed, unless it has moved bytes. Threads: any, as long as it lives.
    void close() noexcept { end_.close(); }
    bool is_open() const noexcept { return !end_.closed(); }

    /// For those who need another system call. It stays the reader's.
    int native_handle() const noexcept { return end_.fd(); }

private:
    friend class pipe_pair;
    explicit pipe_reader(detail::byte_end&& end) noexcept : end_(std::move(end)) {}
    detail::byte_end end_;
};

/// What bytes go into; move-only. The destructor closes it.
/// Threads  as pipe_reader.
class pipe_writer {
public:
    pipe_writer() noexcept = default;

    /// Opens a FIFO for writing, waiting for a reader, for whom it looks again and again (each 1 to 20 ms: the system
    /// tells nobody); or a file, a terminal, a device.
    /// Returns       the writer; no_such_file_or_directory, permission_denied and the like.
    /// Cancellation  a cancel point; then it is not open.
    /// Threads       a task's. check(): not in a simulation.
    static task<result<pipe_writer>> open(std::string path,
                                          std::source_location at = std::source_location::current());
    /// Takes over a descriptor, which it closes at its end. Its flags stay as they are.
    /// Threads  any. check(): not in a simulation.
    static pipe_writer own(int fd, std::source_location at = std::source_location::current()) noexcept;

    /// Writes all of it.
    /// Returns       how many bytes the kernel has taken, and the error if those are not all; broken_pipe when nobody
    ///               reads any more (P1); errc::closed after close().
    /// Cancellation  a cancel point; bytes tells how much went out before.
    /// Order         up to 4096 bytes (PIPE_BUF) are not mixed with those of other writers.
    pipe_write_operation write_all(std::span<const std::byte> from) noexcept { return {end_, from, true}; }
    pipe_write_operation write_all(std::string_view from) noexcept {
        return write_all(std::as_bytes(std::span(from)));
    }

    /// Writes at least one byte of it; otherwise as write_all().
    pipe_write_operation write_some(std::span<const std::byte> from) noexcept { return {end_, from, false}; }
    pipe_write_operation write_some(std::string_view from) noexcept {
        return write_some(std::as_bytes(std::span(from)));
    }

    /// What ends the stream for the reader is that all writers are gone: this is close(), for copy(). Never waits.
    result<> shutdown_write() noexcept { return close(), result<>(); }
    /// As pipe_reader::close().
    void close() noexcept { end_.close(); }
    bool is_open() const noexcept { return !end_.closed(); }

    int native_handle() const noexcept { return end_.fd(); }

private:
    friend class pipe_pair;
    explicit pipe_writer(detail::byte_end&& end) noexcept : end_(std::move(end)) {}
    detail::byte_end end_;
};

/// Both ends, for `auto [reader, writer] = …`.
class pipe_pair {
public:
    /// Takes over both numbers.
    pipe_pair(int reading, int writing, std::source_location at) noexcept
        : reader(detail::byte_end(reading, at)), writer(detail::byte_end(writing, at)) {}
    pipe_reader reader;
    pipe_writer writer;
};

/// A new pipe, closed on exec. In a simulation a simulated one.
/// Returns  its ends; too_many_files_open and the like.
/// Threads  any.
result<pipe_pair> make_pipe(std::source_location at = std::source_location::current()) noexcept;
}
