// Unix datagrams: whole messages, in order, none lost, and what is told of them.
#include <runnel/unix_datagram.hpp>

#include <array>
#include <csignal>
#include <ctime>
#include <runnel/testing.hpp>

#include "support/child.hpp"
#include "unix_loopback.hpp"

using namespace test;
using rn::unix_datagram;

namespace {

using datagrams = std::pair<unix_datagram, unix_datagram>;
using bytes = std::array<std::byte, 16>;

/// The next message, in words.
rn::task<std::string> next(unix_datagram& from) {
    bytes buffer;
    const auto came = co_await from.recv(buffer);
    if (!came) co_return came.error().message();
    co_return std::string(reinterpret_cast<const char*>(buffer.data()), came->bytes);
}

rn::task<std::error_code> why_recv_ends(unix_datagram& socket) {
    bytes buffer;
    co_return (co_await socket.recv(buffer)).error();
}

rn::task<std::error_code> why_sending_ends(unix_datagram& socket) {
    for (;;)
        if (const auto sent = co_await socket.send("again"); !sent) co_return sent.error();
}

rn::unix_address at(const std::string& where) { return rn::unix_address::parse(where).value(); }
}

TEST_CASE("unix datagram: messages keep their borders and their order") {
    const auto talk = []() -> rn::task<> {
        datagrams ends = unix_datagram::pair().value();
        CHECK(co_await ends.first.send("one"));
        CHECK(co_await ends.first.send("two"));
        CHECK(co_await ends.first.send(""));
        CHECK(co_await ends.first.send("four"));
        CHECK(co_await next(ends.second) == "one");
        CHECK(co_await next(ends.second) == "two");
        CHECK(co_await next(ends.second) == "");
        CHECK(co_await next(ends.second) == "four");
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("unix datagram: a message tells from whom it is, if that one has a name") {
    const folder mine;
    const auto talk = [](std::string server_at, std::string client_at) -> rn::task<> {
        auto server = unix_datagram::bind(server_at).value();
        auto named = unix_datagram::bind(client_at).value();
        auto unnamed = unix_datagram::open().value();
        bytes buffer;
        CHECK(co_await named.send_to("question", at(server_at)));
        const auto first = co_await server.recv(buffer);
        CHECK(first->bytes == 8);
        CHECK(to_string(first->from) == client_at);
        CHECK(co_await server.send_to("answer", first->from));
        CHECK(co_await next(named) == "answer");
        CHECK(co_await unnamed.send_to("nobody", at(server_at)));
        const auto second = co_await server.recv(buffer);
        CHECK(second->from.is_unnamed());
    };
    CHECK(run_on(1, talk, mine / "server", mine / "client"));
    const std::string abstract = "@runnel datagrams " + std::to_string(getpid());
    CHECK(run_on(1, talk, abstract, abstract + " client"));
}

TEST_CASE("unix datagram: of a message that is too long the first bytes come, and how many there were") {
    const auto talk = []() -> rn::task<> {
        datagrams ends = unix_datagram::pair().value();
        CHECK(co_await ends.first.send("0123456789abcdefgh"));
        CHECK(co_await ends.first.send("short"));
        bytes buffer;
        const auto cut = co_await ends.second.recv(buffer);
        CHECK(cut->bytes == 16);
        CHECK(cut->length == 18);
        CHECK(cut->truncated());
        const auto whole = co_await ends.second.recv(buffer);
        CHECK(whole->bytes == 5);
        CHECK_FALSE(whole->truncated());
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("unix datagram: a receiver that waits is told the length too") {
    const auto talk = []() -> rn::task<> {
        datagrams ends = unix_datagram::pair().value();
        const auto receive = [](unix_datagram& from) -> rn::task<std::size_t> {
            bytes buffer;
            co_return (co_await from.recv(buffer)).value().length;
        };
        auto receiver = rn::go(receive, rn::borrow(ends.second));
        CHECK(co_await rn::sleep_for(5ms));
        CHECK(co_await ends.first.send(std::string(1000, 'x')));
        const auto length = co_await receiver;
        CHECK(length.value() == 1000);
    };
    CHECK(run_on(2, talk));
}

TEST_CASE("unix datagram: a sender waits for room, and no message is lost") {
    const folder mine;
    constexpr int count = 2000;  // far more than the system queues
    const auto flood = [](std::string where, bool connected) -> rn::task<> {
        auto server = unix_datagram::bind(where).value();
        const auto send = [](rn::unix_address to, bool connects) -> rn::task<> {
            auto socket = unix_datagram::open().value();
            if (connects) CHECK(socket.connect(to));
            for (int i = 0; i < count; ++i) {
                const std::string text = std::to_string(i);
                if (connects)
                    CHECK(co_await socket.send(text));
                else
                    CHECK(co_await socket.send_to(text, to));
            }
        };
        auto sender = rn::go(send, at(where), connected);
        int wrong = 0;
        for (int i = 0; i < count; ++i) {
            const std::string got = co_await next(server);
            wrong += got != std::to_string(i);
        }
        CHECK(wrong == 0);
        CHECK(co_await sender);
    };
    CHECK(run_on(2, flood, mine / "x", true));
    CHECK(run_on(2, flood, mine / "y", false));
}

TEST_CASE("unix datagram: who waits for room ends by a deadline, by a cancel, or by close") {
    const auto full = []() -> rn::task<> {
        auto server = unix_datagram::bind("").value();
        const rn::unix_address there = server.local_address().value();
        auto to_it = unix_datagram::open().value();
        for (;;) {
            const auto sent = co_await rn::with_timeout(10ms, to_it.send_to("x", there));
            if (sent) continue;
            CHECK(sent.error() == rn::errc::timed_out);
            break;
        }
        auto connected = unix_datagram::open().value();
        CHECK(connected.connect(there));
        const auto late = co_await rn::with_timeout(5ms, connected.send("x"));
        CHECK(late.error() == rn::errc::timed_out);
        auto sender = rn::go(why_sending_ends, rn::borrow(connected));
        CHECK(co_await rn::sleep_for(5ms));
        connected.close();
        const auto end = co_await sender;
        CHECK(end.value() == rn::errc::closed);
    };
    CHECK(run_on(1, full));
}

namespace {
std::chrono::nanoseconds processor_time() {
    timespec used{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
}
}

// The system says that a socket which is not connected can always send.
TEST_CASE("unix datagram: who waits for room without being connected does not ask again and again") {
    const auto wait = []() -> rn::task<> {
        auto server = unix_datagram::bind("").value();
        const rn::unix_address there = server.local_address().value();
        auto socket = unix_datagram::open().value();
        for (bool room = true; room;) {
            const auto sent = co_await rn::with_timeout(10ms, socket.send_to("x", there));
            room = sent.has_value();
        }
        const auto before = processor_time();
        const auto late = co_await rn::with_timeout(300ms, socket.send_to("x", there));
        CHECK(late.error() == rn::errc::timed_out);
        CHECK(processor_time() - before < 100ms);
    };
    CHECK(run_on(1, wait));
}

TEST_CASE("unix datagram: close ends who receives with errc::closed, and removes the file") {
    const folder mine;
    const auto close = [](std::string where) -> rn::task<> {
        auto socket = unix_datagram::bind(where).value();
        auto receiver = rn::go(why_recv_ends, rn::borrow(socket));
        CHECK(co_await rn::sleep_for(5ms));
        socket.close();
        const auto end = co_await receiver;
        CHECK(end.value() == rn::errc::closed);
        CHECK_FALSE(exists(where));
        CHECK((co_await socket.send("x")).error() == rn::errc::closed);
        CHECK((co_await socket.send_to("x", at(where))).error() == rn::errc::closed);
        CHECK(socket.connect(at(where)).error() == rn::errc::closed);
    };
    CHECK(run_on(2, close, mine / "x"));
}

TEST_CASE("unix datagram: what keeps a message from being sent") {
    const folder mine;
    const auto fail = [](std::string where) -> rn::task<> {
        auto socket = unix_datagram::open().value();
        CHECK((co_await socket.send("x")).error() == std::errc::not_connected);
        CHECK((co_await socket.send_to("x", at(where))).error() == std::errc::no_such_file_or_directory);
        CHECK(socket.connect(where).error() == std::errc::no_such_file_or_directory);
        CHECK(socket.connect(std::string(200, 'x')).error() == std::errc::filename_too_long);
        auto server = unix_datagram::bind(where, rn::unix_options().keep_file(true)).value();
        CHECK(socket.connect(where));
        const std::string huge(1U << 24, 'x');
        CHECK((co_await socket.send(huge)).error() == std::errc::message_size);
        server.close();
        CHECK((co_await socket.send("x")).error() == std::errc::connection_refused);
        CHECK(unix_datagram::bind(where).error() == std::errc::address_in_use);
        CHECK(unix_datagram::bind(where, rn::unix_options().replace_stale(true)));
    };
    CHECK(run_on(1, fail, mine / "x"));
}

TEST_CASE("child: a datagram socket in a simulation" * doctest::skip()) {
    (void)runnel::testing::simulate(runnel::testing::options(), []() -> rn::task<> {
        (void)unix_datagram::open();
        co_return;
    });
}

TEST_CASE("unix datagram: a simulation says that it plays none") {
    const auto end = support::child("child: a datagram socket in a simulation").wait();
    CHECK(end.killed_by(SIGABRT));
    CHECK_MESSAGE(end.said("Unix datagram sockets are not played there"), end.printed);
}
