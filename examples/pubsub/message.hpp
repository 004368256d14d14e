// message: one published message on its way to many subscribers.
//
// The bytes on the wire are the same for all who speak the same protocol version, so they are made once per
// version, when the first such subscriber appears, and shared from then on. A subscriber costs a reference,
// never a copy.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace pubsub {

using frame = std::shared_ptr<const std::string>;  // encoded bytes, shared by all who are to get them

/// Refers to the publisher's words, so it lives no longer than the call of publish().
/// Threads: one at a time.
class message {
public:
    message(std::string_view channel, std::string_view payload) : channel_(channel), payload_(payload) {}
    message(std::string_view pattern, std::string_view channel, std::string_view payload)
        : pattern_(pattern), channel_(channel), payload_(payload) {}

    /// The whole message as a client of this protocol version, 2 or 3, gets it.
    const frame& encoded(int protocol);

private:
    std::string encode(int protocol) const;

    std::optional<std::string_view> pattern_;  // of the subscription that it matched, if that was by pattern
    std::string_view channel_;
    std::string_view payload_;
    std::array<frame, 2> frames_;  // RESP2, RESP3; empty until somebody asks
};
}
