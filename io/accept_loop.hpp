// accept_loop: how accept() waits at a listener of any family; runnel/detail/listener.hpp names its rules.
//
// A template, so that a listener's accept() is one coroutine. Each family instantiates it in its own source.
#pragma once

#include <algorithm>
#include <source_location>

#include <runnel/detail/io_operation.hpp>
#include <runnel/detail/listener.hpp>
#include <runnel/stopping.hpp>
#include <runnel/time.hpp>

namespace runnel::detail {

/// One connection; any number of tasks may wait for one at the same listener.
class accept_operation final : public io_operation_of<accept_operation> {
public:
    using result_type = result<descriptor>;

    accept_operation(descriptor& on, std::source_location at) noexcept
        : io_operation_of(on, lane::in, make_action(io_kind::accept)), at_(at) {
        alone_ = false;
    }
    io_alarms alarms() noexcept { return {nullptr, &stopping_}; }
    result_type complete(runnel::transfer done) noexcept {
        if (done.error) return done.error;
        return descriptor(static_cast<int>(done.bytes), counted_kind::socket, at_);
    }

private:
    std::source_location at_;
    stopping_operation stopping_;
};

/// Until there is one: rule 3. Our epoll driver has made it non-blocking, or the program.
class arrival_operation final : public io_operation_of<arrival_operation> {
public:
    using result_type = result<>;

    explicit arrival_operation(descriptor& on) noexcept
        : io_operation_of(on, lane::in, make_action(io_kind::readability)) {
        alone_ = false;
    }
    io_alarms alarms() noexcept { return {nullptr, &stopping_}; }
    result_type complete(runnel::transfer done) noexcept {
        if (done.error) return done.error;
        return {};
    }

private:
    stopping_operation stopping_;
};

enum class accept_trouble { of_the_connection, of_this_process, none_there, lasting };

/// accept(2) also reports what the network did to the connection before we took it.
accept_trouble kind_of(std::error_code error) noexcept;

template <class Stream>
task<result<Stream>> listener_of<Stream>::accept(std::source_location at) {
    using namespace std::chrono_literals;
    // Long enough to be no spin, short enough to notice soon that something was closed.
    for (std::chrono::milliseconds pause = 5ms;; pause = std::min(pause * 2, 100ms)) {
        result<descriptor> socket = co_await accept_operation(socket_, at);
        if (socket) co_return Stream(std::move(*socket));
        const accept_trouble kind = kind_of(socket.error());
        if (kind == accept_trouble::lasting) co_return socket.error();
        if (kind == accept_trouble::of_the_connection) continue;
        if (kind == accept_trouble::none_there) {
            const result<> arrived = co_await arrival_operation(socket_);
            if (!arrived) co_return arrived.error();
            continue;
        }
        note_pause(socket.error());
        co_await with_timeout(pause, stopping());  // whatever else ends it will end the next try
    }
}
}
