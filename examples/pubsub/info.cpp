#include "info.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

namespace pubsub {
namespace {

std::string server_section(const server& shared) {
    const auto age = std::chrono::steady_clock::now() - shared.started;
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(age).count();
    return fmt::format("# Server\r\n"
                       "redis_version:{}\r\n"
                       "redis_mode:standalone\r\n"
                       "server_name:runnel-pubsub\r\n"
                       "process_id:{}\r\n"
                       "tcp_port:{}\r\n"
                       "uptime_in_seconds:{}\r\n"
                       "uptime_in_days:{}\r\n",
                       redis_dialect, getpid(), shared.port, seconds, seconds / 86400);
}

std::string clients_section(const server& shared) {
    return fmt::format("# Clients\r\nconnected_clients:{}\r\n", shared.clients.load());
}

std::string stats_section(const server& shared) {
    const auto count = shared.broker.count();
    return fmt::format("# Stats\r\n"
                       "total_connections_received:{}\r\n"
                       "total_commands_processed:{}\r\n"
                       "protocol_errors:{}\r\n"
                       "pubsub_channels:{}\r\n"
                       "pubsub_patterns:{}\r\n"
                       "pubsub_messages_published:{}\r\n"
                       "pubsub_messages_delivered:{}\r\n"
                       "pubsub_messages_dropped:{}\r\n"
                       "pubsub_clients_dropped:{}\r\n",
                       shared.connections.load(), shared.commands.load(), shared.protocol_errors.load(),
                       count.channels, shared.broker.pattern_count(), count.published, count.delivered,
                       shared.broker.lost.messages_dropped.load(), shared.broker.lost.clients_dropped.load());
}

std::string queue_section(const server& shared) {
    const bool drops = shared.outbox.slow == slow_policy::drop_oldest;
    return fmt::format("# Queue\r\nqueue_limit_bytes:{}\r\nslow_policy:{}\r\n", shared.outbox.limit,
                       drops ? "drop-oldest" : "disconnect");
}
}

std::string info_text(const server& shared, const std::vector<std::string>& sections) {
    const auto wanted = [&](std::string_view name) {
        return sections.empty() || std::any_of(sections.begin(), sections.end(), [&](const auto& asked) {
                   return asked == name || asked == "default" || asked == "all" || asked == "everything";
               });
    };
    std::string text;
    const auto add = [&](std::string_view name, std::string (*section)(const server&)) {
        if (wanted(name)) text += (text.empty() ? "" : "\r\n") + section(shared);
    };
    add("server", server_section);
    add("clients", clients_section);
    add("stats", stats_section);
    add("queue", queue_section);
    return text;
}
}
