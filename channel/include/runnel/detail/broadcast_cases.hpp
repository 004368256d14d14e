// broadcast_cases: a broadcast that has forgotten its T, as far as public headers must know it.
//
// The templates in broadcast.hpp know T and nothing of the algorithm; broadcast_core.hpp has the algorithm. Between
// them stand the two wait cases, send and receive. As in a channel a case's node.slot is null once it went through
// (V1 of channel_core.hpp); until then it points to the case, for who completes it under the lock.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <source_location>
#include <system_error>

#include <runnel/detail/claimed_tasks.hpp>
#include <runnel/detail/operation.hpp>
#include <runnel/result.hpp>

#include "shared_message.hpp"

namespace runnel {

/// What becomes of a receiver of a broadcast that is slower than its senders.
enum class slow_receiver : unsigned char {
    lag,         // it loses the oldest, and is told how many beside the next value
    wait,        // the senders wait for it: it loses nothing
    latest,      // it always gets the newest that it has not had, and is told how many it skipped
    disconnect,  // it has no gaps: before it would, it is closed with errc::lagged, and gets nothing more
};

namespace detail {

class broadcast_core;
struct broadcast_subscription;

/// What an act under the lock leaves to be done without it: tasks to wake, messages to drop.
class aftermath {
public:
    aftermath() noexcept = default;
    aftermath(const aftermath&) = delete;
    aftermath& operator=(const aftermath&) = delete;
    void drop(shared_message* message) noexcept {
        message->next = overwritten_;
        overwritten_ = message;
    }
    void come() noexcept {
        if (!woken.empty() || overwritten_ != nullptr) finish_and_drop();
    }
    claimed_tasks woken;

private:
    void finish_and_drop() noexcept;
    shared_message* overwritten_ = nullptr;
};

/// `core` null: the end is nil, never ready.
class broadcast_send_case : public wait_case {
public:
    wait_object* object() noexcept final;
    bool try_now(late_wake&) noexcept final;
    void enlist(task_block& task, std::uint64_t ticket) noexcept final;
    bool delist() noexcept final;
    wait_subject subject() const noexcept final;
    const char* done(const late_wake&) const noexcept final;
    /// The operation without waiting, cancelled context or not. Says whether it is decided. Threads: any.
    bool try_once() noexcept { return try_one(*this); }

protected:
    broadcast_send_case(broadcast_core* core, message_ref message, void* source) noexcept
        : core_(core), message_(std::move(message)), source_(source) {
        node_.slot = this;
    }
    broadcast_send_case(broadcast_send_case&& other) noexcept
        : broadcast_send_case(other.core_, std::move(other.message_), other.source_) {}
    ~broadcast_send_case() { assert(!node_.linked() && "N3: the frame of a parked task was destroyed"); }

    /// Without the lock, when it is decided.
    result<std::size_t> how_it_went() noexcept;
    /// What was sent is not there to be sent again, so then it is as of a nil end.
    void spend() noexcept {
        if (node_.slot == nullptr) core_ = nullptr;
    }

private:
    friend class broadcast_core;
    broadcast_core* core_;
    wait_node node_;
    message_ref message_;      // null: the broadcast was closed, or nil, when it was to be made
    void* source_;             // what to move into the message when it is sent; null: it is full
    std::size_t reached_ = 0;  // receivers that it was sent to
    aftermath later_;
};

/// `of` null: the end is nil, never ready.
class broadcast_recv_case : public wait_case {
public:
    wait_object* object() noexcept final;
    bool try_now(late_wake&) noexcept final;
    void enlist(task_block& task, std::uint64_t ticket) noexcept final;
    bool delist() noexcept final;
    wait_subject subject() const noexcept final;
    const char* done(const late_wake&) const noexcept final;
    /// The operation without waiting, cancelled context or not. Says whether it is decided. Threads: any.
    bool try_once() noexcept { return try_one(*this); }

protected:
    explicit broadcast_recv_case(broadcast_subscription* of) noexcept : of_(of) { node_.slot = this; }
    broadcast_recv_case(broadcast_recv_case&& other) noexcept : broadcast_recv_case(other.of_) {}
    ~broadcast_recv_case() { assert(!node_.linked() && "N3: the frame of a parked task was destroyed"); }

    /// Without the lock, when it is decided: the message, or a false error and nothing.
    message_ref take() noexcept {
        later_.come();
        return std::move(taken_);
    }
    std::uint64_t missed() const noexcept { return missed_; }
    std::error_code why() const noexcept;
    void untake() noexcept {
        node_.slot = this;
        missed_ = 0;
    }

private:
    friend class broadcast_core;
    broadcast_subscription* of_;
    wait_node node_;
    message_ref taken_;
    std::uint64_t missed_ = 0;  // right before it
    aftermath later_;
};

/// Throws std::bad_alloc. No end is counted yet.
broadcast_core* make_broadcast_core(std::size_t capacity, std::source_location made_at);
/// Is it worth while to copy or build a value for it? False for a nil one and a closed one.
bool may_take_more(broadcast_core* core) noexcept;
}
}
