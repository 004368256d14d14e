// Deadlines of streams, and idle timeouts.
#include "runnel/deadlines.hpp"

#include <runnel/go.hpp>
#include <runnel/select.hpp>
#include <runnel/testing.hpp>
#include <runnel/testing_network.hpp>

#include <atomic>

#include "loopback.hpp"
#include "support/level.hpp"

namespace testing = runnel::testing;
using namespace test;

namespace {

rn::clock::time_point in(rn::clock::duration d) { return rn::clock::now() + d; }
rn::clock::time_point long_ago() { return rn::clock::now() - 1h; }

/// Two ends in a simulated world without luck: everything takes a millisecond.
template <class F>
void in_world(F story, testing::network how = testing::network().short_transfers(false)) {
    const auto run =
        testing::simulate(testing::options().seed(1).network(how.latency(1ms, 1ms)), [&]() -> rn::task<> {
            stream_pair ends = co_await connected_pair();
            co_await story(ends.first, ends.second);
        });
    CHECK_MESSAGE(run.ok(), run.what());
}

/// The same on the system's sockets.
template <class F>
void on_sockets(F story) {
    run_on(
        2,
        [](F what) -> rn::task<> {
            stream_pair ends = co_await connected_pair();
            co_await what(ends.first, ends.second);
        },
        story);
}

rn::task<> a_read_in_time(rn::tcp_stream& mine, rn::tcp_stream& other) {
    mine.set_read_deadline(in(20ms));
    const auto late = co_await mine.recv();
    CHECK(late.error() == rn::errc::timed_out);
    CHECK(co_await other.write_all("hello"));
    const auto refused = co_await mine.recv();
    CHECK(refused.error() == rn::errc::timed_out);  // until it is set anew
    CHECK(co_await mine.write_all("the other direction has no deadline"));
    mine.set_read_deadline(std::nullopt);
    const auto heard = co_await mine.recv();
    CHECK(heard->text() == "hello");  // nothing was lost
}

rn::task<> set_while_somebody_reads(rn::tcp_stream& mine, rn::tcp_stream& other) {
    auto reader = rn::go(
        [](rn::tcp_stream& from) -> rn::task<> {
            const auto first = co_await from.recv();  // waits already when the first deadline is set
            CHECK(first.error() == rn::errc::timed_out);
            from.set_read_deadline(std::nullopt);
            const auto second = co_await from.recv();
            CHECK(second->text() == "hello");
        },
        rn::borrow(mine));
    (void)co_await rn::sleep_for(10ms);
    mine.set_read_deadline(long_ago());
    (void)co_await rn::sleep_for(10ms);
    CHECK(co_await other.write_all("hello"));
    CHECK(co_await reader);
}

rn::task<> a_write_in_time(rn::tcp_stream& mine, rn::tcp_stream& other) {
    const std::string much = pattern(std::size_t{16} << 20);
    mine.set_write_deadline(in(50ms));
    const auto sent = co_await mine.write_all(much);
    CHECK(sent.error == rn::errc::timed_out);
    CHECK(sent.bytes > 0);
    CHECK(sent.bytes < much.size());
    const auto refused = co_await mine.write_all("x");
    CHECK(refused.error == rn::errc::timed_out);
    CHECK(refused.bytes == 0);
    mine.set_deadline(std::nullopt);
    auto reader = rn::go(read_all, rn::borrow(other));
    const auto rest = co_await mine.write_all(std::string_view(much).substr(sent.bytes));
    CHECK(rest);
    CHECK(mine.shutdown_write());
    const auto all = co_await reader;
    CHECK((all.value() == much));
}

rn::task<> say_every(rn::tcp_stream& to, rn::clock::duration pause, int times, std::string what) {
    for (int i = 0; i < times; ++i) {
        (void)co_await rn::sleep_for(pause);
        if (!co_await to.write_all(what)) co_return;
    }
}

/// How long it takes until reading ends.
rn::task<rn::clock::duration> read_to_the_end(rn::tcp_stream& from, std::error_code expected) {
    const auto start = rn::clock::now();
    for (;;) {
        const auto chunk = co_await from.recv();
        if (chunk) continue;
        testing::expect(chunk.error() == expected, "ends as expected");
        co_return rn::clock::now() - start;
    }
}
}

