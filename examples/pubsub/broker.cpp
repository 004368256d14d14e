#include "broker.hpp"

#include <algorithm>

#include "glob.hpp"

namespace pubsub {
namespace {

std::size_t put_all(const std::vector<subscriber>& all, message& news) {
    return static_cast<std::size_t>(
        std::count_if(all.begin(), all.end(), [&](const subscriber& one) { return one->put(news); }));
}

/// Adds a subscriber under a name.
void enter(auto& table, std::string_view name, const subscriber& who) {
    auto place = table.find(name);
    if (place == table.end()) place = table.try_emplace(std::string(name)).first;
    place->second.push_back(who);
}

/// Removes a subscriber, and with the last one the name.
void leave(auto& table, std::string_view name, const subscriber& who) {
    const auto place = table.find(name);
    if (place == table.end()) return;
    auto& all = place->second;
    const auto one = std::find(all.begin(), all.end(), who);
    if (one == all.end()) return;
    *one = std::move(all.back());  // their order means nothing
    all.pop_back();
    if (all.empty()) table.erase(place);
}
}

std::size_t broker::publish(std::string_view channel, std::string_view payload) {
    shard& home = shard_of(channel);
    std::lock_guard lock(home.mutex);
    std::size_t delivered = 0;
    if (const auto place = home.channels.find(channel); place != home.channels.end()) {
        message news(channel, payload);
        delivered = put_all(place->second, news);
    }
    delivered += publish_to_patterns(channel, payload);
    home.published += 1;
    home.delivered += delivered;
    return delivered;
}

std::size_t broker::publish_to_patterns(std::string_view channel, std::string_view payload) {
    if (pattern_count() == 0) return 0;
    std::shared_lock lock(patterns_mutex_);
    std::size_t delivered = 0;
    for (const auto& [pattern, all] : patterns_) {
        if (!glob_matches(pattern, channel)) continue;
        message news(pattern, channel, payload);
        delivered += put_all(all, news);
    }
    return delivered;
}

void broker::subscribe(std::string_view channel, const subscriber& who) {
    shard& home = shard_of(channel);
    std::lock_guard lock(home.mutex);
    enter(home.channels, channel, who);
}

void broker::unsubscribe(std::string_view channel, const subscriber& who) {
    shard& home = shard_of(channel);
    std::lock_guard lock(home.mutex);
    leave(home.channels, channel, who);
}

void broker::subscribe_pattern(std::string_view pattern, const subscriber& who) {
    std::unique_lock lock(patterns_mutex_);
    enter(patterns_, pattern, who);
    pattern_count_ = patterns_.size();
}

void broker::unsubscribe_pattern(std::string_view pattern, const subscriber& who) {
    std::unique_lock lock(patterns_mutex_);
    leave(patterns_, pattern, who);
    pattern_count_ = patterns_.size();
}

std::vector<std::string> broker::channels() const {
    std::vector<std::string> names;
    for (const shard& one : shards_) {
        std::lock_guard lock(one.mutex);
        for (const auto& [name, all] : one.channels) names.push_back(name);
    }
    return names;
}

std::vector<std::string> broker::channels(std::string_view pattern) const {
    auto names = channels();
    std::erase_if(names, [&](const std::string& name) { return !glob_matches(pattern, name); });
    return names;
}

std::size_t broker::subscriber_count(std::string_view channel) const {
    const shard& home = shard_of(channel);
    std::lock_guard lock(home.mutex);
    const auto place = home.channels.find(channel);
    return place == home.channels.end() ? 0 : place->second.size();
}

std::size_t broker::pattern_count() const { return pattern_count_; }

broker::counts broker::count() const {
    counts sum{};
    for (const shard& one : shards_) {
        std::lock_guard lock(one.mutex);
        sum.channels += one.channels.size();
        sum.published += one.published;
        sum.delivered += one.delivered;
    }
    return sum;
}
}
