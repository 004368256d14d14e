// Growing, and finding a slot by its user_data; see io_slots.hpp.
#include "io_slots.hpp"

#include <new>
#include <utility>

namespace runnel::detail {

io_slot* io_slots::find(std::uint64_t user_data) noexcept {
    const auto index = static_cast<std::uint32_t>(user_data);
    if (index / chunk_slots >= chunks_.size()) return nullptr;
    io_slot& slot = chunks_[index / chunk_slots][index % chunk_slots];
    return slot.user_data() == user_data && slot.at == io_slot::phase::in_kernel ? &slot : nullptr;
}

void io_slots::refill(driver& owner) noexcept {
    spare_ = std::exchange(released_, nullptr);
    if (spare_ != nullptr) return;
    try {
        grow(owner);
    } catch (const std::bad_alloc&) {  // then take() has none to give
    }
}

void io_slots::grow(driver& owner) {
    chunks_.reserve(chunks_.size() + 1);
    auto chunk = std::make_unique<io_slot[]>(chunk_slots);
    const auto first = static_cast<std::uint32_t>(chunks_.size()) * chunk_slots;
    for (unsigned i = chunk_slots; i-- > 0;) {
        chunk[i].owner = &owner;
        chunk[i].index = first + i;
        put_back(chunk[i]);
    }
    chunks_.push_back(std::move(chunk));
}
}
