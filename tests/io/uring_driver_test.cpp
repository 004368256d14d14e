// The driver where it is hard: wake-ups, full queues, a kernel that refuses, an owner that is busy.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <thread>

#include "bare_read.hpp"
#include "support/level.hpp"
#include "tools.hpp"

using namespace test;
namespace detail = runnel::detail;

TEST_CASE("driver: a doorbell whose watch has ended is watched again") {
    detail::uring_driver driver{detail::ring_options{}};
    std::thread([&] { driver.help(); }).join();  // it submits the watch, which ends with its thread
    std::atomic<bool> awake{false};
    std::thread waker([&] {
        while (!awake) {
            std::this_thread::sleep_for(1ms);
            driver.wake();
        }
    });
    for (int i = 0; i < 20; ++i) driver.wait(detail::no_deadline);
    awake = true;
    waker.join();
}

namespace {

rn::task<> read_one(rn::tcp_stream from, std::atomic<int>& done) {
    std::byte buffer[1];
    CHECK((co_await from.read_some(buffer)).value() == 1);
    ++done;
}

/// Many reads in flight on one worker, which is then busy while all their bytes arrive.
rn::task<> complete_at_once(int reads) {
    std::vector<rn::tcp_stream> writers;
    std::atomic<int> done{0};
    rn::task_set readers;
    for (int i = 0; i < reads; ++i) {
        stream_pair ends = co_await connected_pair();
        writers.push_back(std::move(ends.first));
        readers.spawn(read_one, std::move(ends.second), rn::borrow(done));
    }
    CHECK(co_await rn::sleep_for(1ms));
    for (const rn::tcp_stream& writer : writers)
        CHECK(send(writer.native_handle(), "x", 1, MSG_NOSIGNAL) == 1);  // without passing through the ring
    CHECK(co_await readers.join());
    CHECK(done == reads);
}

detail::ring_options tiny_ring() {
    detail::ring_options tiny;
    tiny.sq_entries = 8;
    tiny.cq_entries = 16;
    return tiny;
}
}

TEST_CASE("driver: when more operations complete than the queue has room for, all are completed") {
    rn::runtime runtime(with_ring(tiny_ring(), 1));
    CHECK(runtime.spawn(complete_at_once, 300).wait());
    // The overflow has ended the doorbell's poll; it must be armed again, or none of these is noticed.
    for (int i = 0; i < 100; ++i) CHECK(runtime.spawn([]() -> rn::task<> { co_return; }).wait());
}

namespace {

/// Reads in flight, with bytes for all of them: more than the completion queue takes.
std::vector<std::unique_ptr<bare_read>> overflow(detail::uring_driver& driver) {
    std::vector<std::unique_ptr<bare_read>> reads;
    for (int i = 0; i < 100; ++i) {
        reads.push_back(std::make_unique<bare_read>(driver));
        driver.poll();
    }
    for (const auto& read : reads) read->send_byte();
    return reads;
}

/// Helps whenever the owner is seen to need it, until `over`. There are moments in which that is not to be seen, while
/// the kernel is at it: a worker looks again and again.
template <class Over>
void help_until(detail::uring_driver& driver, Over over) {
    std::thread([&] {
        while (!over())  // the watchdog ends it
            if (driver.stranded()) driver.help();
    }).join();
    CHECK(over());
}

bool all_over(const std::vector<std::unique_ptr<bare_read>>& reads) {
    return std::all_of(reads.begin(), reads.end(), [](const auto& read) { return read->over(); });
}
}

TEST_CASE("driver: an owner that never sleeps is given what overflowed") {
    detail::uring_driver driver(tiny_ring());
    const auto reads = overflow(driver);
    for (int i = 0; i < 100; ++i) driver.poll();  // 16 at a time
    CHECK(all_over(reads));
    CHECK(driver.counts().overflows > 0);
}

TEST_CASE("driver: a helper sees that something overflowed, and fetches it") {
    detail::uring_driver driver(tiny_ring());
    const auto reads = overflow(driver);
    help_until(driver, [&] { return all_over(reads); });
}

TEST_CASE("driver: a helper hands over what a busy owner has published") {
    detail::uring_driver driver{detail::ring_options{}};
    driver.poll();
    bare_read read(driver);
    read.send_byte();
    help_until(driver, [&] { return read.over(); });
    CHECK(read.moved() == 1);
}

