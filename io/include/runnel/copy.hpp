// copy: what comes from one stream goes to another.
//
//   rn::task<> proxy(rn::tcp_stream client, rn::address to) {
//     auto server = co_await rn::tcp_stream::connect(to);
//     if (!server) co_return;
//     co_await rn::copy_both(client, *server);
//   }
//
// The end of a stream is passed on by half-closing the other, so a request that ends, and an answer that goes on,
// arrive as they were sent. Works with whatever has recv() and write_all(), and, for both ways, close(); what has no
// shutdown_write(), a file, needs none: it ends where it has been written to.
#pragma once

#include <system_error>
#include <tuple>

#include <runnel/fork.hpp>
#include <runnel/result.hpp>
#include <runnel/task.hpp>

#include "detail/half_close.hpp"
#include "transfer.hpp"

namespace runnel {

/// Until `from` ends, and then half-closes `to`.
/// Returns       how many bytes went over, and success; or why no more did: the error of the one or the other. What
///               was read and could not be written is lost then, and not counted.
/// Cancellation  as recv() and write_all(): after each chunk.
/// Threads       a task's; both must outlive it.
template <class From, class To>
task<transfer> copy(From& from, To& to) {
    std::size_t moved = 0;
    for (;;) {
        auto next = co_await from.recv();
        if (!next) {
            if (next.error() != errc::end_of_stream) co_return transfer(moved, next.error());
            const std::error_code failed = co_await detail::half_close(to);
            co_return transfer(moved, failed);
        }
        const transfer written = co_await to.write_all(*next);
        moved += written.bytes;
        if (!written) co_return transfer(moved, written.error);
    }
}

namespace detail {
/// A direction that fails takes the other with it: nobody would read what that one brings, or send to it.
template <class From, class To>
task<runnel::transfer> copy_or_close(From& from, To& to) {
    const runnel::transfer done = co_await copy(from, to);
    if (!done) {
        from.close();
        to.close();
    }
    co_return done;
}
}

/// What copy_both() has moved.
struct transfers {
    transfer there;  // from the first to the second
    transfer back;
};

/// Both ways at once, until both have ended. When one fails, both streams are closed.
/// Cancellation  ends both ways, and closes both streams.
template <class A, class B>
task<transfers> copy_both(A& a, B& b) {
    auto [there, back] = co_await when_all(detail::copy_or_close(a, b), detail::copy_or_close(b, a));
    co_return transfers{there, back};
}
}
