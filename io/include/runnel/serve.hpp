// serve: what stands around the handlers of a server: how many there are, how they fail, and how all of it ends.
//
//   rn::task<> talk(rn::tcp_stream& peer, rn::context finish) {
//     while (auto chunk = co_await rn::with_context(finish, peer.recv()))    // until we are asked to finish
//       if (!co_await peer.write_all(*chunk)) co_return;
//   }
//
//   auto how = rn::serve_options().connections(10'000).idle_timeout(60s).grace(10s);
//   rn::serve_report end = co_await rn::serve(std::move(listener), talk, how);
//
// The listener is anything whose accept() gives a result with a stream. Each stream is the server's: the handler, a
// task of its own, uses it by reference, and when it ends the connection is closed.
//
//   1  accepting: a connection is taken when there is a place for it. At the limit nothing is accepted, and who
//      connects waits in the listener's backlog;
//   2  asked to stop (the runtime begins to, the task's context is cancelled, or server::stop()): the listener is
//      closed, and `finish`, the context that handlers have, is cancelled: a select case, or what reads stand under;
//   3  after `grace` those connections that are left are half-closed: their peers read the end of the stream;
//   4  after `linger` they are cancelled and closed;
//   5  who has not ended 1 s later is told, with its peer; and the server waits for it: it has what is ours.
//
//   V1  a handler that throws ends its own connection and nothing else. It is counted and told;
//   V2  serve() returns when every handler has ended, whatever happens to the waiting task;
//   V3  when the runtime has cancelled its root context (its own grace is over), when server::stop_now() is called, or
//       when the runtime begins to stop after the task's context was cancelled, the next phase is the fourth, at once.
//
// So the runtime's grace (options().grace) is to be longer than grace and linger together, or the phases are cut short.
//
// The handlers run under a context of the server's own, which has the values of the caller's: a cancel of that one is
// the polite request of step 2, not the end of everybody. Not taken: handlers that own their streams: nobody could
// half-close what they forget; a thread-safe stream, so that we may: it would cost each operation.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <runnel/borrow.hpp>
#include <runnel/context.hpp>
#include <runnel/result.hpp>
#include <runnel/scope.hpp>
#include <runnel/task.hpp>
#include <runnel/time.hpp>

#include "detail/server_core.hpp"

namespace runnel {

/// A server that can be told to stop, and asked how it goes. Stays where it was made, and outlives its serve().
/// Threads  serve() a task's, once at a time: check(); all others any.
class server {
public:
    explicit server(const serve_options& how = {}, std::source_location at = std::source_location::current());
    server(const server&) = delete;
    server& operator=(const server&) = delete;
    ~server();

    /// Takes connections and runs handler(stream) or handler(stream, finish) for each, until all have ended (V2).
    /// `handler` is moved in, and used by all of them; it is called with a reference to the stream.
    /// Returns       how it ended: why no more was accepted, the counters, who had to be cut off.
    /// Throws        std::bad_alloc, before anything is accepted.
    /// Cancellation  begins the phases of stopping; does not end the wait.
    template <class Listener, class Handler>
    task<serve_report> serve(Listener listener, Handler handler) {
        detail::served_by<Listener, Handler> what(*core_, std::move(listener), std::move(handler));
        co_return co_await detail::run_server(*core_, what);
    }

    /// Begins the phases; a server that does not serve yet will end at once. Returns at once.
    void stop() noexcept;
    /// The fourth phase, now.
    void stop_now() noexcept;

    /// Figures, each of its own moment.
    serve_counts counts() const noexcept;

private:
    detail::server_core* const core_;
};

namespace detail {
template <class Listener, class Handler>
task<serve_report> serve_with(Listener listener, Handler handler, serve_options how,
                              std::source_location at) {
    server one(how, at);
    co_return co_await one.serve(std::move(listener), std::move(handler));
}
}

/// The same without a handle: it ends with the runtime, its context, or its listener.
template <class Listener, class Handler>
task<serve_report> serve(Listener listener, Handler handler, const serve_options& how = {},
                         std::source_location at = std::source_location::current()) {
    return detail::serve_with<Listener, Handler>(std::move(listener), std::move(handler), how, at);
}
}
