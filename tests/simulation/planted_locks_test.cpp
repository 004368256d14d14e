// A planted bug: two locks that are taken in two orders.
#include <doctest/doctest.h>
#include <runnel/scope.hpp>
#include <runnel/sync.hpp>

#include "planted.hpp"

namespace rn = runnel;
using runnel::testing::expect;
using runnel::testing::failure;
using support::form;
using support::work;

namespace {

struct account {
    rn::mutex lock;
    long balance = 100;
};

rn::task<> transfer(account& from, account& to, long amount) {
    co_await work(40);
    auto giving = co_await from.lock.lock();
    if (!giving) co_return;
    from.balance -= amount;
    auto taking = co_await to.lock.lock();
    if (!taking) co_return;
    to.balance += amount;
}

rn::task<> audit(account& first, account& second) {
    co_await work(144);
    auto one = co_await first.lock.lock();
    if (!one) co_return;
    auto other = co_await second.lock.lock();
    if (!other) co_return;
    expect(first.balance + second.balance == 200);
}

rn::task<> bank(form how) {
    account savings, current;
    rn::task_set clerks;
    clerks.spawn(transfer, rn::borrow(savings), rn::borrow(current), 30);
    if (how == form::broken)
        clerks.spawn(audit, rn::borrow(current), rn::borrow(savings));
    else
        clerks.spawn(audit, rn::borrow(savings), rn::borrow(current));
    co_await clerks.join();
}

TEST_CASE("planted: two locks that are taken in two orders end in a deadlock") {
    check_planted(bank, failure::deadlock);
}
}
