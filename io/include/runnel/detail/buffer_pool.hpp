// buffer_pool: equal pieces of memory for received data, kept by a worker for the next that needs one.
//
// A buffer is taken when data is there, and given back when the chunk that leases it dies: on whatever
// worker that is, whose pool then has it. A pool keeps a few and frees the rest, so that pools which get
// more than they give do not grow.
#pragma once

#include <cstddef>
#include <cstdint>

namespace runnel::detail {

class buffer_pool {
public:
    static constexpr std::size_t buffer_bytes = 16 * 1024;
    static constexpr unsigned kept_max = 64;

    buffer_pool() noexcept = default;
    buffer_pool(const buffer_pool&) = delete;
    buffer_pool& operator=(const buffer_pool&) = delete;
    ~buffer_pool();

    /// nullptr when there is no memory. Threads: the owner.
    std::byte* take() noexcept;
    void give(std::byte* buffer) noexcept;

    /// How many more have been taken than given since it was last set: roughly, how many are in use, for some come back
    /// elsewhere.
    int out() const noexcept { return out_; }
    void set_out(int count) noexcept { out_ = count; }

private:
    void* first_ = nullptr;  // linked through their first word
    unsigned kept_ = 0;
    int out_ = 0;
};

/// Gives it to the pool of the worker that runs this, or frees it. Threads: any.
/// A buffer of this worker's; on a plain thread a new one. Null: no memory.
std::byte* lease_buffer() noexcept;
void give_back_buffer(std::byte* buffer) noexcept;
}
