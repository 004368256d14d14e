// The code of docs/testing.md, compiled and run.
#include <runnel/channel.hpp>
#include <runnel/runtime.hpp>
#include <runnel/scope.hpp>
#include <runnel/sync.hpp>
#include <runnel/testing.hpp>
#include <runnel/testing_leaks.hpp>
#include <runnel/timer.hpp>

#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

namespace rn = runnel;
using namespace std::chrono_literals;

struct account {
    long balance = 100;
};

rn::task<> withdraw(account& from, long amount) {
    if (from.balance < amount) co_return;
    co_await rn::sleep_for(10ms);  // asks the bank
    from.balance -= amount;        // and forgets to look again
}

rn::task<> two_customers() {
    account shared;
    co_await rn::scoped([&](rn::scope& both) -> rn::task<> {
        both.spawn(withdraw, rn::borrow(shared), 80);
        both.spawn(withdraw, rn::borrow(shared), 80);
        co_return;
    });
    rn::testing::expect(shared.balance >= 0, "overdrawn");
}

bool finds_it() {
    auto all = rn::testing::explore(10'000, two_customers);
    std::puts(all.what().c_str());  // overdrawn …, the seed, and what happened in which order
    return !all.ok();
}

rn::task<> replies_within_an_hour() {
    auto [out, in] = rn::make_channel<int>(0);
    auto answer = rn::go(
        [](rn::sender<int> to) -> rn::task<> {
            co_await rn::sleep_for(59min);  // takes no time at all
            auto sent = co_await to.send(42);
            rn::testing::expect(sent.has_value());
        },
        std::move(out));
    auto reply = co_await rn::with_timeout(1h, in.recv());
    rn::testing::expect(reply && *reply == 42);
    co_await answer;
}

std::vector<rn::channel<int>> subscribers;  // of the whole service

rn::task<> a_client_comes_and_goes() {
    rn::channel<int> news(16);
    news.label("news");
    subscribers.push_back(news);
    auto first = co_await rn::with_timeout(1s, news.recv());
    if (!first) co_return;  // and is a subscriber for ever
    std::erase(subscribers, news);
}

bool names_what_is_left() {
    const auto run = rn::testing::simulate(rn::testing::options(), a_client_comes_and_goes);
    std::puts(run.what().c_str());
    const bool as_told =
        run.what().find("is left:\n    1 channel made at testing.cpp:61 ('news')") != std::string::npos;
    return run.kind() == rn::testing::failure::leak && as_told;
}

rn::task<> serve_one_client() {
    rn::ticker heartbeat(10ms);
    auto beat = co_await heartbeat.tick();
    rn::testing::expect(beat.has_value());
}

void serves_without_leaks() {
    rn::testing::expect_no_leaks([] { rn::run(rn::options().workers(2), serve_one_client); });
}

int main() {
    serves_without_leaks();
    return finds_it() && rn::testing::explore(100, replies_within_an_hour) && names_what_is_left() ? 0 : 1;
}
