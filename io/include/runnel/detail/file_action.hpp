// file_action: what a task asks of a file system: the rest of an io_action whose kind is io_kind::file.
//
// What is asked for has one row in one table (io/file_forms.hpp): its request to a ring, its plain call, its name. A
// back end that has no such request, because the ring's kernel is too old or there is no ring, lets a thread of the
// blocking pool make the call. A simulation plays it.
//
//   io_action    kind = file, fd = of the file, if there is one; the answer: `moved`, `error`
//     data ───▶  file_action    which, where, how much; both live in the frame of the task that waits
//
//   W1  like the action it belongs to, and with all that it points to, it is the back end's from start() to the one
//       completion: a thread that makes the call is not left alone with a buffer, however the wait is cancelled;
//   W2  what is left to do is in it: read and write are continued by asking for it again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "io_action.hpp"

namespace runnel::detail {

enum class file_kind : unsigned char {
    open,       // `path`, `flags`, `mode`; `moved` becomes a descriptor
    read,       // into `left`, or `into`, at `offset`; if `whole`, ends short at the end of the file only
    write,      // of `left`, or `from`; the same
    sync,       // data and all that is known about it
    sync_data,  // data, and what is needed to find it
    status,     // of `fd`, or `path` with `flags`; into `out`
    truncate,   // to `offset` bytes
    allocate,   // `length` bytes from `offset` on; `flags`: 1 keeps the size
    set_mode,   // `mode`
    make_directory,  // `path`, `mode`
    rename,          // `path` to `second_path`; `flags`: of renameat2
    remove,          // `path`; `flags`: of unlinkat
    link,            // `second_path` becomes another name of `path`; `flags`: of linkat
    symbolic_link,   // `second_path` becomes a link with the text `path`
    read_link,       // of `path`, into `left`
    list             // entries of the directory `fd`, as the kernel writes them, into `left`
};
inline constexpr std::size_t file_kinds = 16;

/// A piece of memory as the kernel knows it (iovec).
struct file_piece {
    void* data;
    std::size_t bytes;
};

struct file_action {
    static constexpr std::uint64_t own_position = UINT64_MAX;  // of what has no other: a pipe, a terminal
    static constexpr std::size_t pieces_at_once = 16;

    explicit file_action(file_kind what) noexcept : kind(what) {}

    file_kind kind;
    bool whole = false;          // read, write: complete when all is moved, or nothing more can be
    std::uint64_t offset = 0;    // read, write: of what is left
    file_piece left{};           // read, write of one piece; W2
    file_piece* room = nullptr;  // of several, one of these: for the next pieces_at_once of them
    std::span<const std::span<std::byte>> into;
    std::span<const std::span<const std::byte>> from;
    std::size_t done = 0;  // pieces that have been moved,
    std::size_t used = 0;  // and bytes of the next one
    std::uint64_t length = 0;
    const char* path = nullptr;
    const char* second_path = nullptr;
    unsigned flags = 0;
    unsigned mode = 0;
    void* out = nullptr;
    // Read: the file's own word whether its file system gives at once what is in memory. Null: do not try.
    bool* gives_at_once = nullptr;  // atomic in file_forms.cpp: several tasks may read one file

    /// Read and write, of one piece or of several.
    bool moves() const noexcept { return kind == file_kind::read || kind == file_kind::write; }
    /// The next pieces, no more than so many bytes: how many stand in `room`.
    std::size_t fill_room(std::size_t bytes_max) const noexcept;
    /// How much is left to move.
    std::size_t bytes_left() const noexcept;
    void advance(std::size_t by) noexcept;

private:
    std::size_t pieces() const noexcept { return kind == file_kind::read ? into.size() : from.size(); }
    file_piece piece(std::size_t index) const noexcept;
};

inline file_action& file_of(const io_action& what) noexcept { return *static_cast<file_action*>(what.data); }

/// Notes what a call has given, a count or -errno. Says whether the action is over; else the rest is to be asked for.
bool note_file_answer(io_action& what, long answer) noexcept;
/// For dumps and traces: "read".
const char* name_of(file_kind kind) noexcept;
}
