// Cancellation and time limits: every operation ends by them, and no byte is ever lost to one.
#include <sys/socket.h>

#include <atomic>
#include <random>
#include <thread>

#include "loopback.hpp"
#include "support/level.hpp"

using namespace test;

namespace {

/// Runs `attempt` under a context that is cancelled when it has come into the kernel; gives its error.
template <class Attempt>
rn::task<rn::result<>> cancelled_in_flight(Attempt attempt) {
    const auto [ctx, cancel] = rn::with_cancel(rn::current_context());
    auto waiting = rn::go(attempt, ctx);
    CHECK(co_await rn::sleep_for(2ms));
    cancel();
    const rn::result<> end = co_await waiting;
    co_return end;
}
}

TEST_CASE("cancel: a cancelled context refuses each operation before it has an effect") {
    const auto refuse = []() -> rn::task<> {
        stream_pair ends = co_await connected_pair();
        rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
        CHECK(co_await ends.first.write_all("still there"));
        CHECK(co_await ends.second.readable());
        const auto [ctx, cancel] = rn::with_cancel(rn::current_context());
        cancel();
        std::byte buffer[4];
        CHECK((co_await rn::with_context(ctx, ends.second.recv())).error() == rn::errc::cancelled);
        CHECK((co_await rn::with_context(ctx, ends.second.read_some(buffer))).error() == rn::errc::cancelled);
        CHECK((co_await rn::with_context(ctx, ends.second.readable())).error() == rn::errc::cancelled);
        const rn::transfer sent = co_await rn::with_context(ctx, ends.second.write_all("no"));
        CHECK(sent.error == rn::errc::cancelled);
        CHECK(sent.bytes == 0);
        const rn::address there = listener.local_address();
        CHECK((co_await rn::with_context(ctx, rn::tcp_stream::connect(there))).error() ==
              rn::errc::cancelled);
        CHECK((co_await rn::with_context(ctx, listener.accept())).error() == rn::errc::cancelled);
        const auto chunk = co_await ends.second.recv();
        CHECK(chunk.value().text() == "still there");
    };
    CHECK(run_on(1, refuse));
}

TEST_CASE("cancel: each operation that waits in the kernel ends with errc::cancelled") {
    const auto recv = [](rn::context ctx) -> rn::task<rn::result<>> {
        stream_pair ends = co_await connected_pair();
        co_return (co_await rn::with_context(ctx, ends.first.recv())).error();
    };
    const auto read_some = [](rn::context ctx) -> rn::task<rn::result<>> {
        stream_pair ends = co_await connected_pair();
        std::byte buffer[8];
        co_return (co_await rn::with_context(ctx, ends.first.read_some(buffer))).error();
    };
    const auto readable = [](rn::context ctx) -> rn::task<rn::result<>> {
        stream_pair ends = co_await connected_pair();
        co_return co_await rn::with_context(ctx, ends.first.readable());
    };
    const auto write_all = [](rn::context ctx) -> rn::task<rn::result<>> {
        stream_pair ends = co_await connected_pair();
        const std::string large = pattern(std::size_t{16} << 20);  // more than the buffers of both ends hold
        const rn::transfer sent = co_await rn::with_context(ctx, ends.first.write_all(large));
        CHECK(sent.bytes < large.size());
        ends.first.close();
        const std::string arrived = co_await read_all(ends.second);
        CHECK(arrived.size() == sent.bytes);
        CHECK((arrived == large.substr(0, sent.bytes)));
        co_return sent.error;
    };
    const auto accept = [](rn::context ctx) -> rn::task<rn::result<>> {
        rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
        co_return (co_await rn::with_context(ctx, listener.accept())).error();
    };
    const auto all = [=]() -> rn::task<> {
        CHECK((co_await cancelled_in_flight(recv)).error() == rn::errc::cancelled);
        CHECK((co_await cancelled_in_flight(read_some)).error() == rn::errc::cancelled);
        CHECK((co_await cancelled_in_flight(readable)).error() == rn::errc::cancelled);
        CHECK((co_await cancelled_in_flight(write_all)).error() == rn::errc::cancelled);
        CHECK((co_await cancelled_in_flight(accept)).error() == rn::errc::cancelled);
    };
    CHECK(run_on(1, all));
    CHECK(run_on(2, all));
}

