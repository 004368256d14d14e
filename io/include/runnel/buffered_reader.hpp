// buffered_reader: reads a stream in the pieces that its protocol has: lines, so many bytes, up to a mark.
//
//   rn::buffered_reader in(peer);
//   while (auto line = co_await in.read_line()) answer(*line);
//
// What has come stays in the leased memory in which it came (chunk.hpp), so a piece that came at once is not copied,
// and a reader that waits with nothing in hand holds no memory. A piece that comes in parts is put together.
//
//   B1  a piece is a view, good until the next call;
//   B2  no byte is lost: a call that is cancelled or timed out, or finds the end in the midst of a piece, leaves what
//       has come to the next call, and unread() shows it;
//   B3  it never holds more than `limit` bytes and one chunk: a peer that sends no end of line is told apart from one
//       that is slow.
//
// Not taken: pieces as std::string (a copy of each); an end of line that is searched for anew from the beginning each
// time that more has come.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <runnel/detail/check.hpp>
#include <runnel/result.hpp>
#include <runnel/task.hpp>

#include "chunk.hpp"

namespace runnel {

/// Of a stream that has recv(). The stream must outlive it, and is read by nobody else meanwhile.
/// Threads: an object of one task at a time.
template <class Stream>
class buffered_reader {
public:
    static constexpr std::size_t default_limit = 64 * 1024;

    /// `limit`: the longest piece, with its mark.
    explicit buffered_reader(Stream& from, std::size_t limit = default_limit) noexcept
        : from_(&from), limit_(limit) {}

    /// The next bytes up to `mark` and with it.
    /// Returns       the piece (B1); std::errc::message_size when `limit` bytes have come without a mark; else as the
    ///               stream's recv(): end_of_stream also when it ends in the midst of a piece, which unread() has then.
    /// Cancellation  a cancel point when it has to wait (B2).
    /// Cost          O(bytes); no allocation for a piece that came at once.
    task<result<std::string_view>> read_until(std::string_view mark) {
        detail::check(!mark.empty(), "read_until: an empty mark");
        for (std::size_t seen = 0;;) {
            const std::size_t at = unread_.find(mark, seen - std::min(seen, mark.size() - 1));
            if (at != unread_.npos) {
                if (at + mark.size() > limit_) co_return too_long();
                co_return take(at + mark.size());
            }
            if (unread_.size() >= limit_) co_return too_long();
            seen = unread_.size();
            auto more = co_await from_->recv();
            if (!more) co_return more.error();
            add(*std::move(more));
        }
    }

    /// The next line, without its "\n" or "\r\n". The last one needs none.
    /// Returns  as read_until(); end_of_stream when no byte is left.
    task<result<std::string_view>> read_line() {
        auto line = co_await read_until("\n");
        if (!line) {
            if (line.error() == errc::end_of_stream && !unread_.empty()) co_return take(unread_.size());
            co_return line.error();
        }
        std::string_view text = *line;
        text.remove_suffix(text.size() > 1 && text[text.size() - 2] == '\r' ? 2 : 1);
        co_return text;
    }

    /// The next `count` bytes; none when `count` is 0.
    /// Returns  as read_until(); std::errc::message_size when `count` is more than `limit`.
    task<result<std::string_view>> read_exactly(std::size_t count) {
        if (count > limit_) co_return too_long();
        while (unread_.size() < count) {
            auto more = co_await from_->recv();
            if (!more) co_return more.error();
            add(*std::move(more));
        }
        co_return take(count);
    }

    /// What there is, at least one byte: the rest of what has come, else what the stream gives next.
    task<result<std::string_view>> read_some() {
        if (unread_.empty()) {
            auto more = co_await from_->recv();
            if (!more) co_return more.error();
            add(*std::move(more));
        }
        co_return take(unread_.size());
    }

    /// What has come and has not been read. Good until the next call.
    std::string_view unread() const noexcept { return unread_; }

private:
    static std::error_code too_long() noexcept { return std::make_error_code(std::errc::message_size); }

    std::string_view take(std::size_t count) noexcept {
        const std::string_view piece = unread_.substr(0, count);
        unread_.remove_prefix(count);
        return piece;
    }
    /// B1: pieces of before are forgotten.
    void add(chunk&& more) {
        if (unread_.empty()) {
            parts_.clear();
            lease_ = std::move(more);
            unread_ = lease_->text();
            return;
        }
        if (lease_) {
            parts_.assign(unread_);
            lease_.reset();
        } else {
            parts_.erase(0, parts_.size() - unread_.size());
        }
        parts_.append(more.text());
        unread_ = parts_;
    }

    Stream* from_;
    std::size_t limit_;
    std::optional<chunk> lease_;  // what unread_ looks into, unless it is
    std::string parts_;           // of a piece that came in several
    std::string_view unread_;
};
}
