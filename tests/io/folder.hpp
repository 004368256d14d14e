// folder: a directory of a test's own, gone with all in it at its end; and memory that is larger than an int counts.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>

namespace test {

class folder {
public:
    folder() : path_(std::filesystem::temp_directory_path() / "runnel-test-XXXXXX") {
        if (mkdtemp(path_.data()) == nullptr) throw std::runtime_error("no folder for a test: " + path_);
    }
    folder(const folder&) = delete;
    folder& operator=(const folder&) = delete;
    ~folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    const std::string& path() const noexcept { return path_; }
    std::string operator/(const std::string& name) const { return path_ + '/' + name; }

private:
    std::string path_;
};

/// So many bytes that take room when they are written to.
class big_memory {
public:
    explicit big_memory(std::size_t bytes)
        : bytes_(bytes),
          data_(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                     0)) {
        if (data_ == MAP_FAILED) throw std::bad_alloc();
    }
    big_memory(const big_memory&) = delete;
    big_memory& operator=(const big_memory&) = delete;
    ~big_memory() { munmap(data_, bytes_); }
    std::span<std::byte> all() const noexcept { return {static_cast<std::byte*>(data_), bytes_}; }

private:
    std::size_t bytes_;
    void* data_;
};

inline bool has_memory(std::size_t bytes) {
    const long pages = sysconf(_SC_AVPHYS_PAGES);
    return pages > 0 &&
           static_cast<std::size_t>(pages) > bytes / static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}
}
