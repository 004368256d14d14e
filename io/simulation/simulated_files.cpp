// Open files and nodes; see simulated_files.hpp. What is done to paths is in simulated_paths.cpp.
#include "simulated_files.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include <dirent.h>

#include <runnel/detail/check.hpp>

namespace runnel::detail {

namespace {
constexpr int first_number = 2'000'000;
constexpr std::uint64_t bytes_max = std::uint64_t{1} << 30;  // of one file
constexpr std::uint32_t latency_steps = 8;

bool is_directory(const simulated_node& node) noexcept { return S_ISDIR(node.mode); }
bool may_read(unsigned flags) noexcept { return (flags & O_ACCMODE) != O_WRONLY; }
bool may_write(unsigned flags) noexcept { return (flags & O_ACCMODE) != O_RDONLY; }
}

simulated_files::simulated_files(simulated_medium& by) : by_(by), root_(make(S_IFDIR | 0755)) {
    name(*root_, "tmp", make(S_IFDIR | 01777));
    root_->synced_entries = root_->entries;
}

simulated_files::~simulated_files() {
    open_.clear();
    root_.reset();  // before the count of bytes that nodes take themselves off
}

nanoseconds_t simulated_files::latency() noexcept {
    const nanoseconds_t shortest = how_.latency_min().count();
    const nanoseconds_t range = how_.latency_max().count() - shortest;
    if (range <= 0) return shortest;
    return shortest + range / (latency_steps - 1) * by_.choose(latency_steps);
}

long simulated_files::perform(int fd, const file_action& what) {
    if (fd < 0) return on_path(what);
    open_file* const file = find_open(fd);
    check(file != nullptr, "file: a real file, or one of another simulation, is used in a simulation");
    return file->lost ? -EIO : on_file(*file, what);
}

long simulated_files::on_file(open_file& file, const file_action& what) {
    switch (what.kind) {
        case file_kind::read:
            return read(file, what);
        case file_kind::write:
            return write(file, what);
        case file_kind::sync:
        case file_kind::sync_data:
            return sync(*file.of);
        case file_kind::status:
            return status(*file.of, what);
        case file_kind::truncate:
            if (!may_write(file.flags) || is_directory(*file.of)) return -EINVAL;
            return resize(*file.of, what.offset);
        case file_kind::allocate:
            if (!may_write(file.flags)) return -EBADF;
            if (what.length == 0) return -EINVAL;
            return resize(*file.of,
                          std::max<std::uint64_t>(file.of->content.size(), what.offset + what.length));
        case file_kind::set_mode:
            file.of->mode = (file.of->mode & S_IFMT) | (what.mode & 07777);
            return 0;
        case file_kind::list:
            return list(file, what);
        default:
            return -EINVAL;
    }
}

// --- Numbers ---------------------------------------------------------------------------------------

simulated_files::open_file* simulated_files::find_open(int fd) const noexcept {
    const auto index = static_cast<std::size_t>(fd) - first_number;
    return fd >= first_number && index < open_.size() ? open_[index].get() : nullptr;
}

bool simulated_files::owns(int fd) const noexcept { return find_open(fd) != nullptr; }

int simulated_files::close(int fd) noexcept {
    open_[static_cast<std::size_t>(fd) - first_number].reset();
    return 0;
}

long simulated_files::give_number(const node& of, unsigned flags) {
    std::size_t index = 0;
    while (index < open_.size() && open_[index] != nullptr) ++index;
    if (index == how_.descriptors()) return -EMFILE;
    if (index == open_.size()) open_.emplace_back();
    open_[index] = std::make_unique<open_file>();
    open_[index]->of = of;
    open_[index]->flags = flags;
    return static_cast<long>(index) + first_number;
}

// --- Content ---------------------------------------------------------------------------------------

simulated_files::node simulated_files::make(unsigned mode) {
    auto made = std::make_shared<simulated_node>(used_);
    made->inode = ++last_inode_;
    made->mode = mode;
    made->changed = by_.now();
    return made;
}

long simulated_files::read(open_file& file, const file_action& what) {
    if (!may_read(file.flags)) return -EBADF;
    if (is_directory(*file.of)) return -EISDIR;
    if (by_.strikes(how_.read_errors())) return -EIO;
    const std::string& content = file.of->content;
    if (what.offset >= content.size()) return 0;
    std::size_t left = std::min<std::size_t>(what.bytes_left(), content.size() - what.offset);
    if (how_.short_transfers()) left = by_.part_of(left);
    const char* from = content.data() + what.offset;
    const std::size_t count = what.room != nullptr ? what.fill_room(bytes_max) : 1;
    std::size_t moved = 0;
    for (std::size_t i = 0; i < count && left > 0; ++i) {
        const file_piece& piece = what.room != nullptr ? what.room[i] : what.left;
        const std::size_t some = std::min(piece.bytes, left);
        std::memcpy(piece.data, from + moved, some);
        moved += some;
        left -= some;
    }
    return static_cast<long>(moved);
}

long simulated_files::write(open_file& file, const file_action& what) {
    if (!may_write(file.flags)) return -EBADF;
    if (by_.strikes(how_.write_errors())) return -EIO;
    std::string& content = file.of->content;
    const std::uint64_t at = (file.flags & O_APPEND) != 0 ? content.size() : what.offset;
    std::uint64_t left = what.bytes_left();
    if (how_.short_transfers()) left = by_.part_of(static_cast<std::size_t>(left));
    if (at > bytes_max || left > bytes_max - at) return -EFBIG;
    const std::uint64_t room = content.size() + (how_.capacity() > used_ ? how_.capacity() - used_ : 0);
    if (at + left > room) left = room > at ? room - at : 0;
    if (left == 0) return -ENOSPC;
    const std::size_t count = what.room != nullptr ? what.fill_room(bytes_max) : 1;
    std::size_t moved = 0;
    for (std::size_t i = 0; i < count && moved < left; ++i) {
        const file_piece& piece = what.room != nullptr ? what.room[i] : what.left;
        const auto some = static_cast<std::size_t>(std::min<std::uint64_t>(piece.bytes, left - moved));
        if (at + moved + some > content.size()) resize(*file.of, at + moved + some);
        std::memcpy(content.data() + at + moved, piece.data, some);
        moved += some;
    }
    file.of->changed = by_.now();
    return static_cast<long>(moved);
}

long simulated_files::resize(simulated_node& of, std::uint64_t size) {
    const std::uint64_t before = of.content.size();
    if (size > bytes_max) return -EFBIG;
    if (size > before && used_ + (size - before) > how_.capacity()) return -ENOSPC;
    of.content.resize(static_cast<std::size_t>(size));
    used_ = used_ - before + size;
    of.changed = by_.now();
    return 0;
}

/// N2.
long simulated_files::sync(simulated_node& of) {
    if (by_.strikes(how_.write_errors())) return -EIO;
    of.synced_content = of.content;
    of.synced_entries = of.entries;
    return 0;
}

long simulated_files::status(const simulated_node& of, const file_action& what) const noexcept {
    struct statx found{};
    found.stx_mask = STATX_BASIC_STATS;
    found.stx_mode = static_cast<decltype(found.stx_mode)>(of.mode);
    found.stx_size = of.content.size();
    found.stx_blocks = (of.content.size() + 511) / 512;
    found.stx_ino = of.inode;
    found.stx_nlink = of.links;
    found.stx_mtime.tv_sec = of.changed / 1'000'000'000;
    found.stx_mtime.tv_nsec = static_cast<unsigned>(of.changed % 1'000'000'000);
    found.stx_ctime = found.stx_atime = found.stx_mtime;
    std::memcpy(what.out, &found, sizeof found);
    return 0;
}

/// As the kernel writes them; one that is removed meanwhile does not make another be skipped.
long simulated_files::list(open_file& file, const file_action& what) {
    if (!is_directory(*file.of)) return -ENOTDIR;
    if (by_.strikes(how_.read_errors())) return -EIO;
    auto* const to = static_cast<std::byte*>(what.left.data);
    std::size_t filled = 0;
    for (auto next = file.of->entries.upper_bound(file.listed); next != file.of->entries.end(); ++next) {
        const std::size_t bytes = (offsetof(dirent64, d_name) + next->first.size() + 1 + 7) / 8 * 8;
        if (filled + bytes > what.left.bytes) break;
        dirent64 entry{};
        entry.d_ino = next->second->inode;
        entry.d_reclen = static_cast<unsigned short>(bytes);
        entry.d_type = static_cast<unsigned char>(IFTODT(next->second->mode));
        std::memcpy(to + filled, &entry, offsetof(dirent64, d_name));
        std::memcpy(to + filled + offsetof(dirent64, d_name), next->first.c_str(), next->first.size() + 1);
        filled += bytes;
        file.listed = next->first;
    }
    return static_cast<long>(filled);
}

// --- A crash ---------------------------------------------------------------------------------------

void simulated_files::crash() {
    for (const auto& each : open_)
        if (each != nullptr) each->lost = true;
    std::set<const simulated_node*> seen;
    forget(*root_, seen);
}

/// What of it, and of what is below it, was not synced: by chance.
void simulated_files::forget(simulated_node& of, std::set<const simulated_node*>& seen) {
    if (!seen.insert(&of).second) return;
    if (of.content != of.synced_content && by_.choose(2) == 0) {
        used_ = used_ - of.content.size() + of.synced_content.size();
        of.content = of.synced_content;
    }
    if (of.entries != of.synced_entries && by_.choose(2) == 0) of.entries = of.synced_entries;
    of.synced_content = of.content;
    of.synced_entries = of.entries;
    for (const auto& [name, below] : of.entries) forget(*below, seen);
}
}
