// file_status: what a file system knows of a file: what it is, how large, since when.
#pragma once

#include <chrono>
#include <cstdint>

namespace runnel {

enum class file_type : unsigned char {
    regular,
    directory,
    symbolic_link,
    pipe,
    socket,
    character_device,
    block_device,
    unknown  // in an entry of a directory: its file system keeps that elsewhere; stat_file() knows
};

/// Nanoseconds since 1970, of the wall clock.
using file_time = std::chrono::sys_time<std::chrono::nanoseconds>;

struct file_status {
    file_type type = file_type::unknown;
    unsigned mode = 0;  // permissions, as in chmod: 0644
    std::uint64_t size = 0;
    std::uint64_t allocated = 0;  // bytes on the disk: less than `size` in a file with holes
    std::uint64_t inode = 0;      // the same file: equal inode and device
    std::uint64_t device = 0;
    std::uint64_t links = 0;  // names
    unsigned owner = 0;
    unsigned group = 0;
    file_time modified;  // the content
    file_time changed;   // the content, or what else is known
    file_time accessed;  // not each time: as the mount says
    file_time created;   // 1970 where nobody knows

    bool is_regular() const noexcept { return type == file_type::regular; }
    bool is_directory() const noexcept { return type == file_type::directory; }
    bool is_symbolic_link() const noexcept { return type == file_type::symbolic_link; }
};
}
