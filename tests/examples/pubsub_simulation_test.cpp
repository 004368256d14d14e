// The whole broker in a simulated network: publishers and subscribers that are slow, cut off, reset and gone,
// under every seed. What is asserted:
//
//   1  a subscriber gets the messages of one publisher's connection in their order, none twice, none that was
//      never published;
//   2  of a message that was acknowledged with n receivers at most n get it; and every subscriber who was
//      confirmed before it was published gets it, unless his connection failed or the broker has counted it as
//      dropped;
//   3  on a quiet network no connection fails but those of slow subscribers whom the policy disconnects, which
//      are counted; and what is missing is exactly what was counted as dropped;
//   4  when the runtime stops the service ends by itself, within its own limits, and lets who reads have the rest.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <runnel/context.hpp>
#include <runnel/go.hpp>
#include <runnel/scope.hpp>
#include <runnel/tcp.hpp>
#include <runnel/testing.hpp>
#include <runnel/testing_network.hpp>
#include <runnel/time.hpp>

#include <algorithm>
#include <charconv>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pubsub/pubsub.hpp"
#include "support/level.hpp"

namespace rn = runnel;
namespace testing = runnel::testing;
using namespace std::chrono_literals;

namespace {

using words = std::vector<std::string>;

long to_number(std::string_view text) {
    long number = 0;
    std::from_chars(text.data(), text.data() + text.size(), number);
    return number;
}

/// Takes one reply off the front of `text`. Returns its bytes, or 0 when it is not all there.
std::size_t parse_reply(std::string_view text, words& out) {
    const std::size_t end = text.find("\r\n");
    if (end == text.npos) return 0;
    const std::string_view line = text.substr(1, end - 1);
    std::size_t used = end + 2;
    if (text[0] == '$') {
        const auto size = static_cast<std::size_t>(to_number(line));
        if (text.size() < used + size + 2) return 0;
        out.emplace_back(text.substr(used, size));
        return used + size + 2;
    }
    if (text[0] != '*') return out.emplace_back(line), used;
    for (long left = to_number(line); left > 0; --left) {
        const std::size_t part = parse_reply(text.substr(used), out);
        if (part == 0) return 0;
        used += part;
    }
    return used;
}

constexpr auto patience = 3s;  // of who asks; a partition may last longer

/// One connection that speaks the protocol. An empty reply is none: the connection failed, or the time was over.
class client {
public:
    explicit client(rn::tcp_stream&& peer) : peer_(std::move(peer)) {}

    rn::task<words> hear(rn::clock::duration limit) {
        words reply;
        for (;;) {
            const std::size_t used = parse_reply(heard_, reply);
            heard_.erase(0, used);
            if (used != 0) co_return reply;
            reply.clear();
            auto chunk = co_await rn::with_timeout(limit, peer_.recv());
            why = chunk.error();
            if (!chunk) co_return reply;
            heard_ += chunk->text();
        }
    }
    rn::task<words> ask(std::string request, rn::clock::duration limit) {
        auto sent = co_await rn::with_timeout(limit, peer_.write_all(request));
        if (!sent) co_return words();
        auto reply = co_await hear(limit);
        co_return reply;
    }
    rn::task<bool> say(std::string_view request) {
        const auto sent = co_await rn::with_timeout(patience, peer_.write_all(request));
        co_return !sent.error;
    }
    rn::address address() { return peer_.local_address().value_or(rn::address()); }

