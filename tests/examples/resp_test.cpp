#include "pubsub/resp.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <string_view>

using pubsub::reply_writer;
using pubsub::request_limits;
using pubsub::request_parser;
using namespace std::string_literals;

namespace {

/// All requests in a stream that arrives in pieces of `piece` bytes, as `(PING)(ECHO|hi)`, then the error.
std::string parse(std::string_view stream, std::size_t piece = std::string_view::npos,
                  request_limits limits = {}) {
    request_parser parser(limits);
    std::string found;
    for (; !stream.empty(); stream.remove_prefix(std::min(piece, stream.size()))) {
        const std::string chunk(stream.substr(0, piece));  // a copy: a view kept too long is found by ASan
        parser.feed(chunk);
        while (auto request = parser.next())
            for (std::size_t i = 0; i < request->size(); ++i)
                found.append(i == 0 ? "(" : "|")
                    .append((*request)[i])
                    .append(i + 1 == request->size() ? ")" : "");
    }
    return found + parser.error();
}

std::string written(int protocol, auto write) {
    std::string text;
    reply_writer out(text, protocol);
    write(out);
    return text;
}
}

TEST_CASE("resp: a request is an array of strings") {
    CHECK(parse("*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n") == "(ECHO|hi)");
}

TEST_CASE("resp: a string may hold any bytes, also none") {
    CHECK(parse("*3\r\n$4\r\n\0\r\n*\r\n$0\r\n\r\n$1\r\n\xff\r\n"s) == "(\0\r\n*||\xff)"s);
}

TEST_CASE("resp: an inline request is a line, as a person types it") {
    CHECK(parse("PING\r\n") == "(PING)");
    CHECK(parse("PING\n") == "(PING)");
    CHECK(parse("  PUBLISH \t news   hello  \r\n") == "(PUBLISH|news|hello)");
}

TEST_CASE("resp: in double quotes an inline word has blanks and escapes") {
    CHECK(parse(R"(SET "a b" "\x41\n\r\t\b\a\"\\\q")"
                "\r\n") == "(SET|a b|A\n\r\t\b\a\"\\q)");
    CHECK(parse("\"\\xzz\" \"\"\r\n") == "(xzz|)");
}

TEST_CASE("resp: in single quotes only the quote itself is escaped") {
    CHECK(parse(R"(SET 'it\'s' 'a\nb')"
                "\r\n") == "(SET|it's|a\\nb)");
}

TEST_CASE("resp: a quote may open inside a word, but must close at its end") {
    CHECK(parse("say fo\"o b\"\r\n") == "(say|foo b)");
    CHECK(parse("say \"a\"b\r\n") == "Protocol error: unbalanced quotes in request");
    CHECK(parse("say 'a\r\n") == "Protocol error: unbalanced quotes in request");
    CHECK(parse("say \"a\\\r\n") == "Protocol error: unbalanced quotes in request");
}

TEST_CASE("resp: requests may come pipelined, in both forms") {
    CHECK(parse("PING\r\n*1\r\n$4\r\nQUIT\r\nPING\r\n") == "(PING)(QUIT)(PING)");
}

TEST_CASE("resp: a request of nothing is none") {
    CHECK(parse("\r\n\n   \r\n*0\r\n*-1\r\n*-7\r\nPING\r\n") == "(PING)");
}

TEST_CASE("resp: where the stream is cut makes no difference") {
    const auto stream = "*2\r\n$4\r\nECHO\r\n$5\r\nhello\r\nPING 'a b'\r\n\r\n*0\r\n"
                        "*3\r\n$0\r\n\r\n$2\r\n\r\n\r\n$1\r\nx\r\n*x\r\n"s;
    const std::string whole = "(ECHO|hello)(PING|a b)(|\r\n|x)Protocol error: invalid multibulk length";
    for (std::size_t piece = 1; piece <= stream.size(); ++piece) {
        CAPTURE(piece);
        CHECK(parse(stream, piece) == whole);
    }
}

TEST_CASE("resp: a request that is whole where it arrived is read in place") {
    request_parser parser;
    const std::string chunk = "*1\r\n$4\r\nPING\r\n";
    parser.feed(chunk);
    const auto request = parser.next();
    REQUIRE(request);
    CHECK((*request)[0].data() == chunk.data() + 8);
}

