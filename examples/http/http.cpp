// A request is read by lines; its body goes back in the parts in which it comes.
#include "http.hpp"

#include <runnel/buffered_reader.hpp>
#include <runnel/context.hpp>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <optional>
#include <string>
#include <string_view>

namespace rn = runnel;

namespace http {
namespace {

using reader = rn::buffered_reader<rn::tcp_stream>;
constexpr std::size_t longest_line = 16 * 1024;  // and the part in which a body is passed on
constexpr int most_headers = 100;

struct request {
    std::string method, target;
    std::uint64_t length = 0;  // of the body
    bool keep = true;          // the connection
    bool asks_first = false;   // Expect: 100-continue
    const char* refused = nullptr;
};

bool is_same(std::string_view a, std::string_view b) {  // but for capitals
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

void note_request_line(request& what, std::string_view line) {
    const auto first = line.find(' '), last = line.rfind(' ');
    const std::string_view version = first < last ? line.substr(last + 1) : "";
    if (version != "HTTP/1.1" && version != "HTTP/1.0") {
        what.refused = "400 Bad Request";
        return;
    }
    what.method = line.substr(0, first);
    what.target = line.substr(first + 1, last - first - 1);
    what.keep = version == "HTTP/1.1";
}

void note_header(request& what, std::string_view line) {
    const auto colon = std::min(line.find(':'), line.size());
    const std::string_view name = line.substr(0, colon);
    std::string_view value = line.substr(std::min(colon + 1, line.size()));
    value.remove_prefix(std::min(value.find_first_not_of(" \t"), value.size()));
    value = value.substr(0, value.find_last_not_of(" \t") + 1);
    if (is_same(name, "Connection"))
        what.keep = is_same(value, "keep-alive") || (what.keep && !is_same(value, "close"));
    if (is_same(name, "Expect")) what.asks_first = is_same(value, "100-continue");
    if (is_same(name, "Transfer-Encoding")) what.refused = "411 Length Required";
    if (!is_same(name, "Content-Length")) return;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), what.length);
    if (error != std::errc() || end != value.data() + value.size()) what.refused = "400 Bad Request";
}

/// Step 1. Nothing: the client has finished, is gone, or sends lines without end.
rn::task<std::optional<request>> read_request(reader& in) {
    request what;
    auto line = co_await in.read_line();
    if (!line) co_return std::nullopt;
    note_request_line(what, *line);
    if (what.refused != nullptr) co_return what;
    for (int headers = 0;; ++headers) {
        line = co_await in.read_line();
        if (!line || headers > most_headers) co_return std::nullopt;
        if (line->empty()) break;
        note_header(what, *line);
    }
    co_return what;
}

rn::task<bool> write_head(rn::tcp_stream& to, const request& what, std::string_view status,
                          std::uint64_t length) {
    std::string head = "HTTP/1.1 ";
    head.append(status).append("\r\nContent-Length: ").append(std::to_string(length));
    head += what.keep ? "\r\n\r\n" : "\r\nConnection: close\r\n\r\n";
    const auto sent = co_await to.write_all(head);
    co_return static_cast<bool>(sent);
}

/// Step 3.
rn::task<bool> pass_body(reader& in, rn::tcp_stream& to, const request& what, bool back) {
    if (what.asks_first && what.length > 0)
        if (!co_await to.write_all("HTTP/1.1 100 Continue\r\n\r\n")) co_return false;
    if (back)
        if (!co_await write_head(to, what, "200 OK", what.length)) co_return false;
    for (std::uint64_t left = what.length; left > 0;) {
        const auto part = co_await in.read_exactly(std::min<std::uint64_t>(left, longest_line));
        if (!part) co_return false;
        if (back)
            if (!co_await to.write_all(*part)) co_return false;
        left -= part->size();
    }
    co_return true;
}

/// Step 2. False: the connection is of no use any more.
rn::task<bool> answer(reader& in, rn::tcp_stream& to, request& what) {
    if (what.refused != nullptr) {
        what.keep = false;
        co_return co_await write_head(to, what, what.refused, 0);
    }
    const bool echo = what.target == "/echo";
    if (!co_await pass_body(in, to, what, echo)) co_return false;
    if (echo) co_return true;
    const bool hello = what.method == "GET" && what.target == "/";
    const std::string_view status = hello ? "200 OK" : "404 Not Found";
    const std::string_view body = hello ? "hello\n" : "not found\n";
    if (!co_await write_head(to, what, status, body.size())) co_return false;
    const auto sent = co_await to.write_all(body);
    co_return static_cast<bool>(sent);
}

struct talk {
    statistics* served;

    rn::task<> operator()(rn::tcp_stream& peer, rn::context finish) const {
        reader in(peer, longest_line);
        while (!finish.cancelled()) {
            auto next = co_await rn::with_context(finish, read_request(in));
            if (!next) co_return;
            ++served->requests;
            if (!co_await answer(in, peer, *next) || !next->keep) co_return;
        }
    }
};
}

rn::task<rn::serve_report> serve(rn::tcp_listener listener, statistics& served) {
    return rn::serve(std::move(listener), talk{&served});
}
}
