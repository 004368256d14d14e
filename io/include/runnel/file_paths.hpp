// file_paths: what is done to files by their names, and whole files at once.
//
//   auto settings = co_await rn::read_file("/etc/service.conf");
//   auto saved = co_await rn::replace_file("state.json", text);      // the old content or the new, after a crash too
//
// A relative path begins at the process's working directory. A name with a zero byte in it is invalid_argument.
// All of these are cancel points, under the rules K1 to K3 of file.hpp: what has begun mostly runs to its end, and then
// it is reported as done.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include <runnel/result.hpp>
#include <runnel/task.hpp>

#include "file.hpp"

namespace runnel {

/// Done, or not.
class [[nodiscard]] path_operation final : public detail::file_operation<path_operation> {
public:
    using result_type = result<>;
    path_operation(detail::file_kind kind, std::string path, std::string second = {}, unsigned mode = 0,
                   unsigned flags = 0) noexcept;
    void place() noexcept;
    result_type complete(transfer done) noexcept { return done.error; }

private:
    detail::file_path path_;
    detail::file_path second_;
};

/// Gives a file another name, in the same file system; one that has that name is replaced, in one step.
/// Returns  done; no_such_file_or_directory, cross_device_link, permission_denied and the like.
path_operation rename_file(std::string from, std::string to) noexcept;
/// Takes the name away; the file is gone with its last name, and when nobody has it open any more.
path_operation remove_file(std::string path) noexcept;
/// Returns  done; file_exists; no_such_file_or_directory when the one above is missing.
path_operation make_directory(std::string path, unsigned mode = 0777) noexcept;
/// Of an empty one: directory_not_empty otherwise.
path_operation remove_directory(std::string path) noexcept;
/// Another name for the same file.
path_operation make_link(std::string existing, std::string name) noexcept;
/// A link `name` with the text `target`, whatever there is.
path_operation make_symbolic_link(std::string target, std::string name) noexcept;

/// Of what a symbolic link at the end points to; stat_link() is of the link.
status_operation stat_file(std::string path) noexcept;
status_operation stat_link(std::string path) noexcept;
/// The text of a symbolic link; invalid_argument for what is none.
task<result<std::string>> read_link(std::string path);

inline constexpr std::size_t read_file_limit = std::size_t{64} << 20;

/// The whole content, also of what has no size (/proc, a pipe).
/// Returns       it; std::errc::file_too_large when it is more than `limit`; errors of open() and read_at().
/// Cancellation  a cancel point at each of its steps; nothing is left open.
task<result<std::string>> read_file(std::string path, std::size_t limit = read_file_limit);

/// Makes the file, or empties it, and writes that. Who reads meanwhile sees a part; after a crash there may be any.
/// Returns       done; what was written before an error stays.
/// Cancellation  a cancel point at each step; then a part may be written.
task<result<>> write_file(std::string path, std::span<const std::byte> bytes, unsigned mode = 0666);
task<result<>> write_file(std::string path, std::string_view text, unsigned mode = 0666);

/// Puts a new content in the place of the file: whoever opens it, also after a crash of the machine, finds the old one
/// or the new one, whole; and the new one for sure once this has returned.
///   1  write it to a file of another name beside it, which gets the permissions of the old one, if there is one;
///   2  sync() that;
///   3  rename it, which replaces the old one in one step; and sync the directory.
/// Returns       done; else errors of the steps. Of 1 and 2: the old file is as it was. Of the directory's sync: the
///               new one is there, and a crash may bring the old one back.
/// Cancellation  a cancel point up to 3, which is done as a whole; then the old file is as it was. The other file is
///               removed whatever happens, but for a crash: then `path`.*.tmp is left.
/// Order         of two that replace the same file: one after the other, in any order.
/// Cost          two waits for the disk.
task<result<>> replace_file(std::string path, std::span<const std::byte> bytes, unsigned mode = 0666);
task<result<>> replace_file(std::string path, std::string_view text, unsigned mode = 0666);

/// Until the names in this directory are on the disk: those that were made, renamed and removed.
task<result<>> sync_directory(std::string path);
}
