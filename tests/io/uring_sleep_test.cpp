// A driver falls asleep in slow motion: what others do in between is never overslept.
//
//   wait()   takes messages in ── reads its clock ── announces that it sleeps ── looks again ── enters the kernel
//                                      ▲                                                             ▲
//                                between_looks                                                  before_sleep
//
// The driver of these tests has a clock and a system call in which guests, each a thread of its own, do something
// once, one after the other. A test that oversleeps fails after five seconds.
#include <poll.h>

#include <atomic>
#include <cerrno>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "bare_read.hpp"
#include "io/drivers/uring_driver.hpp"
#include "support/sequencer.hpp"

using namespace test;
namespace detail = runnel::detail;
using support::sequencer;

namespace {

using guests = std::vector<std::function<void()>>;
guests between_looks;
guests before_sleep;
guests before_hand_over;                 // of a thread that does not mean to sleep
thread_local bool refused_here = false;  // the kernel takes no requests from this thread
std::atomic<int> ring_fd{-1};            // of the driver that entered the kernel last

void let_in(guests& all) {
    if (all.empty()) return;
    for (auto& guest : std::exchange(all, {})) std::thread(guest).join();
}

detail::nanoseconds_t clock_with_guest() noexcept {
    let_in(between_looks);
    return detail::monotonic_now();
}

int enter_with_guest(unsigned fd, unsigned to_submit, unsigned min_complete, unsigned flags, void* argument,
                     std::size_t argument_bytes) noexcept {
    ring_fd = static_cast<int>(fd);
    let_in(min_complete > 0 ? before_sleep : before_hand_over);
    if (refused_here && to_submit > 0) return -EAGAIN;
    return detail::system_enter(fd, to_submit, min_complete, flags, argument, argument_bytes);
}

detail::ring_options with_guests(unsigned sq_entries = 256) {
    detail::ring_options options;
    options.sq_entries = sq_entries;
    options.enter = enter_with_guest;
    options.clock = clock_with_guest;
    return options;
}

/// Says whether the driver slept until its deadline.
bool oversleeps(detail::uring_driver& driver) {
    const auto deadline = detail::monotonic_now() + detail::nanoseconds_t{5'000'000'000};
    driver.wait(deadline);
    return detail::monotonic_now() >= deadline;
}

void wait_for_completion() {
    pollfd ring{ring_fd, POLLIN, 0};
    CHECK(poll(&ring, 1, -1) == 1);
}

/// Completes the read, which was just started, with ECANCELED though its byte has come: the thread that handed
/// it over has ended, and so the kernel leaves that to a thread of its own.
void complete_in_vain(detail::uring_driver& driver, bare_read& read) {
    std::thread([&] { driver.help(); }).join();
    CHECK_FALSE(driver.stranded());
    read.send_byte();
    wait_for_completion();
}

using reads = std::vector<std::unique_ptr<bare_read>>;

reads start_reads(detail::uring_driver& driver, int count) {
    reads started;
    for (int i = 0; i < count; ++i) started.push_back(std::make_unique<bare_read>(driver));
    return started;
}

void serve_all(reads& started) {
    for (const auto& read : started) read->send_byte();
    for (const auto& read : started) read->wait_until_over();
    for (const auto& read : started) CHECK(read->moved() == 1);
}
}

TEST_CASE("sleep: a cancel between the driver's two looks is seen by the second (U2)") {
    detail::uring_driver driver(with_guests());
    bare_read read(driver);
    driver.poll();
    read.ask_to_take_back();
    between_looks = {[&] { read.send_message(); }};
    CHECK_FALSE(oversleeps(driver));
    read.wait_until_over();
    CHECK(read.error() == ECANCELED);
}

TEST_CASE("sleep: a cancel after both looks rings the doorbell (U2)") {
    detail::uring_driver driver(with_guests());
    bare_read read(driver);
    driver.poll();
    read.ask_to_take_back();
    before_sleep = {[&] { read.send_message(); }};
    CHECK_FALSE(oversleeps(driver));
    read.wait_until_over();
    CHECK(read.error() == ECANCELED);
}

TEST_CASE("sleep: not before all that was started is in the kernel, however small the ring") {
    detail::uring_driver driver(with_guests(8));
    driver.poll();
    reads started = start_reads(driver, 20);
    CHECK_FALSE(oversleeps(driver));  // eight are; the others have to be published yet
    serve_all(started);
}

TEST_CASE("sleep: not without a doorbell, for which the ring had no room") {
    detail::uring_driver driver(with_guests(8));
    reads started = start_reads(driver, 8);
    CHECK_FALSE(oversleeps(driver));
    before_sleep = {[&] { driver.wake(); }};
    CHECK_FALSE(oversleeps(driver));
    serve_all(started);
}

TEST_CASE("sleep: not when taking in has ended an operation") {
    detail::uring_driver driver(with_guests(8));
    driver.poll();
    reads started = start_reads(driver, 8);
    bare_read delayed(driver);  // for which there is no room
    delayed.ask_to_take_back();
    delayed.send_message();
    CHECK_FALSE(oversleeps(driver));
    CHECK(delayed.over());
    CHECK(delayed.error() == ECANCELED);
    serve_all(started);
}

TEST_CASE("sleep: not when the deadline has passed") {
    detail::uring_driver driver(with_guests());
    driver.poll();
    for (const auto deadline : {detail::nanoseconds_t{0}, driver.now() - 1}) driver.wait(deadline);
    CHECK(driver.counts().sleeps == 0);
}

// --- The helper of one who falls asleep (U5) ---------------------------------------------------------

TEST_CASE("sleep: a helper does not take out what rings the doorbell") {
    detail::uring_driver driver(with_guests());
    driver.poll();
    before_sleep = {[&] { driver.wake(); }, [&] { driver.help(); }};
    CHECK_FALSE(oversleeps(driver));
}

TEST_CASE("sleep: nor does one that was on its way when the owner was still busy") {
    detail::uring_driver driver(with_guests());
    driver.poll();
    bare_read read(driver);  // something to hand over
    sequencer order;
    before_hand_over = {[&] {
        order.advance();
        order.wait_for(2);
    }};
    std::thread helper([&] {
        refused_here = true;  // and it will not be able to
        driver.help();
        order.advance();
    });
    order.wait_for(1);
    before_sleep = {[&] { driver.wake(); },
                    [&] {
                        order.advance();
                        order.wait_for(3);
                    }};
    CHECK_FALSE(oversleeps(driver));
    helper.join();
}

TEST_CASE("sleep: a helper does not take out an operation that only the owner would ask for again") {
    detail::uring_driver driver(with_guests());
    driver.poll();
    bare_read read(driver);
    complete_in_vain(driver, read);
    before_sleep = {[&] { driver.help(); }};
    CHECK_FALSE(oversleeps(driver));
    read.wait_until_over();
    CHECK(read.moved() == 1);
}

TEST_CASE("sleep: a helper does not take in the message that has woken the owner") {
    detail::uring_driver driver(with_guests());
    bare_read read(driver);
    driver.poll();
    read.ask_to_take_back();
    before_sleep = {[&] { read.send_message(); },
                    [&] {
                        const auto enters = driver.counts().enters;
                        CHECK(driver.help() == 0);
                        CHECK(driver.counts().enters == enters);
                    }};
    CHECK_FALSE(oversleeps(driver));
    read.wait_until_over();
    CHECK(read.error() == ECANCELED);
}

// --- Without sleep -----------------------------------------------------------------------------------

TEST_CASE("sleep: a kernel that takes nothing is asked each millisecond, not in a spin") {
    detail::uring_driver driver(with_guests());
    refused_here = true;
    const auto before = driver.counts().enters;
    const auto deadline = detail::monotonic_now() + 50'000'000;
    while (detail::monotonic_now() < deadline) driver.wait(deadline);
    CHECK(driver.counts().enters - before <= 110);  // it asks, and then sleeps
    refused_here = false;
}

TEST_CASE("sleep: a helper sees what a busy owner has to ask for again, and does it") {
    detail::uring_driver driver(with_guests());
    bare_read served(driver);
    driver.poll();
    bare_read given_up(driver);
    complete_in_vain(driver, given_up);
    // The kernel goes on telling that the ended thread has something to do for the ring, until one that lives
    // has done the like. Then nothing else is stranded.
    served.send_byte();
    driver.poll();
    CHECK(served.over());
    CHECK_FALSE(given_up.over());
    CHECK(driver.stranded());
    std::thread([&] {
        while (driver.stranded() && !given_up.over()) driver.help();
    }).join();
    CHECK(given_up.moved() == 1);
}
