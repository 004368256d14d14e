// value_ring: the values that wait in a channel, oldest first, their type forgotten.
//
// A ring of cells, and beside each the time at which its value came (for the age of the oldest). The first cells stand
// behind the channel, in one allocation with it. When more are wanted (an unbounded channel, or a capacity that was
// raised) the values move into a larger ring on the heap; when that is empty its memory goes back, and the first cells
// are used again.
//
//   G1  the values are in cells head .. head + count, counted around the end;
//   G2  a larger ring has at least twice the room, so a value is moved a constant number of times on the average;
//   G3  all of it is guarded by the channel's lock, and nothing of the user's runs here but T's move and the end of
//       what was moved from.
//
// Not taken: a chain of blocks (no large move under the lock, but two more loads for each value of each channel, also
// of those that never grow); a ring rounded up to a power of two: one compare is as cheap as the mask, and a channel of
// 1025 does not pay for 2048.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include <runnel/detail/channel_core.hpp>
#include <runnel/detail/published.hpp>

namespace runnel::detail {

class value_ring {
public:
    /// Bytes of memory for `room` cells. `room` has been found to be possible.
    static std::size_t bytes_for(const element_type& type, std::size_t room) noexcept {
        return times_at(type, room) + room * sizeof(std::uint32_t);
    }
    static std::size_t most_room(const element_type& type, std::size_t beside) noexcept {
        return (PTRDIFF_MAX - beside - 16) / (type.bytes + sizeof(std::uint32_t));
    }

    /// `first` is memory for `room` cells, and stays its owner's.
    value_ring(const element_type& type, std::size_t room, std::byte* first) noexcept
        : type_(type), cells_(first), room_(room), first_(first), first_room_(room) {}
    value_ring(const value_ring&) = delete;
    value_ring& operator=(const value_ring&) = delete;
    /// The values have been taken out.
    ~value_ring() {
        assert(count_ == 0);
        if (cells_ != first_) ::operator delete(cells_);
    }

    std::size_t count() const noexcept { return count_; }
    /// Without the lock: at this moment.
    std::size_t look_at_count() const noexcept { return count_.look(); }
    std::size_t room() const noexcept { return room_; }

    void push(void* from, std::uint32_t now) noexcept {
        assert(count_ < room_);
        put(wrapped(head_ + count_), from, now);
        count_ = count_ + 1;
    }
    /// Moves the oldest out.
    void pop(void* to) noexcept {
        assert(count_ > 0);
        take(to);
        count_ = count_ - 1;
    }
    /// Both at once, the oldest first: count() does not change, not for a moment.
    void exchange(void* to, void* from, std::uint32_t now) noexcept {
        assert(count_ > 0);
        take(to);
        put(wrapped(head_ + count_ - 1), from, now);
    }
    /// For values that nobody will receive: the ring is empty from now on, and aside(0) to aside(n - 1) are theirs who
    /// asked, until it is used again. Returns n.
    std::size_t set_aside() noexcept {
        const std::size_t all = count_;
        count_ = 0;
        return all;
    }
    void* aside(std::size_t index) const noexcept { return cell(wrapped(head_ + index)); }

    /// When the oldest came.
    std::uint32_t oldest() const noexcept { return times()[head_]; }

    /// Room for `wanted` in all. False: there is no memory.
    [[gnu::noinline]] bool grow(std::size_t wanted) noexcept {
        if (wanted <= room_) return true;
        if (wanted < 2 * room_) wanted = 2 * room_;
        if (wanted < 16) wanted = 16;
        if (wanted > most_room(type_, 0)) return false;
        auto* larger = static_cast<std::byte*>(::operator new(bytes_for(type_, wanted), std::nothrow));
        if (larger == nullptr) return false;
        move_to(larger, wanted);
        return true;
    }
    /// Gives memory back that is not used.
    void give_back() noexcept {
        if (count_ != 0 || cells_ == first_) return;
        ::operator delete(cells_);
        cells_ = first_;
        room_ = first_room_;
        head_ = 0;
    }

private:
    static std::size_t times_at(const element_type& type, std::size_t room) noexcept {
        constexpr std::size_t align = alignof(std::uint32_t) - 1;
        return (room * type.bytes + align) & ~align;
    }
    std::byte* cell(std::size_t index) const noexcept { return cells_ + index * type_.bytes; }
    std::uint32_t* times() const noexcept {
        return reinterpret_cast<std::uint32_t*>(cells_ + times_at(type_, room_));
    }
    std::size_t wrapped(std::size_t index) const noexcept { return index < room_ ? index : index - room_; }

    void put(std::size_t at, void* from, std::uint32_t now) noexcept {
        type_.move(cell(at), from);
        times()[at] = now;
    }
    void take(void* to) noexcept {
        std::byte* const oldest = cell(head_);
        type_.move(to, oldest);
        type_.destroy(oldest);
        head_ = wrapped(head_ + 1);
    }

    void move_to(std::byte* larger, std::size_t room) noexcept {
        auto* const new_times = reinterpret_cast<std::uint32_t*>(larger + times_at(type_, room));
        for (std::size_t i = 0; i < count_; ++i) {
            const std::size_t at = wrapped(head_ + i);
            type_.move(larger + i * type_.bytes, cell(at));
            type_.destroy(cell(at));
            new_times[i] = times()[at];
        }
        if (cells_ != first_) ::operator delete(cells_);
        cells_ = larger;
        room_ = room;
        head_ = 0;
    }

    const element_type& type_;
    std::byte* cells_;
    std::size_t room_;
    std::size_t head_ = 0;
    published<std::size_t> count_ = 0;
    std::byte* const first_;
    const std::size_t first_room_;
};
}
