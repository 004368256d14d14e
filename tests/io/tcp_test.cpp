// What a user of TCP sees: connecting, moving bytes, ending.
#include <sys/socket.h>

#include <csignal>
#include <optional>

#include "loopback.hpp"
#include "support/child.hpp"

using namespace test;

namespace {

rn::task<std::string> ask(rn::address server, std::string question) {
    rn::tcp_stream stream = (co_await rn::tcp_stream::connect(server)).value();
    CHECK(co_await stream.write_all(question));
    CHECK(stream.shutdown_write());
    co_return co_await read_all(stream);
}

rn::task<> echo_one(rn::tcp_listener& listener) { co_await echo((co_await listener.accept()).value()); }

rn::task<std::string> echoed(std::string where, std::string question) {
    rn::tcp_listener listener = rn::tcp_listener::bind(where).value();
    auto server = rn::go(echo_one, rn::borrow(listener));
    std::string answer = co_await ask(listener.local_address(), std::move(question));
    CHECK(co_await server);
    co_return answer;
}
}

TEST_CASE("tcp: an echo over IPv4 gives back what was written") {
    CHECK(run_on(2, echoed, "127.0.0.1:0", "hello").value() == "hello");
}

TEST_CASE("tcp: an echo over IPv6 gives back what was written") {
    if (!has_ipv6()) {
        MESSAGE("skipped: this machine has no IPv6 loopback");
        return;
    }
    CHECK(run_on(2, echoed, "[::1]:0", "hello").value() == "hello");
}

TEST_CASE("tcp: a message far larger than the socket's buffers arrives whole and in order") {
    const std::string large = pattern(std::size_t{4} << 20);
    rn::runtime runtime(rn::options().workers(2));
    // Both directions move at once: the echo cannot wait for the question to end.
    const auto talk = [](std::string question) -> rn::task<std::string> {
        stream_pair ends = co_await connected_pair();
        rn::go(echo, std::move(ends.second));
        auto answer = rn::go(read_all, rn::borrow(ends.first));
        const rn::transfer sent = co_await ends.first.write_all(question);
        CHECK(sent.bytes == question.size());
        CHECK(ends.first.shutdown_write());
        co_return (co_await answer).value();
    };
    CHECK((runtime.spawn(talk, large).wait().value() == large));
}

TEST_CASE("tcp: port 0 is replaced by the port that the system chose") {
    const auto listener = rn::tcp_listener::bind("127.0.0.1:0").value();
    CHECK(listener.local_address().port() != 0);
    CHECK(listener.local_address() == rn::address::loopback_ipv4(listener.local_address().port()));
}

TEST_CASE("tcp: bind says that a port is taken, or that the text is no address") {
    const auto first = rn::tcp_listener::bind("127.0.0.1:0").value();
    CHECK(rn::tcp_listener::bind(first.local_address()).error() == std::errc::address_in_use);
    CHECK(rn::tcp_listener::bind("nowhere").error() == std::errc::invalid_argument);
    CHECK(rn::tcp_listener::bind("192.0.2.1:0").error() == std::errc::address_not_available);
}

TEST_CASE("tcp: with reuse_port two listeners share a port") {
    const auto shared = rn::tcp_options().reuse_port(true);
    const auto first = rn::tcp_listener::bind("127.0.0.1:0", shared).value();
    CHECK(rn::tcp_listener::bind(first.local_address(), shared));
}

TEST_CASE("tcp: connect says that nobody listens there") {
    const auto attempt = []() -> rn::task<rn::result<>> {
        auto listener = rn::tcp_listener::bind("127.0.0.1:0").value();
        const rn::address nobody = listener.local_address();
        listener.close();
        co_return (co_await rn::tcp_stream::connect(nobody)).error();
    };
    CHECK(run_on(1, attempt).error() == std::errc::connection_refused);
}

TEST_CASE("tcp: connect takes text, and says when it is no address") {
    const auto attempt = []() -> rn::task<rn::result<>> {
        auto listener = rn::tcp_listener::bind("127.0.0.1:0").value();
        const std::string where = to_string(listener.local_address());
        CHECK(co_await rn::tcp_stream::connect(where));
        co_return (co_await rn::tcp_stream::connect("nowhere")).error();
    };
    CHECK(run_on(1, attempt).error() == std::errc::invalid_argument);
}

