// unix_stream; see runnel/unix.hpp.
#include <algorithm>

#include <runnel/time.hpp>
#include <runnel/unix.hpp>

#include "call_socket.hpp"

namespace runnel {

using namespace std::chrono_literals;
using detail::socket_option;

/// One attempt. The socket does not wait meanwhile: EAGAIN says that the listener has no room.
class unix_connect_operation final : public detail::io_operation_of<unix_connect_operation> {
public:
    using result_type = result<>;

    unix_connect_operation(detail::descriptor& socket, const unix_address& to) noexcept
        : io_operation_of(socket, detail::lane::out, detail::make_action(detail::io_kind::connect)) {
        action_.data = const_cast<void*>(to.native());
        action_.bytes = to.native_bytes();
    }
    void prepare() noexcept { detail::set_option(*on_, socket_option::non_blocking, true); }
    result_type complete(transfer done) noexcept {
        if (done.error) return done.error;
        return detail::set_option(*on_, socket_option::non_blocking, false);
    }

    static unix_stream stream(detail::descriptor&& socket) noexcept { return unix_stream(std::move(socket)); }
};

namespace {

task<result<unix_stream>> connect_to(result<unix_address> to, std::source_location at) {
    if (!to) co_return to.error();
    const int fd = detail::current_sockets().open(detail::socket_kind::stream, detail::socket_family::local);
    if (fd < 0) co_return detail::system_error(fd);
    detail::descriptor socket(fd, detail::counted_kind::socket, at);
    for (std::chrono::milliseconds pause = 1ms;; pause = std::min(pause * 2, 50ms)) {
        const result<> connected = co_await unix_connect_operation(socket, *to);
        if (connected) co_return unix_connect_operation::stream(std::move(socket));
        if (connected.error() != std::errc::resource_unavailable_try_again) co_return connected.error();
        const auto slept = co_await sleep_for(pause);
        if (!slept) co_return slept.error();
    }
}
}

task<result<unix_stream>> unix_stream::connect(unix_address to, std::source_location at) {
    return connect_to(to, at);
}

task<result<unix_stream>> unix_stream::connect(std::string_view to, std::source_location at) {
    return connect_to(unix_address::parse(to), at);
}

result<std::pair<unix_stream, unix_stream>> unix_stream::pair(std::source_location at) {
    int both[2];
    const int status = detail::current_sockets().open_pair(detail::socket_kind::stream, both);
    if (status < 0) return detail::system_error(status);
    unix_stream first(detail::descriptor(both[0], detail::counted_kind::socket, at));
    unix_stream second(detail::descriptor(both[1], detail::counted_kind::socket, at));
    return std::pair(std::move(first), std::move(second));
}

result<peer_credentials> unix_stream::peer_credentials() noexcept {
    runnel::peer_credentials found;
    const int status = detail::call(
        socket_, [&](detail::socket_calls& calls, int fd) { return calls.credentials(fd, found); });
    if (status < 0) return detail::call_error(status);
    return found;
}

result<unix_address> unix_stream::local_address() noexcept {
    return detail::local_address_of<unix_address>(socket_);
}

result<unix_address> unix_stream::peer_address() noexcept {
    return detail::peer_address_of<unix_address>(socket_);
}
}
