// provided_buffers: memory that the kernel receives into by itself, when something has come.
//
// A ring of buffers that is shared with it. A receive of leased memory (io_kind::lease) names no buffer; the kernel
// takes one from here in the moment in which it has bytes: an idle connection holds none, and no second call is made.
//
//   1  refill(): as many as are wanted are in the kernel's hands, taken from the worker's pool, into which they come
//      back when their chunks die;
//   2  a completion says which one was used: take() makes it the action's, keep() gives it to the kernel again;
//   3  it had none: whoever waits receives by a plain call, as without all this, and from the next refill on twice as
//      many are wanted, up to `most`: as many connections as become ready between two looks at the ring.
//
//   F1  a buffer is in the kernel's hands, or an action's, or spare: never two of these;
//   F2  all is done under the driver's lock, refill() by the owner alone, whose pool it is.
//
// Not taken: one multishot receive for ever (bytes that nobody has asked for would have to be kept with the stream, and
// a peer held up by refusing buffers to all others; it saves no call more); buffers that several receives fill in turn
// (a chunk would keep its neighbours' memory).
#pragma once

#include <liburing.h>

#include <array>
#include <cstddef>

#include <runnel/detail/buffer_pool.hpp>

namespace runnel::detail {

class ring;

class provided_buffers {
public:
    static constexpr unsigned places = 256;  // a power of two
    // The kernel takes them in turn, so all of them are touched soon: more than this would not stay in the cache, and
    // would be most of the memory of a worker with few connections.
    static constexpr unsigned most = 64;

    provided_buffers() noexcept;
    provided_buffers(const provided_buffers&) = delete;
    provided_buffers& operator=(const provided_buffers&) = delete;
    /// After the ring is gone.
    ~provided_buffers();

    /// Nothing is provided if the kernel cannot (before Linux 5.19), or there is no memory for it.
    void begin(ring& for_ring) noexcept;
    bool begun() const noexcept { return shared_ != nullptr; }

    /// `in_use_max`: no more are taken than let so many of the pool's be in use.
    void refill(buffer_pool& from, int in_use_max) noexcept;
    unsigned count() const noexcept { return places - spares_; }
    /// Of a completion with IORING_CQE_F_BUFFER.
    std::byte* take(unsigned flags) noexcept;
    void keep(unsigned flags) noexcept;
    void ran_out() noexcept { ran_out_ = true; }

private:
    static unsigned number_in(unsigned flags) noexcept { return flags >> IORING_CQE_BUFFER_SHIFT; }
    void add(unsigned number, unsigned place) noexcept;

    io_uring_buf_ring* shared_ = nullptr;
    std::array<std::byte*, places> at_{};  // null: the number is spare
    std::array<unsigned short, places> spare_;
    unsigned spares_ = places;
    unsigned wanted_ = 16;
    bool ran_out_ = false;
};
}
