// loopback: what the tests of sockets begin with: a runtime to run in, and two ends of one connection.
#pragma once

#include <doctest/doctest.h>

#include <ostream>
#include <runnel/runtime.hpp>
#include <runnel/scope.hpp>
#include <runnel/tcp.hpp>
#include <runnel/time.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace test {

namespace rn = runnel;
using namespace std::chrono_literals;

/// Runs f(args…) as a task on `workers` workers and waits for it. An exception fails the test.
template <class F, class... Args>
auto run_on(unsigned workers, F f, Args... args) {
    rn::runtime runtime(rn::options().workers(workers).name("test"));
    return runtime.spawn(f, std::move(args)...).wait();
}

using stream_pair = std::pair<rn::tcp_stream, rn::tcp_stream>;

/// Two ends of one connection. The kernel connects before anybody accepts.
inline rn::task<stream_pair> connected_pair(rn::tcp_listener& listener) {
    rn::tcp_stream near = (co_await rn::tcp_stream::connect(listener.local_address())).value();
    rn::tcp_stream far = (co_await listener.accept()).value();
    co_return stream_pair(std::move(near), std::move(far));
}

/// By a listener of its own. Its port stays taken for a minute; who wants thousands of pairs uses one listener, and
/// closes `second` first (what has closed first waits for late segments, and of that kind a listener may have many).
inline rn::task<stream_pair> connected_pair() {
    rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
    co_return co_await connected_pair(listener);
}

/// Reads until the end of the stream.
inline rn::task<std::string> read_all(rn::tcp_stream& from) {
    std::string all;
    while (auto chunk = co_await from.recv()) all += chunk->text();
    co_return all;
}

/// Sends back what comes, until the peer has finished.
inline rn::task<> echo(rn::tcp_stream peer) {
    while (auto chunk = co_await peer.recv())
        if (!co_await peer.write_all(*chunk)) co_return;
}

/// Bytes that differ from place to place, so that a lost or doubled one shows.
inline std::string pattern(std::size_t bytes, unsigned seed = 1) {
    std::string made(bytes, '\0');
    for (char& c : made) {
        seed = seed * 1664525 + 1013904223;
        c = static_cast<char>(seed >> 24);
    }
    return made;
}

inline bool has_ipv6() {
    static const bool there = static_cast<bool>(rn::tcp_listener::bind("[::1]:0"));
    return there;
}
}
