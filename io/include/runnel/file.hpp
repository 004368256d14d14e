// file: what lies on a disk, read and written without holding a worker.
//
//   rn::task<rn::result<>> keep(rn::tcp_stream& from, std::string path) {
//     auto file = co_await rn::file::open(path, rn::open_options().write().create().truncate());
//     if (!file) co_return file.error();
//     if (auto copied = co_await rn::copy(from, *file); !copied) co_return copied.error;
//     co_return co_await file->sync();
//   }
//
// At an offset (read_at, write_at): any number of tasks at once. From the beginning to the end (recv, read_some,
// write_all): by a position of the object's own, one operation at a time; so copy() and buffered_reader take a file
// for a stream. Whole files, and what is done to paths: file_paths.hpp; entries of directories: directory.hpp.
//
// A read of what is in memory is done at once. Else, where the kernel's ring has the operation, it goes through the
// ring; where it has not (epoll, old kernels) a thread of the blocking pool makes the call. To the caller it is one:
//
//   K1  a disk cannot be hurried: an operation that has begun mostly runs to its end, also when it is cancelled or its
//       time is over, and co_await returns after that. A buffer that was given is in use until then, as with sockets;
//   K2  what was done is reported: bytes that were moved, a file that was opened, win over a cancellation that came
//       meanwhile. One that came before the operation had begun ends it with nothing done;
//   K3  nothing of a file is transient, so everything is an error: no descriptors left (EMFILE), no room (ENOSPC);
//   K4  close() lets what is in flight come to its end. It reports nothing: who must know that the bytes are on the
//       disk asks for sync().
//
// What is no file of a file system, a pipe or a terminal opened by its path, can be read and written, too; but without
// a ring each wait for it holds a thread, and cannot be cancelled.
//
// In a simulation files are simulated (testing_files.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <runnel/result.hpp>

#include "chunk.hpp"
#include "detail/descriptor.hpp"
#include "detail/file_operation.hpp"
#include "file_status.hpp"
#include "transfer.hpp"

namespace runnel {

/// How to open a file. Made anew it is to be read; each setter returns the object.
class open_options {
public:
    /// To be read: what it is when nothing else is said.
    open_options& read(bool on = true) noexcept { return read_ = on, *this; }
    open_options& write(bool on = true) noexcept { return write_ = on, *this; }
    /// To be written at its end only, wherever a write says: writes of several programs do not overwrite each other.
    open_options& append(bool on = true) noexcept { return append_ = on, *this; }
    /// If there is none, made.
    open_options& create(bool on = true) noexcept { return create_ = on, *this; }
    /// Made; if there is one already, std::errc::file_exists.
    open_options& exclusive(bool on = true) noexcept { return exclusive_ = on, *this; }
    /// Emptied. Needs write().
    open_options& truncate(bool on = true) noexcept { return truncate_ = on, *this; }
    /// A file without a name in the directory that the path names; gone when it is closed (O_TMPFILE).
    open_options& temporary(bool on = true) noexcept { return temporary_ = on, *this; }
    /// False: a symbolic link at the end of the path is std::errc::too_many_symbolic_link_levels.
    open_options& follow_link(bool on) noexcept { return follow_ = on, *this; }
    /// Of a file that is made; less what the process's umask takes away. Default 0666.
    open_options& mode(unsigned permissions) noexcept { return mode_ = permissions, *this; }