TEST_CASE("deadlines: a read ends when its deadline comes and goes on when that is cleared") {
    on_sockets(a_read_in_time);
    in_world(a_read_in_time);
}

TEST_CASE("deadlines: one that is set while somebody reads concerns that read") {
    on_sockets(set_while_somebody_reads);
    in_world(set_while_somebody_reads);
}

TEST_CASE("deadlines: a write that was too late tells how much went out") {
    on_sockets(a_write_in_time);
    in_world(a_write_in_time);
}

TEST_CASE("deadlines: a deadline that is put off with each message does not come") {
    in_world([](rn::tcp_stream& mine, rn::tcp_stream& other) -> rn::task<> {
        rn::go(say_every, rn::borrow(other), 3s, 10, std::string("tick"));
        const auto start = rn::clock::now();
        for (int i = 0; i < 10; ++i) {
            mine.set_read_deadline(in(4s));
            const auto chunk = co_await mine.recv();
            testing::expect(chunk.has_value(), "in time");
        }
        const auto none = co_await mine.recv();
        testing::expect(none.error() == rn::errc::timed_out, "the last one comes");
        testing::expect(rn::clock::now() - start == 27s + 4s + 1ms, "when it was set for");
    });
}

TEST_CASE("deadlines: an earlier one comes earlier and one of a long time ago at once") {
    in_world([](rn::tcp_stream& mine, rn::tcp_stream&) -> rn::task<> {
        const auto start = rn::clock::now();
        mine.set_read_deadline(start + 1h);
        mine.set_read_deadline(start + 2s);
        (void)co_await mine.recv();
        testing::expect(rn::clock::now() - start == 2s, "the earlier one");
        mine.set_read_deadline(start);
        const auto at_once = co_await mine.recv();
        testing::expect(at_once.error() == rn::errc::timed_out, "late");
        testing::expect(rn::clock::now() - start == 2s, "at once");
    });
}

TEST_CASE("deadlines: a limit around one operation and a deadline are both kept") {
    in_world([](rn::tcp_stream& mine, rn::tcp_stream&) -> rn::task<> {
        const auto start = rn::clock::now();
        mine.set_read_deadline(start + 5s);
        const auto first = co_await rn::with_timeout(1s, mine.recv());
        testing::expect(first.error() == rn::errc::timed_out, "the limit");
        testing::expect(rn::clock::now() - start == 1s, "after a second");
        const auto second = co_await rn::with_timeout(1min, mine.recv());
        testing::expect(second.error() == rn::errc::timed_out, "the deadline");
        testing::expect(rn::clock::now() - start == 5s, "when it comes");
    });
}

TEST_CASE("deadlines: a read in a select is late like any other and the select goes on with that case") {
    const auto story = [](rn::tcp_stream& mine, rn::tcp_stream& other) -> rn::task<> {
        mine.set_read_deadline(in(20ms));
        auto won = co_await rn::select(mine.recv(), rn::after(10s));
        CHECK(won.index() == 0);
        const auto late = won.take<0>();
        CHECK(late.error() == rn::errc::timed_out);
        auto again = co_await rn::select(mine.recv(), rn::after(10s));
        CHECK(again.index() == 0);  // at once
        mine.set_read_deadline(std::nullopt);
        CHECK(co_await other.write_all("hello"));
        auto heard = co_await rn::select(mine.recv(), rn::after(10s));
        CHECK(heard.index() == 0);
        const auto chunk = heard.take<0>();
        CHECK(chunk->text() == "hello");
    };
    on_sockets(story);
    in_world(story);
}

