// broker: who listens to which channel, and how a message gets to all of them.
//
// Channels are spread over shards by name, each under its own lock, so publishers to different channels
// seldom meet. A publish holds the lock of its channel's shard while it puts a reference to the message into
// each subscriber's outbox. That never waits for a subscriber, so the lock is a plain mutex and held briefly.
// Patterns belong to no channel; they stand in a table of their own, which publishers share, and skip while
// it is empty.
//
// Invariants
//   B1  all subscribers of a channel get its messages in the same order, hence each publisher's in its order;
//   B2  when subscribe() has returned every later message comes, when unsubscribe() has returned none does;
//   B3  a message is encoded at most once per protocol version, for the channel and for each pattern that
//   matches.
//
// The design not taken, a snapshot of the subscribers that is walked without the lock, would hold it shorter
// but break B1 and the second half of B2.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "outbox.hpp"

namespace pubsub {

using subscriber = std::shared_ptr<outbox>;

/// Threads: any number may call anything at once. One subscriber is managed by one session, which knows what
/// it has subscribed to and never subscribes twice.
class broker {
public:
    /// Gives the message to all subscribers of the channel and of the patterns that match it.
    /// Returns how many times it was queued.
    std::size_t publish(std::string_view channel, std::string_view payload);

    void subscribe(std::string_view channel, const subscriber& who);
    void unsubscribe(std::string_view channel, const subscriber& who);
    void subscribe_pattern(std::string_view pattern, const subscriber& who);
    void unsubscribe_pattern(std::string_view pattern, const subscriber& who);

    std::vector<std::string> channels(std::string_view pattern) const;  // those with subscribers that match
    std::vector<std::string> channels() const;                          // all with subscribers
    std::size_t subscriber_count(std::string_view channel) const;       // without those by pattern
    std::size_t pattern_count() const;

    struct counts {
        std::uint64_t channels, published, delivered;
    };
    counts count() const;

    losses lost;  // what slow subscribers missed

private:
    using subscribers = std::vector<subscriber>;
    struct name_hash : std::hash<std::string_view> {
        using is_transparent = void;
    };

    struct alignas(64) shard {
        mutable std::mutex mutex;
        std::unordered_map<std::string, subscribers, name_hash, std::equal_to<>> channels;
        std::uint64_t published = 0;
        std::uint64_t delivered = 0;
    };

    shard& shard_of(std::string_view channel) { return shards_[name_hash{}(channel) % shards_.size()]; }
    const shard& shard_of(std::string_view channel) const {
        return shards_[name_hash{}(channel) % shards_.size()];
    }
    std::size_t publish_to_patterns(std::string_view channel, std::string_view payload);

    std::array<shard, 64> shards_;
    mutable std::shared_mutex patterns_mutex_;  // taken after a shard's mutex, never before
    std::map<std::string, subscribers, std::less<>> patterns_;
    std::atomic<std::size_t> pattern_count_{0};
};
}