    std::error_code why;    // there was no reply
    std::size_t index = 0;  // of its subscription

private:
    rn::tcp_stream peer_;
    std::string heard_;
};

struct published {
    std::string name;
    long step;  // when it was sent
    bool acknowledged = false;
    long receivers = 0;  // as the broker has answered
    long received = 0;
};

struct subscription {
    rn::address at;
    long step;  // when it was confirmed
    bool slow;
    bool failed = false;  // its connection did, or has vanished
    std::vector<std::string> got;
};

/// What happened in one run.
struct story {
    rn::address broker;
    bool disconnects = false;  // slow subscribers; else the oldest messages are dropped
    bool stormy = false;
    bool finished = false;  // all is published
    bool leaves = false;    // main ends while subscribers still read
    long steps = 0;
    long connections = 0;
    long publisher_failures = 0;
    long messages_dropped = 0, clients_dropped = 0;
    rn::clock::time_point main_ended;
    std::vector<published> messages;
    std::vector<subscription> subscriptions;
};
using shared_story = std::shared_ptr<story>;

rn::task<std::optional<client>> connect(shared_story is) {
    for (;;) {
        auto peer = co_await rn::with_timeout(patience, rn::tcp_stream::connect(is->broker));
        if (peer) co_return client(std::move(*peer));
        testing::expect(is->stormy, "3: connects succeed");
        if (is->finished) co_return std::nullopt;
        co_await rn::sleep_for(100ms);
    }
}

// --- Who takes part --------------------------------------------------------------------------------------

rn::task<> publish(shared_story is, int count) {
    std::optional<client> to;
    long connection = 0;
    for (int i = 0; i < count; ++i) {
        if (!to) {
            to = co_await connect(is);
            connection = ++is->connections;
        }
        const std::string name = fmt::format("{}:{:04}:{:.>40}", connection, i, "");
        const std::size_t index = is->messages.size();
        is->messages.push_back({name, ++is->steps});
        auto reply = co_await to->ask(
            fmt::format("*3\r\n$7\r\nPUBLISH\r\n$4\r\nnews\r\n${}\r\n{}\r\n", name.size(), name), patience);
        if (reply.empty()) {
            ++is->publisher_failures;
            to.reset();
        } else {
            is->messages[index].acknowledged = true;
            is->messages[index].receivers = to_number(reply[0]);
        }
        if (const std::uint32_t pause = testing::choose(4); pause != 0) co_await rn::sleep_for(pause * 1ms);
    }
}

/// Empty when nobody is to subscribe any more.
rn::task<std::optional<client>> subscribe(shared_story is, bool slow) {
    for (;;) {
        auto made = co_await connect(is);
        if (!made) co_return std::nullopt;
        auto confirmed = co_await made->ask("SUBSCRIBE news\r\n", patience);
        if (confirmed.size() == 3) {
            made->index = is->subscriptions.size();
            is->subscriptions.push_back({made->address(), ++is->steps, slow, false, {}});
            co_return made;
        }
        testing::expect(is->stormy, "3: subscribing succeeds");
        if (is->finished) co_return std::nullopt;
    }
}

/// Reads until the connection fails, or nothing more will come.
rn::task<> listen(shared_story is, client& from) {
    for (;;) {
        auto message = co_await from.hear(30s);
        if (message.size() == 3) {
            is->subscriptions[from.index].got.push_back(message[2]);
            // What the broker leaves unread when it stops must not cost the messages that it still has to send.
            if (is->leaves && from.index == 1) {
                const bool said =
                    co_await from.say("PING\r\n");  // it is told of a reset, the next read is not
                is->subscriptions[from.index].failed |= !said;
            }
            if (is->subscriptions[from.index].slow) co_await rn::sleep_for(20ms);
        } else if (message.size() == 2) {
            continue;  // a pong
        } else if (from.why != rn::errc::timed_out) {
            is->subscriptions[from.index].failed |=
                !is->leaves || !is->finished || from.why != rn::errc::end_of_stream;
            co_return;
        } else if (is->finished) {
            co_return;
        }
    }
}

rn::task<> keep_listening(shared_story is, client first, bool slow) {
    std::optional<client> from(std::move(first));
    while (from) {
        co_await listen(is, *from);
        from.reset();
        if (is->finished || !is->stormy) co_return;
        from = co_await subscribe(is, slow);
    }
}

rn::task<> make_trouble(shared_story is) {
    for (std::uint32_t left = 1 + testing::choose(4); left > 0; --left) {
        co_await rn::sleep_for(testing::choose(20) * 1ms);
        // Some subscriber, perhaps one who is no more, or all who are connected.
        const auto count = static_cast<std::uint32_t>(is->subscriptions.size());
        const std::uint32_t which = testing::choose(count + 1);
        const rn::address at = which < count ? is->subscriptions[which].at : is->broker;
        const std::uint32_t trouble = testing::choose(3);
        if (trouble == 0) {
            testing::cut(at);
            co_await rn::sleep_for((1 + testing::choose(10)) * 1s);
            testing::heal(at);
        } else if (trouble == 1) {
            testing::reset_all(at);
        } else {
            testing::vanish(at);
            for (subscription& each : is->subscriptions)  // who cannot know it
                each.failed |= which == count || each.at == at;
        }
    }
}

// --- The judgement ---------------------------------------------------------------------------------------

rn::task<> count_losses(shared_story is) {
    words info;
    while (info.empty()) {
        auto asks = co_await connect(is);
        if (asks) info = co_await asks->ask("INFO stats\r\n", patience);
        testing::expect(is->stormy || !info.empty(), "3: INFO is answered");
    }
    const auto figure = [&](std::string_view name) {
        return to_number(std::string_view(info[0]).substr(info[0].find(name) + name.size() + 1));
    };
    is->messages_dropped = figure("pubsub_messages_dropped");
    is->clients_dropped = figure("pubsub_clients_dropped");
}

void judge_order(story& is, const subscription& by) {
    std::map<std::string, std::string> last;  // of each publisher's connection
    for (const std::string& name : by.got) {
        std::string& before = last[name.substr(0, name.find(':'))];
        testing::expect(before < name, "1: in order, none twice");
        before = name;
        const auto known = std::find_if(is.messages.begin(), is.messages.end(),
                                        [&](const published& each) { return each.name == name; });
        testing::expect(known != is.messages.end(), "1: it was published");
        if (known != is.messages.end()) ++known->received;
    }
}

/// Acknowledged messages that this subscriber should have got and has not.
long missing_to(const story& is, const subscription& by) {
    return std::count_if(is.messages.begin(), is.messages.end(), [&](const published& each) {
        return each.acknowledged && each.step > by.step &&
               std::find(by.got.begin(), by.got.end(), each.name) == by.got.end();
    });
}

std::string described(const story& is) {
    std::string text =
        fmt::format("stormy {}, leaves {}, disconnects {}", is.stormy, is.leaves, is.disconnects);
    for (const subscription& each : is.subscriptions)
        text += fmt::format("; {} from step {}, slow {}, failed {}: got {}, misses {}", to_string(each.at),
                            each.step, each.slow, each.failed, each.got.size(), missing_to(is, each));
    return text;
}

void judge(story& is) {
    long missing = 0, failed = 0;
    for (const subscription& each : is.subscriptions) {
        judge_order(is, each);
        const long not_got = missing_to(is, each);
        // Whoever is disconnected for being slow, or cut off for long, sees what everybody does when all stops.
        const bool may_be_disconnected = is.disconnects && (each.slow || is.stormy);
        if (each.failed || (may_be_disconnected && not_got != 0))
            ++failed;
        else
            missing += not_got;
    }
    for (const published& each : is.messages)
        testing::expect(!each.acknowledged || each.received <= each.receivers, "2: at most n receivers");
    if (missing > is.messages_dropped)
        testing::expect(false, fmt::format("2: {} are missing, {} were dropped; {}", missing,
                                           is.messages_dropped, described(is))
                                   .c_str());
    if (is.stormy) return;
    testing::expect(missing == is.messages_dropped, "3: and that is counted exactly");
    testing::expect(failed == is.clients_dropped, "3: nobody fails but whom the policy disconnects");
    testing::expect(is.publisher_failures == 0, "3: no publisher fails");
}

rn::task<> judge_at_the_end(shared_story is, rn::join_handle<> service,
                            std::vector<rn::join_handle<>> subscribers) {
    auto ended = co_await service;
    testing::expect(ended.has_value(), "4: the service ends by itself");
    testing::expect(rn::clock::now() - is->main_ended < 4s, "4: within its own limits");
    for (auto& each : subscribers) co_await each;
    judge(*is);
}

/// The program: all is published in the presence of subscribers, and perhaps of trouble. Then the runtime stops,
/// in half of the runs while subscribers still read.
rn::task<> whole_service(bool stormy) {
    const auto is = std::make_shared<story>();
    auto listener = rn::tcp_listener::bind("127.0.0.1:6380").value();
    is->broker = listener.local_address();
    is->stormy = stormy;
    is->leaves = testing::choose(2) == 1;
    is->disconnects = testing::choose(2) == 1;
    const auto slow = is->disconnects ? pubsub::slow_policy::disconnect : pubsub::slow_policy::drop_oldest;
    const pubsub::outbox_options queues{1500, slow};
    auto service = rn::go(pubsub::serve, queues, std::move(listener));

    std::vector<rn::join_handle<>> subscribers;
    for (int i = 0; i < 3; ++i) {
        auto made = co_await subscribe(is, i == 2);
        subscribers.push_back(rn::go(keep_listening, is, std::move(*made), i == 2));
    }
    rn::task_set others;
    for (int i = 0; i < 2; ++i) others.spawn(publish, is, 20);
    if (is->stormy) others.spawn(make_trouble, is);
    co_await others.join();
    is->finished = true;
    if (!is->leaves) {
        for (auto& each : subscribers) co_await each;
        subscribers.clear();
    }
    co_await count_losses(is);
    is->main_ended = rn::clock::now();
    rn::go(judge_at_the_end, is, std::move(service), std::move(subscribers));
}

void explore_service(const testing::network& network, bool stormy) {
    const auto how = testing::options().grace(1h).network(network);
    const auto all =
        testing::explore(how, support::scaled(50U, 10'000U), [&] { return whole_service(stormy); });
    CHECK_MESSAGE(all.ok(), all.what());
}
}

TEST_CASE("pubsub: on a quiet network order, delivery and counts are exact") {
    explore_service(testing::network().buffer(300), false);
}

TEST_CASE("pubsub: subscribers that are cut off, reset or gone cost nobody else a message") {
    explore_service(testing::network().buffer(300), true);
}

TEST_CASE("pubsub: nor do connections that are reset and refused by chance, publishers' too") {
    explore_service(testing::network().buffer(300).resets(40).refusals(5), true);
}