TEST_CASE("idle timeout: a select that waits for the peer is as idle as a read") {
    in_world([](rn::tcp_stream& mine, rn::tcp_stream& other) -> rn::task<> {
        mine.set_idle_timeout(30s);
        rn::go(say_every, rn::borrow(other), 20s, 2, std::string("."));
        const auto start = rn::clock::now();
        for (;;) {
            auto won = co_await rn::select(mine.recv(), rn::after(1h));
            testing::expect(won.index() == 0, "the read");
            const auto chunk = won.take<0>();
            if (!chunk) break;
        }
        testing::expect(rn::clock::now() - start == 40s + 1ms + 30s, "30 s after the last byte");
        testing::expect(mine.idle_timed_out(), "idle");
    });
}

TEST_CASE("deadlines: they move with their stream and end with it") {
    in_world([](rn::tcp_stream& mine, rn::tcp_stream& other) -> rn::task<> {
        mine.set_read_deadline(in(2s));
        other.set_read_deadline(in(1s));
        rn::tcp_stream moved = std::move(mine);
        mine = std::move(other);  // whose deadline of 1 s comes along
        const auto start = rn::clock::now();
        const auto first = co_await mine.recv();
        testing::expect(first.error() == rn::errc::timed_out && rn::clock::now() - start == 1s, "1 s");
        const auto second = co_await moved.recv();
        testing::expect(second.error() == rn::errc::timed_out && rn::clock::now() - start == 2s, "2 s");
        moved.set_read_deadline(in(1s));
        moved.close();
        (void)co_await rn::sleep_for(2s);
        const auto closed = co_await moved.recv();
        testing::expect(closed.error() == rn::errc::closed, "closed before it is late");
    });
}

