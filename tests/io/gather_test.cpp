// Writing several pieces as one: every way of cutting them gives the same bytes.
#include <sys/socket.h>

#include <array>
#include <numeric>
#include <runnel/testing.hpp>

#include "support/level.hpp"
#include "unix_loopback.hpp"

using namespace test;
namespace testing = runnel::testing;

namespace {

using byte_pieces = std::vector<std::span<const std::byte>>;

/// Cuts `text` at these lengths, in turn.
byte_pieces cut(const std::string& text, std::vector<std::size_t> lengths) {
    byte_pieces made;
    for (std::size_t at = 0, turn = 0; at < text.size(); ++turn) {
        const std::size_t length = std::min(lengths[turn % lengths.size()], text.size() - at);
        made.push_back(std::as_bytes(std::span(text)).subspan(at, length));
        at += length;
    }
    return made;
}

rn::task<rn::transfer> write_pieces(rn::byte_stream& to, const byte_pieces& pieces) {
    const rn::transfer sent = co_await to.write_all(std::span(pieces));
    static_cast<rn::stream_socket&>(to).shutdown_write();
    co_return sent;
}

/// What arrives of it on `ends`, read in parts of at most `part` bytes.
rn::task<std::string> arrived(rn::unix_stream& from, std::size_t part) {
    std::string all;
    std::vector<std::byte> buffer(part);
    for (;;) {
        const auto got = co_await from.read_some(buffer);
        if (!got) co_return all;
        all.append(reinterpret_cast<const char*>(buffer.data()), *got);
    }
}

rn::task<> check_written(const std::string& text, const byte_pieces& pieces, std::size_t send_buffer,
                         std::size_t part) {
    unix_pair ends = rn::unix_stream::pair().value();
    CHECK(ends.first.set_send_buffer(send_buffer));
    auto writer =
        rn::go(write_pieces, rn::borrow(static_cast<rn::byte_stream&>(ends.first)), rn::borrow(pieces));
    const std::string heard = co_await arrived(ends.second, part);
    const auto sent = co_await writer;
    CHECK(sent->bytes == text.size());
    CHECK_FALSE(sent->error);
    CHECK((heard == text));
}
}

