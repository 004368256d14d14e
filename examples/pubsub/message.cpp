#include "message.hpp"

#include "resp.hpp"

namespace pubsub {

const frame& message::encoded(int protocol) {
    frame& wanted = frames_[protocol >= 3];
    if (!wanted) wanted = std::make_shared<const std::string>(encode(protocol));
    return wanted;
}

std::string message::encode(int protocol) const {
    std::string bytes;
    bytes.reserve(payload_.size() + channel_.size() + pattern_.value_or("").size() + 64);
    reply_writer out(bytes, protocol);
    out.push(pattern_ ? 4 : 3);
    out.bulk(pattern_ ? "pmessage" : "message");
    if (pattern_) out.bulk(*pattern_);
    out.bulk(channel_);
    out.bulk(payload_);
    return bytes;
}
}
