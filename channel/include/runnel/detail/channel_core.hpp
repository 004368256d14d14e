// channel_core: a channel that has forgotten its T, as far as public headers must know it.
//
// The templates in channel.hpp know T and nothing of the algorithm; channel_core.cpp has the algorithm
// and knows of T only its size, how to move one and how to destroy one. Between them stand the two wait
// cases of a channel, send and recv, of which the operations in channel_operations.hpp are made.
//
//   V1  a case's node.slot points to the value to send, or to the room for the one to come, and is
//       null once the value went through. So "woken because the channel was closed" (slot still set)
//       and "woken because it happened" (slot null) cannot be mistaken for each other;
//   V2  a value is moved once, under the channel's lock, and only when its send happens: until then
//       it stays with the sender, whatever else ends the wait;
//   V3  what a send brings about beside itself (a value that was dropped, a level that was reached) is noted under the
//       lock, in the case, and told to hooks when its wait has ended.
#pragma once

#include <cassert>
#include <coroutine>
#include <cstddef>
#include <new>
#include <runnel/detail/wait_case.hpp>
#include <runnel/result.hpp>
#include <source_location>
#include <system_error>
#include <utility>

#include "sent.hpp"

namespace runnel::detail {

class channel_core;
class held_place;

/// What a handle of a channel stands for. (A weak one for nothing: it only keeps the memory.)
enum class end_kind : unsigned char { sender, receiver, joint, weak };

/// What the core knows of T.
struct element_type {
    std::size_t bytes;
    void (*move)(void* to, void* from) noexcept;  // makes *to out of *from, which is still to be destroyed
    void (*destroy)(void* element) noexcept;
};

template <class T>
void move_element(void* to, void* from) noexcept {
    ::new (to) T(std::move(*static_cast<T*>(from)));
}

template <class T>
void destroy_element(void* element) noexcept {
    static_cast<T*>(element)->~T();
}

template <class T>
inline constexpr element_type element_of{sizeof(T), move_element<T>, destroy_element<T>};

/// Why the channel was closed; a false error while it is open. Threads: any. Cost: a load.
std::error_code why_closed(const channel_core& core) noexcept;

/// What it is for a dump; also of a nil channel. Threads: any.
wait_subject subject_of(const char* what, const channel_core* core, bool sends) noexcept;

/// Why a send would have to wait: errc::full, or no_receiver when there is no room at all.
errc why_not_at_once(const channel_core* core) noexcept;

/// Is there certainly nothing to receive at this moment, or no room? False: perhaps. Also of a nil channel.
/// Threads: any. Cost: a few loads, no lock.
bool surely_empty(const channel_core* core) noexcept;
bool surely_full(const channel_core* core) noexcept;

/// Is it worth while to copy or build a value for it? False for a nil channel and a closed one.
bool may_take_more(const channel_core* core) noexcept;

/// What send and recv have in common. `core` null: Go's nil channel, never ready.
class channel_case : public wait_case {
public:
    wait_object* object() noexcept final;

    /// The operation without waiting, cancelled context or not. Says whether it is decided: done, or
    /// the channel is closed. Threads: any, also outside a runtime.
    bool try_once() noexcept { return try_one(*this); }

protected:
    explicit channel_case(channel_core* core) noexcept : core_(core) {}  // who derives sets node_.slot
    ~channel_case() { assert(!node_.linked() && "N3: the frame of a parked task was destroyed"); }
    channel_case(const channel_case&) = delete;
    channel_case& operator=(const channel_case&) = delete;

    bool went_through() const noexcept { return node_.slot == nullptr; }  // V1
    std::error_code why() const noexcept { return why_closed(*core_); }

    channel_core* core_;
    wait_node node_;

private:
    friend class channel_core;
};

/// What a send has brought about: V3.
enum class send_fate : unsigned char {
    plain,
    full,       // overflow::fail
    newest,     // dropped: its own value, which its slot had
    oldest,     // dropped: what is in `spare`
    closed_it,  // overflow::close
    level,      // the soft limit was reached
};

class send_case : public channel_case {
public:
    bool try_now(late_wake& wake) noexcept final;
    void enlist(task_block& task, std::uint64_t ticket) noexcept final;
    bool delist() noexcept final;
    wait_subject subject() const noexcept final { return subject_of("to send", core_, true); }
    const char* done(const late_wake& wake) const noexcept final;
    bool suspend_alone(std::coroutine_handle<> awaiter) noexcept;

    sent fail(std::error_code error) noexcept;

protected:
    send_case(channel_core* core, std::source_location at) noexcept : channel_case(core), at_(at) {}
    /// A value that was sent is not there to be sent again, so then it is as of a nil channel.
    void spend() noexcept {
        fate_ = send_fate::plain;
        if (went_through()) core_ = nullptr;
    }
    sent how_it_went() noexcept {
        if (fate_ != send_fate::plain) [[unlikely]]
            return settle_fate();
        return went_through() ? sent() : fail(why());
    }

    std::source_location at_;  // of an emplace unknown

private:
    friend class channel_core;
    sent settle_fate() noexcept;

    void* spare_ = nullptr;  // what was dropped
    send_fate fate_ = send_fate::plain;
};

/// Waits for a place in the ring, to hold it. Its slot says how it went, as P2 of permits.cpp has it.
class reserve_case : public channel_case {
public:
    bool try_now(late_wake& wake) noexcept final;
    void enlist(task_block& task, std::uint64_t ticket) noexcept final;
    bool delist() noexcept final;
    wait_subject subject() const noexcept final { return subject_of("to reserve a place", core_, true); }
    const char* done(const late_wake& wake) const noexcept final;

protected:
    explicit reserve_case(channel_core* core) noexcept;
    ~reserve_case() {
        if (went_through()) [[unlikely]]
            give_back();
    }
    /// The place that it holds, once. (Else it is given back.)
    held_place take() noexcept;
    /// Why it holds none, once: then it is as new.
    std::error_code why_not() noexcept;

private:
    void give_back() noexcept;
};

/// Waits until the channel is closed.
class closed_case : public channel_case {
public:
    bool try_now(late_wake& wake) noexcept final;
    void enlist(task_block& task, std::uint64_t ticket) noexcept final;
    bool delist() noexcept final;
    wait_subject subject() const noexcept final {
        return subject_of("for a channel to be closed", core_, true);
    }

protected:
    using channel_case::channel_case;
};

class recv_case : public channel_case {
public:
    bool try_now(late_wake& wake) noexcept final;
    void enlist(task_block& task, std::uint64_t ticket) noexcept final;
    bool delist() noexcept final;
    wait_subject subject() const noexcept final { return subject_of("to receive", core_, false); }
    const char* done(const late_wake& wake) const noexcept final;
    bool suspend_alone(std::coroutine_handle<> awaiter) noexcept;

protected:
    using channel_case::channel_case;
};
}
