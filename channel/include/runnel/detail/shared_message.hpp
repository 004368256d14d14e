// shared_message: a value on the heap that a ring and any number of receivers look at.
//
// It is filled before anybody else can see it and never changed after, so it is copied out of without a lock. Whoever
// drops the last reference destroys the value: never under a lock. Its memory is as a coroutine frame's: workers pass
// it around in their magazines, so that in the long run a message allocates nothing.
//
//   O1  empty or full; it is filled once, before it is shared;
//   O2  `next` is for who has taken it out of its ring: it links those to be dropped when the lock is released.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include "channel_core.hpp"

namespace runnel::detail {

class alignas(16) shared_message {
public:
    /// Empty, with one reference, the caller's. Throws std::bad_alloc.
    static shared_message* make(const element_type& type);

    void* value() noexcept { return this + 1; }
    /// O1: the value has been made in value().
    void set_full() noexcept { full_ = true; }
    /// O1: moves it here, out of `source`, which is still to be destroyed.
    void fill_from(void* source) noexcept {
        type_.move(value(), source);
        full_ = true;
    }

    void add() noexcept {
        refs_.fetch_add(1, std::memory_order_relaxed);  // relaxed: who adds has one, or the lock of who has
    }
    void drop() noexcept;

    shared_message* next = nullptr;  // O2

private:
    explicit shared_message(const element_type& type) noexcept : type_(type) {}
    ~shared_message() {
        if (full_) type_.destroy(value());
    }

    const element_type& type_;
    std::atomic<std::uint32_t> refs_{1};
    bool full_ = false;
};

/// One reference, or none.
class message_ref {
public:
    message_ref() noexcept = default;
    explicit message_ref(shared_message* adopted) noexcept : message_(adopted) {}
    message_ref(message_ref&& other) noexcept : message_(other.release()) {}
    message_ref& operator=(message_ref&& other) noexcept {
        std::swap(message_, other.message_);
        return *this;
    }
    ~message_ref() {
        if (message_ != nullptr) message_->drop();
    }

    explicit operator bool() const noexcept { return message_ != nullptr; }
    shared_message* operator->() const noexcept { return message_; }
    shared_message* get() const noexcept { return message_; }
    shared_message* release() noexcept { return std::exchange(message_, nullptr); }
    template <class T>
    const T& as() const noexcept {
        return *static_cast<const T*>(message_->value());
    }

private:
    shared_message* message_ = nullptr;
};

/// A full one. Throws std::bad_alloc, or what making the value throws.
template <class T, class... Args>
message_ref make_message(Args&&... args) {
    message_ref made(shared_message::make(element_of<T>));
    ::new (made->value()) T(std::forward<Args>(args)...);
    made->set_full();
    return made;
}
}
