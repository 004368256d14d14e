// Writes traces of all that tasks can do into a folder, for tests/trace/check.py.
//
//   trace_scenes FOLDER
//
// Each scene runs twice: with room for all events, and in a ring of 64, which has lost most when it is written.
// One is written while it goes on, from a turn that has begun before the trace.
#include <runnel/blocking.hpp>
#include <runnel/channel.hpp>
#include <runnel/context.hpp>
#include <runnel/fork.hpp>
#include <runnel/runtime.hpp>
#include <runnel/scope.hpp>
#include <runnel/select.hpp>
#include <runnel/sync.hpp>
#include <runnel/tcp.hpp>
#include <runnel/testing.hpp>
#include <runnel/time.hpp>
#include <runnel/timer.hpp>
#include <runnel/trace.hpp>

#include <cstdio>
#include <string>
#include <string_view>

namespace rn = runnel;
using namespace std::chrono_literals;

namespace {

constexpr int rounds = 200;

rn::task<> send_all(rn::sender<int> out) {
    rn::name_task("sender");
    for (int i = 0; i < rounds; ++i) {
        const auto sent = co_await out.send(i);
        if (!sent) co_return;
    }
}

rn::task<> receive_all(rn::receiver<int> in) {
    rn::name_task("receiver");
    while (const auto value = co_await in.recv()) {}
}

rn::task<> channels() {
    rn::task_set all;
    for (const std::size_t room : {0U, 1U, 8U}) {
        auto [out, in] = rn::make_channel<int>(room);
        if (room == 8) out.label("the \"wide\" one");
        for (int i = 0; i < 2; ++i) {
            all.spawn(send_all, out.share());
            all.spawn(receive_all, in.share());
        }
    }
    co_await all.join();
}

rn::task<> choose(rn::receiver<int> first, rn::receiver<int> second) {
    for (;;) {
        const auto won = co_await rn::select(first.recv(), second.recv(), rn::sleep_for(100us));
        if (!won || first.closed()) co_return;
    }
}

rn::task<> selects() {
    rn::task_set all;
    auto [out, in] = rn::make_channel<int>(0);
    auto [other_out, other_in] = rn::make_channel<int>(2);
    all.spawn(choose, in.share(), other_in.share());
    all.spawn(choose, std::move(in), std::move(other_in));
    all.spawn(send_all, std::move(out));
    all.spawn(send_all, std::move(other_out));
    co_await all.join();
}

rn::task<> take_turns(rn::mutex& lock) {
    for (int i = 0; i < rounds; ++i) {
        const auto held = co_await rn::with_timeout(1s, lock.lock());
        if (held) co_await rn::yield();
    }
}

rn::task<> wait_under(rn::context ctx, rn::event& never) { co_await rn::with_context(ctx, never.wait()); }

rn::task<> locks_and_cancels() {
    rn::mutex lock;
    lock.label("the lock");
    rn::event never;
    rn::task_set all;
    for (int i = 0; i < 4; ++i) all.spawn(take_turns, rn::borrow(lock));
    co_await all.join();
    const auto group = rn::with_cancel(rn::current_context());
    rn::task_set waiting;
    for (int i = 0; i < 100; ++i) waiting.spawn(wait_under, group.ctx, rn::borrow(never));
    co_await rn::with_timeout(1ms, never.wait());
    group.cancel();
    co_await waiting.join();
}

rn::task<int> sum(int n) {
    if (n < 2) co_return n;
    const auto [a, b] = co_await rn::when_all(sum(n - 1), sum(n - 2));
    co_return a + b;
}

rn::task<> forks_and_calls() {
    co_await sum(14);
    for (int i = 0; i < 20; ++i) co_await rn::blocking([] {});
    rn::ticker every(100us);
    for (int i = 0; i < 20; ++i) (void)co_await every.tick();
}

rn::task<> echo(rn::tcp_stream peer) {
    while (const auto chunk = co_await peer.recv()) {
        const auto sent = co_await peer.write_all(*chunk);
        if (!sent) co_return;
    }
}

rn::task<> serve(rn::tcp_listener& listener, int connections) {
    for (int i = 0; i < connections; ++i) {
        auto peer = co_await listener.accept();
        if (peer) rn::go(echo, std::move(*peer));
    }
}

rn::task<> sockets() {
    auto listener = rn::tcp_listener::bind("127.0.0.1:0").value();
    auto server = rn::go(serve, rn::borrow(listener), 20);
    for (int i = 0; i < 20; ++i) {
        auto connected = co_await rn::tcp_stream::connect(listener.local_address());
        rn::tcp_stream stream = std::move(connected).value();
        for (int n = 0; n < 10; ++n) {
            (void)co_await stream.write_all("hello");
            const auto answer = co_await stream.recv();
        }
        const auto nothing = co_await rn::with_timeout(100us, stream.recv());
    }
    co_await server;
}

std::string folder;
bool failed = false;

void written(const std::string& name) {
    const auto end = rn::trace::write(folder + "/" + name + ".json");
    if (!end) std::fprintf(stderr, "%s: %s\n", name.c_str(), end.error().message().c_str());
    failed = failed || !end;
}

rn::task<> traced(rn::task<> (*scene)(), std::string name, std::size_t events) {
    rn::trace::start(events);
    co_await scene();
    written(name + "-going-on");
    rn::trace::stop();
    co_await rn::yield();
    written(name);
}

void play(rn::task<> (*scene)(), const std::string& name) {
    for (const std::size_t events : {std::size_t{100'000}, std::size_t{64}}) {
        const std::string full = name + (events == 64 ? "-newest" : "");
        rn::runtime plain(rn::options().workers(2).name("scenes"));
        plain.spawn(traced, scene, full, events).wait().value();
        plain.stop().value();
    }
    const auto simulated = rn::testing::simulate(rn::testing::options(),
                                                 [&] { return traced(scene, name + "-simulated", 100'000); });
    if (!simulated.ok()) std::fprintf(stderr, "%s: %s\n", name.c_str(), simulated.what().c_str());
    failed = failed || !simulated.ok();
}
}

int main(int argc, char** argv) {
    if (argc != 2 || std::string_view(argv[1]) == "--help") {
        std::fprintf(stderr, "usage: trace_scenes FOLDER\n");
        return 2;
    }
    folder = argv[1];
    play(channels, "channels");
    play(selects, "selects");
    play(locks_and_cancels, "locks");
    play(forks_and_calls, "forks");
    play(sockets, "sockets");
    return failed ? 1 : 0;
}
