// echo: a TCP server that sends back what it gets.
//
//   $ examples/run echo --listen 127.0.0.1:7777        $ echo hello | nc -N 127.0.0.1 7777
//
// One task accepts, and each connection has a task of its own, as one would write it in Go. A connection on
// which nothing arrives costs its task and its socket; it holds no buffer.
#pragma once

#include <runnel/task.hpp>
#include <runnel/tcp.hpp>

#include <atomic>
#include <cstdint>

namespace echo {

struct statistics {
    std::atomic<std::uint64_t> connections{0};
    std::atomic<std::uint64_t> bytes{0};
};

/// Serves until the runtime begins to stop or the listener is closed. Returns when its connections have ended,
/// by themselves or because it is cancelled.
runnel::task<> serve(runnel::tcp_listener listener, statistics& served);
}
