// The code of docs/testing.md, compiled and run.
#include <runnel/channel.hpp>
#include <runnel/runtime.hpp>
#include <runnel/scope.hpp>
#include <runnel/sync.hpp>
#include <runnel/testing.hpp>

#include <chrono>
#include <cstdio>

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

int main() { return finds_it() && rn::testing::explore(100, replies_within_an_hour) ? 0 : 1; }