TEST_CASE("resp: a count that is no number is a protocol error") {
    for (const auto* count :
         {"x", "", "1x", "01", "+1", " 1", "-0", "1 ", "2147483648", "99999999999999999999"}) {
        CAPTURE(count);
        CHECK(parse("*"s + count + "\r\n") == "Protocol error: invalid multibulk length");
    }
}

TEST_CASE("resp: a length that is no number, or not allowed, is a protocol error") {
    for (const auto* length : {"x", "", "1x", "01", "-1", "536870913", "9223372036854775808"}) {
        CAPTURE(length);
        CHECK(parse("*1\r\n$"s + length + "\r\n") == "Protocol error: invalid bulk length");
    }
    CHECK(parse("*1\r\n$6\r\nabcdef\r\n", 99, {.bulk_bytes = 5}) == "Protocol error: invalid bulk length");
}

TEST_CASE("resp: only strings may stand in a request") {
    CHECK(parse("*1\r\n:1\r\n") == "Protocol error: expected '$', got ':'");
    CHECK(parse("*1\r\n\r\n") == "Protocol error: expected '$', got '\r'");
    CHECK(parse("*2\r\n$1\r\na\r\n*1\r\n") == "Protocol error: expected '$', got '*'");
}

TEST_CASE("resp: a line may not grow without end") {
    const std::string much(64 * 1024 + 1, '1');
    for (const std::size_t piece : {std::size_t{1000}, much.size() + 99}) {
        CHECK(parse(much, piece) == "Protocol error: too big inline request");
        CHECK(parse(much + "\r\n", piece) == "Protocol error: too big inline request");
        CHECK(parse("*" + much, piece) == "Protocol error: too big mbulk count string");
        CHECK(parse("*1\r\n$" + much, piece) == "Protocol error: too big bulk count string");
    }
    const std::string enough(64 * 1024, 'a');
    CHECK(parse(enough + "\n") == "(" + enough + ")");
}

TEST_CASE("resp: a request may not grow without end") {
    std::string stream = "*1000\r\n";
    for (int i = 0; i < 100; ++i) stream += "$10\r\n0123456789\r\n";
    CHECK(parse(stream, 10, {.request_bytes = 1000}) == "Protocol error: too big request");
}

TEST_CASE("resp: after a protocol error nothing more is read") {
    CHECK(parse("PING\r\n*x\r\nPING\r\n") == "(PING)Protocol error: invalid multibulk length");
    CHECK(parse("PING\r\n*x\r\nPING\r\n", 1) == "(PING)Protocol error: invalid multibulk length");
}

TEST_CASE("resp: what is announced reserves no memory") {
    // The fuzzer counts each allocation; here half a gigabyte would only show in a small container.
    CHECK(parse("*2147483647\r\n$536870912\r\nabc").empty());
}

TEST_CASE("resp: replies in RESP2") {
    CHECK(written(2, [](auto& out) { out.simple("OK"); }) == "+OK\r\n");
    CHECK(written(2, [](auto& out) { out.error("ERR no\r\nno"); }) == "-ERR no  no\r\n");
    CHECK(written(2, [](auto& out) { out.integer(-7); }) == ":-7\r\n");
    CHECK(written(2, [](auto& out) { out.bulk("a\r\nb"); }) == "$4\r\na\r\nb\r\n");
    CHECK(written(2, [](auto& out) { out.null(); }) == "$-1\r\n");
    CHECK(written(2, [](auto& out) { out.array(2); }) == "*2\r\n");
}

TEST_CASE("resp: what only RESP3 has becomes in RESP2 what its clients expect") {
    CHECK(written(2, [](auto& out) { out.map(2); }) == "*4\r\n");
    CHECK(written(2, [](auto& out) { out.set(2); }) == "*2\r\n");
    CHECK(written(2, [](auto& out) { out.push(3); }) == "*3\r\n");
    CHECK(written(2, [](auto& out) { out.verbatim("text"); }) == "$4\r\ntext\r\n");
    CHECK(written(3, [](auto& out) { out.map(2); }) == "%2\r\n");
    CHECK(written(3, [](auto& out) { out.set(2); }) == "~2\r\n");
    CHECK(written(3, [](auto& out) { out.push(3); }) == ">3\r\n");
    CHECK(written(3, [](auto& out) { out.verbatim("text"); }) == "=8\r\ntxt:text\r\n");
    CHECK(written(3, [](auto& out) { out.null(); }) == "_\r\n");
}
