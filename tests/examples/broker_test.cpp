#include "pubsub/broker.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "pubsub/glob.hpp"

using pubsub::broker;
using pubsub::frame;
using pubsub::glob_matches;
using pubsub::outbox;

namespace {

/// A subscriber whose writer is the test, or a thread of it.
struct listener final : pubsub::notifier {
    std::shared_ptr<outbox> out;
    std::atomic<int> changes{0};

    explicit listener(broker& hub, pubsub::outbox_options options = {})
        : out(std::make_shared<outbox>(*this, options, hub.lost)) {}

    void wake() noexcept override {
        ++changes;
        changes.notify_one();
    }

    /// Takes everything until the outbox is finished, giving each encoded message to `take`.
    void listen(auto take) {
        std::vector<frame> batch;
        for (int seen = 0;;) {
            seen = changes;
            if (!out->take(batch, 4096)) return;
            for (const auto& bytes : batch) take(*bytes);
            if (batch.empty()) changes.wait(seen);
        }
    }
};

std::string payload_of(const std::string& encoded) {
    const auto end = encoded.size() - 2;
    const auto begin = encoded.rfind('\n', end - 1) + 1;
    return encoded.substr(begin, end - begin);
}

std::vector<frame> queued(outbox& out) {
    std::vector<frame> batch;
    out.take(batch, 1 << 20);
    return batch;
}
}

TEST_CASE("broker: a message goes to all subscribers of its channel and to no other") {
    broker hub;
    listener one(hub), two(hub), other(hub);
    hub.subscribe("a", one.out);
    hub.subscribe("a", two.out);
    hub.subscribe("b", other.out);
    CHECK(hub.publish("a", "x") == 2);
    CHECK(queued(*one.out).size() == 1);
    CHECK(queued(*two.out).size() == 1);
    CHECK(queued(*other.out).empty());
}

TEST_CASE("broker: all subscribers share the bytes of a message") {
    broker hub;
    listener one(hub), two(hub);
    hub.subscribe("a", one.out);
    hub.subscribe("a", two.out);
    hub.publish("a", "x");
    CHECK(queued(*one.out).front() == queued(*two.out).front());
}

TEST_CASE("broker: after unsubscribing nothing comes") {
    broker hub;
    listener one(hub), two(hub);
    for (auto* each : {&one, &two}) {
        hub.subscribe("a", each->out);
        hub.subscribe_pattern("a*", each->out);
    }
    hub.unsubscribe("a", one.out);
    hub.unsubscribe_pattern("a*", one.out);
    CHECK(hub.publish("a", "x") == 2);
    CHECK(queued(*one.out).empty());
    CHECK(queued(*two.out).size() == 2);
}

TEST_CASE("broker: a channel exists while it has subscribers") {
    broker hub;
    listener one(hub);
    hub.publish("a", "x");
    CHECK(hub.channels().empty());
    hub.subscribe("a", one.out);
    CHECK(hub.channels() == std::vector<std::string>{"a"});
    CHECK(hub.channels("b*").empty());
    CHECK(hub.subscriber_count("a") == 1);
    hub.unsubscribe("a", one.out);
    CHECK(hub.channels().empty());
    CHECK(hub.subscriber_count("a") == 0);
}

TEST_CASE("broker: it counts what was published, delivered and lost") {
    broker hub;
    listener fast(hub), slow(hub, {.limit = 64, .slow = pubsub::slow_policy::drop_oldest});
    hub.subscribe("a", fast.out);
    hub.subscribe("a", slow.out);
    for (int i = 0; i < 10; ++i) hub.publish("a", "x");
    hub.publish("b", "x");
    CHECK(hub.count().published == 11);
    CHECK(hub.count().delivered == 20);
    CHECK(hub.lost.messages_dropped == 8);
    CHECK(queued(*fast.out).size() == 10);
    CHECK(queued(*slow.out).size() == 2);
}

