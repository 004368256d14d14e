#include "outbox.hpp"

#include <utility>

namespace pubsub {

bool outbox::put(message& news) {
    std::unique_lock lock(mutex_);
    if (state_ != state::open) return false;
    const frame& bytes = news.encoded(protocol_);
    if (message_bytes_ + bytes->size() > options_.limit && !make_room(bytes->size())) {
        if (state_ == state::closed) {
            lock.unlock();
            writer_.wake();
        }
        return false;
    }
    messages_.push_back({next_ticket_++, bytes});
    message_bytes_ += bytes->size();
    wake_writer(lock);
    return true;
}

/// Applies the policy for slow clients. False if there is still no room.
bool outbox::make_room(std::size_t size) {
    // relaxed: counters for people, nothing is ordered by them.
    if (options_.slow == slow_policy::disconnect) {
        lost_.clients_dropped.fetch_add(1, std::memory_order_relaxed);
        state_ = state::closed;
        return false;
    }
    std::uint64_t dropped = 0;
    for (; size <= options_.limit && message_bytes_ + size > options_.limit; ++dropped) {
        message_bytes_ -= messages_.front().bytes->size();
        messages_.pop_front();
    }
    const bool fits = size <= options_.limit;  // if not, the message itself is what is lost
    lost_.messages_dropped.fetch_add(fits ? dropped : 1, std::memory_order_relaxed);
    return fits;
}

void outbox::reply(std::string bytes, int protocol) {
    std::unique_lock lock(mutex_);
    if (state_ != state::open) return;
    protocol_ = protocol;
    if (bytes.empty()) return;
    reply_bytes_ += bytes.size();
    replies_.push_back({next_ticket_++, std::make_shared<const std::string>(std::move(bytes))});
    wake_writer(lock);
}

void outbox::finish() {
    std::unique_lock lock(mutex_);
    if (state_ == state::open) state_ = state::finishing;
    wake_writer(lock);
}

void outbox::close() {
    std::unique_lock lock(mutex_);
    state_ = state::closed;
    lock.unlock();
    writer_.wake();  // idle or not: it may be stuck in a write to this client
}

/// Called at the end of a change. The call into foreign code comes after the lock.
void outbox::wake_writer(std::unique_lock<std::mutex>& lock) {
    const bool idle = std::exchange(writer_idle_, false);
    lock.unlock();
    if (idle) writer_.wake();
}

bool outbox::take(std::vector<frame>& batch, std::size_t bytes_max) {
    batch.clear();
    std::lock_guard lock(mutex_);
    if (state_ == state::closed) return false;
    std::size_t bytes = 0;
    while (queue* from = oldest()) {
        bytes += from->front().bytes->size();
        if (!batch.empty() && bytes > bytes_max) break;
        batch.push_back(take_from(*from));
    }
    if (!batch.empty()) return true;
    writer_idle_ = true;
    return state_ == state::open;
}

/// The queue whose first entry came first; null when both are empty.
outbox::queue* outbox::oldest() {
    if (messages_.empty() || replies_.empty())
        return !messages_.empty() ? &messages_ : !replies_.empty() ? &replies_ : nullptr;
    return replies_.front().ticket < messages_.front().ticket ? &replies_ : &messages_;
}

frame outbox::take_from(queue& from) {
    frame taken = std::move(from.front().bytes);
    from.pop_front();
    (&from == &replies_ ? reply_bytes_ : message_bytes_) -= taken->size();
    return taken;
}

bool outbox::closed() const {
    std::lock_guard lock(mutex_);
    return state_ == state::closed;
}

std::size_t outbox::reply_bytes() const {
    std::lock_guard lock(mutex_);
    return reply_bytes_;
}

std::size_t outbox::message_bytes() const {
    std::lock_guard lock(mutex_);
    return message_bytes_;
}
}
