// tcp_listener; see runnel/tcp.hpp.
#include <atomic>
#include <cerrno>
#include <cstdio>

#include <runnel/detail/socket_calls.hpp>
#include <runnel/stopping.hpp>
#include <runnel/tcp.hpp>
#include <runnel/time.hpp>

namespace runnel {

using namespace std::chrono_literals;

namespace {

std::error_code system_error(int status) noexcept { return {-status, std::system_category()}; }

detail::io_action make_action(detail::io_kind kind) noexcept {
    detail::io_action action{};
    action.kind = kind;
    return action;
}

/// One connection; any number of tasks may wait for one at the same listener.
class accept_operation final : public detail::io_operation_of<accept_operation> {
public:
    using result_type = result<detail::descriptor>;

    accept_operation(detail::descriptor& on, std::source_location at) noexcept
        : io_operation_of(on, detail::lane::in, make_action(detail::io_kind::accept)), at_(at) {
        alone_ = false;
    }
    detail::io_alarms alarms() noexcept { return {nullptr, &stopping_}; }
    result_type complete(transfer done) noexcept {
        if (done.error) return done.error;
        return detail::descriptor(static_cast<int>(done.bytes), detail::counted_kind::socket, at_);
    }

private:
    std::source_location at_;
    stopping_operation stopping_;
};

/// Until there is one. For a listener that somebody has made non-blocking: our epoll driver, or the program.
class arrival_operation final : public detail::io_operation_of<arrival_operation> {
public:
    using result_type = result<>;

    explicit arrival_operation(detail::descriptor& on) noexcept
        : io_operation_of(on, detail::lane::in, make_action(detail::io_kind::readability)) {
        alone_ = false;
    }
    detail::io_alarms alarms() noexcept { return {nullptr, &stopping_}; }
    result_type complete(transfer done) noexcept {
        if (done.error) return done.error;
        return {};
    }

private:
    stopping_operation stopping_;
};

enum class trouble { of_the_connection, of_this_process, none_there, lasting };

/// accept(2) also reports what the network did to the connection before we took it.
trouble kind_of(std::error_code error) noexcept {
    if (error.category() != std::system_category()) return trouble::lasting;
    switch (error.value()) {
        case ECONNABORTED:
        case ECONNRESET:
        case EPROTO:
        case ENETDOWN:
        case ENETUNREACH:
        case EHOSTDOWN:
        case EHOSTUNREACH:
        case ENONET:
        case ENOPROTOOPT:
        case ETIMEDOUT:
        case EINTR:
            return trouble::of_the_connection;
        case EAGAIN:
            return trouble::none_there;
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
        case ENOSPC:  // of an epoll: too many watches
            return trouble::of_this_process;
        default:
            return trouble::lasting;
    }
}

int make_listener(detail::socket_calls& calls, int fd, const address& on, const tcp_options& how) noexcept {
    using detail::socket_option;
    int status = calls.set(fd, socket_option::reuse_address, how.reuse_address());
    if (status >= 0 && how.reuse_port()) status = calls.set(fd, socket_option::reuse_port, true);
    if (status >= 0) status = calls.bind(fd, detail::native(on));
    if (status >= 0) status = calls.set(fd, socket_option::nodelay, how.nodelay());  // inherited by accept
    if (status >= 0) status = calls.listen(fd, how.backlog());
    return status;
}
}

result<tcp_listener> tcp_listener::bind(const address& on, const tcp_options& how, std::source_location at) {
    detail::socket_calls& calls = detail::current_sockets();
    const int fd = calls.open(detail::socket_kind::stream, detail::family_of(on));
    if (fd < 0) return system_error(fd);
    detail::descriptor socket(fd, detail::counted_kind::listener, at);
    if (const int status = make_listener(calls, fd, on, how); status < 0) return system_error(status);
    detail::native_address_room bound;
    if (const int status = calls.local(fd, bound); status < 0) return system_error(status);
    address local;
    local.assign(bound.data, bound.bytes);
    return tcp_listener(std::move(socket), local);
}

result<tcp_listener> tcp_listener::bind(std::string_view on, const tcp_options& how,
                                        std::source_location at) {
    const result<address> parsed = address::parse(on);
    if (!parsed) return parsed.error();
    return bind(*parsed, how, at);
}

task<result<tcp_stream>> tcp_listener::accept(std::source_location at) {
    // Long enough to be no spin, short enough to notice soon that something was closed.
    for (std::chrono::milliseconds pause = 5ms;; pause = std::min(pause * 2, 100ms)) {
        result<detail::descriptor> socket = co_await accept_operation(socket_, at);
        if (socket) co_return tcp_stream(std::move(*socket));
        const trouble kind = kind_of(socket.error());
        if (kind == trouble::lasting) co_return socket.error();
        if (kind == trouble::of_the_connection) continue;
        if (kind == trouble::none_there) {
            const result<> arrived = co_await arrival_operation(socket_);
            if (!arrived) co_return arrived.error();
            continue;
        }
        note_pause(socket.error());
        co_await with_timeout(pause, stopping());  // whatever else ends it will end the next try
    }
}

void tcp_listener::note_pause(std::error_code why) noexcept {
    // relaxed: a figure for people.
    const std::size_t before = std::atomic_ref<std::size_t>(pauses_).fetch_add(1, std::memory_order_relaxed);
    if (before != 0) return;
    const std::string where = to_string(local_);
    std::fprintf(stderr, "runnel: accept at %s pauses until there are descriptors or memory again: %s\n",
                 where.c_str(), why.message().c_str());
}

std::size_t tcp_listener::accept_pauses() const noexcept {
    // relaxed: a figure for people.
    return std::atomic_ref<std::size_t>(const_cast<std::size_t&>(pauses_)).load(std::memory_order_relaxed);
}
}