TEST_CASE("gather: a head and a body arrive as one message") {
    const auto talk = []() -> rn::task<> {
        unix_pair ends = rn::unix_stream::pair().value();
        const std::array<std::string_view, 4> parts{"head: ", "", "body", "\n"};
        const rn::transfer sent = co_await ends.first.write_all(parts);
        CHECK(sent.bytes == 11);
        CHECK(sent);
        auto chunk = co_await ends.second.recv();
        CHECK(chunk->text() == "head: body\n");
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("gather: nothing to write is written at once") {
    const auto talk = []() -> rn::task<> {
        unix_pair ends = rn::unix_stream::pair().value();
        const rn::transfer none = co_await ends.first.write_all(std::span<const std::string_view>());
        CHECK(none.bytes == 0);
        CHECK(none);
        const std::array<std::string_view, 2> empty{"", ""};
        const rn::transfer nothing = co_await ends.first.write_all(empty);
        CHECK(nothing.bytes == 0);
        CHECK(nothing);
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("gather: over a small send buffer each cut arrives whole and in order") {
    const std::string text = pattern(30'000);
    const std::vector<std::vector<std::size_t>> ways{{1000}, {1},         {7, 1, 4093},
                                                     {4096}, {29'999, 1}, {1, 29'999}};
    for (const auto& lengths : ways) {
        const byte_pieces pieces = cut(text, lengths);
        CHECK(
            run_on(2, check_written, rn::borrow(text), rn::borrow(pieces), std::size_t{1}, std::size_t{700}));
    }
}

TEST_CASE("gather: more pieces than the system takes at once, some of them empty") {
    const std::string text = pattern(5000);
    byte_pieces pieces;
    for (const auto& each : cut(text, {1, 2, 1})) {
        pieces.push_back(each);
        if (pieces.size() % 5 == 0) pieces.push_back({});
    }
    REQUIRE(pieces.size() > 4096);
    CHECK(run_on(2, check_written, rn::borrow(text), rn::borrow(pieces), std::size_t{100'000},
                 std::size_t{64}));
}

TEST_CASE("gather: around each size of the window nothing is lost or doubled") {
    for (const std::size_t count : {15U, 16U, 17U, 1023U, 1024U, 1025U, 2048U}) {
        const std::string text = pattern(count * 3);
        const byte_pieces pieces = cut(text, {3});
        REQUIRE(pieces.size() == count);
        CHECK(run_on(1, check_written, rn::borrow(text), rn::borrow(pieces), std::size_t{100'000},
                     std::size_t{1000}));
    }
}

// The system stops wherever its buffer is full; the window must stop there too.
TEST_CASE("gather: stopped after any number of bytes it goes on with the next") {
    const std::string text = pattern(200);
    for (std::size_t stop = 0; stop <= text.size(); ++stop) {
        const byte_pieces lists[] = {cut(text, {7}), cut(text, {1, 0, 50}), cut(text, {13, 1})};
        for (const byte_pieces& list : lists) {
            rn::detail::pieces left{std::span(list)};
            left.begin();
            std::string seen;
            const auto take = [&](std::size_t most) {
                const msghdr& message = left.message();
                std::size_t taken = 0;
                for (std::size_t i = 0; i < message.msg_iovlen && taken < most; ++i) {
                    const std::size_t part = std::min(message.msg_iov[i].iov_len, most - taken);
                    seen.append(static_cast<const char*>(message.msg_iov[i].iov_base), part);
                    taken += part;
                }
                left.advance(taken);
                return taken;
            };
            for (std::size_t due = stop; due > 0;) due -= take(due);
            CHECK(left.bytes() == text.size() - stop);
            while (left.bytes() > 0) take(17);
            CHECK(seen == text);
            CHECK(left.message().msg_iovlen == 0);
        }
    }
}

TEST_CASE("gather: what went out before a cancellation is counted over all pieces") {
    const auto cancelled = []() -> rn::task<> {
        unix_pair ends = rn::unix_stream::pair().value();
        const std::string text = pattern(std::size_t{4} << 20);
        const byte_pieces pieces = cut(text, {1000, 3, 60'000});
        const rn::transfer sent = co_await rn::with_timeout(20ms, ends.first.write_all(std::span(pieces)));
        CHECK(sent.error == rn::errc::timed_out);
        CHECK(sent.bytes < text.size());
        ends.first.close();
        const std::string heard = co_await read_to_end(ends.second);
        CHECK(heard.size() == sent.bytes);
        CHECK((heard == text.substr(0, heard.size())));
    };
    CHECK(run_on(1, cancelled));
}

TEST_CASE("gather: over TCP too") {
    const auto talk = []() -> rn::task<> {
        stream_pair ends = co_await connected_pair();
        CHECK(ends.first.set_send_buffer(4096));
        const std::string text = pattern(300'000);
        const byte_pieces pieces = cut(text, {11, 4096, 1});
        auto writer =
            rn::go(write_pieces, rn::borrow(static_cast<rn::byte_stream&>(ends.first)), rn::borrow(pieces));
        CHECK((co_await read_all(ends.second) == text));
        const auto sent = co_await writer;
        CHECK(sent->bytes == text.size());
    };
    CHECK(run_on(2, talk));
}

TEST_CASE("gather: in a simulation under every seed, with short writes at each place") {
    const auto talk = []() -> rn::task<> {
        rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:80").value();
        auto near = co_await rn::tcp_stream::connect(listener.local_address());
        auto far = co_await listener.accept();
        const std::string text = pattern(400);
        const byte_pieces pieces = cut(text, {3, 1, 17});
        auto writer =
            rn::go(write_pieces, rn::borrow(static_cast<rn::byte_stream&>(*near)), rn::borrow(pieces));
        const std::string heard = co_await read_all(*far);
        const auto sent = co_await writer;
        testing::expect(sent->bytes == text.size() && heard == text, "all has arrived");
    };
    const auto all = testing::explore(testing::options().network(testing::network().buffer(32)),
                                      support::scaled(100U, 2000U), talk);
    CHECK_MESSAGE(all.ok(), all.what());
}