TEST_CASE("broker: each publisher's order is kept, nothing is missing, and all subscribers agree") {
    constexpr int publishers = 4, messages = 2000;
    broker hub;
    std::vector<std::unique_ptr<listener>> listeners;
    for (int i = 0; i < 3; ++i) {
        listeners.push_back(std::make_unique<listener>(hub));
        hub.subscribe("a", listeners.back()->out);
    }
    std::vector<std::vector<std::string>> heard(listeners.size());
    std::vector<std::jthread> readers, writers;
    for (std::size_t i = 0; i < listeners.size(); ++i)
        readers.emplace_back([&, i] {
            listeners[i]->listen([&](const std::string& bytes) { heard[i].push_back(payload_of(bytes)); });
        });
    for (int p = 0; p < publishers; ++p)
        writers.emplace_back([&hub, p] {
            for (int i = 0; i < messages; ++i) hub.publish("a", std::to_string(p) + ":" + std::to_string(i));
        });
    writers.clear();  // joins them
    for (const auto& each : listeners) each->out->finish();
    readers.clear();

    std::map<std::string, int> next;
    for (const auto& payload : heard[0]) {
        const auto colon = payload.find(':');
        CHECK(std::stoi(payload.substr(colon + 1)) == next[payload.substr(0, colon)]++);
    }
    CHECK(heard[0].size() == publishers * messages);
    CHECK(heard[1] == heard[0]);
    CHECK(heard[2] == heard[0]);
}

TEST_CASE("broker: subscribers come and go while others publish") {
    broker hub;
    std::atomic<bool> over{false};
    std::vector<std::jthread> threads;
    for (int p = 0; p < 2; ++p)
        threads.emplace_back([&hub, &over, p] {
            const auto channel = "c" + std::to_string(p);
            while (!over) hub.publish(channel, "x");
        });
    for (int round = 0; round < 500; ++round) {
        listener one(hub, {.limit = 256, .slow = pubsub::slow_policy::drop_oldest});
        hub.subscribe("c0", one.out);
        hub.subscribe("c1", one.out);
        hub.subscribe_pattern("c?", one.out);
        queued(*one.out);
        hub.unsubscribe("c0", one.out);
        hub.unsubscribe_pattern("c?", one.out);
        hub.unsubscribe("c1", one.out);
    }
    over = true;
    threads.clear();
    CHECK(hub.channels().empty());
    CHECK(hub.pattern_count() == 0);
}

TEST_CASE("glob: stars, question marks and brackets") {
    CHECK(glob_matches("news", "news"));
    CHECK_FALSE(glob_matches("news", "newspaper"));
    CHECK(glob_matches("news.*", "news."));
    CHECK(glob_matches("*", "anything"));
    CHECK(glob_matches("h?llo", "hello"));
    CHECK_FALSE(glob_matches("h?llo", "hllo"));
    CHECK(glob_matches("h[ae]llo", "hallo"));
    CHECK_FALSE(glob_matches("h[^ae]llo", "hallo"));
    CHECK(glob_matches("[a-c]x", "bx"));
    CHECK(glob_matches("[c-a]x", "bx"));
    CHECK(glob_matches("a*b*c", "aXbYbZc"));
    CHECK_FALSE(glob_matches("a*b*c", "aXbYbZ"));
    CHECK(glob_matches("\\*", "*"));
    CHECK_FALSE(glob_matches("\\*", "x"));
    CHECK(glob_matches("[\\]]", "]"));
}

TEST_CASE("glob: the corners that Redis has") {
    CHECK(glob_matches("", ""));
    CHECK_FALSE(glob_matches("*", ""));
    CHECK(glob_matches("a**", "a"));
    CHECK(glob_matches("[abc", "b"));
    CHECK_FALSE(glob_matches("[]", "a"));
    CHECK(glob_matches("[^]", "a"));
    CHECK(glob_matches("\\", "\\"));
    CHECK_FALSE(glob_matches("[", "["));
    CHECK(glob_matches("[a-]", "]"));  // a range that ends with the bracket
}

TEST_CASE("glob: a pattern of many stars takes no longer than it must") {
    std::string pattern;
    for (int i = 0; i < 50; ++i) pattern += "*a";
    CHECK_FALSE(glob_matches(pattern + "*b", std::string(5000, 'a')));
}