TEST_CASE("tcp: both ends know both addresses") {
    const auto compare = []() -> rn::task<> {
        stream_pair ends = co_await connected_pair();
        CHECK(ends.first.local_address().value() == ends.second.peer_address().value());
        CHECK(ends.first.peer_address().value() == ends.second.local_address().value());
    };
    CHECK(run_on(1, compare));
}

TEST_CASE("tcp: after a half-close the other direction goes on") {
    const auto talk = []() -> rn::task<> {
        stream_pair ends = co_await connected_pair();
        CHECK(co_await ends.first.write_all("question"));
        CHECK(ends.first.shutdown_write());
        CHECK(co_await read_all(ends.second) == "question");
        CHECK(co_await ends.second.write_all("answer"));
        ends.second.close();
        CHECK(co_await read_all(ends.first) == "answer");
        CHECK((co_await ends.first.recv()).error() == rn::errc::end_of_stream);  // and stays so
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("tcp: the end of the stream is an error of its own for every way to read") {
    const auto read = []() -> rn::task<> {
        stream_pair ends = co_await connected_pair();
        ends.first.close();
        std::byte buffer[8];
        CHECK((co_await ends.second.recv()).error() == rn::errc::end_of_stream);
        CHECK((co_await ends.second.read_some(buffer)).error() == rn::errc::end_of_stream);
        CHECK(co_await ends.second.readable());
        CHECK((co_await ends.second.read_some({})).value() == 0);
        CHECK((co_await ends.second.recv()).error() == rn::errc::end_of_stream);
    };
    CHECK(run_on(1, read));
}

TEST_CASE("tcp: nothing to move needs no peer") {
    const auto move_nothing = []() -> rn::task<> {
        stream_pair ends = co_await connected_pair();
        CHECK((co_await ends.first.read_some({})).value() == 0);
        const rn::transfer none = co_await ends.first.write_all("");
        CHECK(none);
        CHECK(none.bytes == 0);
    };
    CHECK(run_on(1, move_nothing));
}

TEST_CASE("tcp: writing to a peer that is gone is an error, not a signal") {
    const auto write = []() -> rn::task<rn::result<>> {
        stream_pair ends = co_await connected_pair();
        ends.second.close();
        for (;;) {
            const rn::transfer sent = co_await ends.first.write_all(pattern(4096));
            if (!sent) co_return sent.error;
        }
    };
    const std::error_code error = run_on(1, write).error();
    CHECK((error == std::errc::broken_pipe || error == std::errc::connection_reset));
}

TEST_CASE("tcp: readable waits for data and leaves it there") {
    const auto look = []() -> rn::task<> {
        stream_pair ends = co_await connected_pair();
        CHECK((co_await rn::with_timeout(1ms, ends.second.readable())).error() == rn::errc::timed_out);
        CHECK(co_await ends.first.write_all("x"));
        CHECK(co_await ends.second.readable());
        CHECK(co_await ends.second.readable());
        auto chunk = co_await ends.second.recv();
        CHECK(chunk.value().text() == "x");
    };
    CHECK(run_on(1, look));
}

TEST_CASE("tcp: read_some gives what is there, at most as much as it was given room for") {
    const auto read = []() -> rn::task<> {
        stream_pair ends = co_await connected_pair();
        CHECK(co_await ends.first.write_all("abcdef"));
        std::byte buffer[4];
        CHECK(co_await ends.second.readable());
        CHECK((co_await ends.second.read_some(buffer)).value() == 4);
        CHECK((co_await ends.second.read_some(buffer)).value() == 2);
        CHECK(buffer[1] == std::byte{'f'});
    };
    CHECK(run_on(1, read));
}

TEST_CASE("tcp: several tasks may accept at one listener") {
    const auto serve = []() -> rn::task<> {
        rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
        rn::task_set servers;
        for (int i = 0; i < 4; ++i) servers.spawn(echo_one, rn::borrow(listener));
        for (int i = 0; i < 4; ++i) CHECK(co_await ask(listener.local_address(), "hi") == "hi");
        CHECK(co_await servers.join());
    };
    CHECK(run_on(2, serve));
}

namespace {

rn::task<rn::result<>> why_recv_ends(rn::tcp_stream& stream) { co_return (co_await stream.recv()).error(); }

rn::task<rn::result<>> why_accept_ends(rn::tcp_listener& listener) {
    co_return (co_await listener.accept()).error();
}

rn::task<rn::result<>> why_writing_ends(rn::tcp_stream& stream) {
    for (;;)
        if (const rn::transfer sent = co_await stream.write_all(pattern(65536)); !sent) co_return sent.error;
}
}

TEST_CASE("tcp: close ends what waits at the socket with errc::closed") {
    const auto close_all = []() -> rn::task<> {
        stream_pair ends = co_await connected_pair();
        rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
        auto reader = rn::go(why_recv_ends, rn::borrow(ends.first));
        auto writer = rn::go(why_writing_ends, rn::borrow(ends.first));
        auto server = rn::go(why_accept_ends, rn::borrow(listener));
        CHECK(co_await rn::sleep_for(5ms));  // mostly all three are in the kernel by then; it must not matter
        ends.first.close();
        listener.close();
        CHECK((co_await reader).error() == rn::errc::closed);
        CHECK((co_await writer).error() == rn::errc::closed);
        CHECK((co_await server).error() == rn::errc::closed);
        CHECK((co_await ends.first.recv()).error() == rn::errc::closed);
        CHECK((co_await ends.first.write_all("x")).error == rn::errc::closed);
        CHECK(ends.first.shutdown_write().error() == rn::errc::closed);
        CHECK((co_await listener.accept()).error() == rn::errc::closed);
        CHECK_FALSE(ends.first.is_open());
    };
    CHECK(run_on(2, close_all));
}

// --- Misuse ----------------------------------------------------------------------------------------

TEST_CASE("tcp: a loop that overlooks that its stream is closed lets others run all the same") {
    const auto overlook = [](rn::tcp_stream& stream, const bool& enough) -> rn::task<> {
        while (!enough) {
            auto chunk = co_await stream.recv();
            CHECK(chunk.error() == rn::errc::closed);
        }
    };
    const auto look_on = [=]() -> rn::task<> {
        stream_pair ends = co_await connected_pair();
        ends.first.close();
        bool enough = false;
        auto loop = rn::go(overlook, rn::borrow(ends.first), rn::borrow(enough));
        CHECK(co_await rn::yield());  // the watchdog ends this if it does not come back
        enough = true;
        CHECK(co_await loop);
    };
    CHECK(run_on(1, look_on));
}

TEST_CASE("child: two tasks read one stream" * doctest::skip()) {
    const auto read_twice = []() -> rn::task<> {
        stream_pair ends = co_await connected_pair();
        auto first = rn::go(read_all, rn::borrow(ends.first));
        auto second = rn::go(read_all, rn::borrow(ends.first));
        (void)co_await first;
        (void)co_await second;
    };
    (void)run_on(1, read_twice);
}

TEST_CASE("child: a stream is destroyed while it is read" * doctest::skip()) {
    const auto destroy = []() -> rn::task<> {
        std::optional<stream_pair> ends(co_await connected_pair());
        auto reader = rn::go(read_all, rn::borrow(ends->first));
        CHECK(co_await rn::yield());
        CHECK(co_await rn::yield());
        ends.reset();
        (void)co_await reader;
    };
    (void)run_on(1, destroy);
}

TEST_CASE("tcp: misuse ends the program and says what was wrong") {
    const support::child_end twice = support::child("child: two tasks read one stream").wait();
    CHECK(twice.killed_by(SIGABRT));
    CHECK_MESSAGE(twice.said("two operations at once in the same direction"), twice.printed);
    const support::child_end early = support::child("child: a stream is destroyed while it is read").wait();
    CHECK(early.killed_by(SIGABRT));
    CHECK_MESSAGE(early.said("destroyed while an operation is in flight"), early.printed);
}
