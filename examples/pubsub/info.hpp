// info: what all sessions of one server share, and the text of INFO that tells it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "broker.hpp"
#include "outbox.hpp"

namespace pubsub {

constexpr std::string_view redis_dialect = "7.0.15";  // the Redis whose replies ours equal

struct server {
    explicit server(outbox_options queues = {}, int listens_at = 0) : outbox(queues), port(listens_at) {}

    const outbox_options outbox;
    const int port;
    pubsub::broker broker;

    std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
    std::atomic<std::uint64_t> connections{0};  // ever; also the newest client's id
    std::atomic<std::uint64_t> clients{0};      // now
    std::atomic<std::uint64_t> commands{0};
    std::atomic<std::uint64_t> protocol_errors{0};
};

/// The sections that were asked for by name, or all of them if none were. Names are in lower case.
std::string info_text(const server& shared, const std::vector<std::string>& sections);
}