TEST_CASE("driver: a helper sees the messages to a busy owner, and carries them out") {
    detail::uring_driver driver(tiny_ring());  // which has no room for all of them at once
    std::vector<std::unique_ptr<bare_read>> reads;
    for (int i = 0; i < 20; ++i) {
        reads.push_back(std::make_unique<bare_read>(driver));
        driver.poll();
    }
    CHECK_FALSE(driver.stranded());
    for (const auto& read : reads) {
        read->ask_to_take_back();
        read->send_message();
    }
    help_until(driver, [&] { return all_over(reads); });
}

// --- A kernel that refuses -------------------------------------------------------------------------

namespace {

std::atomic<unsigned> calls{0};

/// Fails three calls of four, each in another way, or takes only a part of what it is given: then it does not wait, as
/// the kernel does not.
int moody_enter(unsigned fd, unsigned to_submit, unsigned min_complete, unsigned flags, void* argument,
                std::size_t argument_bytes) noexcept {
    const unsigned call = calls++;
    switch (call % 8) {
        case 1:
            return -EAGAIN;
        case 2:
            return -EINTR;
        case 4:
            return -EBUSY;
        case 5:
            if (to_submit <= 1)
                return detail::system_enter(fd, to_submit, min_complete, flags, argument, argument_bytes);
            return detail::system_enter(fd, 1, 0, flags & ~IORING_ENTER_EXT_ARG, nullptr, 0);
        case 7:
            return detail::system_enter(fd, to_submit / 2, 0, flags & ~IORING_ENTER_EXT_ARG, nullptr, 0);
        default:
            return detail::system_enter(fd, to_submit, min_complete, flags, argument, argument_bytes);
    }
}

rn::task<bool> echo_back(std::string text) {
    stream_pair ends = co_await connected_pair();
    rn::go(echo, std::move(ends.second));
    auto answer = rn::go(read_all, rn::borrow(ends.first));
    CHECK(co_await ends.first.write_all(text));
    CHECK(ends.first.shutdown_write());
    co_return (co_await answer).value() == text;
}
}

