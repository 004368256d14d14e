// The code of docs/testing.md that has a network, compiled and run.
#include <runnel/context.hpp>
#include <runnel/go.hpp>
#include <runnel/scope.hpp>
#include <runnel/tcp.hpp>
#include <runnel/testing.hpp>
#include <runnel/testing_network.hpp>
#include <runnel/time.hpp>

#include <chrono>

namespace rn = runnel;
using namespace std::chrono_literals;

rn::task<> answer(rn::tcp_stream peer) {
    while (auto question = co_await peer.recv())
        if (!co_await peer.write_all("fine")) co_return;
}

rn::task<> serve(rn::tcp_listener listener) {
    rn::task_set peers;
    while (auto peer = co_await listener.accept()) peers.spawn(answer, std::move(*peer));
    co_await peers.join();
}

rn::task<> asks_until_it_is_answered(rn::address server) {
    for (;;) {
        auto peer = co_await rn::with_timeout(1s, rn::tcp_stream::connect(server));
        if (!peer) continue;
        auto sent = co_await peer->write_all("how are you?");
        auto answer = co_await rn::with_timeout(1s, peer->recv());
        if (sent && answer) co_return;
    }
}

rn::task<> survives_a_partition() {
    auto listener = rn::tcp_listener::bind("10.0.0.1:7000").value();
    const rn::address server = listener.local_address();
    rn::go(serve, std::move(listener));
    auto client = rn::go(asks_until_it_is_answered, server);
    co_await rn::sleep_for(rn::testing::choose(5) * 100us);  // at any moment
    rn::testing::cut(server);
    co_await rn::sleep_for(1min);
    rn::testing::heal(server);
    auto answered = co_await rn::with_timeout(1min, client.join());
    rn::testing::expect(answered.has_value(), "still no answer");
}

bool holds() {
    const auto network = rn::testing::network().latency(0us, 300us).resets(50);
    return rn::testing::explore(rn::testing::options().network(network), 1'000, survives_a_partition).ok();
}

int main() { return holds() ? 0 : 1; }