    /// As open(2) wants them; -1 when they contradict each other.
    int flags() const noexcept;
    unsigned mode() const noexcept { return mode_; }

private:
    bool read_ = false;
    bool write_ = false;
    bool append_ = false;
    bool create_ = false;
    bool exclusive_ = false;
    bool truncate_ = false;
    bool temporary_ = false;
    bool follow_ = true;
    unsigned mode_ = 0666;
};

class file;

class [[nodiscard]] open_operation final : public detail::file_operation<open_operation> {
public:
    using result_type = result<file>;
    open_operation(std::string path, const open_options& how, std::source_location at) noexcept;
    void place() noexcept;
    result_type complete(transfer done) noexcept;

private:
    detail::file_path path_;
    int flags_;
    std::source_location at_;
};

/// Of one piece of memory, at an offset.
class [[nodiscard]] file_transfer_operation final : public detail::file_operation<file_transfer_operation> {
public:
    using result_type = transfer;
    file_transfer_operation(file& on, detail::file_kind kind, detail::file_piece piece,
                            std::uint64_t offset) noexcept;
    result_type complete(transfer done) noexcept;
};

/// Of several.
class [[nodiscard]] file_pieces_operation final : public detail::file_operation<file_pieces_operation> {
public:
    using result_type = transfer;
    file_pieces_operation(file& on, std::span<const std::span<std::byte>> into,
                          std::uint64_t offset) noexcept;
    file_pieces_operation(file& on, std::span<const std::span<const std::byte>> from,
                          std::uint64_t offset) noexcept;
    void place() noexcept { file_.room = room_; }
    result_type complete(transfer done) noexcept;

private:
    detail::file_piece room_[detail::file_action::pieces_at_once];
};

class [[nodiscard]] file_read_operation final : public detail::file_operation<file_read_operation> {
public:
    using result_type = result<std::size_t>;
    file_read_operation(file& from, std::span<std::byte> to) noexcept;
    void place() noexcept;
    result_type complete(transfer done) noexcept;

private:
    file& of_;
};

class [[nodiscard]] file_receive_operation final : public detail::file_operation<file_receive_operation> {
public:
    using result_type = result<chunk>;
    explicit file_receive_operation(file& from) noexcept;
    file_receive_operation(file_receive_operation&& other) noexcept = default;
    ~file_receive_operation();
    void place() noexcept;
    result_type complete(transfer done) noexcept;

private:
    file& of_;
    std::byte* buffer_ = nullptr;  // from place() on
};

class [[nodiscard]] file_write_operation final : public detail::file_operation<file_write_operation> {
public:
    using result_type = transfer;
    file_write_operation(file& to, std::span<const std::byte> from, bool whole) noexcept;
    void place() noexcept;
    result_type complete(transfer done) noexcept;

private:
    file& of_;
};

/// Done, or not.
class [[nodiscard]] file_call_operation final : public detail::file_operation<file_call_operation> {
public:
    using result_type = result<>;
    file_call_operation(detail::descriptor& on, detail::file_kind kind, std::uint64_t offset = 0,
                        std::uint64_t length = 0, unsigned flags = 0, unsigned mode = 0) noexcept;
    result_type complete(transfer done) noexcept { return done.error; }
};

class [[nodiscard]] status_operation final : public detail::file_operation<status_operation> {
public:
    using result_type = result<file_status>;
    explicit status_operation(detail::descriptor& of) noexcept;
    status_operation(std::string path, bool follow_link) noexcept;
    void place() noexcept;
    result_type complete(transfer done) noexcept;

private:
    detail::file_path path_;
    bool of_path_;
    alignas(8) std::byte raw_[256];  // as the kernel says it
};

/// One open file; move-only. The destructor closes it, which never waits.
/// Threads  operations at an offset, sync() and the like by any number of tasks at once; those by its position one at
///          a time: check(). Not moved or destroyed while any is in flight: check(). close() may come from any task.
class file {
public:
    /// Opens it, or makes it.
    /// Returns       the file; no_such_file_or_directory, permission_denied, is_a_directory, file_exists and the like;
    ///               too_many_files_open: here that is no reason to wait (K3); invalid_argument for a path with a zero
    ///               byte, and for options that contradict each other.
    /// Cancellation  a cancel point; one that came too late leaves the file open, and it is given (K2).
    /// Cost          one request; without a ring a hand-over to another thread and back, some 10 microseconds.
    static open_operation open(std::string path, const open_options& how = {},
                               std::source_location at = std::source_location::current()) noexcept {
        return {std::move(path), how, at};
    }

    // --- At an offset ---

    /// Fills `to` with the bytes from `offset` on.
    /// Returns       how many were read; errc::end_of_stream with them when the file ended before `to` was full.
    /// Cancellation  a cancel point; `to` is in use until it returns (K1), bytes tells what was read before (K2).
    /// Threads       any number of tasks at once.
    /// Cost          one request for each 4 MiB, for what is in memory already is copied by the worker itself; more
    ///               when the system reads less at once. Without a ring one call of another thread.
    file_transfer_operation read_at(std::span<std::byte> to, std::uint64_t offset) noexcept {
        return {*this, detail::file_kind::read, {to.data(), to.size()}, offset};
    }
    /// The same into several pieces, one after the other. The list must live as long as the operation.
    file_pieces_operation read_at(std::span<const std::span<std::byte>> to, std::uint64_t offset) noexcept {
        return {*this, to, offset};
    }

