// unix: Unix-domain stream sockets: connections between processes of one machine, and what accepts them.
//
//   auto listener = rn::unix_listener::bind("/run/x.sock", rn::unix_options().mode(0660).replace_stale(true)).value();
//   while (auto peer = co_await listener.accept()) connections.spawn(echo, std::move(*peer));
//
//   auto server = co_await rn::unix_stream::connect("/run/x.sock");
//
// They read and write as TCP's do (byte_stream.hpp), are accepted as TCP's are (detail/accepting.hpp), and can do two
// things more: say who the peer is, and hand descriptors to it (passing.hpp).
#pragma once

#include <cstddef>
#include <source_location>
#include <string_view>
#include <utility>

#include "detail/listener.hpp"
#include "detail/socket_file.hpp"
#include "passing.hpp"
#include "stream_socket.hpp"
#include "unix_address.hpp"
#include "unix_options.hpp"

namespace runnel {

/// Who has connected, or has begun to listen, as the system says. It may have become another since.
class peer_credentials {
public:
    peer_credentials() noexcept = default;
    peer_credentials(int process, unsigned user, unsigned group) noexcept
        : pid(process), uid(user), gid(group) {}

    int pid = 0;  // 0: in no process that we can see (another container's)
    unsigned uid = 0;
    unsigned gid = 0;
};

/// One connection; move-only. The destructor closes it.
/// Threads  as byte_stream and stream_socket.
class unix_stream final : public stream_socket {
public:
    /// Connects to `to`, or to what unix_address::parse() makes of the text.
    /// Returns       the stream; no_such_file_or_directory where nothing is, connection_refused where nobody listens
    ///               (any more), permission_denied; filename_too_long.
    /// Cancellation  a cancel point, before anything is done and while it waits; then there is no connection.
    /// Cost          it waits only while the listener has no room for another: the system says that at once, and
    ///               tells nobody when there is room again; so it tries again after 1, 2, 4, … 50 ms.
    static task<result<unix_stream>> connect(unix_address to,
                                             std::source_location at = std::source_location::current());
    static task<result<unix_stream>> connect(std::string_view to,
                                             std::source_location at = std::source_location::current());

    /// Two that are connected to each other. Never waits. Threads: any.
    static result<std::pair<unix_stream, unix_stream>> pair(
        std::source_location at = std::source_location::current());

    /// Never waits; errc::closed after close(). Threads: any.
    result<runnel::peer_credentials> peer_credentials() noexcept;

    /// Writes all of `bytes`, of which there is at least one, and passes `descriptors` with the first one. They stay
    /// ours: the peer gets others for the same open files. They must stay open until co_await returns.
    /// Returns       as write_all(): when any bytes went out, so did all descriptors. invalid_argument for no bytes, or
    ///               for more than 253 descriptors.
    /// Cancellation  as write_all(): bytes tells how much went out, and with the first byte the descriptors.
    /// Cost          an allocation of 8 bytes for each descriptor; else as write_all().
    pass_operation send_with_descriptors(std::span<const std::byte> bytes,
                                         std::span<const int> descriptors) noexcept {
        return {socket_, bytes, descriptors};
    }
    pass_operation send_with_descriptors(std::string_view bytes, std::span<const int> descriptors) noexcept {
        return send_with_descriptors(std::as_bytes(std::span(bytes)), descriptors);
    }

    /// As read_some(), with descriptors that came with these bytes: at most `most` (and 253), closed on exec, ours. A
    /// select case. What other reads find is read without its descriptors: the system closes them.
    /// Returns       bytes and descriptors. `truncated`: more came than `most`; the system has closed the others.
    ///               Errors as read_some(); invalid_argument for no room.
    /// Cancellation  a cancel point; then neither bytes nor descriptors were taken.
    /// Cost          an allocation for `most` descriptors, before it waits.
    take_operation recv_with_descriptors(std::span<std::byte> to, std::size_t most) noexcept {
        return {socket_, drained_, to, most};
    }

    result<unix_address> local_address() noexcept;
    /// Unnamed, if the peer was not bound before it connected: mostly.
    result<unix_address> peer_address() noexcept;

private:
    friend class detail::accept_operation<unix_stream>;
    friend class unix_connect_operation;
    explicit unix_stream(detail::descriptor&& socket) noexcept : stream_socket(std::move(socket)) {}
};

/// A socket that takes connections; move-only. The destructor closes it, and removes its file.
/// Threads  accept() by any number of tasks at once; not moved or destroyed while they wait: check().
class unix_listener final : public detail::listener_of<unix_stream> {
public:
    /// Listens at `on`, or what unix_address::parse() makes of the text.
    /// Returns  the listener, which already takes connections; address_in_use where a file is (of whatever kind, and
    ///          whether somebody listens there or not: unix_options::replace_stale()), permission_denied and the like;
    ///          filename_too_long. Never waits. Threads: any, also outside of a runtime.
    static result<unix_listener> bind(const unix_address& on, const unix_options& how = {},
                                      std::source_location at = std::source_location::current());
    static result<unix_listener> bind(std::string_view on, const unix_options& how = {},
                                      std::source_location at = std::source_location::current());

    /// Where it listens, with the abstract name that the system chose.
    const unix_address& local_address() const noexcept { return local_; }

    /// Removes the file, if we made it and it is still there, and ends accept() everywhere with errc::closed.
    /// Threads: any, as long as the listener lives.
    void close() noexcept {
        file_.remove();
        listener_of::close();
    }

private:
    unix_listener(detail::descriptor&& socket, detail::socket_file&& file, const unix_address& local,
                  std::source_location at)
        : listener_of(std::move(socket), at), file_(std::move(file)), local_(local) {}

    detail::socket_file file_;
    unix_address local_;
};
}
