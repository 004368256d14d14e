#include "pubsub/outbox.hpp"

#include <doctest/doctest.h>

#include <string>
#include <thread>
#include <vector>

using pubsub::frame;
using pubsub::losses;
using pubsub::message;
using pubsub::outbox;
using pubsub::slow_policy;

namespace {

struct counter final : pubsub::notifier {
    int wakes = 0;
    void wake() noexcept override { ++wakes; }
};

// A message of one byte on a channel of one byte: *3 $7 message $1 c $1 x.
constexpr std::size_t message_size = 31;

bool put(outbox& out, std::string_view payload) {
    message news("c", payload);
    return out.put(news);
}

/// What is queued, each message by its payload's last byte, each reply as it is.
std::string taken(outbox& out, std::size_t bytes_max = 1 << 20) {
    std::vector<frame> batch;
    out.take(batch, bytes_max);
    std::string all;
    for (const auto& bytes : batch)
        all += bytes->ends_with("\r\n") ? bytes->substr(bytes->size() - 3, 1) : *bytes;
    return all;
}
}

TEST_CASE("outbox: what was put comes out in order, messages and replies") {
    counter writer;
    losses lost;
    outbox out(writer, {}, lost);
    put(out, "1");
    out.reply("a", 2);
    put(out, "2");
    put(out, "3");
    out.reply("b", 2);
    CHECK(taken(out) == "1a23b");
    CHECK(taken(out) == "");
}

TEST_CASE("outbox: a full one drops its oldest messages, and counts them") {
    counter writer;
    losses lost;
    outbox out(writer, {.limit = 3 * message_size, .slow = slow_policy::drop_oldest}, lost);
    for (const auto* payload : {"1", "2", "3", "4", "5"}) CHECK(put(out, payload));
    CHECK(lost.messages_dropped == 2);
    CHECK(out.message_bytes() == 3 * message_size);
    CHECK(taken(out) == "345");
}

TEST_CASE("outbox: a reply is never dropped") {
    counter writer;
    losses lost;
    outbox out(writer, {.limit = 2 * message_size, .slow = slow_policy::drop_oldest}, lost);
    out.reply("a", 2);
    put(out, "1");
    out.reply("b", 2);
    for (const auto* payload : {"2", "3", "4"}) put(out, payload);
    out.reply("c", 2);
    CHECK(taken(out) == "ab34c");
}

TEST_CASE("outbox: a message that can never fit is lost alone") {
    counter writer;
    losses lost;
    outbox out(writer, {.limit = 2 * message_size, .slow = slow_policy::drop_oldest}, lost);
    put(out, "1");
    CHECK_FALSE(put(out, std::string(100, 'x')));
    CHECK(lost.messages_dropped == 1);
    CHECK(taken(out) == "1");
}

TEST_CASE("outbox: by the other policy the slow client goes") {
    counter writer;
    losses lost;
    outbox out(writer, {.limit = 2 * message_size, .slow = slow_policy::disconnect}, lost);
    CHECK(put(out, "1"));
    CHECK(put(out, "2"));
    CHECK(writer.wakes == 0);  // it is busy with a write
    CHECK_FALSE(put(out, "3"));
    CHECK(writer.wakes == 1);  // and is called all the same, for that write will not end
    CHECK(out.closed());
    CHECK(lost.clients_dropped == 1);
    std::vector<frame> batch;
    CHECK_FALSE(out.take(batch, 1));
    CHECK(batch.empty());
    CHECK_FALSE(put(out, "4"));
    CHECK(lost.clients_dropped == 1);
}

TEST_CASE("outbox: a writer that found nothing is woken once") {
    counter writer;
    losses lost;
    outbox out(writer, {}, lost);
    put(out, "1");
    CHECK(writer.wakes == 0);
    CHECK(taken(out) == "1");
    CHECK(writer.wakes == 0);
    CHECK(taken(out) == "");
    put(out, "2");
    put(out, "3");
    out.reply("a", 2);
    CHECK(writer.wakes == 1);
    CHECK(taken(out) == "23a");
}

TEST_CASE("outbox: the writer takes no more than it asked for, but at least one") {
    counter writer;
    losses lost;
    outbox out(writer, {}, lost);
    for (const auto* payload : {"1", "2", "3", "4"}) put(out, payload);
    CHECK(taken(out, 1) == "1");
    CHECK(taken(out, 3 * message_size - 1) == "23");
    CHECK(taken(out, message_size) == "4");
}

TEST_CASE("outbox: what was taken cannot be dropped") {
    counter writer;
    losses lost;
    outbox out(writer, {.limit = message_size, .slow = slow_policy::drop_oldest}, lost);
    put(out, "1");
    CHECK(taken(out) == "1");
    put(out, "2");
    CHECK(lost.messages_dropped == 0);
}

TEST_CASE("outbox: a finished one gives what it has, takes nothing more, then ends") {
    counter writer;
    losses lost;
    outbox out(writer, {}, lost);
    out.reply("a", 2);
    out.finish();
    CHECK_FALSE(put(out, "1"));
    out.reply("b", 2);
    std::vector<frame> batch;
    CHECK(out.take(batch, 100));
    CHECK(*batch.front() == "a");
    CHECK_FALSE(out.take(batch, 100));
}

TEST_CASE("outbox: messages are encoded in the version of the last reply before them") {
    counter writer;
    losses lost;
    outbox out(writer, {}, lost);
    put(out, "1");
    out.reply("a", 3);
    put(out, "2");
    std::vector<frame> batch;
    REQUIRE(out.take(batch, 1000));
    REQUIRE(batch.size() == 3);
    CHECK(*batch[0] == "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\n1\r\n");
    CHECK(*batch[2] == ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\n2\r\n");
}

TEST_CASE("outbox: a message is the same bytes in every outbox") {
    counter writer;
    losses lost;
    outbox one(writer, {}, lost), two(writer, {}, lost);
    message news("c", "x");
    one.put(news);
    two.put(news);
    std::vector<frame> from_one, from_two;
    one.take(from_one, 100);
    two.take(from_two, 100);
    CHECK(from_one.front() == from_two.front());
}
