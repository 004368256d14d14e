// Programs that others have written, as the clients of our sockets: socat over TCP, Unix sockets and UDP; nc. Each is
// run where it is installed. What redis-cli, curl and wrk say is in tests/examples.
#include <unistd.h>

#include <runnel/process.hpp>
#include <runnel/udp.hpp>

#include <cstdio>

#include "unix_loopback.hpp"

using namespace test;

namespace {

bool is_installed(const std::string& program) {
    const std::string path = "/usr/bin/" + program;
    if (access(path.c_str(), X_OK) == 0) return true;
    std::printf("skipped: %s is not installed\n", program.c_str());
    return false;
}

/// What the program says when it reads `text`; or how it failed.
rn::task<std::string> answer_to(std::string text, rn::command what) {
    rn::output_options how;
    how.input(std::move(text)).limit(std::size_t{1} << 30);
    auto running = rn::output(std::move(what), how);
    auto done = co_await rn::with_timeout(60s, std::move(running));
    if (!done.ok()) co_return "failed: " + (done.error ? done.error.message() : rn::to_string(done.status));
    co_return std::move(done.out);
}

rn::task<> echo_first(rn::tcp_listener& listener) {
    rn::tcp_stream peer = (co_await listener.accept()).value();
    co_await echo(std::move(peer));
}
rn::task<> echo_local(rn::unix_listener& listener) {
    rn::unix_stream peer = (co_await listener.accept()).value();
    while (auto chunk = co_await peer.recv())
        if (!co_await peer.write_all(*chunk)) co_return;
}

std::string port_of(const rn::address& of) { return std::to_string(of.port()); }

/// Answers when the peer has finished, and not before: with how much it was.
rn::task<> count_first(rn::tcp_listener& listener) {
    rn::tcp_stream peer = (co_await listener.accept()).value();
    const std::string all = co_await read_all(peer);
    CHECK(co_await peer.write_all("so much: " + std::to_string(all.size())));
}

rn::task<> echo_datagrams(rn::udp_socket& socket) {
    while (auto question = co_await socket.recv())
        if (!co_await socket.send_to(question->bytes, question->from)) co_return;
}
}

TEST_CASE("peers: socat and nc get back over TCP what they send") {
    for (const char* program : {"socat", "nc"}) {
        if (!is_installed(program)) continue;
        const nothing_left after;
        const auto talk = [](std::string name) -> rn::task<> {
            auto listener = rn::tcp_listener::bind("127.0.0.1:0").value();
            const std::string port = port_of(listener.local_address());
            auto server = rn::go(echo_first, rn::borrow(listener));
            rn::command what(name);
            if (name == "nc")
                what.args("-N", "127.0.0.1", port);
            else
                what.args("-t", "60", "-", "TCP:127.0.0.1:" + port);
            const std::string sent = pattern(1'000'000);
            const std::string back = co_await answer_to(sent, std::move(what));
            CHECK(back.size() == sent.size());
            CHECK(back == sent);
            CHECK(co_await server);
        };
        CHECK(run_on(2, talk, std::string(program)));
    }
}

TEST_CASE("peers: the half-close of a socat is the end of what it sends and the answer still reaches it") {
    if (!is_installed("socat")) return;
    const nothing_left after;
    const auto talk = []() -> rn::task<> {
        auto listener = rn::tcp_listener::bind("127.0.0.1:0").value();
        const std::string to = "TCP:127.0.0.1:" + port_of(listener.local_address());
        auto server = rn::go(count_first, rn::borrow(listener));
        rn::command what("socat");
        what.args("-t", "60", "-", to);
        const std::string back = co_await answer_to(pattern(300'000), std::move(what));
        CHECK(back == "so much: 300000");
        CHECK(co_await server);
    };
    CHECK(run_on(2, talk));
}

TEST_CASE("peers: a socat gets back through a Unix socket what it sends") {
    if (!is_installed("socat")) return;
    const folder mine;
    const nothing_left after;
    const auto talk = [](std::string path) -> rn::task<> {
        auto listener = rn::unix_listener::bind(path).value();
        auto server = rn::go(echo_local, rn::borrow(listener));
        const std::string sent = pattern(1'000'000);
        rn::command what("socat");
        what.args("-t", "60", "-", "UNIX-CONNECT:" + path);
        const std::string back = co_await answer_to(sent, std::move(what));
        CHECK(back == sent);
        CHECK(co_await server);
    };
    CHECK(run_on(2, talk, mine / "echo"));
}

TEST_CASE("peers: a socat that listens is written to and read from until it ends") {
    if (!is_installed("socat")) return;
    const folder mine;
    const nothing_left after;
    const auto talk = [](std::string path) -> rn::task<> {
        rn::command other("socat");
        other.args("UNIX-LISTEN:" + path, "EXEC:cat");
        rn::process child = other.start().value();
        auto stream = co_await rn::unix_stream::connect(path);
        while (!stream) {  // until it listens
            CHECK(co_await rn::sleep_for(1ms));
            stream = co_await rn::unix_stream::connect(path);
        }
        CHECK(co_await stream->write_all("hello"));
        CHECK(stream->shutdown_write());
        const std::string back = co_await read_to_end(*stream);
        CHECK(back == "hello");
        const auto end = co_await child.wait();
        CHECK(end.value().ok());
    };
    CHECK(run_on(1, talk, mine / "listens"));
}

TEST_CASE("peers: a socat gets its datagrams back from our UDP socket") {
    if (!is_installed("socat")) return;
    const nothing_left after;
    const auto talk = []() -> rn::task<> {
        auto socket = rn::udp_socket::bind("127.0.0.1:0").value();
        const std::string to = "UDP:127.0.0.1:" + port_of(socket.local_address().value());
        auto server = rn::go(echo_datagrams, rn::borrow(socket));
        rn::command what("socat");
        what.args("-", to);
        what.input(rn::stdio::pipe()).output(rn::stdio::pipe());
        rn::process child = what.start().value();
        for (const std::string text : {"one", "the second"}) {
            CHECK(co_await child.input().write_all(text));
            std::string back;
            while (back.size() < text.size()) {
                auto part = co_await rn::with_timeout(60s, child.output().recv());
                if (!part) break;
                back += part->text();
            }
            CHECK(back == text);
        }
        child.input().close();
        const auto end = co_await child.wait();
        CHECK(end.value().ok());
        socket.close();
        CHECK(co_await server);
    };
    CHECK(run_on(1, talk));
}
