// testing_files: the disk of a simulation, and what a test does to it while its program runs.
//
//   rn::testing::use_disk(rn::testing::disk().capacity(1 << 20).write_errors(50));
//   co_await program();
//   rn::testing::crash_disk();            // the power fails: what was not synced may be lost
//   co_await check_what_is_left();
//
// Files are in memory; each simulation begins with an empty disk that has "/tmp", and "/" as the working directory.
// Nothing outside of it can be reached: a path that has not been made there does not exist, and an operation on a real
// file, opened outside of the simulation, aborts. These functions are called in a simulation (testing.hpp); elsewhere
// they abort.
#pragma once

#include <chrono>
#include <cstdint>

namespace runnel::testing {

/// Each setter returns the object, each getter has the same name.
class disk {
public:
    /// From when something is asked for until it is done; what is under way at the same time may be done in any order.
    /// Drawn in eighths of the range. Default 0 to 1 ms.
    disk& latency(std::chrono::nanoseconds min, std::chrono::nanoseconds max) noexcept {
        return latency_min_ = min, latency_max_ = max, *this;
    }
    /// Reads and writes may move a part of what they could. Default on.
    disk& short_transfers(bool on) noexcept { return short_transfers_ = on, *this; }
    /// Bytes of all files together; one more is ENOSPC. Default 256 MiB.
    disk& capacity(std::uint64_t bytes) noexcept { return capacity_ = bytes, *this; }
    /// Open files at the same time; one more is EMFILE. Default 1024.
    disk& descriptors(std::uint32_t most) noexcept { return descriptors_ = most, *this; }
    /// One in n reads is EIO; one in n writes and syncs. Default 0: none.
    disk& read_errors(std::uint32_t one_in) noexcept { return read_errors_ = one_in, *this; }
    disk& write_errors(std::uint32_t one_in) noexcept { return write_errors_ = one_in, *this; }

    std::chrono::nanoseconds latency_min() const noexcept { return latency_min_; }
    std::chrono::nanoseconds latency_max() const noexcept { return latency_max_; }
    bool short_transfers() const noexcept { return short_transfers_; }
    std::uint64_t capacity() const noexcept { return capacity_; }
    std::uint32_t descriptors() const noexcept { return descriptors_; }
    std::uint32_t read_errors() const noexcept { return read_errors_; }
    std::uint32_t write_errors() const noexcept { return write_errors_; }

private:
    std::chrono::nanoseconds latency_min_{0};
    std::chrono::nanoseconds latency_max_{1'000'000};
    std::uint64_t capacity_ = std::uint64_t{256} << 20;
    std::uint32_t descriptors_ = 1024;
    std::uint32_t read_errors_ = 0;
    std::uint32_t write_errors_ = 0;
    bool short_transfers_ = true;
};

/// From now on the disk is like that. What is on it stays.
void use_disk(const disk& how);

/// The machine crashes, and starts again: files that were open are EIO from now on. Of what was not synced, the content
/// of each file and the names in each directory are by chance those of now or those of the last sync(): the file's own
/// for its content, the directory's for its names.
void crash_disk();
}
