// See provided_buffers.hpp, whose steps are named here.
#include "provided_buffers.hpp"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "ring.hpp"

namespace runnel::detail {

provided_buffers::provided_buffers() noexcept {
    for (unsigned i = 0; i < most; ++i) spare_[i] = static_cast<unsigned short>(most - 1 - i);
}

provided_buffers::~provided_buffers() {
    for (std::byte* const each : at_) std::free(each);
    std::free(shared_);
}

void provided_buffers::begin(ring& for_ring) noexcept {
    constexpr std::size_t page = 4096;
    static_assert(most * sizeof(io_uring_buf) == page);
    void* const memory = std::aligned_alloc(page, page);
    if (memory == nullptr) return;
    auto* const made = static_cast<io_uring_buf_ring*>(memory);
    io_uring_buf_ring_init(made);
    if (for_ring.provide(*made, most))
        shared_ = made;
    else
        std::free(memory);
}

void provided_buffers::add(unsigned number, unsigned place) noexcept {
    io_uring_buf_ring_add(shared_, at_[number], buffer_pool::buffer_bytes,
                          static_cast<unsigned short>(number), io_uring_buf_ring_mask(most),
                          static_cast<int>(place));
}

/// Step 1.
void provided_buffers::refill(buffer_pool& from) noexcept {
    int added = 0;
    while (shared_ != nullptr && most - spares_ < wanted_) {
        std::byte* const buffer = from.take();
        if (buffer == nullptr) break;
        const unsigned number = spare_[--spares_];
        at_[number] = buffer;
        add(number, static_cast<unsigned>(added++));
    }
    if (added > 0) io_uring_buf_ring_advance(shared_, added);
}

/// Step 2.
std::byte* provided_buffers::take(unsigned flags) noexcept {
    const unsigned number = number_in(flags);
    spare_[spares_++] = static_cast<unsigned short>(number);
    return std::exchange(at_[number], nullptr);
}

void provided_buffers::keep(unsigned flags) noexcept {
    add(number_in(flags), 0);
    io_uring_buf_ring_advance(shared_, 1);
}

/// Step 3.
void provided_buffers::ran_out() noexcept { wanted_ = std::min(2 * wanted_, most); }
}
