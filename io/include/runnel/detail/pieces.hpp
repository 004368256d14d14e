// pieces: bytes that lie in several places and go out as one, in the form in which the system takes them.
//
// The system takes a list of places (struct iovec), at most IOV_MAX at once, and may stop anywhere. So this is a
// window of such a list over the caller's pieces:
//
//   caller's   [ a ][ b ][   ][ c ][ d ][ e ] …
//   window               └ b's rest, c, d ┘       next ─▶ e
//
//   1  begin(), once it is where it stays: the window is filled with the first pieces; empty ones are left out;
//   2  advance(n), after n bytes have gone: whole pieces leave the window, a part is cut off the one that was cut;
//   3  when the window is empty, it is filled again.
//
//   V1  message() always refers to the bytes that are left, first ones first, and to none when none are left;
//   V2  what was attached (descriptors) goes with the first byte, so it is dropped as soon as one has gone.
//
// It lives in the waiting frame. Up to `few` pieces need no allocation; for more, a larger window is allocated, and
// without memory for that it stays small: then it takes more calls.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

struct iovec;
struct msghdr;

namespace runnel::detail {

class pieces {
public:
    explicit pieces(std::span<const std::span<const std::byte>> of) noexcept;
    explicit pieces(std::span<const std::string_view> of) noexcept;
    explicit pieces(std::span<const std::byte> one) noexcept;
    /// Only before begin().
    pieces(pieces&& other) noexcept;
    pieces& operator=(pieces&&) = delete;
    ~pieces();

    /// How many are left in all.
    std::size_t bytes() const noexcept { return bytes_; }
    /// Step 1.
    void begin() noexcept;
    /// Control data for the first byte (V2). It must live as long as this. After begin().
    void attach(void* control, std::size_t size) noexcept;
    bool has_attached() const noexcept;
    /// Steps 2 and 3.
    void advance(std::size_t by) noexcept;
    msghdr& message() noexcept;

    static constexpr std::size_t few = 16;

private:
    iovec at(std::size_t index) const noexcept;
    void fill() noexcept;

    enum class form : unsigned char { bytes, text, single };

    const void* of_;     // the caller's list, or the single piece:
    std::size_t count_;  // so many pieces
    form form_;          // of this kind
    std::size_t next_ = 0;
    std::size_t bytes_ = 0;
    iovec* window_ = nullptr;  // of `room_` places: `few_`, or allocated
    std::size_t room_ = few;
    alignas(8) std::byte message_[56];  // a msghdr
    alignas(8) std::byte few_[few * 16];
};
}
