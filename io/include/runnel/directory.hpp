// directory: what is in a directory, one entry after the other.
//
//   auto dir = co_await rn::directory::open("/var/spool");
//   while (auto entry = co_await dir->next())                 // in no particular order
//     if (entry->type == rn::file_type::regular) handle(entry->name);
//
// and in all below it, links not followed:
//
//   rn::directory_walk walk("/var/spool");
//   while (auto found = co_await walk.next()) use(found->path);
//
// Entries are read by a thread of the blocking pool, some hundred at a time, for no ring can do it.
//
//   E1  an entry that is made or removed meanwhile is seen or not; every other one is seen once. "." and ".." are not;
//   E2  a walk opens each directory below the one that it is in by its path, and enters no link: what is moved
//       meanwhile can be missed, or lead elsewhere. It is for trees that one's own programs make.
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <runnel/result.hpp>
#include <runnel/task.hpp>

#include "file.hpp"

namespace runnel {

struct directory_entry {
    std::string name;
    file_type type = file_type::unknown;
    std::uint64_t inode = 0;
};

/// One open directory; move-only. Threads: an object of one task at a time.
class directory {
public:
    /// Returns  it; not_a_directory, no_such_file_or_directory and the like. Cancellation: as file::open().
    static task<result<directory>> open(std::string path,
                                        std::source_location at = std::source_location::current());

    /// The next entry.
    /// Returns       it; errc::end_of_stream after the last.
    /// Cancellation  a cancel point when entries have to be read; none is lost.
    /// Cost          a hand-over to another thread and back for each 32 KiB of entries, else nothing but a copy.
    task<result<directory_entry>> next();

    /// As sync_directory().
    file_call_operation sync() noexcept { return opened_.sync(); }
    void close() noexcept { opened_.close(); }

private:
    explicit directory(file&& opened) noexcept : opened_(std::move(opened)) {}
    bool take(directory_entry& into);

    file opened_;
    std::vector<std::byte> batch_;
    std::size_t at_ = 0;
    std::size_t end_ = 0;
};

/// What a walk has come to.
class walked {
public:
    explicit walked(std::string found, file_type what, std::error_code why = {}) noexcept
        : path(std::move(found)), type(what), error(why) {}

    std::string path;  // beginning with that of the walk
    file_type type;
    /// Of a directory that cannot be read, which is given a second time with this; what is below it is left out.
    std::error_code error;
};

/// All that is below a directory, each before what is below it. Threads: an object of one task at a time.
class directory_walk {
public:
    explicit directory_walk(std::string root) : pending_(std::move(root)) {}

    /// Returns       the next; errc::end_of_stream after the last; the error of opening or reading the root itself.
    /// Cancellation  a cancel point; it can go on afterwards.
    task<result<walked>> next();
    /// Of the directory that next() has just given: what is below it is left out.
    void skip() noexcept { pending_.clear(); }

private:
    struct level {
        directory opened;
        std::string path;
    };
    task<std::error_code> enter(std::string path);
    task<std::error_code> find_type(walked& of);

    std::string pending_;  // to be entered next
    std::vector<level> levels_;
};
}
