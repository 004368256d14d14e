// unix_datagram: Unix-domain datagram sockets: whole messages between processes of one machine, none lost, in order.
//
//   auto log = rn::unix_datagram::bind("/run/log.sock").value();
//   while (auto came = co_await log.recv(buffer)) note(came->from, text_of(buffer, came->bytes));
//
//   auto here = rn::unix_datagram::open().value();
//   co_await here.send_to("hello", rn::unix_address::parse("/run/log.sock").value());
//
// A sender waits while the receiver's queue is full. A simulation does not play them: check().
#pragma once

#include <cstddef>
#include <source_location>
#include <span>
#include <string_view>
#include <utility>

#include <runnel/result.hpp>
#include <runnel/task.hpp>

#include "detail/descriptor.hpp"
#include "detail/io_operation.hpp"
#include "detail/readiness.hpp"
#include "detail/socket_file.hpp"
#include "transfer.hpp"
#include "unix_address.hpp"
#include "unix_options.hpp"

namespace runnel {

/// What has come.
class received_datagram {
public:
    std::size_t bytes = 0;   // in the buffer
    std::size_t length = 0;  // that it had: more than `bytes`, when there was no room for it all
    unix_address from;       // unnamed, if the sender was not bound

    bool truncated() const noexcept { return length > bytes; }
};

namespace detail {
/// A msghdr with one buffer and room for one name, where it stays while the operation is in flight.
class datagram_message {
public:
    msghdr* fill(void* bytes, std::size_t size, const native_address& to) noexcept;
    msghdr* make_room(std::span<std::byte> to) noexcept;
    unix_address name() const noexcept;

private:
    alignas(8) std::byte message_[56];  // a msghdr
    alignas(8) std::byte place_[16];    // an iovec
    alignas(8) std::byte name_[112];    // a sockaddr_un
};
}

class [[nodiscard]] datagram_receive_operation final
    : public detail::io_operation_of<datagram_receive_operation> {
public:
    using result_type = result<received_datagram>;
    datagram_receive_operation(detail::descriptor& on, std::span<std::byte> to) noexcept;
    datagram_receive_operation(datagram_receive_operation&&) noexcept = default;
    void prepare() noexcept { action_.data = message_.make_room(to_); }
    result_type complete(transfer done) noexcept;

    // What a case asks: detail/readiness.hpp.
    static constexpr bool counts_itself = false, by_many = false;
    detail::descriptor& where() const noexcept { return *on_; }
    datagram_receive_operation anew() const noexcept { return {*on_, to_}; }
    long take(detail::socket_calls& calls, int fd) noexcept;
    detail::whole_case<datagram_receive_operation> as_case() && noexcept {
        return detail::whole_case<datagram_receive_operation>(std::move(*this));
    }

private:
    std::span<std::byte> to_;
    detail::datagram_message message_;
};

class [[nodiscard]] datagram_send_operation final : public detail::io_operation_of<datagram_send_operation> {
public:
    using result_type = result<>;
    datagram_send_operation(detail::descriptor& on, std::span<const std::byte> from) noexcept;
    /// To somebody else than the one whom the socket is connected to; never waits (may_wait_).
    datagram_send_operation(detail::descriptor& on, std::span<const std::byte> from,
                            const unix_address& to) noexcept;
    void prepare() noexcept;
    result_type complete(transfer done) noexcept;

private:
    std::span<const std::byte> from_;
    const unix_address* to_ = nullptr;
    detail::datagram_message message_;
};

/// Move-only; the destructor closes it, and removes its file.
/// Threads  an ordinary object, used by one receiving and one sending task at a time; it is not moved or destroyed
///          while they wait: check(). close() may come from any task.
class unix_datagram {
public:
    /// One that receives at `on`, or what unix_address::parse() makes of the text.
    /// Returns  the socket; errors as unix_listener::bind(). Never waits. Threads: any, also outside of a runtime.
    static result<unix_datagram> bind(const unix_address& on, const unix_options& how = {},
                                      std::source_location at = std::source_location::current());
    static result<unix_datagram> bind(std::string_view on, const unix_options& how = {},
                                      std::source_location at = std::source_location::current());
    /// One without a name, to send; nobody can answer it.
    static result<unix_datagram> open(std::source_location at = std::source_location::current());
    /// Two that are connected to each other.
    static result<std::pair<unix_datagram, unix_datagram>> pair(
        std::source_location at = std::source_location::current());

    /// From now on send() sends there, and only what comes from there is received. Never waits.
    /// Returns  no_such_file_or_directory where nothing is, connection_refused where nobody is bound any more.
    result<> connect(const unix_address& to) noexcept;
    result<> connect(std::string_view to);

    /// Receives the next message: its first bytes, if it is longer than `to`; the rest is gone. A select case.
    /// Returns       how much, and from whom; errc::closed. (That the other end of a pair is gone Linux tells only who
    ///               sends.)
    /// Cancellation  a cancel point; then nothing was received.
    datagram_receive_operation recv(std::span<std::byte> to) noexcept { return {socket_, to}; }

    /// Sends one message to whom it is connected to; waits while there is no room for it there.
    /// Returns       success, when all of it is in the receiver's queue; message_size, if it can never be;
    ///               not_connected; connection_refused when the receiver is gone; errc::closed.
    /// Cancellation  a cancel point; then nothing was sent.
    datagram_send_operation send(std::span<const std::byte> bytes) noexcept { return {socket_, bytes}; }
    datagram_send_operation send(std::string_view text) noexcept {
        return send(std::as_bytes(std::span(text)));
    }

    /// Sends one message there. The bytes must live until co_await returns.
    /// Returns       as send() and connect().
    /// Cancellation  a cancel point; then nothing was sent.
    /// Cost          a task's frame. While the receiver's queue is full it tries again after 1, 2, 4, … 50 ms: the
    ///               system tells nobody who is not connected when there is room again. Who sends much connects.
    task<result<>> send_to(std::span<const std::byte> bytes, unix_address to);
    task<result<>> send_to(std::string_view text, unix_address to);

    /// Removes the file, if we made it, and ends what waits with errc::closed.
    /// Threads  any, as long as the socket lives. Never waits.
    void close() noexcept {
        file_.remove();
        socket_.close();
    }
    bool is_open() const noexcept { return !socket_.closed(); }
    result<unix_address> local_address() noexcept;
    int native_handle() const noexcept { return socket_.fd(); }

private:
    unix_datagram(detail::descriptor&& socket, detail::socket_file&& file) noexcept
        : socket_(std::move(socket)), file_(std::move(file)) {}

    detail::descriptor socket_;
    detail::socket_file file_;
};
}
