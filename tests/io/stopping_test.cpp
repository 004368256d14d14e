// What a runtime that begins to stop does to accept: it takes nothing new, and loses nothing.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <list>
#include <thread>

#include "runtime/runtime_core.hpp"
#include "scripted_io.hpp"
#include "support/level.hpp"

using namespace test;

namespace {

rn::task<rn::result<>> why_accept_ends(rn::tcp_listener& listener) {
    co_return (co_await listener.accept()).error();
}

/// A grace that no test waits for: the watchdog ends a test which has to.
rn::options patient(unsigned workers) { return rn::options().workers(workers).grace(1h).name("test"); }

/// Until what was spawned before on the only worker waits in the kernel.
void settle(rn::runtime& runtime) {
    CHECK(runtime.spawn([]() -> rn::task<> { CHECK(co_await rn::yield()); }).wait());
}

class plain_client {
public:
    explicit plain_client(const rn::address& to) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        const auto* name = static_cast<const sockaddr*>(to.native());
        CHECK(connect(fd_, name, static_cast<socklen_t>(to.native_bytes())) == 0);
    }
    ~plain_client() { close(fd_); }
    plain_client(const plain_client&) = delete;
    plain_client& operator=(const plain_client&) = delete;

private:
    int fd_;
};

/// Connections that wait at the listener and that nobody has taken; takes them.
int left_at(const rn::tcp_listener& listener) {
    const int flags = fcntl(listener.native_handle(), F_GETFL);
    CHECK(fcntl(listener.native_handle(), F_SETFL, flags | O_NONBLOCK) == 0);
    int left = 0;
    for (int fd; (fd = accept(listener.native_handle(), nullptr, nullptr)) >= 0; ++left) close(fd);
    CHECK(fcntl(listener.native_handle(), F_SETFL, flags) == 0);
    return left;
}
}

TEST_CASE("stopping: accept ends, so a server that has nothing else to do does not wait out its grace") {
    rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
    rn::runtime runtime(patient(1));
    auto server = runtime.spawn(why_accept_ends, rn::borrow(listener));
    settle(runtime);
    CHECK(runtime.stop());
    CHECK(server.wait().error() == rn::errc::stopping);
}

TEST_CASE("stopping: what was accepted before may come to its end") {
    const auto serve = [](rn::tcp_listener listener) -> rn::task<> {
        rn::task_set connections;
        while (auto peer = co_await listener.accept()) connections.spawn(echo, std::move(*peer));
        CHECK(co_await connections.join());
    };
    const auto ask = [](rn::address server) -> rn::task<std::string> {
        rn::tcp_stream stream = (co_await rn::tcp_stream::connect(server)).value();
        CHECK(co_await stream.write_all("before "));
        CHECK((co_await stream.recv()).value().text() == "before ");
        rn::detail::current_runtime().begin_stopping();
        CHECK(co_await stream.write_all("and after"));
        CHECK(stream.shutdown_write());
        co_return co_await read_all(stream);
    };
    rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
    const rn::address where = listener.local_address();
    rn::runtime runtime(patient(2));
    auto server = runtime.spawn(serve, std::move(listener));
    CHECK(runtime.spawn(ask, where).wait().value() == "and after");
    CHECK(server.wait());
    CHECK(runtime.stop());
}

TEST_CASE("stopping: an accept that comes later takes nothing, though a connection waits") {
    const auto accept_late = [](rn::tcp_listener& listener) -> rn::task<> {
        rn::detail::current_runtime().begin_stopping();
        for (int i = 0; i < 3; ++i) {
            const auto late = co_await listener.accept();
            CHECK(late.error() == rn::errc::stopping);
        }
        const auto limited = co_await rn::with_timeout(1h, listener.accept());
        CHECK(limited.error() == rn::errc::stopping);
    };
    rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
    const plain_client waiting(listener.local_address());
    rn::runtime runtime(patient(1));
    CHECK(runtime.spawn(accept_late, rn::borrow(listener)).wait());
    CHECK(left_at(listener) == 1);
}

TEST_CASE("stopping: it ends an accept that is shielded, or has a limit or a context of its own") {
    const auto shielded = [](rn::tcp_listener& listener) -> rn::task<rn::result<>> {
        co_return (co_await rn::shielded(listener.accept())).error();
    };
    const auto limited = [](rn::tcp_listener& listener) -> rn::task<rn::result<>> {
        co_return (co_await rn::with_timeout(1h, listener.accept())).error();
    };
    const auto with_another_context = [](rn::tcp_listener& listener) -> rn::task<rn::result<>> {
        const auto [ctx, cancel] = rn::with_cancel(rn::background());
        co_return (co_await rn::with_context(ctx, listener.accept())).error();
    };
    rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
    rn::runtime runtime(patient(1));
    auto first = runtime.spawn(shielded, rn::borrow(listener));
    auto second = runtime.spawn(limited, rn::borrow(listener));
    auto third = runtime.spawn(with_another_context, rn::borrow(listener));
    settle(runtime);
    CHECK(runtime.stop());
    CHECK(first.wait().error() == rn::errc::stopping);
    CHECK(second.wait().error() == rn::errc::stopping);
    CHECK(third.wait().error() == rn::errc::stopping);
}

TEST_CASE("stopping: an accept that is just on its way into the kernel ends too") {
    const auto stop_on_the_way = []() -> rn::task<rn::result<>> {
        rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
        script().on_prepare = [] { rn::detail::current_runtime().begin_stopping(); };
        co_return (co_await listener.accept()).error();
    };
    CHECK(run_scripted(stop_on_the_way).error() == rn::errc::stopping);
}

TEST_CASE("stopping: of two runtimes that accept at one listener the other goes on") {
    const auto greet = [](rn::tcp_listener& listener) -> rn::task<> {
        rn::tcp_stream peer = (co_await listener.accept()).value();
        CHECK(co_await peer.write_all("hello"));
    };
    rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
    rn::runtime lasting(patient(1));
    auto greeter = lasting.spawn(greet, rn::borrow(listener));
    settle(lasting);
    {
        rn::runtime first(patient(1));
        auto server = first.spawn(why_accept_ends, rn::borrow(listener));
        settle(first);
        CHECK(first.stop());
        CHECK(server.wait().error() == rn::errc::stopping);
    }
    const plain_client client(listener.local_address());
    CHECK(greeter.wait());
    CHECK(lasting.stop());
}

TEST_CASE("stopping: a connection that comes just then is accepted, or still waits: none is lost") {
    static constexpr int connections = 20;
    const auto count = [](rn::tcp_listener& listener, std::atomic<int>& taken) -> rn::task<> {
        while (auto peer = co_await listener.accept()) ++taken;
    };
    // One listener, and the clients close last: a port that many tests want is not kept busy by what has ended.
    rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
    for (int round = 0; round < support::scaled(200, 10'000); ++round) {
        std::atomic<int> taken{0};
        std::list<plain_client> clients;
        rn::runtime runtime(patient(1 + static_cast<unsigned>(round) % 2));
        for (int i = 0; i < 3; ++i) runtime.spawn(count, rn::borrow(listener), rn::borrow(taken));
        std::thread client([&] {
            for (int i = 0; i < connections; ++i) clients.emplace_back(listener.local_address());
        });
        while (taken < round % connections) std::this_thread::yield();
        CHECK(runtime.stop());
        client.join();
        const int left = left_at(listener);
        CHECK(taken + left == connections);
    }
}