TEST_CASE("driver: a kernel that refuses, is interrupted or takes a part loses and doubles nothing") {
    detail::ring_options moody = tiny_ring();
    moody.enter = moody_enter;
    rn::runtime runtime(with_ring(moody, 2));
    for (int i = 0; i < support::scaled(20, 500); ++i)
        CHECK(runtime.spawn(echo_back, pattern(300'000, static_cast<unsigned>(i + 1))).wait().value());
    CHECK(runtime.spawn(complete_at_once, 100).wait());
    CHECK(runtime.stop());
    CHECK(calls > 100);
}

// --- An owner that is busy -------------------------------------------------------------------------

namespace {

/// How late each of the stranded was served.
struct service_times {
    std::atomic<std::chrono::steady_clock::rep> written{0};  // when the bytes were
    std::atomic<long> latest_us{0};
    std::atomic<int> served{0};

    void note(std::chrono::steady_clock::time_point due) {
        const auto after = std::chrono::steady_clock::now() - due;
        const long us = std::chrono::duration_cast<std::chrono::microseconds>(after).count();
        for (long seen = latest_us; seen < us && !latest_us.compare_exchange_weak(seen, us);) {}
        ++served;
    }
};

using time_point = std::chrono::steady_clock::time_point;

// Both begin to wait on the first worker: in its ring, in its timers. Whoever completes them may run them.
rn::task<> read_on_this_worker(rn::tcp_stream from, service_times& times) {
    std::byte buffer[1];
    CHECK((co_await from.read_some(buffer)).value() == 1);
    times.note(time_point(time_point::duration(times.written)));
}

rn::task<> read_on_first_worker(rn::tcp_stream from, service_times& times) {
    co_await move_to_worker(0);
    release_from_worker();
    co_await read_on_this_worker(std::move(from), times);
}

rn::task<> sleep_on_first_worker(service_times& times) {
    co_await move_to_worker(0);
    release_from_worker();
    const auto due = std::chrono::steady_clock::now() + 60ms;
    CHECK(co_await rn::sleep_for(60ms));
    times.note(due);
}

/// Blocks the thread in a system call that no signal ends early.
void block_for(std::chrono::milliseconds time) {
    int ends[2];
    CHECK(pipe(ends) == 0);
    std::thread writer([&] {
        std::this_thread::sleep_for(time);
        CHECK(write(ends[1], "x", 1) == 1);
    });
    char byte;
    CHECK(read(ends[0], &byte, 1) == 1);
    writer.join();
    close(ends[0]);
    close(ends[1]);
}

constexpr int unsubmitted = 5;

rn::task<> strand(int reads, void (*hold_worker)(std::chrono::milliseconds)) {
    co_await move_to_worker(0);
    std::vector<rn::tcp_stream> writers;
    service_times times;
    rn::task_set waiting;
    waiting.spawn(sleep_on_first_worker, rn::borrow(times));
    for (int i = 0; i < reads; ++i) {
        stream_pair ends = co_await connected_pair();
        writers.push_back(std::move(ends.first));
        waiting.spawn(read_on_first_worker, std::move(ends.second), rn::borrow(times));
    }
    CHECK(co_await rn::sleep_for(20ms));     // for all to have come into the kernel
    for (int i = 0; i < unsubmitted; ++i) {  // and some are published, and not handed over
        stream_pair ends = co_await connected_pair();
        writers.push_back(std::move(ends.first));
        waiting.spawn(read_on_this_worker, std::move(ends.second), rn::borrow(times));
        CHECK(co_await rn::yield());
    }
    std::thread peer([&] {
        std::this_thread::sleep_for(20ms);  // for the worker to be busy
        times.written = std::chrono::steady_clock::now().time_since_epoch().count();
        for (const rn::tcp_stream& writer : writers) send(writer.native_handle(), "x", 1, MSG_NOSIGNAL);
    });
    hold_worker(300ms);
    const int served_meanwhile = times.served;
    peer.join();
    CHECK(co_await waiting.join());
    CHECK(served_meanwhile == reads + unsubmitted + 1);
    MESSAGE("behind a busy worker, " << reads << " reads and a timer were at most " << times.latest_us.load()
                                     << " us late");
    CHECK(times.latest_us < 200'000);  // 10'000 on a quiet machine; the worker is held for 300'000
    release_from_worker();
}
}

TEST_CASE("driver: what waits in the ring and the timers of a busy worker is served by another") {
    CHECK(run_on(2, strand, 100, spin_for));
}

TEST_CASE("driver: so is what waits behind a worker that a task has blocked") {
    CHECK(run_on(2, strand, 100, block_for));
}

namespace {

rn::task<> hear_one(rn::tcp_stream from, std::string expected, std::atomic<int>& done) {
    auto chunk = co_await from.recv();
    CHECK(chunk.has_value());
    CHECK(chunk->text() == expected);
    ++done;
}

/// `count` streams wait, and all of them have something at once. In several rounds, for the buffers come back.
rn::task<> all_at_once(int count) {
    co_await move_to_worker(0);
    for (int round = 0; round < 3; ++round) {
        rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
        std::vector<rn::tcp_stream> writers;
        std::atomic<int> done{0};
        rn::task_set waiting;
        for (int i = 0; i < count; ++i) {
            stream_pair ends = co_await connected_pair(listener);
            writers.push_back(std::move(ends.first));
            waiting.spawn(hear_one, std::move(ends.second), "text " + std::to_string(i), rn::borrow(done));
        }
        while (rn::detail::current_driver().in_flight() < static_cast<std::size_t>(count))
            CHECK(co_await rn::yield());
        for (int i = 0; i < count; ++i) {  // by plain calls: nobody else runs meanwhile
            const std::string text = "text " + std::to_string(i);
            CHECK(send(writers[static_cast<std::size_t>(i)].native_handle(), text.data(), text.size(), 0) >
                  0);
        }
        CHECK(co_await waiting.join());
        CHECK(done == count);
    }
    release_from_worker();
}
}

TEST_CASE("driver: more streams have something at once than there are buffers, and each gets its own") {
    CHECK(run_on(1, all_at_once, 300));
    detail::ring_options none;
    none.provides_buffers = false;
    rn::runtime without(with_ring(none, 1));
    CHECK(without.spawn(all_at_once, 30).wait());
}

namespace {

rn::task<> submit_from_a_thread_that_ends() {
    co_await move_to_worker(0);
    stream_pair ends = co_await connected_pair();
    std::atomic<int> done{0};
    auto reader = rn::go(read_one, std::move(ends.second), rn::borrow(done));
    CHECK(co_await rn::yield());  // it has published its read by now; most times nobody has submitted it
    rn::detail::driver& driver = rn::detail::current_driver();
    std::thread([&] { driver.help(); }).join();
    CHECK(co_await ends.first.write_all("x"));
    CHECK(co_await reader);
    CHECK(done == 1);
    release_from_worker();
}
}

TEST_CASE("driver: an operation whose submitter has ended is asked for again") {
    for (int i = 0; i < 20; ++i) CHECK(run_on(1, submit_from_a_thread_that_ends));
}
