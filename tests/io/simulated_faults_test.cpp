// The simulated network when it is slow, small, broken or cut, and operations that are taken back in it.
#include <doctest/doctest.h>
#include <runnel/testing.hpp>
#include <runnel/testing_network.hpp>

#include <algorithm>
#include <string>

#include "loopback.hpp"
#include "support/level.hpp"

namespace rn = runnel;
namespace testing = runnel::testing;
using namespace std::chrono_literals;
using test::connected_pair;
using test::pattern;
using test::read_all;

namespace {

/// A network on which nothing is left to chance.
testing::network plain() { return testing::network().latency(1ms, 1ms).short_transfers(false); }

template <class F>
void run_in(const testing::network& how, F main) {
    const auto run = testing::simulate(testing::options().network(how), main);
    CHECK_MESSAGE(run.ok(), run.what());
}

template <class F>
void explore_in(const testing::network& how, std::uint64_t seeds, F main) {
    const auto all = testing::explore(testing::options().network(how), seeds, main);
    CHECK_MESSAGE(all.ok(), all.what());
}

rn::clock::duration since(rn::clock::time_point start) { return rn::clock::now() - start; }

rn::task<> write_and_finish(rn::tcp_stream& to, const std::string& text) {
    const auto sent = co_await to.write_all(text);
    testing::expect(sent.bytes == text.size() && !sent.error, "all is written");
    to.shutdown_write();
}

// --- Slow and small --------------------------------------------------------------------------------------

TEST_CASE("simulated network: what is sent arrives after the latency, and connecting takes two") {
    run_in(plain().latency(20ms, 20ms), []() -> rn::task<> {
        const auto start = rn::clock::now();
        auto ends = co_await connected_pair();
        testing::expect(since(start) == 40ms, "asked and answered");
        (void)co_await ends.first.write_all("x");
        testing::expect(since(start) == 40ms, "a write that has room takes no time");
        (void)co_await ends.second.recv();
        testing::expect(since(start) == 60ms, "it is there");
    });
}

TEST_CASE("simulated network: the latency is drawn from its range, both ends included, and keeps the order") {
    rn::clock::duration least = 1h, most = 0h;
    explore_in(testing::network().latency(70ms, 140ms), 100, [&]() -> rn::task<> {
        auto ends = co_await connected_pair();
        const auto start = rn::clock::now();
        (void)co_await ends.first.write_all("1");
        (void)co_await ends.first.write_all("2");
        auto first = co_await ends.second.recv();
        least = std::min(least, since(start));
        most = std::max(most, since(start));
        testing::expect(first->text().starts_with("1"));
    });
    CHECK(least == 70ms);
    CHECK(most == 140ms);
}

TEST_CASE("simulated network: a line of limited bandwidth needs its time") {
    run_in(plain().bandwidth(1'000'000), []() -> rn::task<> {
        auto ends = co_await connected_pair();
        const std::string text = pattern(2'000'000);
        const auto start = rn::clock::now();
        auto writer = rn::go(write_and_finish, rn::borrow(ends.first), rn::borrow(text));
        const std::string heard = co_await read_all(ends.second);
        testing::expect(heard == text);
        testing::expect(since(start) >= 2s && since(start) < 2100ms, "2 MB at 1 MB a second");
        co_await writer;
    });
}

TEST_CASE("simulated network: who writes to one that does not read has to wait; what had room is reported") {
    run_in(plain().buffer(1000), []() -> rn::task<> {
        auto ends = co_await connected_pair();
        const auto start = rn::clock::now();
        const rn::transfer sent = co_await rn::with_timeout(1min, ends.first.write_all(pattern(5000)));
        testing::expect(sent.error == rn::errc::timed_out);
        testing::expect(sent.bytes == 1000 && since(start) == 1min);
        ends.first.shutdown_write();
        const std::string heard = co_await read_all(ends.second);
        testing::expect(heard == pattern(5000).substr(0, 1000), "and exactly that arrives");
    });
}

TEST_CASE("simulated network: reads and writes are short by chance, and lose nothing") {
    bool short_read = false, short_write = false;
    explore_in(testing::network().buffer(100), 100, [&]() -> rn::task<> {
        auto ends = co_await connected_pair();
        const std::string text = pattern(90);
        std::string written, read;
        while (written.size() < text.size()) {
            const auto sent = co_await ends.first.write_some(std::string_view(text).substr(written.size()));
            testing::expect(sent.bytes > 0);
            written += text.substr(written.size(), sent.bytes);
            short_write |= written.size() < text.size();
        }
        ends.first.close();
        while (auto chunk = co_await ends.second.recv()) {
            read += chunk->text();
            short_read |= chunk->size() < 90;
        }
        testing::expect(read == text);
    });
    CHECK(short_read);
    CHECK(short_write);
}

// --- Descriptors, ports, backlog ------------------------------------------------------------------------

TEST_CASE("simulated network: a closed descriptor's number is the next to be used") {
    run_in(plain(), []() -> rn::task<> {
        auto listener = rn::tcp_listener::bind("127.0.0.1:0").value();
        auto first = co_await rn::tcp_stream::connect(listener.local_address());
        const int number = first->native_handle();
        first->close();
        auto second = co_await rn::tcp_stream::connect(listener.local_address());
        testing::expect(second->native_handle() == number);
    });
}

TEST_CASE("simulated network: without a descriptor accept() backs off, and goes on when there is one") {
    run_in(plain().descriptors(3), []() -> rn::task<> {
        auto listener = rn::tcp_listener::bind("127.0.0.1:7000").value();
        auto near = co_await rn::tcp_stream::connect(listener.local_address());
        auto spare = rn::tcp_listener::bind("127.0.0.1:7001");
        testing::expect(spare.has_value(), "that was the last");
        auto refused = co_await rn::tcp_stream::connect(listener.local_address());
        testing::expect(refused.error() == std::errc::too_many_files_open);
        auto later = rn::go(
            [](rn::tcp_listener& close) -> rn::task<> {
                co_await rn::sleep_for(10s);
                close.close();
            },
            rn::borrow(*spare));
        const auto start = rn::clock::now();
        auto far = co_await listener.accept();
        testing::expect(far.has_value() && since(start) >= 10s && since(start) <= 10s + 100ms);
        testing::expect(listener.accept_pauses() > 90, "it tried every 100 ms");
        co_await later;
    });
}

TEST_CASE("simulated network: a full backlog lets nobody in until there is room") {
    run_in(plain(), []() -> rn::task<> {
        auto listener = rn::tcp_listener::bind("127.0.0.1:7000", rn::tcp_options().backlog(1)).value();
        const rn::address at = listener.local_address();
        auto first = co_await rn::tcp_stream::connect(at);
        auto second = co_await rn::tcp_stream::connect(at);  // Linux lets one more wait than asked for
        auto third = co_await rn::with_timeout(500ms, rn::tcp_stream::connect(at));
        testing::expect(first.has_value() && second.has_value());
        testing::expect(third.error() == rn::errc::timed_out);
        auto accepted = co_await listener.accept();
        third = co_await rn::tcp_stream::connect(at);
        testing::expect(accepted.has_value() && third.has_value());
        const auto start = rn::clock::now();
        auto fourth = co_await rn::tcp_stream::connect(at);
        testing::expect(fourth.error() == std::errc::timed_out && since(start) > 2min,
                        "given up by the system");
    });
}

// --- Faults ----------------------------------------------------------------------------------------------

TEST_CASE(
    "simulated network: connections are reset by chance; both ends are told, and nothing wrong is read") {
    int whole = 0, reset = 0;
    explore_in(testing::network().resets(4), 200, [&]() -> rn::task<> {
        auto ends = co_await connected_pair();
        const std::string text = pattern(300);
        auto writer = rn::go(
            [](rn::tcp_stream& to, const std::string& what) -> rn::task<> {
                for (std::size_t at = 0; at < what.size(); at += 100) {
                    auto sent = co_await to.write_all(std::string_view(what).substr(at, 100));
                    if (!sent) co_return;
                    co_await rn::sleep_for(5ms);
                }
                to.shutdown_write();
            },
            rn::borrow(ends.first), rn::borrow(text));
        std::string heard;
        bool was_reset = false;
        for (;;) {
            auto chunk = co_await ends.second.recv();
            if (!chunk) {
                const bool end = chunk.error() == rn::errc::end_of_stream;
                testing::expect(end || chunk.error() == std::errc::connection_reset);
                testing::expect(!end || heard == text, "an end is the end");
                ++(end ? whole : reset);
                was_reset = !end;
                break;
            }
            heard += chunk->text();
        }
        testing::expect(text.starts_with(heard));
        co_await writer;
        if (was_reset) co_await ends.first.readable();  // returns: he is told, too
    });
    CHECK(whole > 20);
    CHECK(reset > 20);
}

TEST_CASE("simulated network: connects are refused by chance") {
    int made = 0, refused = 0;
    explore_in(testing::network().refusals(3), 100, [&]() -> rn::task<> {
        auto listener = rn::tcp_listener::bind("127.0.0.1:0").value();
        auto near = co_await rn::tcp_stream::connect(listener.local_address());
        testing::expect(near || near.error() == std::errc::connection_refused);
        ++(near ? made : refused);
    });
    CHECK(made > 40);
    CHECK(refused > 20);
}

TEST_CASE("simulated network: across a cut nothing passes; healed, what was written arrives") {
    run_in(plain(), []() -> rn::task<> {
        auto listener = rn::tcp_listener::bind("10.0.0.1:7000").value();
        auto near = (co_await rn::tcp_stream::connect(listener.local_address())).value();
        auto far = (co_await listener.accept()).value();
        (void)co_await near.write_all("under way, ");
        testing::cut(listener.local_address());
        (void)co_await near.write_all("written meanwhile");
        const auto start = rn::clock::now();
        const auto nothing = co_await rn::with_timeout(1s, far.recv());
        testing::expect(nothing.error() == rn::errc::timed_out && since(start) == 1s);
        const auto late = co_await rn::with_timeout(5s, rn::tcp_stream::connect(listener.local_address()));
        testing::expect(late.error() == rn::errc::timed_out, "connects hang");

        testing::heal(listener.local_address());
        near.shutdown_write();
        const std::string heard = co_await read_all(far);
        testing::expect(heard == "under way, written meanwhile");
        const auto again = co_await rn::tcp_stream::connect(listener.local_address());
        testing::expect(again.has_value());
    });
}

TEST_CASE("simulated network: room that a reader makes during a cut is known after it") {
    run_in(plain().buffer(10), []() -> rn::task<> {
        auto ends = co_await connected_pair();
        const rn::address client = ends.first.local_address().value();
        (void)co_await ends.first.write_all("0123456789");
        co_await ends.second.readable();
        testing::cut(client);
        auto chunk = co_await ends.second.recv();
        const auto more = co_await rn::with_timeout(1s, ends.first.write_all("x"));
        testing::expect(chunk->size() == 10 && more.error == rn::errc::timed_out);
        testing::heal(client);
        const auto now = co_await ends.first.write_all("x");
        testing::expect(!now.error);
    });
}

TEST_CASE("simulated network: the cut of one client does not touch another") {
    run_in(plain(), []() -> rn::task<> {
        auto listener = rn::tcp_listener::bind("127.0.0.1:7000").value();
        auto first = (co_await rn::tcp_stream::connect(listener.local_address())).value();
        auto second = (co_await rn::tcp_stream::connect(listener.local_address())).value();
        testing::cut(first.local_address().value());
        auto far_first = (co_await listener.accept()).value();
        auto far_second = (co_await listener.accept()).value();
        (void)co_await far_first.write_all("lost");
        (void)co_await far_second.write_all("heard");
        const auto heard = co_await second.recv();
        testing::expect(heard->text() == "heard");
        const auto lost = co_await rn::with_timeout(1s, first.recv());
        testing::expect(lost.error() == rn::errc::timed_out);
    });
}

TEST_CASE("simulated network: a listener at every address can be cut by that or by one of its addresses") {
    run_in(plain(), []() -> rn::task<> {
        auto listener = rn::tcp_listener::bind("0.0.0.0:7000").value();
        const rn::address one = rn::address::parse("10.0.0.1:7000").value();
        const rn::address other = rn::address::parse("10.0.0.2:7000").value();
        testing::cut(one);
        auto hangs = co_await rn::with_timeout(1s, rn::tcp_stream::connect(one));
        auto passes = co_await rn::with_timeout(1s, rn::tcp_stream::connect(other));
        testing::expect(hangs.error() == rn::errc::timed_out && passes.has_value());
        testing::heal(one);
        testing::cut(listener.local_address());
        hangs = co_await rn::with_timeout(1s, rn::tcp_stream::connect(other));
        testing::expect(hangs.error() == rn::errc::timed_out);
    });
}

TEST_CASE("simulated network: who writes to an end that has given up is told with a reset") {
    run_in(plain(), []() -> rn::task<> {
        auto ends = co_await connected_pair();
        const rn::address client = ends.first.local_address().value();
        testing::cut(client);
        (void)co_await ends.first.write_all("hello?");
        auto given_up = co_await ends.first.recv();
        testing::expect(given_up.error() == std::errc::timed_out);
        testing::heal(client);
        (void)co_await ends.second.write_all("are you there?");
        auto told = co_await ends.second.recv();
        testing::expect(told.error() == std::errc::connection_reset);
    });
}

TEST_CASE("simulated network: what is never acknowledged is given up in the end, as is a connect") {
    run_in(plain(), []() -> rn::task<> {
        auto ends = co_await connected_pair();
        const rn::address client = ends.first.local_address().value();
        testing::cut(client);
        (void)co_await ends.first.write_all("hello?");
        const auto start = rn::clock::now();
        auto none = co_await ends.first.recv();
        testing::expect(none.error() == std::errc::timed_out && since(start) == 924s);

        auto listener = rn::tcp_listener::bind("127.0.0.1:7000").value();
        testing::cut(listener.local_address());
        auto hangs = co_await rn::tcp_stream::connect(listener.local_address());
        testing::expect(hangs.error() == std::errc::timed_out && since(start) >= 924s + 127s);
    });
}

TEST_CASE("simulated network: a peer that has vanished swallows what is written, and says nothing") {
    run_in(plain().buffer(10), []() -> rn::task<> {
        auto listener = rn::tcp_listener::bind("127.0.0.1:7000").value();
        auto near = (co_await rn::tcp_stream::connect(listener.local_address())).value();
        auto far = (co_await listener.accept()).value();
        testing::vanish(listener.local_address());
        const auto swallowed = co_await rn::with_timeout(1min, near.write_all("0123456789 and more"));
        testing::expect(swallowed.bytes == 10 && swallowed.error == rn::errc::timed_out);
        near.close();
        const auto nothing = co_await rn::with_timeout(1h, far.recv());
        testing::expect(nothing.error() == rn::errc::timed_out, "not even that it was closed");
        auto other = co_await rn::tcp_stream::connect(listener.local_address());
        testing::expect(other.has_value(), "new connections are as usual");
    });
}

TEST_CASE("simulated network: all connections of a listener can be reset, its new ones are not") {
    run_in(plain(), []() -> rn::task<> {
        auto listener = rn::tcp_listener::bind("127.0.0.1:7000").value();
        auto near = (co_await rn::tcp_stream::connect(listener.local_address())).value();
        auto far = (co_await listener.accept()).value();
        testing::reset_all(listener.local_address());
        testing::expect((co_await near.recv()).error() == std::errc::connection_reset);
        const auto sent = co_await far.write_all("x");
        testing::expect(sent.error == std::errc::connection_reset);
        near = (co_await rn::tcp_stream::connect(listener.local_address())).value();
        const auto again = co_await near.write_all("x");
        testing::expect(!again.error);
    });
}

TEST_CASE("simulated network: who waits for what can never come is deadlocked, and the report says at which "
          "place") {
    const auto run = testing::simulate(testing::options(), []() -> rn::task<> {
        auto ends = co_await connected_pair();
        (void)co_await ends.first.recv();
    });
    CHECK(run.kind() == testing::failure::deadlock);
    CHECK_MESSAGE(run.what().find("simulated_faults_test.cpp:") != std::string::npos, run.what());
}

TEST_CASE("simulated network: the log says what arrived when") {
    const auto how = testing::options().network(plain()).keep_log(true);
    const auto run = testing::simulate(how, []() -> rn::task<> {
        auto listener = rn::tcp_listener::bind("127.0.0.1:7000").value();
        auto near = (co_await rn::tcp_stream::connect(listener.local_address())).value();
        auto far = (co_await listener.accept()).value();
        (void)co_await near.write_all("twelve bytes");
        (void)co_await far.recv();
        testing::cut(listener.local_address());
    });
    CHECK_MESSAGE(run.ok(), run.what());
    for (const char* line :
         {"127.0.0.1:32768 -> 127.0.0.1:7000: connected\n",
          "127.0.0.1:32768 -> 127.0.0.1:7000: 12 bytes arrive\n", "127.0.0.1:7000 is cut off\n"})
        CHECK_MESSAGE(run.log().find(line) != std::string::npos, run.log());
}

// --- Taken back ------------------------------------------------------------------------------------------

/// Runs `attempt` again and again, each time under a context that somebody cancels at one of the next points,
/// until it says that it is done.
template <class Attempt>
rn::task<> with_cancels(Attempt attempt) {
    for (bool done = false; !done;) {
        const auto [ctx, cancel] = rn::with_cancel(rn::current_context());
        auto canceller = rn::go(
            [](rn::cancel_function stop) -> rn::task<> {
                co_await rn::sleep_for(1ms);
                stop();
            },
            cancel);
        auto ended = co_await rn::with_context(ctx, attempt());
        done = ended;
        co_await canceller;
    }
}

rn::task<> write_with_cancels(rn::tcp_stream& to, const std::string& text) {
    std::size_t written = 0;
    const auto attempt = [&]() -> rn::task<bool> {
        const auto sent = co_await to.write_all(std::string_view(text).substr(written));
        written += sent.bytes;
        testing::expect(!sent.error || sent.error == rn::errc::cancelled);
        co_return written == text.size();
    };
    co_await with_cancels(attempt);
    to.shutdown_write();
}

rn::task<> read_with_cancels(rn::tcp_stream& from, std::string& heard) {
    int turn = 0;
    const auto attempt = [&]() -> rn::task<bool> {
        std::error_code error;
        std::byte some[16];
        if (turn = (turn + 1) % 3; turn == 0) {
            auto ready = co_await from.readable();
            error = ready.error();
        } else if (turn == 1) {
            auto chunk = co_await from.recv();
            error = chunk.error();
            if (chunk) heard += chunk->text();
        } else {
            auto count = co_await from.read_some(some);
            error = count.error();
            if (count) heard.append(reinterpret_cast<const char*>(some), *count);
        }
        testing::expect(!error || error == rn::errc::cancelled || error == rn::errc::end_of_stream);
        co_return error == rn::errc::end_of_stream;
    };
    co_await with_cancels(attempt);
}

TEST_CASE("simulated network: reads and writes that are cancelled at any point lose and double nothing") {
    explore_in(testing::network().buffer(50), support::scaled(500U, 50'000U), []() -> rn::task<> {
        auto ends = co_await connected_pair();
        const std::string text = pattern(200);
        std::string heard;
        co_await rn::scoped([&](rn::scope& both) -> rn::task<> {
            both.spawn(write_with_cancels, rn::borrow(ends.first), rn::borrow(text));
            both.spawn(read_with_cancels, rn::borrow(ends.second), rn::borrow(heard));
            co_return;
        });
        testing::expect(heard == text);
    });
}

TEST_CASE("simulated network: connects and accepts that are cancelled at any point lose no connection or "
          "descriptor") {
    bool cancelled = false, late = false;
    explore_in(testing::network().descriptors(5), support::scaled(500U, 50'000U), [&]() -> rn::task<> {
        auto listener = rn::tcp_listener::bind("127.0.0.1:7000").value();
        int served = 0;
        auto server = rn::go([&]() -> rn::task<> {
            const auto attempt = [&]() -> rn::task<bool> {
                auto peer = co_await listener.accept();
                if (!peer) co_return false;
                auto greeting = co_await peer->recv();  // none of a client that was cancelled
                if (greeting) ++served;
                late |= !greeting && greeting.error() != rn::errc::cancelled;
                co_return served == 3;
            };
            co_await with_cancels(attempt);
        });
        for (int i = 0; i < 3; ++i) {
            const auto attempt = [&]() -> rn::task<bool> {
                auto peer = co_await rn::tcp_stream::connect(listener.local_address());
                cancelled |= peer.error() == rn::errc::cancelled;
                testing::expect(peer || peer.error() == rn::errc::cancelled);
                if (!peer) co_return false;
                (void)co_await rn::shielded(peer->write_all("hello"));
                auto end = co_await rn::shielded(peer->recv());
                co_return !end && served > i;
            };
            co_await with_cancels(attempt);
        }
        listener.close();
        co_await server;
    });
    CHECK(cancelled);
    CHECK(late);
}
}
