// Runtimes that come and go with traffic in them.
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scripted_io.hpp"
#include "support/level.hpp"

using namespace test;

namespace {

rn::task<> serve(rn::tcp_listener listener) {
    rn::task_set peers;
    while (auto peer = co_await listener.accept()) peers.spawn(echo, std::move(*peer));
    peers.cancel();
    (void)co_await peers.join();  // true, or that we are cancelled
}

/// Asks and is answered, again and again, until it is cancelled in the midst of it.
rn::task<> chatter(rn::address server, std::size_t bytes) {
    auto stream = co_await rn::tcp_stream::connect(server);
    if (!stream) co_return;
    const std::string question = pattern(bytes);
    while (co_await stream->write_all(question))
        for (std::size_t answered = 0; answered < bytes;) {
            const auto chunk = co_await stream->recv();
            if (!chunk) co_return;
            answered += chunk->size();
        }
}
}

TEST_CASE("life: a runtime can be started and stopped again and again, with traffic in it") {
    for (int round = 0; round < support::scaled(50, 1000); ++round) {
        rn::runtime runtime(rn::options().workers(1 + static_cast<unsigned>(round) % 3));
        rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
        const rn::address server = listener.local_address();
        runtime.spawn(serve, std::move(listener));
        for (std::size_t bytes : {1U, 100U, 50'000U}) runtime.spawn(chatter, server, bytes);
        if (round % 2 == 0)
            CHECK(runtime.spawn([]() -> rn::task<> { CHECK(co_await rn::sleep_for(2ms)); }).wait());
        CHECK(runtime.stop());
    }
}

TEST_CASE("life: two runtimes talk to each other") {
    rn::runtime servers(rn::options().workers(1).name("servers"));
    rn::runtime clients(rn::options().workers(1).name("clients"));
    rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
    const rn::address server = listener.local_address();
    servers.spawn(serve, std::move(listener));
    const auto ask = [](rn::address there) -> rn::task<std::string> {
        rn::tcp_stream stream = (co_await rn::tcp_stream::connect(there)).value();
        CHECK(co_await stream.write_all("across"));
        CHECK(stream.shutdown_write());
        co_return co_await read_all(stream);
    };
    for (int i = 0; i < 20; ++i) CHECK(clients.spawn(ask, server).wait().value() == "across");
}

TEST_CASE("life: a stream may outlive its runtime, and be closed by a plain thread") {
    const auto connect = []() -> rn::task<stream_pair> { co_return co_await connected_pair(); };
    std::vector<stream_pair> kept;
    kept.push_back(run_on(1, connect).value());
    CHECK(kept[0].first.is_open());
    CHECK(kept[0].first.peer_address().value() == kept[0].second.local_address().value());
    kept[0].first.close();
    CHECK_FALSE(kept[0].first.is_open());
}

TEST_CASE("life: a child of fork that ends leaves its parent's connections alone") {
    const auto talk = []() -> rn::task<> {
        stream_pair ends = co_await connected_pair();
        auto reader = rn::go(read_all, rn::borrow(ends.second));
        CHECK(co_await rn::sleep_for(1ms));  // the read is in the kernel
        const pid_t child = fork();
        if (child == 0) _exit(0);
        CHECK(co_await ends.first.write_all("still here"));
        CHECK(waitpid(child, nullptr, 0) == child);
        CHECK(ends.first.shutdown_write());
        const auto read = co_await reader;
        CHECK(read.value() == "still here");
    };
    CHECK(run_on(1, talk));
}

namespace {

/// Each connection carries bytes of its own. One end is closed while a task reads it, and a new socket
/// takes the number at once: bytes that crossed over would show.
rn::task<> reuse_descriptors(int rounds, char mark) {
    rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
    for (int i = 0; i < rounds; ++i) {
        stream_pair ends = co_await connected_pair(listener);
        auto reader = rn::go(read_all, rn::borrow(ends.second));
        if (i % 2 == 0) CHECK(co_await rn::yield());
        CHECK(co_await ends.first.write_all(std::string(100, mark)));
        ends.second.close();
        const auto read = co_await reader;
        CHECK(read.value().find_first_not_of(mark) == std::string::npos);
        const auto end = co_await rn::with_timeout(10s, ends.first.recv());  // the peer sees it
        CHECK_FALSE(end);
        CHECK(end.error() != rn::errc::timed_out);
    }
}
}

TEST_CASE("life: a number that was closed and given out again carries no bytes of the old socket") {
    const auto storm = [](int rounds) -> rn::task<> {
        rn::task_set tasks;
        for (char mark : {'a', 'b', 'c', 'd'}) tasks.spawn(reuse_descriptors, rounds, mark);
        CHECK(co_await tasks.join());
    };
    CHECK(run_on(2, storm, support::scaled(200, 20'000)));
}

namespace {

/// A socket in which `text` waits to be read.
class socket_with {
public:
    explicit socket_with(std::string_view text) {
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends_) == 0);
        CHECK(write(ends_[1], text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    }
    ~socket_with() {
        close(ends_[0]);
        close(ends_[1]);
    }
    socket_with(const socket_with&) = delete;
    socket_with& operator=(const socket_with&) = delete;
    int fd() const { return ends_[0]; }

private:
    int ends_[2];
};

void wait_until_readable(int fd) {
    pollfd one{fd, POLLIN, 0};
    CHECK(poll(&one, 1, -1) == 1);
}

rn::task<std::string> recv_text(rn::tcp_stream& from) {
    const auto chunk = co_await from.recv();
    co_return chunk ? std::string(chunk->text()) : chunk.error().message();
}
}

TEST_CASE("life: a recv() that finds its stream closed never reads from who has the number now") {
    const auto close_before_it_goes_on = [](bool with_bytes) -> rn::task<std::string> {
        const socket_with stranger("not yours");
        stream_pair ends = co_await connected_pair();
        const int number = ends.second.native_handle();
        auto reader = rn::go(recv_text, rn::borrow(ends.second));
        CHECK(co_await rn::yield());  // it waits
        if (with_bytes) {
            CHECK(send(ends.first.native_handle(), "yours", 5, MSG_NOSIGNAL) == 5);
            wait_until_readable(number);
        }
        script().next_owner = stranger.fd();
        script().complete_all();  // its wait is over, but before it goes on
        ends.second.close();      // another task closes the stream, and the number is given out again at once
        const auto read = co_await reader;
        CHECK(script().next_owner < 0);
        close(number);
        co_return read.value();
    };
    CHECK(run_scripted(close_before_it_goes_on, true).value() == "yours");
    const std::string closed = make_error_code(rn::errc::closed).message();
    CHECK(run_scripted(close_before_it_goes_on, false).value() == closed);
}
