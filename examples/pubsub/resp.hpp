// resp: the Redis protocol on one connection, requests in and replies out.
//
// A request is an array of bulk strings, `*2\r\n$4\r\nPING\r\n$2\r\nhi\r\n`, or an inline line that a person
// types, `PING hi\r\n`. Requests come pipelined and cut anywhere. The parser reads them where they arrived:
// the words of a request are views into the bytes that were fed, and only a request that crosses two feeds is
// copied, once. It keeps its place in an unfinished request, so no word is read twice however finely the
// stream is cut.
//
// Invariants
//   R1  memory follows what has arrived, never what was announced: `*1000000` or `$500000000` reserves
//   nothing; R2  the requests found do not depend on where the stream was cut; R3  after a protocol error
//   nothing more is parsed: where the next request would begin is unknown.
//
// Not hiredis's reader: it reads replies, and knows neither inline requests nor a server's limits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pubsub {

using request = std::span<const std::string_view>;  // the command's name, then its arguments; never empty

struct request_limits {
    std::size_t line_bytes = 64u << 10;       // an inline request, or a line that announces a length
    std::size_t bulk_bytes = 512u << 20;      // one string; what Redis calls proto-max-bulk-len
    std::size_t request_bytes = 1024u << 20;  // a whole request
};

/// A decimal number as the protocol writes it: no plus, no blanks, no leading zeros, no -0.
std::optional<std::int64_t> parse_integer(std::string_view text);

/// Cuts the bytes of one connection into requests.
///
///     parser.feed(chunk);
///     while (auto words = parser.next()) execute(*words);
///     if (!parser.error().empty()) reply_and_close();
class request_parser {
public:
    explicit request_parser(request_limits limits = {}) : limits_(limits) {}
    request_parser(const request_parser&) = delete;  // window_ points into kept_
    request_parser& operator=(const request_parser&) = delete;

    /// Offers more bytes. They are read in place and must stay until next() says that it needs more.
    void feed(std::string_view bytes);

    /// The next request, whose words stay valid until the next call of feed() or next(); nothing when
    /// more bytes are needed, or after a protocol error.
    std::optional<request> next();

    /// What is wrong with the stream, as Redis says it; empty while all is well.
    const std::string& error() const { return error_; }

private:
    enum class step { done, more };
    struct word {
        std::size_t begin, size;
    };  // begin counts from the start of the request

    step parse_request();
    step parse_inline();
    step parse_array();
    step parse_word();
    std::optional<std::string_view> read_line(const char* too_long);
    bool split_line(std::string_view line);
    step fail(std::string_view what);
    void finish_request();
    void keep_the_rest();
    std::string_view unread() const { return window_.substr(at_); }

    request_limits limits_;
    std::string_view window_;  // from the start of the current request to the end of what arrived
    std::size_t at_ = 0;       // how far the current request has been read
    std::string kept_;         // an unfinished request of earlier feeds; window_ points here, or outside
    std::int64_t words_missing_ = 0;        // of the current array; 0 between requests
    std::optional<std::size_t> bulk_size_;  // of the word being read, once announced
    std::vector<word> words_;
    std::string unquoted_;  // the words of an inline request, quotes removed
    bool inline_ = false;   // words_ point into unquoted_
    std::vector<std::string_view> request_;
    std::string error_;
};

/// Appends replies to a string, in RESP2 or RESP3. What only RESP3 has gets the form that RESP2 clients
/// expect.
class reply_writer {
public:
    reply_writer(std::string& out, int protocol) : out_(out), protocol_(protocol) {}

    void simple(std::string_view text);  // +OK
    void error(std::string_view text);   // -ERR what; line breaks in it become spaces
    void integer(std::int64_t value);
    void bulk(std::string_view bytes);
    void verbatim(std::string_view text);
    void null();
    void array(std::size_t size) { header('*', size); }  // that many replies follow
    void push(std::size_t size) { header(protocol_ >= 3 ? '>' : '*', size); }
    void set(std::size_t size) { header(protocol_ >= 3 ? '~' : '*', size); }
    void map(std::size_t pairs) { protocol_ >= 3 ? header('%', pairs) : header('*', 2 * pairs); }

private:
    void header(char kind, std::size_t size);

    std::string& out_;
    int protocol_;
};
}
