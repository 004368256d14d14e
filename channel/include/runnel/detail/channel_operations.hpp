// channel_operations: what send(), emplace() and recv() return.
//
// Each is a wait case of the core plus the value's place, to be awaited in the expression that makes it
// or given to select(). Two kinds of send differ in who has the value while it waits:
//
//   lent_send        the caller: send(T&&), send(from(x)). Knows no T at all;
//   owned_send<T>    the operation: send(const T&), emplace(args…).
//
// Not taken: emplace that builds the value in the receiver's room. A constructor may throw, allocate or
// use this very channel, so it cannot run under the lock; and a receiver that is claimed before the lock
// is released cannot be given back when the constructor throws. So emplace builds at the call (not at all
// when the channel is closed already), and only the nothrow move is left for the hand-over.
#pragma once

#include <runnel/detail/operation.hpp>
#include <runnel/result.hpp>

#include "channel_core.hpp"

namespace runnel::detail {

class [[nodiscard]] lent_send final : public single_case<lent_send, sent, send_case> {
public:
    lent_send(channel_core* core, void* value, std::source_location at) noexcept : single_case(core, at) {
        node_.slot = value;
    }
    lent_send(lent_send&& other) noexcept : lent_send(other.core_, other.node_.slot, other.at_) {}
    lent_send& operator=(lent_send&& other) noexcept { return made_anew(*this, std::move(other)); }

    using send_case::fail;
    sent complete(unsigned) noexcept { return how_it_went(); }
    void again() noexcept { spend(); }
};

template <class T>
class [[nodiscard]] owned_send final : public single_case<owned_send<T>, sent, send_case> {
    using base = single_case<owned_send<T>, sent, send_case>;

public:
    template <class... Args>
    owned_send(channel_core* core, std::source_location at, Args&&... args)
        : base(core, at), built_(may_take_more(core)) {
        node_.slot = __builtin_addressof(value_);
        if (built_) ::new (node_.slot) T(std::forward<Args>(args)...);
    }
    owned_send(owned_send&& other) noexcept : base(other.core_, other.at_), built_(other.built_) {
        node_.slot = __builtin_addressof(value_);
        if (built_) move_element<T>(node_.slot, __builtin_addressof(other.value_));
    }
    owned_send& operator=(owned_send&& other) noexcept { return made_anew(*this, std::move(other)); }
    ~owned_send() {
        if (built_) value_.~T();
    }

    using send_case::fail;
    sent complete(unsigned) noexcept { return this->how_it_went(); }
    void again() noexcept { this->spend(); }

private:
    using base::node_;
    union {
        T value_;
    };
    bool built_;  // false: the channel was nil, or closed already, which it stays
};

/// What on_closed() gives.
class [[nodiscard]] closed_operation final : public single_case<closed_operation, result<>, closed_case> {
public:
    explicit closed_operation(channel_core* core) noexcept : single_case(core) {}
    closed_operation(closed_operation&& other) noexcept : closed_operation(other.core_) {}
    closed_operation& operator=(closed_operation&& other) noexcept {
        return made_anew(*this, std::move(other));
    }
};

template <class T>
class [[nodiscard]] recv_operation final : public single_case<recv_operation<T>, result<T>, recv_case> {
    using base = single_case<recv_operation<T>, result<T>, recv_case>;

public:
    explicit recv_operation(channel_core* core) noexcept : base(core) {
        node_.slot = __builtin_addressof(value_);
    }
    recv_operation(recv_operation&& other) noexcept : recv_operation(other.core_) {}
    recv_operation& operator=(recv_operation&& other) noexcept { return made_anew(*this, std::move(other)); }
    ~recv_operation() {
        if (went_through()) value_.~T();
    }

    result<T> complete(unsigned) noexcept {
        if (went_through()) return result<T>(std::in_place, std::move(value_));
        return result<T>(this->why());
    }
    void again() noexcept {
        if (!went_through()) return;
        value_.~T();
        node_.slot = __builtin_addressof(value_);
    }

private:
    using base::node_;
    using base::went_through;
    union {
        T value_;  // lives once it went through
    };
};
}
