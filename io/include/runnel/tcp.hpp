// tcp: connections and what accepts them.
//
//   rn::task<> serve() {
//     auto listener = rn::tcp_listener::bind("127.0.0.1:7777").value();
//     rn::task_set connections;
//     while (auto peer = co_await listener.accept()) connections.spawn(echo, std::move(*peer));
//     co_await connections.join();
//   }
//
// What a stream reads and writes, and by which rules (S1 to S3), is in byte_stream.hpp; what any listener does while it
// waits, in detail/accepting.hpp. Here is what only TCP has: its addresses, and its options.
#pragma once

#include <cstddef>
#include <source_location>
#include <string_view>

#include "address.hpp"
#include "detail/listener.hpp"
#include "stream_socket.hpp"
#include "tcp_options.hpp"

namespace runnel {

class tcp_stream;

class [[nodiscard]] connect_operation final : public detail::io_operation_of<connect_operation> {
public:
    using result_type = result<tcp_stream>;
    connect_operation(result<address> to, const tcp_options& how, std::source_location at) noexcept;
    connect_operation(connect_operation&&) noexcept = default;
    void prepare() noexcept;
    result_type complete(transfer done) noexcept;

private:
    result<address> to_;
    detail::descriptor socket_;
    tcp_options how_;
    std::source_location at_;
};

/// One TCP connection; move-only. The destructor closes it.
/// Threads  as byte_stream and stream_socket.
class tcp_stream final : public stream_socket {
public:
    /// Connects to `to`, or to what address::parse() makes of the text.
    /// Returns       the stream; connection_refused, timed_out (by the system) and the like; invalid_argument.
    /// Cancellation  a cancel point; a connection that is cancelled is closed.
    static connect_operation connect(const address& to, const tcp_options& how = {},
                                     std::source_location at = std::source_location::current()) noexcept;
    static connect_operation connect(std::string_view to, const tcp_options& how = {},
                                     std::source_location at = std::source_location::current());

    // What tcp_options says of a new one. Never wait; errc::closed after close(). Threads: any.
    result<> set_nodelay(bool on) noexcept;
    result<> set_keep_alive(const keep_alive& how) noexcept;
    result<> set_reset_on_close(bool on) noexcept;

    result<address> local_address() noexcept;
    result<address> peer_address() noexcept;

private:
    friend class connect_operation;
    friend class detail::accept_operation<tcp_stream>;
    explicit tcp_stream(detail::descriptor&& socket) noexcept : stream_socket(std::move(socket)) {}
};

/// A socket that takes connections; move-only. The destructor closes it.
/// Threads  accept() by any number of tasks at once; not moved or destroyed while they wait: check().
class tcp_listener final : public detail::listener_of<tcp_stream> {
public:
    /// Listens at `on`, or what address::parse() makes of the text; port 0 lets the system choose.
    /// Returns  the listener, which already takes connections; address_in_use, permission_denied and the
    ///          like; invalid_argument. Never waits. Threads: any, also outside of a runtime.
    static result<tcp_listener> bind(const address& on, const tcp_options& how = {},
                                     std::source_location at = std::source_location::current());
    static result<tcp_listener> bind(std::string_view on, const tcp_options& how = {},
                                     std::source_location at = std::source_location::current());

    /// Where it listens, with the port that the system chose.
    const address& local_address() const noexcept { return local_; }

private:
    tcp_listener(detail::descriptor&& socket, const address& local, std::source_location at)
        : listener_of(std::move(socket), at), local_(local) {}

    address local_;
};
}
