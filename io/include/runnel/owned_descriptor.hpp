// owned_descriptor: a descriptor of the system that somebody has given us, and that must not be forgotten.
//
//   auto got = (co_await peer.recv_with_descriptors(buffer, 1)).value();
//   if (!got.descriptors.empty()) log_to(std::move(got.descriptors.front()));
//
// It has no operations: what it is a descriptor of, only the two who passed it know.
#pragma once

#include <utility>

namespace runnel {

/// Move-only; the destructor closes it. Threads: an ordinary value.
class owned_descriptor {
public:
    owned_descriptor() noexcept = default;
    /// Takes it over; -1 is none.
    explicit owned_descriptor(int descriptor) noexcept : descriptor_(descriptor) {}
    owned_descriptor(owned_descriptor&& other) noexcept : descriptor_(other.release()) {}
    owned_descriptor& operator=(owned_descriptor&& other) noexcept {
        owned_descriptor taken(std::move(other));
        std::swap(descriptor_, taken.descriptor_);
        return *this;
    }
    ~owned_descriptor() { close(); }

    explicit operator bool() const noexcept { return descriptor_ >= 0; }
    int native_handle() const noexcept { return descriptor_; }
    /// It is the caller's to close.
    [[nodiscard]] int release() noexcept { return std::exchange(descriptor_, -1); }
    void close() noexcept;

private:
    int descriptor_ = -1;
};
}
