// half_close: ends our direction of whatever is a stream, however it does that.
#pragma once

#include <system_error>

#include <runnel/result.hpp>
#include <runnel/task.hpp>

namespace runnel::detail {

/// At once, as a socket does it; by something that is to be sent, as TLS; or not at all: a file ends where it has been
/// written to.
template <class Stream>
task<std::error_code> half_close(Stream& of) {
    if constexpr (requires { of.shutdown_write().error(); }) {
        co_return of.shutdown_write().error();
    } else if constexpr (requires { of.shutdown_write(); }) {
        const result<> ended = co_await of.shutdown_write();
        co_return ended.error();
    }
    co_return std::error_code();
}
}
