// The parser is a small machine: parse_request() goes on where it stopped, until the request is whole or the
// bytes end.
#include "resp.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <limits>

namespace pubsub {
namespace {

constexpr std::size_t kept_idle_bytes = 4096;

/// Empties a buffer, and gives a big one back: a connection between two requests keeps little.
void release(auto& buffer) {
    buffer.clear();
    if (buffer.capacity() * sizeof(buffer[0]) > kept_idle_bytes) buffer.shrink_to_fit();
}

bool is_space(char c) { return c == ' ' || ('\t' <= c && c <= '\r'); }

int hex_digit(char c) {
    if ('0' <= c && c <= '9') return c - '0';
    if ('a' <= c && c <= 'f') return c - 'a' + 10;
    if ('A' <= c && c <= 'F') return c - 'A' + 10;
    return -1;
}

/// The byte written by an escape in double quotes; `rest` begins after the backslash and moves past it.
char unescape(std::string_view& rest) {
    const char c = rest.front();
    if (c == 'x' && rest.size() >= 3 && hex_digit(rest[1]) >= 0 && hex_digit(rest[2]) >= 0) {
        const int value = hex_digit(rest[1]) * 16 + hex_digit(rest[2]);
        rest.remove_prefix(3);
        return static_cast<char>(value);
    }
    rest.remove_prefix(1);
    switch (c) {
        case 'n':
            return '\n';
        case 'r':
            return '\r';
        case 't':
            return '\t';
        case 'b':
            return '\b';
        case 'a':
            return '\a';
        default:
            return c;
    }
}

/// Appends what stands in quotes; `rest` begins after the opening quote and moves past the closing one.
/// False when that is missing, or when the word goes on after it.
bool read_quoted(std::string_view& rest, char quote, std::string& out) {
    while (!rest.empty()) {
        const char c = rest.front();
        rest.remove_prefix(1);
        if (c == quote) return rest.empty() || is_space(rest.front());
        if (c == '\\' && quote == '"' && !rest.empty()) {
            out += unescape(rest);
        } else if (c == '\\' && quote == '\'' && rest.starts_with('\'')) {
            rest.remove_prefix(1);
            out += '\'';
        } else {
            out += c;
        }
    }
    return false;
}

/// Appends one word of an inline request. Quotes may open in the middle of it.
bool read_word(std::string_view& rest, std::string& out) {
    while (!rest.empty() && !is_space(rest.front())) {
        const char c = rest.front();
        rest.remove_prefix(1);
        if (c == '"' || c == '\'') return read_quoted(rest, c, out);
        out += c;
    }
    return true;
}
}

std::optional<std::int64_t> parse_integer(std::string_view text) {
    std::int64_t value = 0;
    auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (failure != std::errc() || end != text.data() + text.size()) return std::nullopt;
    auto digits = text.substr(text.front() == '-' ? 1 : 0);
    if (digits.front() == '0' && text != "0") return std::nullopt;
    return value;
}

void request_parser::feed(std::string_view bytes) {
    if (!error_.empty()) return;  // R3
    if (window_.empty()) {
        window_ = bytes;
        return;
    }
    keep_the_rest();  // no copy when it is kept already
    kept_.append(bytes);
    window_ = kept_;
}

std::optional<request> request_parser::next() {
    if (!request_.empty()) {  // the one returned last time is over
        request_.clear();
        words_.clear();
    }
    while (error_.empty() && !window_.empty()) {
        if (parse_request() == step::more) break;
        finish_request();
        if (!request_.empty()) return request_;
    }
    keep_the_rest();
    return std::nullopt;
}

request_parser::step request_parser::parse_request() {
    const bool is_array = words_missing_ > 0 || window_.front() == '*';
    const step result = is_array ? parse_array() : parse_inline();
    if (result == step::more && error_.empty() && window_.size() > limits_.request_bytes)
        return fail("too big request");
    return result;
}

/// Turns the parsed words into views and moves the window to the next request.
void request_parser::finish_request() {
    const char* base = inline_ ? unquoted_.data() : window_.data();
    for (auto [begin, size] : words_) request_.emplace_back(base + begin, size);
    window_.remove_prefix(at_);
    at_ = 0;
}

/// The fed bytes are the caller's again after this. What was read of them is not kept.
void request_parser::keep_the_rest() {
    const bool is_kept = window_.data() == kept_.data() && window_.size() == kept_.size();
    if (window_.empty() || !error_.empty()) {
        window_ = {};
        release(kept_);
        release(words_);
        release(unquoted_);
        release(request_);
    } else if (!is_kept) {
        kept_ = std::string(window_);  // a new string: window_ may point into the old one
        window_ = kept_;
    }
}

request_parser::step request_parser::fail(std::string_view what) {
    error_ = fmt::format("Protocol error: {}", what);
    return step::more;
}

request_parser::step request_parser::parse_inline() {
    const auto end = window_.find('\n');
    if (std::min(end, window_.size()) > limits_.line_bytes) return fail("too big inline request");
    if (end == std::string_view::npos) return step::more;
    auto line = window_.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    inline_ = true;
    at_ = end + 1;
    return split_line(line) ? step::done : fail("unbalanced quotes in request");
}

bool request_parser::split_line(std::string_view line) {
    unquoted_.clear();
    for (;;) {
        while (!line.empty() && is_space(line.front())) line.remove_prefix(1);
        if (line.empty()) return true;
        const auto begin = unquoted_.size();
        if (!read_word(line, unquoted_)) return false;
        words_.push_back({begin, unquoted_.size() - begin});
    }
}

request_parser::step request_parser::parse_array() {
    if (words_missing_ == 0) {
        const auto line = read_line("too big mbulk count string");
        if (!line) return step::more;
        const auto count = parse_integer(line->substr(1));
        if (!count || *count > std::numeric_limits<std::int32_t>::max())
            return fail("invalid multibulk length");
        words_missing_ = std::max<std::int64_t>(*count, 0);  // *0 and *-1 are requests of nothing
        inline_ = false;
    }
    for (; words_missing_ > 0; --words_missing_)
        if (parse_word() == step::more) return step::more;
    return step::done;
}

request_parser::step request_parser::parse_word() {
    if (!bulk_size_) {
        const auto line = read_line("too big bulk count string");
        if (!line) return step::more;
        const char kind = line->empty() ? '\r' : line->front();
        if (kind != '$') return fail(fmt::format("expected '$', got '{}'", kind));
        const auto size = parse_integer(line->substr(1));
        if (!size || *size < 0 || static_cast<std::uint64_t>(*size) > limits_.bulk_bytes)
            return fail("invalid bulk length");
        bulk_size_ = static_cast<std::size_t>(*size);
    }
    if (unread().size() < *bulk_size_ + 2) return step::more;
    words_.push_back({at_, *bulk_size_});
    at_ += *bulk_size_ + 2;  // what stands in the place of its \r\n is not looked at: Redis does not either
    bulk_size_.reset();
    return step::done;
}

/// Takes a line that announces a length, without its \r\n.
std::optional<std::string_view> request_parser::read_line(const char* too_long) {
    const auto rest = unread();
    const auto end = rest.find('\r');
    if (std::min(end, rest.size()) > limits_.line_bytes) {
        fail(too_long);
        return std::nullopt;
    }
    if (end == std::string_view::npos || end + 1 == rest.size()) return std::nullopt;
    at_ += end + 2;
    return rest.substr(0, end);
}

void reply_writer::simple(std::string_view text) {
    fmt::format_to(std::back_inserter(out_), "+{}\r\n", text);
}

void reply_writer::error(std::string_view text) {
    out_ += '-';
    std::transform(text.begin(), text.end(), std::back_inserter(out_),
                   [](char c) { return c == '\r' || c == '\n' ? ' ' : c; });
    out_ += "\r\n";
}

void reply_writer::integer(std::int64_t value) { fmt::format_to(std::back_inserter(out_), ":{}\r\n", value); }

void reply_writer::bulk(std::string_view bytes) {
    header('$', bytes.size());
    out_ += bytes;
    out_ += "\r\n";
}

/// Text that a client may show as it is, such as INFO's.
void reply_writer::verbatim(std::string_view text) {
    if (protocol_ < 3) return bulk(text);
    header('=', text.size() + 4);
    fmt::format_to(std::back_inserter(out_), "txt:{}\r\n", text);
}

void reply_writer::null() { out_ += protocol_ >= 3 ? "_\r\n" : "$-1\r\n"; }

void reply_writer::header(char kind, std::size_t size) {
    fmt::format_to(std::back_inserter(out_), "{}{}\r\n", kind, size);
}
}
