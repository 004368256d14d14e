// The free list of a buffer_pool; see runnel/detail/buffer_pool.hpp.
#include <runnel/detail/buffer_pool.hpp>

#include <cstdlib>
#include <cstring>
#include <utility>

#include <runnel/detail/io_backend.hpp>
#include <runnel/detail/wait.hpp>
#include <runnel/detail/worker_local.hpp>

namespace runnel::detail {

buffer_pool::~buffer_pool() {
    while (kept_ > 0) std::free(take());
}

std::byte* buffer_pool::take() noexcept {
    ++out_;
    if (kept_ == 0) return static_cast<std::byte*>(std::malloc(buffer_bytes));
    --kept_;
    void* buffer = first_;
    std::memcpy(&first_, buffer, sizeof first_);
    return static_cast<std::byte*>(buffer);
}

void buffer_pool::give(std::byte* buffer) noexcept {
    --out_;
    // Under a sanitizer nothing is kept, so that a use after the lease is seen.
    if (!pooled_frames || kept_ == kept_max) return std::free(buffer);
    std::memcpy(buffer, &first_, sizeof first_);
    first_ = buffer;
    ++kept_;
}

std::byte* lease_buffer() noexcept {
    io_backend* backend = tls_worker != nullptr ? current_driver().io() : nullptr;
    if (backend != nullptr) return backend->buffers().take();
    return static_cast<std::byte*>(std::malloc(buffer_pool::buffer_bytes));
}

void give_back_buffer(std::byte* buffer) noexcept {
    io_backend* backend = tls_worker != nullptr ? current_driver().io() : nullptr;
    if (backend != nullptr)
        backend->buffers().give(buffer);
    else
        std::free(buffer);
}
}
