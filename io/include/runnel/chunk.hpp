// chunk: received bytes in memory that is leased for as long as somebody looks at them.
//
//   while (auto chunk = co_await peer.recv())
//       if (!co_await peer.write_all(*chunk)) co_return;
//
// The memory is taken when the bytes are there, so a connection on which nothing arrives holds none.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

#include "detail/buffer_pool.hpp"

namespace runnel {

namespace detail {
struct make_chunk;
}

/// Movable; of a stream at least one byte long (until moved from). Threads: an ordinary value; may die on any.
class [[nodiscard]] chunk {
public:
    using value_type = std::byte;

    chunk(chunk&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    chunk& operator=(chunk&& other) noexcept {
        chunk taken(std::move(other));
        std::swap(data_, taken.data_);
        std::swap(size_, taken.size_);
        return *this;
    }
    ~chunk() {
        if (data_ != nullptr) detail::give_back_buffer(data_);
    }

    std::byte* data() noexcept { return data_; }
    const std::byte* data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    bool empty() const noexcept { return size_ == 0; }
    std::byte* begin() noexcept { return data_; }
    std::byte* end() noexcept { return data_ + size_; }
    const std::byte* begin() const noexcept { return data_; }
    const std::byte* end() const noexcept { return data_ + size_; }

    /// The same bytes as characters.
    std::string_view text() const noexcept { return {reinterpret_cast<const char*>(data_), size_}; }

private:
    friend struct detail::make_chunk;
    chunk(std::byte* leased, std::size_t size) noexcept : data_(leased), size_(size) {}

    std::byte* data_;
    std::size_t size_;
};

/// For what receives: of memory that give_back_buffer() takes.
struct detail::make_chunk {
    static chunk of(std::byte* leased, std::size_t size) noexcept { return chunk(leased, size); }
};
}
