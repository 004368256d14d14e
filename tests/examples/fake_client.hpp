// fake_client: a client of the pubsub example without a network.
//
// What it says goes to a session as bytes, what it gets comes from its outbox. Nothing is read until the test
// reads it, so a slow client is one that does not hear().
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pubsub/session.hpp"

namespace support {

class fake_client final : public pubsub::notifier {
public:
    explicit fake_client(pubsub::server& shared)
        : out_(std::make_shared<pubsub::outbox>(*this, shared.outbox, shared.broker.lost)),
          session_(shared, out_) {}

    /// Sends bytes, which may hold several requests.
    void say(std::string_view bytes) {
        parser_.feed(bytes);
        while (auto words = parser_.next()) {
            session_.execute(*words);
            if (session_.ended()) return;
        }
        if (!parser_.error().empty()) session_.protocol_error(parser_.error());
        session_.flush();
    }

    /// Everything that has come since the last call.
    std::string hear() {
        std::string heard;
        for (std::vector<pubsub::frame> batch; out_->take(batch, 1 << 20) && !batch.empty();)
            for (const auto& bytes : batch) heard += *bytes;
        return heard;
    }

    std::string ask(std::string_view bytes) {
        say(bytes);
        return hear();
    }

    /// True when the server would close the connection now: nothing is left to send, and nothing will come.
    bool hung_up() {
        std::vector<pubsub::frame> batch;
        return !out_->take(batch, 1) && batch.empty();
    }

    const pubsub::outbox& queue() const { return *out_; }
    int wakes() const { return wakes_; }

private:
    void wake() noexcept override { ++wakes_; }

    int wakes_ = 0;
    pubsub::subscriber out_;
    pubsub::session session_;
    pubsub::request_parser parser_;
};
}
