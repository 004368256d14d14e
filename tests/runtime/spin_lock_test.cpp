// The spin lock: mutual exclusion, and waiters that get out of the way.
#include <doctest/doctest.h>
#include <runnel/detail/spin_lock.hpp>

#include <time.h>

#include <mutex>
#include <thread>
#include <vector>

#include "support/level.hpp"
#include "support/sequencer.hpp"

using runnel::detail::spin_lock;

TEST_CASE("spin lock: what one holder writes the next one sees") {
    spin_lock lock;
    long sum = 0;  // plain on purpose: TSan reports it if the lock does not order the accesses
    const int rounds = support::scaled(20'000, 1'000'000);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < rounds; ++i) {
                const std::lock_guard guard(lock);
                ++sum;
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(sum == 4L * rounds);
}

TEST_CASE("spin lock: try_lock takes a free lock only") {
    spin_lock lock;
    CHECK(lock.try_lock());
    CHECK_FALSE(lock.try_lock());
    lock.unlock();
    CHECK(lock.try_lock());
    lock.unlock();
}

TEST_CASE("spin lock: who waits for a holder that sleeps uses little of its processor") {
    spin_lock lock;
    support::sequencer order;
    clockid_t clock;
    std::thread waiter([&] {
        pthread_getcpuclockid(pthread_self(), &clock);
        order.advance();
        order.wait_for(2);
        const std::lock_guard guard(lock);
        order.advance();
        order.wait_for(4);
    });
    lock.lock();
    order.wait_for(1);
    order.advance();
    const timespec while_it_waits{0, 100'000'000};
    nanosleep(&while_it_waits, nullptr);  // the thing under test: a holder that has lost its processor
    lock.unlock();
    order.wait_for(3);
    timespec used;
    clock_gettime(clock, &used);
    CHECK(used.tv_sec == 0);
    CHECK(used.tv_nsec < 60'000'000);
    order.advance();
    waiter.join();
}