TEST_CASE("cancel: a connect that nobody answers ends by its time limit") {
    const auto knock = []() -> rn::task<rn::result<>> {
        // A listener that may keep one connection waiting keeps the next ones out.
        rn::tcp_listener full = rn::tcp_listener::bind("127.0.0.1:0", rn::tcp_options().backlog(0)).value();
        std::vector<rn::tcp_stream> inside;
        for (;;) {
            auto attempt = rn::tcp_stream::connect(full.local_address());
            auto stream = co_await rn::with_timeout(20ms, std::move(attempt));
            if (!stream) co_return stream.error();
            inside.push_back(std::move(*stream));
        }
    };
    CHECK(run_on(1, knock).error() == rn::errc::timed_out);
}

TEST_CASE("with_timeout: its error is timed_out, and the operation can be tried again") {
    const auto wait = []() -> rn::task<> {
        stream_pair ends = co_await connected_pair();
        std::byte buffer[8];
        CHECK((co_await rn::with_timeout(1ms, ends.first.recv())).error() == rn::errc::timed_out);
        CHECK((co_await rn::with_timeout(1ms, ends.first.read_some(buffer))).error() == rn::errc::timed_out);
        CHECK((co_await rn::with_timeout(0ms, ends.first.read_some(buffer))).error() == rn::errc::timed_out);
        const auto nested = co_await rn::with_timeout(1h, rn::with_timeout(1ms, ends.first.recv()));
        CHECK(nested.error() == rn::errc::timed_out);
        CHECK(co_await ends.second.write_all("late"));
        CHECK((co_await rn::with_timeout(1h, ends.first.read_some(buffer))).value() == 4);
    };
    CHECK(run_on(1, wait));
}

TEST_CASE("with_timeout: what is ready wins over a limit that has passed") {
    const auto wait = []() -> rn::task<> {
        stream_pair ends = co_await connected_pair();
        CHECK(co_await ends.second.write_all("x"));
        CHECK(co_await ends.first.readable());
        const auto chunk = co_await rn::with_timeout(0ms, ends.first.recv());
        CHECK(chunk.value().text() == "x");
    };
    CHECK(run_on(1, wait));
}

TEST_CASE("with_timeout: a deadline of the context is another error than the limit of the operation") {
    const auto wait = []() -> rn::task<> {
        stream_pair ends = co_await connected_pair();
        const auto [ctx, cancel] = rn::with_timeout(rn::current_context(), 1ms);
        auto limited = rn::with_timeout(1h, ends.first.recv());
        CHECK((co_await rn::with_context(ctx, std::move(limited))).error() == rn::errc::deadline_exceeded);
    };
    CHECK(run_on(1, wait));
}

