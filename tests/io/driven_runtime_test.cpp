// Sockets in a runtime that runs inside somebody else's event loop.
#include <poll.h>
#include <sys/epoll.h>

#include <runnel/driven_runtime.hpp>

#include <thread>

#include "loopback.hpp"
#include "support/level.hpp"

using namespace test;

namespace {

/// A loop that knows the runtime by its descriptor only, and sleeps when that has nothing to say.
template <class Done>
void drive_until(rn::driven_runtime& tasks, Done done) {
    const int loop = epoll_create1(EPOLL_CLOEXEC);
    epoll_event shown{};
    shown.events = EPOLLIN;
    REQUIRE(epoll_ctl(loop, EPOLL_CTL_ADD, tasks.poll_fd(), &shown) == 0);
    for (tasks.poll(); !done(); tasks.poll()) {
        const int ready = epoll_wait(loop, &shown, 1, -1);
        CHECK((ready == 1 || errno == EINTR));
    }
    close(loop);
}

rn::task<> serve(rn::tcp_listener listener) {
    rn::task_set peers;
    while (auto peer = co_await listener.accept()) peers.spawn(echo, std::move(*peer));
    peers.cancel();
    (void)co_await peers.join();
}

rn::task<> ask(rn::address server, std::string question, int times, std::atomic<int>& answered) {
    rn::tcp_stream stream = (co_await rn::tcp_stream::connect(server)).value();
    for (int i = 0; i < times; ++i) {
        CHECK(co_await stream.write_all(question));
        std::string answer;
        while (answer.size() < question.size()) {
            auto chunk = co_await stream.recv();
            REQUIRE(chunk);
            answer += chunk->text();
        }
        CHECK((answer == question));
        ++answered;
    }
}
}

TEST_CASE("driven runtime: a server in a foreign loop answers clients of other threads") {
    const int clients = 8, questions = support::scaled(50, 5'000);
    rn::driven_runtime server;
    rn::runtime threads(rn::options().workers(1));
    rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
    const rn::address where = listener.local_address();
    server.spawn(serve, std::move(listener));
    std::atomic<int> answered{0};
    for (int i = 0; i < clients; ++i)
        threads.spawn(ask, where, pattern(10 + static_cast<std::size_t>(i) * 2'000), questions,
                      rn::borrow(answered));
    // The last answer has been sent by the server, so that it may be asleep by then: this wakes it.
    threads.spawn(
        [](std::atomic<int>& done, int all, rn::driven_runtime& to) -> rn::task<> {
            for (bool more = true; more; more = done < all) {
                const auto slept = co_await rn::sleep_for(1ms);
                if (!slept) co_return;
            }
            to.spawn([]() -> rn::task<> { co_return; });
        },
        rn::borrow(answered), clients* questions, rn::borrow(server));
    drive_until(server, [&] { return answered == clients * questions; });
    CHECK(threads.stop());
    CHECK(server.stop());
}

TEST_CASE("driven runtime: clients and servers of one thread talk without any other") {
    rn::driven_runtime here;
    rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
    const rn::address where = listener.local_address();
    here.spawn(serve, std::move(listener));
    std::atomic<int> answered{0};
    for (int i = 0; i < 20; ++i) here.spawn(ask, where, pattern(100), 20, rn::borrow(answered));
    drive_until(here, [&] { return answered == 400; });
    CHECK(here.stop());
}

TEST_CASE("driven runtime: what other threads cancel in the kernel comes back in the loop") {
    rn::driven_runtime here;
    rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
    bool ended = false;
    auto [ctx, cancel] = rn::with_cancel(here.root());
    const auto accepts = [](rn::tcp_listener at, rn::context under, bool& done) -> rn::task<> {
        const auto peer = co_await rn::with_context(under, at.accept());
        CHECK(peer.error() == rn::errc::cancelled);
        done = true;
    };
    here.spawn(accepts, std::move(listener), ctx, rn::borrow(ended));
    CHECK(here.poll() == std::chrono::nanoseconds::max());
    CHECK(!ended);
    std::thread other([&] { cancel(); });
    drive_until(here, [&] { return ended; });
    other.join();
}
