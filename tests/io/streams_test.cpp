// Streams in pieces, and from one to another: under every seed of a simulated network, which cuts as it likes.
#include <doctest/doctest.h>
#include <runnel/buffered_reader.hpp>
#include <runnel/copy.hpp>
#include <runnel/testing.hpp>
#include <runnel/testing_leaks.hpp>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "loopback.hpp"
#include "support/level.hpp"

namespace testing = runnel::testing;
using namespace test;
using testing::expect;

namespace {

/// A peer that says this and ends; what `reads` makes of it. In a network that breaks what is sent into pieces.
template <class Read>
void hears(std::string said, Read reads) {
    const auto all = testing::explore(testing::options().network(testing::network().buffer(16)),
                                      support::scaled(100U, 5'000U), [&]() -> rn::task<> {
                                          rn::tcp_listener listener =
                                              rn::tcp_listener::bind("127.0.0.1:7000").value();
                                          stream_pair ends = co_await connected_pair(listener);
                                          const auto say = [&to = ends.first, &said]() -> rn::task<> {
                                              const auto sent = co_await to.write_all(said);
                                              expect(static_cast<bool>(sent), "all is sent");
                                              expect(static_cast<bool>(to.shutdown_write()), "half-closed");
                                          };
                                          auto speaker = rn::go(say);
                                          co_await reads(ends.second);
                                          co_await speaker;
                                      });
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("read_line: gives each line without its end, however it was cut; the last needs none") {
    hears("one\ntwo\r\n\n\r\nlast", [](rn::tcp_stream& from) -> rn::task<> {
        rn::buffered_reader in(from);
        std::vector<std::string> lines;
        auto line = co_await in.read_line();
        for (; line; line = co_await in.read_line()) lines.emplace_back(*line);
        expect(line.error() == rn::errc::end_of_stream, "the end");
        expect(lines == std::vector<std::string>{"one", "two", "", "", "last"}, "the lines");
    });
}

TEST_CASE("read_until: a mark of several bytes is found where it is cut, too") {
    hears("a: 1\r\nb: 2\r\n\r\nbody\r\r\n\r\n", [](rn::tcp_stream& from) -> rn::task<> {
        rn::buffered_reader in(from);
        auto head = co_await in.read_until("\r\n\r\n");
        expect(head && *head == "a: 1\r\nb: 2\r\n\r\n", "the head");
        auto body = co_await in.read_until("\r\n\r\n");
        expect(body && *body == "body\r\r\n\r\n", "the body");
        auto none = co_await in.read_until("\n");
        expect(none.error() == rn::errc::end_of_stream && in.unread().empty(), "the end");
    });
}

TEST_CASE("read_exactly: so many bytes, from several pieces; too few are left to look at") {
    hears("0123456789abcdef", [](rn::tcp_stream& from) -> rn::task<> {
        rn::buffered_reader in(from);
        auto four = co_await in.read_exactly(4);
        expect(four && *four == "0123", "four");
        auto none = co_await in.read_exactly(0);
        expect(none && none->empty(), "none");
        auto ten = co_await in.read_exactly(10);
        expect(ten && *ten == "456789abcd", "ten");
        auto more = co_await in.read_exactly(3);
        expect(more.error() == rn::errc::end_of_stream, "the end");
        expect(in.unread() == "ef", "what is left");
    });
}

TEST_CASE("read_line: a line that is too long is told, and what has come of it is not lost") {
    hears("short\n12345678901234567890\n", [](rn::tcp_stream& from) -> rn::task<> {
        rn::buffered_reader in(from, 10);
        auto line = co_await in.read_line();
        expect(line && *line == "short", "the short one");
        line = co_await in.read_line();
        expect(line.error() == std::errc::message_size, "too long");
        line = co_await in.read_line();
        expect(line.error() == std::errc::message_size, "still too long");
        std::string rest;
        auto part = co_await in.read_some();
        for (; part; part = co_await in.read_some()) rest += *part;
        expect(rest == "12345678901234567890\n", "nothing is lost");
    });
}

TEST_CASE("read_line: a limit that passes in the midst of a line loses none of it") {
    const auto run = testing::simulate(testing::options(), []() -> rn::task<> {
        rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:7000").value();
        stream_pair ends = co_await connected_pair(listener);
        auto sent = co_await ends.first.write_all("half");
        expect(static_cast<bool>(sent), "sent");
        rn::buffered_reader in(ends.second);
        auto line = co_await rn::with_timeout(1s, in.read_line());
        expect(line.error() == rn::errc::timed_out, "in the midst");
        expect(in.unread() == "half", "what has come");
        sent = co_await ends.first.write_all(" and half\n");
        expect(static_cast<bool>(sent), "sent");
        line = co_await in.read_line();
        expect(line && *line == "half and half", "the whole line");
    });
    CHECK_MESSAGE(run.ok(), run.what());
}

TEST_CASE("buffered_reader: who waits with nothing in hand holds no memory, and a piece that came at once is "
          "where it came") {
    CHECK(run_on(1, []() -> rn::task<> {
        stream_pair ends = co_await connected_pair();
        rn::buffered_reader in(ends.second);
        CHECK(co_await ends.first.write_all("one\ntwo\n"));
        const auto one = co_await in.read_line();
        CHECK(*one == "one");
        CHECK(in.unread() == "two\n");
        CHECK(in.unread().data() == one->data() + 4);
        const auto two = co_await in.read_line();
        CHECK(*two == "two");
        CHECK(two->data() == one->data() + 4);
        CHECK(in.unread().empty());
    }));
}

TEST_CASE("read_line: the limit counts the mark, and holds for a line that came at once, too") {
    CHECK(run_on(1, []() -> rn::task<> {
        stream_pair ends = co_await connected_pair();
        CHECK(co_await ends.first.write_all("abcd\nefg\n"));
        CHECK(co_await ends.second.readable());
        rn::buffered_reader in(ends.second, 4);
        const auto long_one = co_await in.read_line();
        CHECK(long_one.error() == std::errc::message_size);
        const auto skipped = co_await in.read_exactly(4);
        CHECK(*skipped == "abcd");
        const auto end_of_it = co_await in.read_line();
        CHECK(end_of_it->empty());
        const auto next = co_await in.read_line();
        CHECK(*next == "efg");
    }));
}

TEST_CASE("copy: what comes from one goes to the other, and the end with it") {
    const std::string text = pattern(2'000, 3);
    hears(text, [&text](rn::tcp_stream& from) -> rn::task<> {
        rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:7001").value();
        stream_pair ends = co_await connected_pair(listener);
        auto heard = rn::go(read_all, rn::borrow(ends.second));
        const rn::transfer done = co_await rn::copy(from, ends.first);
        expect(done && done.bytes == text.size(), "all of it");
        const auto all = co_await heard;
        expect(all.value() == text, "the same");
    });
}

rn::task<> proxy(rn::tcp_stream client, rn::address to) {
    auto server = co_await rn::tcp_stream::connect(to);
    if (!server) co_return;
    (void)co_await rn::copy_both(client, *server);
}

rn::task<> serve_reversed(rn::tcp_listener& at) {
    auto peer = co_await at.accept();
    if (!peer) co_return;
    std::string all = co_await read_all(*peer);  // answers when the question has ended
    const auto sent = co_await peer->write_all(std::string(all.rbegin(), all.rend()));
    expect(static_cast<bool>(sent), "answered");
}

TEST_CASE("copy_both: a proxy, through which half-closes go as they were made") {
    const auto all =
        testing::explore(testing::options().network(testing::network().buffer(16)),
                         support::scaled(100U, 5'000U), []() -> rn::task<> {
                             rn::tcp_listener service = rn::tcp_listener::bind("127.0.0.1:7000").value();
                             rn::tcp_listener front = rn::tcp_listener::bind("127.0.0.1:7001").value();
                             auto serving = rn::go(serve_reversed, rn::borrow(service));
                             auto client = co_await rn::tcp_stream::connect(front.local_address());
                             expect(client.has_value(), "connected");
                             auto accepted = co_await front.accept();
                             auto between = rn::go(proxy, std::move(*accepted), service.local_address());
                             const auto asked = co_await client->write_all("question");
                             expect(static_cast<bool>(asked), "asked");
                             expect(static_cast<bool>(client->shutdown_write()), "and ended");
                             const std::string answer = co_await read_all(*client);
                             expect(answer == "noitseuq", "answered");
                             co_await between;
                             co_await serving;
                         });
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("copy_both: when one side is reset, both are closed and both ways end") {
    const auto run = testing::simulate(testing::options(), []() -> rn::task<> {
        rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:7000").value();
        stream_pair left = co_await connected_pair(listener);
        stream_pair right = co_await connected_pair(listener);
        auto both = rn::go(
            [](rn::tcp_stream& a, rn::tcp_stream& b) -> rn::task<rn::transfers> {
                co_return co_await rn::copy_both(a, b);
            },
            rn::borrow(left.second), rn::borrow(right.second));
        const auto sent = co_await left.second.write_all("unread");  // which makes the close a reset
        expect(static_cast<bool>(sent), "sent");
        CHECK(co_await rn::sleep_for(1s));  // for it to arrive
        left.first.close();
        const auto moved = co_await both;
        expect(moved.has_value(), "ended");
        if (!moved) co_return;
        expect(static_cast<bool>(moved->there.error), "why");
        expect(!left.second.is_open() && !right.second.is_open(), "both are closed");
    });
    CHECK_MESSAGE(run.ok(), run.what());
}
}
