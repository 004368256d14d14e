// held_place: a place in the ring of a channel that is held for a value to come; what a permit is but for its T.
//
// It keeps the memory of the channel, and is no end of it: it keeps nothing open. The first three members are those of
// channel_end, because a place of a joint channel is a handle by which its waiters can be reached (K5 of
// channel_core.cpp).
#pragma once

#include <system_error>
#include <utility>

#include "channel_core.hpp"

namespace runnel::detail {

class held_place {
public:
    held_place() noexcept = default;
    /// Of one that has been counted as held.
    explicit held_place(channel_core& of) noexcept;
    held_place(held_place&& other) noexcept;
    held_place& operator=(held_place&& other) noexcept;
    ~held_place() { give_back(); }

    bool held() const noexcept { return core_ != nullptr; }
    /// Moves `value` into it and is empty from now on. Returns why not, and has not touched `value`, when nobody is
    /// left to receive. Threads: any.
    std::error_code send(void* value) noexcept;
    void give_back() noexcept;

private:
    friend class channel_core;
    channel_core* leave() noexcept;

    channel_core* core_ = nullptr;
    end_kind kind_ = end_kind::weak;
    bool moved_from_ = false;
};
}
