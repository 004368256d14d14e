// The driver of a worker that does no I/O: it sleeps, and is woken.
#include <doctest/doctest.h>
#include <runnel/detail/driver.hpp>

#include <atomic>
#include <thread>

#include "support/level.hpp"

using namespace runnel::detail;

TEST_CASE("futex driver: a wake before the sleep ends it at once, and once") {
    const auto drivers = make_futex_drivers();
    const auto driver = drivers->make(0);
    driver->wake();
    driver->wake();  // folds into the first
    driver->wait(no_deadline);
    CHECK(driver->counts().sleeps == 0);
    driver->wait(drivers->now() + 1'000'000);  // the second wake left nothing behind: this one sleeps
    CHECK(driver->counts().sleeps == 1);
}

TEST_CASE("futex driver: a poll does not take a wake that was meant for the sleep") {
    const auto driver = make_futex_drivers()->make(0);
    driver->wake();
    driver->poll();
    driver->wait(no_deadline);
}

TEST_CASE("futex driver: the sleep ends at its deadline, not before") {
    const auto driver = make_futex_drivers()->make(0);
    const nanoseconds_t deadline = driver->now() + 3'000'000;
    driver->wait(deadline);
    CHECK(driver->now() >= deadline);
    driver->wait(driver->now() - 1);  // passed already
    driver->wait(0);
}

TEST_CASE("futex driver: two drivers that wake each other lose no wake-up") {
    const auto drivers = make_futex_drivers();
    const auto ping = drivers->make(0), pong = drivers->make(1);
    const int rounds = support::scaled(20'000, 1'000'000);
    int ball = 0;  // plain on purpose: TSan reports it if the wake-ups do not order the accesses
    std::thread other([&] {
        for (int i = 0; i < rounds; ++i) {
            pong->wait(no_deadline);
            ++ball;
            ping->wake();
        }
    });
    for (int i = 0; i < rounds; ++i) {
        ++ball;
        pong->wake();
        ping->wait(no_deadline);
    }
    other.join();
    CHECK(ball == 2 * rounds);
}
