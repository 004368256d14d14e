// What is done by names, and to whole files; see runnel/file_paths.hpp.
#include <runnel/file_paths.hpp>

#include <fcntl.h>

#include <algorithm>
#include <climits>
#include <cstdio>
#include <utility>

#include <runnel/context.hpp>
#include <runnel/detail/wait.hpp>

namespace runnel {

using detail::file_kind;

path_operation::path_operation(file_kind kind, std::string path, std::string second, unsigned mode,
                               unsigned flags) noexcept
    : file_operation(kind), path_(std::move(path)), second_(std::move(second)) {
    file_.mode = mode;
    file_.flags = flags;
}

void path_operation::place() noexcept {
    file_.path = path_.give(action_.error);
    file_.second_path = second_.give(action_.error);
}

path_operation rename_file(std::string from, std::string to) noexcept {
    return {file_kind::rename, std::move(from), std::move(to)};
}
path_operation remove_file(std::string path) noexcept { return {file_kind::remove, std::move(path)}; }
path_operation remove_directory(std::string path) noexcept {
    return {file_kind::remove, std::move(path), {}, 0, AT_REMOVEDIR};
}
path_operation make_directory(std::string path, unsigned mode) noexcept {
    return {file_kind::make_directory, std::move(path), {}, mode};
}
path_operation make_link(std::string existing, std::string name) noexcept {
    return {file_kind::link, std::move(existing), std::move(name)};
}
path_operation make_symbolic_link(std::string target, std::string name) noexcept {
    return {file_kind::symbolic_link, std::move(target), std::move(name)};
}
status_operation stat_file(std::string path) noexcept { return {std::move(path), true}; }
status_operation stat_link(std::string path) noexcept { return {std::move(path), false}; }

// --- Whole files -----------------------------------------------------------------------------------

namespace {

/// Into the caller's memory; gives how much of it is filled.
class link_operation final : public detail::file_operation<link_operation> {
public:
    using result_type = result<std::size_t>;
    link_operation(const std::string& path, std::string& into) noexcept
        : file_operation(file_kind::read_link), path_(path) {
        file_.left = {into.data(), into.size()};
    }
    void place() noexcept { file_.path = path_.give(action_.error); }
    result_type complete(transfer done) noexcept {
        if (done.error) return done.error;
        return done.bytes;
    }

private:
    detail::file_path path_;
};

std::error_code too_large() noexcept { return std::make_error_code(std::errc::file_too_large); }

std::string directory_of(const std::string& path) {
    const std::size_t slash = path.find_last_not_of('/') == path.npos ? path.npos : path.rfind('/');
    if (slash == path.npos) return path.empty() || path.front() != '/' ? "." : "/";
    return slash == 0 ? "/" : path.substr(0, slash);
}

/// Beside `path`. Two that choose the same name at the same time: one of them is told that it exists, and asks again.
std::string name_beside(const std::string& path, unsigned attempt) {
    char number[32];
    std::snprintf(number, sizeof number, ".%llx.tmp",
                  static_cast<unsigned long long>(detail::clock_now()) + attempt);
    return path + number;
}

struct new_file {
    file opened;
    std::string path;
};

task<result<new_file>> make_beside(const std::string& path, unsigned mode) {
    constexpr unsigned attempts = 100;
    const open_options how = open_options().write().exclusive().mode(mode);
    for (unsigned attempt = 0;; ++attempt) {
        std::string name = name_beside(path, attempt);
        auto made = co_await file::open(name, how);
        if (made) co_return result<new_file>(std::in_place, new_file{std::move(*made), std::move(name)});
        if (made.error() != std::errc::file_exists || attempt == attempts) co_return made.error();
    }
}

/// Steps 1 and 2.
task<result<>> fill(file& to, std::span<const std::byte> bytes, const std::string& old) {
    const auto before = co_await stat_file(old);
    if (before) {
        const result<> set = co_await to.set_mode(before->mode);
        if (!set) co_return set;
    }
    const transfer written = co_await to.write_all(bytes);
    if (!written) co_return written.error;
    co_return co_await to.sync();
}

/// Step 3.
task<result<>> put_in_place(const std::string& from, const std::string& to) {
    const result<> renamed = co_await rename_file(from, to);
    if (!renamed) co_return renamed;
    co_return co_await sync_directory(directory_of(to));
}
}

task<result<std::string>> read_link(std::string path) {
    std::string text(PATH_MAX, '\0');
    const auto length = co_await link_operation(path, text);
    if (!length) co_return length.error();
    text.resize(*length);
    co_return text;
}

task<result<std::string>> read_file(std::string path, std::size_t limit) {
    constexpr std::size_t least = 4096;
    auto from = co_await file::open(std::move(path));
    if (!from) co_return from.error();
    const auto known = co_await from->status();
    if (!known) co_return known.error();
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(known->size, limit));
    std::string all(std::max(size + 1, least), '\0');  // one byte more, at which the end is seen
    std::size_t filled = 0;
    for (;;) {
        const auto more = co_await from->read_some(std::as_writable_bytes(std::span(all).subspan(filled)));
        if (!more && more.error() == errc::end_of_stream) break;
        if (!more) co_return more.error();
        filled += *more;
        if (filled > limit) co_return too_large();
        if (filled == all.size()) all.resize(2 * filled);
    }
    all.resize(filled);
    co_return all;
}

task<result<>> write_file(std::string path, std::span<const std::byte> bytes, unsigned mode) {
    const open_options how = open_options().write().create().truncate().mode(mode);
    auto to = co_await file::open(std::move(path), how);
    if (!to) co_return to.error();
    const transfer written = co_await to->write_all(bytes);
    co_return written.error;
}

task<result<>> write_file(std::string path, std::string_view text, unsigned mode) {
    return write_file(std::move(path), std::as_bytes(std::span(text)), mode);
}

task<result<>> replace_file(std::string path, std::span<const std::byte> bytes, unsigned mode) {
    auto made = co_await make_beside(path, mode);
    if (!made) co_return made.error();
    result<> done = co_await fill(made->opened, bytes, path);
    made->opened.close();
    const bool filled = done.has_value();
    if (filled) done = co_await shielded(put_in_place(made->path, path));
    if (!done) {  // it may have been renamed already: then there is none of that name
        const result<> removed = co_await shielded(remove_file(made->path));
        (void)removed;
    }
    co_return done;
}

task<result<>> replace_file(std::string path, std::string_view text, unsigned mode) {
    return replace_file(std::move(path), std::as_bytes(std::span(text)), mode);
}

task<result<>> sync_directory(std::string path) {
    auto opened = co_await file::open(std::move(path));
    if (!opened) co_return opened.error();
    co_return co_await opened->sync();
}
}
