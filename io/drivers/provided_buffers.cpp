// See provided_buffers.hpp, whose steps are named here.
#include "provided_buffers.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "ring.hpp"

namespace runnel::detail {

provided_buffers::provided_buffers() noexcept {
    for (unsigned i = 0; i < places; ++i) spare_[i] = static_cast<unsigned short>(places - 1 - i);
}

provided_buffers::~provided_buffers() {
    for (std::byte* const each : at_) std::free(each);
    std::free(shared_);
}

void provided_buffers::begin(ring& for_ring) noexcept {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    static_assert(places * sizeof(io_uring_buf) == 4096, "fits into every page");
    void* const memory = std::aligned_alloc(page, page);
    if (memory == nullptr) return;
    auto* const made = static_cast<io_uring_buf_ring*>(memory);
    io_uring_buf_ring_init(made);
    if (for_ring.provide(*made, places))
        shared_ = made;
    else
        std::free(memory);
}

void provided_buffers::add(unsigned number, unsigned place) noexcept {
    io_uring_buf_ring_add(shared_, at_[number], buffer_pool::buffer_bytes,
                          static_cast<unsigned short>(number), io_uring_buf_ring_mask(places),
                          static_cast<int>(place));
}

/// Step 1.
void provided_buffers::refill(buffer_pool& from, int in_use_max) noexcept {
    if (std::exchange(ran_out_, false)) wanted_ = std::min(2 * wanted_, most);
    int added = 0;
    while (shared_ != nullptr && count() < wanted_ && from.out() < in_use_max) {
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

}