TEST_CASE("deadlines: interrupting again and again loses no byte") {
    const std::size_t bytes = support::scaled(std::size_t{1} << 20, std::size_t{8} << 20);
    const auto story = [](rn::tcp_stream& mine, rn::tcp_stream& other, std::size_t size) -> rn::task<> {
        const std::string text = pattern(size);
        std::atomic<bool> done = false;
        auto writer = rn::go(
            [](rn::tcp_stream& to, const std::string& what) -> rn::task<> {
                for (std::size_t at = 0; at < what.size();) {
                    const auto sent = co_await to.write_all(std::string_view(what).substr(at, 10'000));
                    at += sent.bytes;
                    if (!sent) to.set_write_deadline(std::nullopt);
                    (void)co_await rn::yield();
                }
                CHECK(to.shutdown_write());
            },
            rn::borrow(other), rn::borrow(text));
        auto setter = rn::go(
            [](rn::tcp_stream& a, std::atomic<bool>& over) -> rn::task<> {
                while (!over) {
                    a.set_read_deadline(long_ago());
                    (void)co_await rn::yield();
                }
            },
            rn::borrow(mine), rn::borrow(done));
        std::string heard;
        std::uint64_t late = 0;
        for (;;) {
            const auto chunk = co_await mine.recv();
            if (chunk) heard += chunk->text();
            if (chunk) continue;
            if (chunk.error() != rn::errc::timed_out) break;
            ++late;
            mine.set_read_deadline(std::nullopt);
            (void)co_await rn::yield();
        }
        done = true;
        CHECK(co_await setter);
        CHECK(co_await writer);
        CHECK((heard == text));
        CHECK(late > 0);
    };
    run_on(
        4,
        [](auto what, std::size_t size) -> rn::task<> {
            stream_pair ends = co_await connected_pair();
            co_await what(ends.first, ends.second, size);
        },
        story, bytes);
}

// --- Idle --------------------------------------------------------------------------------------------------

TEST_CASE("idle timeout: it ends what has not moved a byte for so long") {
    in_world([](rn::tcp_stream& mine, rn::tcp_stream& other) -> rn::task<> {
        mine.set_idle_timeout(30s);
        rn::go(say_every, rn::borrow(other), 20s, 3, std::string("."));
        const auto took = co_await read_to_the_end(mine, make_error_code(rn::errc::timed_out));
        testing::expect(took == 60s + 1ms + 30s, "30 s after the last byte");
        testing::expect(mine.idle_timed_out(), "and says why");
        const auto written = co_await mine.write_all("x");
        testing::expect(written.error == rn::errc::timed_out, "both directions");
        mine.set_deadline(std::nullopt);
        const auto still = co_await mine.recv();
        testing::expect(still.error() == rn::errc::timed_out, "no deadline brings it back");
        mine.set_idle_timeout(std::nullopt);
        const auto back = co_await mine.write_all("x");
        testing::expect(static_cast<bool>(back), "but its own end does");
    });
}

TEST_CASE("idle timeout: a byte now and then does not keep a connection that must move more") {
    in_world([](rn::tcp_stream& mine, rn::tcp_stream& other) -> rn::task<> {
        mine.set_idle_timeout(30s, 100);
        rn::go(say_every, rn::borrow(other), 5s, 1000, std::string("."));  // a slow loris
        const auto took = co_await read_to_the_end(mine, make_error_code(rn::errc::timed_out));
        testing::expect(took == 30s, "after its 30 s");
        mine.close();
    });
}

TEST_CASE("idle timeout: who is busy with something else is not idle") {
    in_world([](rn::tcp_stream& mine, rn::tcp_stream& other) -> rn::task<> {
        mine.set_idle_timeout(30s);
        (void)co_await rn::sleep_for(10min);  // asks a database
        testing::expect(static_cast<bool>(co_await mine.write_all("here you are")), "may answer");
        auto heard = co_await other.recv();
        testing::expect(heard.has_value(), "and is heard");
    });
}

TEST_CASE("idle timeout: a long write that goes on is not idle and one that does not is") {
    const auto slow = testing::network().short_transfers(false).bandwidth(1000).buffer(1000);
    in_world(
        [](rn::tcp_stream& mine, rn::tcp_stream& other) -> rn::task<> {
            const std::string text = pattern(100'000);
            mine.set_idle_timeout(10s);
            auto reader = rn::go(
                [](rn::tcp_stream& from, std::size_t most) -> rn::task<> {
                    for (std::size_t got = 0; got < most;) {
                        const auto some = co_await from.recv();
                        got += some.value().size();
                    }
                },
                rn::borrow(other), text.size());
            const auto sent = co_await mine.write_all(text);
            testing::expect(static_cast<bool>(sent), "took its 100 s");
            (void)co_await reader;
            const auto start = rn::clock::now();
            const auto stuck = co_await mine.write_all(text);  // nobody reads
            testing::expect(stuck.error == rn::errc::timed_out, "stuck");
            testing::expect(rn::clock::now() - start < 15s, "in time");
        },
        slow);
}

TEST_CASE("idle timeout: on sockets too a silent peer is ended and a long write that goes on is not") {
    const auto story = [](rn::tcp_stream& mine, rn::tcp_stream& other) -> rn::task<> {
        const std::string text = pattern(std::size_t{24} << 20);
        mine.set_idle_timeout(400ms);
        auto reader = rn::go(
            [](rn::tcp_stream& from, std::size_t most) -> rn::task<std::size_t> {
                std::size_t got = 0;
                std::string room(std::size_t{1} << 19, '\0');
                while (got < most) {
                    const auto some = co_await from.read_some(std::as_writable_bytes(std::span(room)));
                    if (!some) break;
                    got += *some;
                    (void)co_await rn::sleep_for(20ms);  // some 50 times: more than a second in all
                }
                co_return got;
            },
            rn::borrow(other), text.size());
        const auto sent = co_await mine.write_all(text);
        CHECK(sent);
        const auto got = co_await reader;
        CHECK(got.value() == text.size());
        const auto silent = co_await mine.recv();
        CHECK(silent.error() == rn::errc::timed_out);
        CHECK(mine.idle_timed_out());
    };
    on_sockets(story);
}
