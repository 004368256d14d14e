// buffered_writer: gathers small pieces, so that a stream is written to seldom.
//
//   rn::buffered_writer out(peer);
//   for (const header& each : headers)
//     if (!co_await out.write_all(each.text())) co_return;
//   if (!co_await out.flush()) co_return;
//
//   1  a piece that fits is copied behind those that wait, into leased memory (as chunk.hpp's);
//   2  one that does not fill up the buffer, which then goes out whole, and so on with the rest;
//   3  one that is longer than the buffer goes out by itself, uncopied, when nothing waits before it.
//
//   G1  the stream gets the bytes in their order, each once, whatever was cancelled or has failed in between: what
//       write_all() counts has been taken and is ours to send, the rest of the piece is the caller's as before;
//   G2  nothing goes out but by a call here: no timer and no destructor flushes;
//   G3  between flush() and the next piece it holds no memory.
//
// It is the writing half of a stream itself, so that copy() writes to it. Not taken: a flush when the task waits for
// something else (nobody would know which error is whose); a buffer of one's own size (the pool's is 16 KiB, what a
// record of TLS and a socket like).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include <runnel/result.hpp>
#include <runnel/task.hpp>

#include "detail/buffer_pool.hpp"
#include "detail/half_close.hpp"
#include "transfer.hpp"

namespace runnel {

/// Of a stream that has write_all(). The stream must outlive it, and is written to by nobody else meanwhile.
/// Threads: an object of one task at a time. Movable between calls.
template <class Stream>
class buffered_writer {
public:
    /// How many bytes it keeps.
    static constexpr std::size_t capacity = detail::buffer_pool::buffer_bytes;

    explicit buffered_writer(Stream& to) noexcept : to_(&to) {}
    buffered_writer(buffered_writer&& other) noexcept
        : to_(other.to_),
          buffer_(std::exchange(other.buffer_, nullptr)),
          sent_(std::exchange(other.sent_, 0)),
          size_(std::exchange(other.size_, 0)) {}
    buffered_writer& operator=(buffered_writer&&) = delete;
    ~buffered_writer() { forget(); }

    /// Takes all of it, and writes what has no room here.
    /// Returns       how many bytes were taken (G1), and why not all: the stream's error; not_enough_memory.
    /// Cancellation  a cancel point when it has to write.
    /// Cost          a frame, and a copy of what is shorter than `capacity`; one write for each `capacity` bytes.
    task<transfer> write_all(std::span<const std::byte> from) {
        std::size_t taken = 0;
        for (std::span<const std::byte> rest = from; rest.size() > capacity - size_;
             rest = from.subspan(taken)) {
            if (size_ == 0) {
                const transfer straight = co_await to_->write_all(rest);
                co_return transfer(taken + straight.bytes, straight.error);
            }
            taken += take(rest);
            const std::error_code failed = co_await send();
            if (failed) co_return transfer(taken, failed);
        }
        if (taken == from.size()) co_return transfer(taken, std::error_code());
        if (buffer_ == nullptr && (buffer_ = detail::lease_buffer()) == nullptr)
            co_return transfer(taken, std::make_error_code(std::errc::not_enough_memory));
        taken += take(from.subspan(taken));
        co_return transfer(taken, std::error_code());
    }
    task<transfer> write_all(std::string_view from) { return write_all(std::as_bytes(std::span(from))); }

    /// Writes what waits.
    /// Returns       success; the stream's error. What did not go out waits for the next call.
    /// Cancellation  a cancel point when it has to write.
    task<result<>> flush() {
        const std::error_code failed = co_await send();
        if (failed) co_return failed;
        co_return result<>();
    }

    /// flush(), and then the stream's own, if it has one.
    task<result<>> shutdown_write() {
        std::error_code failed = co_await send();
        if (!failed) failed = co_await detail::half_close(*to_);
        if (failed) co_return failed;
        co_return result<>();
    }

    /// Closes the stream. What was not flushed is lost. Threads: as the stream's.
    void close() noexcept { to_->close(); }

    /// What waits. Good until the next call.
    std::string_view unsent() const noexcept {
        return {reinterpret_cast<const char*>(buffer_) + sent_, size_ - sent_};
    }

private:
    /// As much as there is room for. -> how many bytes.
    std::size_t take(std::span<const std::byte> from) noexcept {
        const std::size_t count = std::min(from.size(), capacity - size_);
        std::memcpy(buffer_ + size_, from.data(), count);
        size_ += count;
        return count;
    }
    task<std::error_code> send() {
        if (sent_ != size_) {
            const transfer done =
                co_await to_->write_all(std::span<const std::byte>(buffer_ + sent_, size_ - sent_));
            sent_ += done.bytes;
            if (!done) co_return done.error;
        }
        forget();
        co_return std::error_code();
    }
    void forget() noexcept {
        if (buffer_ != nullptr) detail::give_back_buffer(std::exchange(buffer_, nullptr));
        sent_ = size_ = 0;
    }

    Stream* to_;
    std::byte* buffer_ = nullptr;  // there as long as something waits
    std::size_t sent_ = 0;         // of `size_`; what was cut short goes on from there
    std::size_t size_ = 0;
};
}
