// What both drivers do alike: wake-ups, cancels in slow motion, an owner that is busy.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <memory>
#include <thread>
#include <vector>

#include "bare_read.hpp"
#include "io/drivers/epoll_driver.hpp"
#include "support/level.hpp"
#include "tools.hpp"

using namespace test;
namespace detail = runnel::detail;

namespace {
constexpr detail::nanoseconds_t millisecond = 1'000'000;

/// One whose rings are as they come.
struct ring {
    using driver = detail::uring_driver;
    static std::unique_ptr<driver> make() { return std::make_unique<driver>(detail::ring_options()); }
};
struct epoll {
    using driver = detail::epoll_driver;
    static std::unique_ptr<driver> make() { return std::make_unique<driver>(); }
};

/// Another thread wakes the driver so many times, and does this until it has woken.
template <class Meanwhile>
void wake_from_beside(detail::driver& driver, int rounds, Meanwhile meanwhile) {
    std::atomic<int> wakes{0};
    std::atomic<int> seen{0};
    std::thread waker([&] {
        for (int i = 1; i <= rounds; ++i) {
            wakes = i;
            driver.wake();
            while (seen < i) meanwhile();
        }
    });
    while (seen < rounds) {
        driver.wait(detail::no_deadline);  // the watchdog ends this if a wake is lost
        seen = wakes.load();
    }
    waker.join();
}
}

TEST_CASE_TEMPLATE("driver: a wake before the wait ends it at once, and only it", kind, ring, epoll) {
    const auto owned = kind::make();
    auto& driver = *owned;
    driver.poll();
    driver.wake();
    driver.wake();  // folds into the first
    driver.wait(detail::no_deadline);
    const auto before = driver.now();
    driver.wait(before + 5 * millisecond);
    CHECK(driver.now() >= before + 5 * millisecond);
}

TEST_CASE_TEMPLATE("driver: wakes while nobody sleeps cost no system call", kind, ring, epoll) {
    const auto owned = kind::make();
    auto& driver = *owned;
    driver.poll();
    const auto enters = driver.counts().enters;
    for (int i = 0; i < 1000; ++i) driver.wake();
    driver.wait(detail::no_deadline);
    CHECK(driver.counts().enters <= enters + 1);
}

TEST_CASE_TEMPLATE("driver: a wake from another thread ends the sleep, each time", kind, ring, epoll) {
    const auto owned = kind::make();
    auto& driver = *owned;
    const int rounds = support::scaled(2'000, 200'000);
    wake_from_beside(driver, rounds, [] { std::this_thread::yield(); });
}

TEST_CASE_TEMPLATE("driver: an operation ends with its bytes, or by its cancel with ECANCELED", kind, ring,
                   epoll) {
    const auto owned = kind::make();
    auto& driver = *owned;
    bare_read served(driver);
    bare_read cancelled(driver);
    CHECK(driver.in_flight() == 2);
    served.send_byte();
    served.wait_until_over();
    CHECK(served.moved() == 1);
    CHECK(served.error() == 0);
    cancelled.ask_to_take_back();
    cancelled.send_message();
    cancelled.wait_until_over();
    CHECK(cancelled.moved() == 0);
    CHECK(cancelled.error() == ECANCELED);
    CHECK(driver.in_flight() == 0);
}

TEST_CASE_TEMPLATE("driver: a slot is not used again before the message that was on its way has come", kind,
                   ring, epoll) {
    const auto owned = kind::make();
    auto& driver = *owned;
    bare_read first(driver);
    first.ask_to_take_back();
    first.send_byte();  // it wins
    first.wait_until_over();
    CHECK(first.moved() == 1);

    std::vector<std::unique_ptr<bare_read>>
        others;  // more than the slots that were there: the next list is asked
    for (int i = 0; i < 200; ++i) others.push_back(std::make_unique<bare_read>(driver));
    for (const auto& other : others) CHECK(other->request() != first.request());
    first.send_message();
    for (const auto& other : others) other->send_byte();
    for (const auto& other : others) {
        other->wait_until_over();
        CHECK(other->moved() == 1);
    }
}