namespace {

/// Writes `all` in pieces, each with a limit so short that many are cut; goes on where it was cut.
rn::task<> write_with_short_limits(rn::tcp_stream& to, const std::string& all, unsigned seed) {
    std::mt19937 random(seed);
    std::size_t sent = 0;
    while (sent < all.size()) {
        const std::size_t piece = std::min<std::size_t>(all.size() - sent, 1 + random() % 200'000);
        const auto limit = std::chrono::microseconds(random() % 100);
        const std::string_view part = std::string_view(all).substr(sent, piece);
        const rn::transfer moved = co_await rn::with_timeout(limit, to.write_all(part));
        CHECK((moved ? moved.bytes == piece : moved.error == rn::errc::timed_out));
        sent += moved.bytes;
        if (random() % 8 == 0) CHECK(co_await rn::yield());
    }
    CHECK(to.shutdown_write());
}

rn::task<std::string> read_with_short_limits(rn::tcp_stream& from, unsigned seed) {
    std::mt19937 random(seed);
    std::string all;
    std::vector<std::byte> buffer(10'000);
    for (;;) {
        const auto limit = std::chrono::microseconds(random() % 100);
        if (random() % 2 == 0) {
            const std::span<std::byte> room(buffer.data(), 1 + random() % buffer.size());
            const auto got = co_await rn::with_timeout(limit, from.read_some(room));
            if (got) all.append(reinterpret_cast<const char*>(buffer.data()), *got);
            if (got.error() == rn::errc::end_of_stream) break;
        } else {
            const auto chunk = co_await rn::with_timeout(limit, from.recv());
            if (chunk) all += chunk->text();
            if (chunk.error() == rn::errc::end_of_stream) break;
        }
    }
    co_return all;
}

/// Small buffers, so that writes are cut in the middle.
void shrink_buffers(const rn::tcp_stream& stream) {
    const int bytes = 16384;
    for (const int which : {SO_SNDBUF, SO_RCVBUF})
        CHECK(setsockopt(stream.native_handle(), SOL_SOCKET, which, &bytes, sizeof bytes) == 0);
}

rn::task<bool> bytes_are_conserved(unsigned seed) {
    stream_pair ends = co_await connected_pair();
    shrink_buffers(ends.first);
    shrink_buffers(ends.second);
    const std::string sent = pattern(1'000'000, seed);
    auto reader = rn::go(read_with_short_limits, rn::borrow(ends.second), seed + 1);
    co_await write_with_short_limits(ends.first, sent, seed);
    const auto received = co_await reader;
    co_return received.value() == sent;
}
}

TEST_CASE("cancel: no byte is lost or doubled when reads and writes are cut at every point") {
    for (unsigned seed = 1; seed <= support::scaled(5U, 200U); ++seed) {
        CAPTURE(seed);
        CHECK(run_on(2, bytes_are_conserved, seed).value());
    }
}

TEST_CASE("cancel: no connection is lost when accept is cut at every point") {
    static constexpr int connections = 200;
    const auto accept_all = [](rn::tcp_listener& listener) -> rn::task<int> {
        int taken = 0;
        for (unsigned i = 0; taken < connections; ++i) {
            auto peer = co_await rn::with_timeout(std::chrono::microseconds(i % 60), listener.accept());
            if (peer) ++taken;
        }
        co_return taken;
    };
    const auto connect_all = [=]() -> rn::task<> {
        rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
        auto taken = rn::go(accept_all, rn::borrow(listener));
        for (int i = 0; i < connections; ++i)
            CHECK(co_await rn::tcp_stream::connect(listener.local_address()));
        CHECK((co_await taken).value() == connections);
    };
    CHECK(run_on(2, connect_all));
}

namespace {

rn::task<> write_one(rn::tcp_stream& to) { CHECK(co_await to.write_all("x")); }

/// Each read's limit passes at about the time when its byte arrives, so that its cancel is often late. If
/// one hit the next operation in the same slot, or its message came after the slot was used again, a read
/// without a limit would be cut, or a byte lost.
rn::task<> late_cancels(int rounds) {
    stream_pair ends = co_await connected_pair();
    std::byte byte[1];
    for (int i = 0; i < rounds; ++i) {
        auto writer = rn::go(write_one, rn::borrow(ends.first));
        const auto limit = std::chrono::nanoseconds(i % 16'000);
        const auto first = co_await rn::with_timeout(limit, ends.second.read_some(byte));
        if (!first) {
            CHECK(first.error() == rn::errc::timed_out);
            const auto second = co_await ends.second.read_some(byte);
            CHECK(second.value() == 1);
        }
        CHECK(co_await writer);
    }
}
}

TEST_CASE("cancel: a late one never hits the operation that has the slot now") {
    const auto storm = [](int rounds) -> rn::task<> {
        rn::task_set pairs;
        for (int i = 0; i < 4; ++i) pairs.spawn(late_cancels, rounds);
        CHECK(co_await pairs.join());
    };
    CHECK(run_on(2, storm, support::scaled(5'000, 250'000)));
}

TEST_CASE("cancel: a plain thread may cancel what ends just now, in a runtime that ends just then") {
    const auto wait = [](rn::context ctx, rn::tcp_stream& from) -> rn::task<> {
        (void)co_await rn::with_context(ctx, from.recv());
    };
    const auto connect = []() -> rn::task<stream_pair> { co_return co_await connected_pair(); };
    for (int i = 0; i < support::scaled(100, 5'000); ++i) {
        rn::runtime runtime(rn::options().workers(1));
        stream_pair ends = runtime.spawn(connect).wait().value();
        const rn::cancellable waiting = rn::with_cancel(runtime.root());
        auto reader = runtime.spawn(wait, waiting.ctx, rn::borrow(ends.second));
        std::thread canceller([&] { waiting.cancel(); });
        ends.first.close();
        CHECK(reader.wait());
        CHECK(runtime.stop());
        canceller.join();
    }
}
