// stream_socket: what a connection has beside its bytes, be it TCP or Unix: half-close, and the system's buffers.
#pragma once

#include <cstddef>

#include "byte_stream.hpp"

namespace runnel {

/// Threads  as byte_stream; what is declared here may come from any task, never waits, and gives errc::closed after
///          close().
class stream_socket : public byte_stream {
public:
    /// Half-close: the peer reads the end of the stream after what was written; we can go on reading.
    result<> shutdown_write() noexcept;

    /// How many bytes the system keeps for us in each direction (SO_SNDBUF, SO_RCVBUF). Linux takes twice as much, for
    /// its own needs, within limits that it has (net.core.wmem_max, rmem_max); and TCP's, left alone, grow by need.
    result<> set_send_buffer(std::size_t bytes) noexcept;
    result<> set_receive_buffer(std::size_t bytes) noexcept;
    /// What the system has made of it.
    result<std::size_t> send_buffer() noexcept;
    result<std::size_t> receive_buffer() noexcept;

protected:
    explicit stream_socket(detail::descriptor&& socket) noexcept : byte_stream(std::move(socket)) {}
    stream_socket(stream_socket&&) noexcept = default;
    stream_socket& operator=(stream_socket&&) noexcept = default;
    ~stream_socket() = default;
};
}
