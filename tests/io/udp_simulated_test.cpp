// Datagrams in a simulation: lost, doubled, overtaken, cut off, by the seed.
#include <runnel/testing_network.hpp>

#include <algorithm>
#include <map>
#include <set>

#include "udp_stories.hpp"

using namespace test;

namespace {

/// How often each of the numbers 0 to count-1 has arrived, and in which order.
struct heard {
    std::vector<int> order;
    std::map<int, int> times;
};

rn::task<heard> count_to(int count) {
    rn::udp_socket near = bound(), far = bound();
    for (int i = 0; i < count; ++i) co_await say(near, std::to_string(i), address_of(far));
    heard all;
    for (;;) {
        auto got = co_await rn::with_timeout(1s, far.recv());
        if (!got) break;
        const int number = std::stoi(std::string(got->bytes.text()));
        all.order.push_back(number);
        ++all.times[number];
    }
    co_return all;
}

/// What happened under some seed, of all that were tried.
struct seen {
    bool lost = false, doubled = false, overtaken = false;
};

seen over_seeds(const testing::network& how) {
    seen any;
    for (std::uint64_t seed = 1; seed <= support::scaled(60U, 1'000U); ++seed) {
        const auto run =
            testing::simulate(testing::options().seed(seed).network(how), [&any]() -> rn::task<> {
                const heard all = co_await count_to(20);
                if (all.times.size() < 20) any.lost = true;
                for (const auto& [number, times] : all.times) {
                    testing::expect(times <= 2, "a datagram is doubled at most");
                    if (times == 2) any.doubled = true;
                }
                std::vector<int> first = all.order;
                if (!std::is_sorted(first.begin(), first.end())) any.overtaken = true;
            });
        CHECK_MESSAGE(run.ok(), run.what());
    }
    return any;
}
}

TEST_CASE("udp: a simulated network that nothing was asked of delivers all in order") {
    const seen any = over_seeds(testing::network());
    CHECK(!any.lost);
    CHECK(!any.doubled);
    CHECK(!any.overtaken);
}

TEST_CASE("udp: a simulated network loses, doubles and reorders datagrams when it is told to") {
    const seen loss = over_seeds(testing::network().datagram_loss(10));
    CHECK(loss.lost);
    CHECK(!loss.doubled);
    CHECK(!loss.overtaken);
    const seen doubles = over_seeds(testing::network().datagram_duplicates(10));
    CHECK(!doubles.lost);
    CHECK(doubles.doubled);
    const seen overtaking = over_seeds(testing::network().datagram_reordering(5));
    CHECK(!overtaking.lost);
    CHECK(!overtaking.doubled);
    CHECK(overtaking.overtaken);
}

TEST_CASE("udp: the same seed loses the same datagrams, another seed others") {
    const auto how = testing::network().datagram_loss(5).datagram_duplicates(5).datagram_reordering(5);
    const auto run = [&](std::uint64_t seed, std::vector<int>& order) {
        const auto all = testing::simulate(testing::options().seed(seed).network(how),
                                           [&]() -> rn::task<> { order = (co_await count_to(20)).order; });
        CHECK_MESSAGE(all.ok(), all.what());
        return all.hash();
    };
    std::set<std::vector<int>> orders;
    for (std::uint64_t seed = 1; seed <= 30; ++seed) {
        std::vector<int> first, second;
        CHECK(run(seed, first) == run(seed, second));
        CHECK(first == second);
        orders.insert(first);
    }
    CHECK(orders.size() > 25);
}

namespace {

/// A client that asks again until it is answered: what every protocol on UDP has to do.
rn::task<bool> ask_until_answered(const rn::address& server, int number) {
    rn::udp_socket mine = bound();
    if (!mine.connect(server)) co_return false;
    const std::string question = std::to_string(number);
    for (int tries = 0; tries < 100; ++tries) {
        if (!co_await mine.send(question)) co_return false;
        auto got = co_await rn::with_timeout(5ms, mine.recv());
        if (got && got->bytes.text() == question) co_return true;
    }
    co_return false;
}

rn::task<> serve(rn::udp_socket& at) {
    while (auto question = co_await at.recv()) co_await at.send_to(question->bytes, question->from);
}
}

TEST_CASE("udp: who asks again is answered by a bad network too, and by a server that comes late") {
    in_simulation(
        []() -> rn::task<> {
            const rn::address where = rn::address::parse("10.0.0.1:53").value();
            rn::task_set clients;
            int answered = 0;
            for (int i = 0; i < 3; ++i)
                clients.spawn(
                    [&answered](rn::address to, int number) -> rn::task<> {
                        if (co_await ask_until_answered(to, number)) ++answered;
                    },
                    where, i);
            co_await rn::sleep_for(20ms);
            rn::udp_socket server = rn::udp_socket::bind(where).value();
            auto serving = rn::go(serve, rn::borrow(server));
            co_await clients.join();
            server.close();
            co_await serving;
            holds(answered == 3, std::to_string(answered));
        },
        testing::network().datagram_loss(4).datagram_duplicates(4).datagram_reordering(4));
}

TEST_CASE("udp: nothing passes a cut, and what was sent meanwhile is gone") {
    in_simulation([]() -> rn::task<> {
        rn::udp_socket near = bound(), far = bound();
        testing::cut(address_of(far));
        co_await say(near, "lost", address_of(far));
        const auto none = co_await rn::with_timeout(1s, far.recv());
        holds(none.error() == rn::errc::timed_out, "nothing comes");
        testing::heal(address_of(far));
        co_await say(near, "heard", address_of(far));
        const std::string heard = co_await next_text(far);
        holds(heard == "heard", heard);
    });
}

TEST_CASE("udp: a simulated socket holds what its buffer has room for, the rest is lost") {
    in_simulation(
        []() -> rn::task<> {
            rn::udp_socket near = bound(), far = bound();
            for (int i = 0; i < 20; ++i) co_await say(near, pattern(100), address_of(far));
            co_await rn::sleep_for(10ms);
            int received = 0;
            while (co_await rn::with_timeout(1ms, far.recv())) ++received;
            holds(received == 10, std::to_string(received));
        },
        testing::network().buffer(1000));
}

TEST_CASE("udp: what is under way arrives although its sender has closed") {
    in_simulation([]() -> rn::task<> {
        rn::udp_socket far = bound();
        {
            rn::udp_socket near = bound();
            co_await say(near, "a last word", address_of(far));
        }
        const std::string heard = co_await next_text(far);
        holds(heard == "a last word", heard);
    });
}

TEST_CASE("udp: scopes of IPv6 addresses tell interfaces apart") {
    in_simulation([]() -> rn::task<> {
        rn::udp_socket two = bound("[fe80::1%2]:7000"), three = bound("[fe80::1%3]:7000"),
                       from = bound("[::]:0");
        co_await say(from, "to the second", address_of(two));
        co_await say(from, "to the third", address_of(three));
        const std::string at_two = co_await next_text(two), at_three = co_await next_text(three);
        holds(at_two == "to the second" && at_three == "to the third", "each at its own");
    });
}