TEST_CASE_TEMPLATE("driver: it is not gone before a late canceller has let go of it", kind, ring, epoll) {
    auto driver = kind::make();
    auto read = std::make_unique<bare_read>(*driver);
    read->ask_to_take_back();
    read->send_byte();
    read->wait_until_over();
    std::atomic<bool> gone{false};
    auto* const dying = driver.release();
    std::thread owner([&] {
        delete dying;
        gone = true;
    });
    std::this_thread::sleep_for(20ms);  // time enough to be gone, if it did not wait
    CHECK_FALSE(gone);
    read->send_message();
    owner.join();
}

TEST_CASE_TEMPLATE("driver: its end takes back what is still in the kernel", kind, ring, epoll) {
    auto driver = kind::make();
    std::vector<std::unique_ptr<bare_read>> reads;
    for (int i = 0; i < 1000; ++i) reads.push_back(std::make_unique<bare_read>(*driver));
    driver.reset();                                            // the watchdog ends this if it waits for bytes
    for (const auto& read : reads) CHECK_FALSE(read->over());  // nobody is told any more
}

TEST_CASE_TEMPLATE("driver: a cancel from another thread is never overslept", kind, ring, epoll) {
    const auto owned = kind::make();
    auto& driver = *owned;
    std::atomic<bare_read*> current{nullptr};
    std::atomic<bool> done{false};
    std::thread canceller([&] {
        while (!done) {
            bare_read* const read = current.exchange(nullptr);
            if (read == nullptr) continue;
            read->ask_to_take_back();
            read->send_message();
        }
    });
    for (int i = 0; i < support::scaled(2'000, 100'000); ++i) {
        bare_read read(driver);
        driver.poll();
        current = &read;
        read.wait_until_over();
        CHECK(read.error() == ECANCELED);
    }
    done = true;
    canceller.join();
}

TEST_CASE_TEMPLATE("driver: an operation that was taken back before it began is over at once", kind, ring,
                   epoll) {
    const auto driver = kind::make();
    bare_read read(*driver, bare_read::when::later);
    read.ask_to_take_back();
    read.send_message();
    driver->help();  // it takes the message in
    read.send_byte();
    read.start();
    read.wait_until_over();
    CHECK(read.error() == ECANCELED);
    CHECK(read.moved() == 0);
}

TEST_CASE_TEMPLATE("driver: what comes before the message is kept, whoever takes both in", kind, ring,
                   epoll) {
    const auto driver = kind::make();
    bare_read by_owner(*driver);
    driver->poll();
    by_owner.send_byte();
    by_owner.ask_to_take_back();
    by_owner.send_message();
    by_owner.wait_until_over();
    CHECK(by_owner.moved() == 1);

    bare_read by_helper(*driver);
    driver->poll();
    by_helper.send_byte();
    by_helper.ask_to_take_back();
    by_helper.send_message();
    std::thread([&] {
        while (!by_helper.over()) driver->help();  // the watchdog ends it
    }).join();
    CHECK(by_helper.moved() == 1);
}

TEST_CASE_TEMPLATE("driver: a helper completes what waits for a busy owner", kind, ring, epoll) {
    const auto driver = kind::make();
    bare_read served(*driver);
    bare_read cancelled(*driver);
    driver->poll();
    served.send_byte();
    cancelled.ask_to_take_back();
    cancelled.send_message();
    std::thread([&] {
        while (!served.over() || !cancelled.over())  // the watchdog ends it
            if (driver->stranded()) driver->help();
    }).join();
    CHECK(served.moved() == 1);
    CHECK(cancelled.error() == ECANCELED);
    CHECK(driver->in_flight() == 0);
}

TEST_CASE_TEMPLATE("driver: it is stranded when something has come, and not while it is only waited for",
                   kind, ring, epoll) {
    const auto driver = kind::make();
    bare_read read(*driver);
    driver->poll();
    CHECK_FALSE(driver->stranded());
    read.send_byte();
    CHECK(driver->stranded());
    driver->poll();
    CHECK(read.over());
    CHECK_FALSE(driver->stranded());
}

TEST_CASE_TEMPLATE("driver: a helper does not take the bell away from an owner that falls asleep", kind, ring,
                   epoll) {
    const auto owned = kind::make();
    auto& driver = *owned;
    const int rounds = support::scaled(1'000, 100'000);
    bare_read for_ever(driver);  // so that there is something to help with
    wake_from_beside(driver, rounds, [&] {
        driver.help();
        std::this_thread::yield();  // or a busy machine lets it help for whole time slices
    });
}
