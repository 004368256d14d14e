// See runnel/detail/shared_message.hpp, whose invariants are named here.
#include <runnel/detail/shared_message.hpp>

#include <runnel/detail/worker_local.hpp>

namespace runnel::detail {

shared_message* shared_message::make(const element_type& type) {
    if (type.bytes > SIZE_MAX - sizeof(shared_message)) throw std::bad_alloc();
    return ::new (allocate_frame(sizeof(shared_message) + type.bytes)) shared_message(type);
}

void shared_message::drop() noexcept {
    // acq_rel: release pairs with the acquire of the last one, which sees that all others have copied.
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    const std::size_t bytes = sizeof(shared_message) + type_.bytes;
    this->~shared_message();
    free_frame(this, bytes);
}
}