    /// Writes all of `from`. Beyond the end the file grows; a hole reads as zeros.
    /// Returns       how many bytes the system has taken, and the error if those are not all: no_space_on_device,
    ///               file_too_large, io_error. On the disk they are after sync().
    /// Cancellation  as read_at().
    /// Order         of writes that overlap: none. With append() the offset means nothing; 4 MiB and less go to the
    ///               end as one, between the pieces of larger writes others may come.
    file_transfer_operation write_at(std::span<const std::byte> from, std::uint64_t offset) noexcept {
        return {*this, detail::file_kind::write, {const_cast<std::byte*>(from.data()), from.size()}, offset};
    }
    file_transfer_operation write_at(std::string_view from, std::uint64_t offset) noexcept {
        return write_at(std::as_bytes(std::span(from)), offset);
    }
    file_pieces_operation write_at(std::span<const std::span<const std::byte>> from,
                                   std::uint64_t offset) noexcept {
        return {*this, from, offset};
    }

    // --- By its position ---

    /// Reads at least one byte and at most `to` takes, and moves the position.
    /// Returns  how many; errc::end_of_stream at the end of the file. Cancellation: as read_at().
    file_read_operation read_some(std::span<std::byte> to) noexcept { return {*this, to}; }

    /// The same into leased memory, 16 KiB at most.
    file_receive_operation recv() noexcept { return file_receive_operation(*this); }

    /// Writes all of it, and moves the position; with append() it is the end, and the position stays.
    /// Returns, Cancellation  as write_at().
    file_write_operation write_all(std::span<const std::byte> from) noexcept { return {*this, from, true}; }
    file_write_operation write_all(std::string_view from) noexcept {
        return write_all(std::as_bytes(std::span(from)));
    }
    /// Writes at least one byte of it.
    file_write_operation write_some(std::span<const std::byte> from) noexcept { return {*this, from, false}; }
    file_write_operation write_some(std::string_view from) noexcept {
        return write_some(std::as_bytes(std::span(from)));
    }

    /// Where the next of these reads or writes; seek() moves it, beyond the end, too. 0 of what has none.
    std::uint64_t position() const noexcept { return position_; }
    void seek(std::uint64_t offset) noexcept { position_ = offset; }

    // --- The file as a whole ---

    /// Until all that was written is on the disk; sync_data() leaves out what is not needed to read it again (times).
    /// A file that is new needs its directory's sync(), too (directory.hpp; replace_file() does all of it).
    /// Returns       done; io_error and no_space_on_device of writes that seemed to have succeeded: then nobody knows
    ///               which of them are on the disk, and a second sync() does not say it again.
    /// Cancellation  a cancel point; mostly it runs to its end (K1).
    file_call_operation sync() noexcept { return {file_, detail::file_kind::sync}; }
    file_call_operation sync_data() noexcept { return {file_, detail::file_kind::sync_data}; }

    status_operation status() noexcept { return status_operation(file_); }

    /// Cuts it off at `size`, or makes it longer, by a hole.
    file_call_operation truncate(std::uint64_t size) noexcept {
        return {file_, detail::file_kind::truncate, size};
    }
    /// Takes room on the disk, so that writes there do not fail for want of it; the file grows if need be.
    /// Returns  done; no_space_on_device; operation_not_supported where the file system cannot.
    file_call_operation allocate(std::uint64_t offset, std::uint64_t length) noexcept {
        return {file_, detail::file_kind::allocate, offset, length};
    }
    /// Permissions, as in chmod: 0644.
    file_call_operation set_mode(unsigned permissions) noexcept {
        return {file_, detail::file_kind::set_mode, 0, 0, 0, permissions};
    }

    /// Nothing begins any more; what is in flight comes to its end, and the number is given back after that (K4).
    /// Threads  any, as long as the file lives. Never waits.
    void close() noexcept { file_.close(); }
    bool is_open() const noexcept { return !file_.closed(); }

    /// For those who need another system call. It stays the file's.
    int native_handle() const noexcept { return file_.fd(); }

private:
    friend class directory;
    friend class open_operation;
    friend class file_pieces_operation;
    friend class file_read_operation;
    friend class file_receive_operation;
    friend class file_transfer_operation;
    friend class file_write_operation;
    file(detail::descriptor&& opened, bool has_position, bool appends) noexcept
        : file_(std::move(opened)), has_position_(has_position), appends_(appends) {}

    std::uint64_t next_place() const noexcept {
        return has_position_ ? position_ : detail::file_action::own_position;
    }
    /// Of an operation at an offset. A ring would not mind, and wait for what comes next in a pipe.
    int error_at_offset() const noexcept;
    /// See file_action. What has no position may wait for others.
    bool* at_once() noexcept { return has_position_ ? &gives_at_once_ : nullptr; }
    void moved(std::size_t bytes) noexcept {
        if (has_position_) position_ += bytes;
    }

    detail::descriptor file_;
    std::uint64_t position_ = 0;
    bool gives_at_once_ = true;
    bool has_position_;
    bool appends_;
};
}
