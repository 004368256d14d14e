// epoll where it is hard: numbers that are another's, descriptors that cannot be watched, calls that are forbidden.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <string>
#include <system_error>

#include "bare_read.hpp"
#include "forbid.hpp"
#include "io/drivers/epoll_driver.hpp"
#include "support/child.hpp"
#include "support/scarce_memory.hpp"
#include "tools.hpp"

using namespace test;
namespace detail = runnel::detail;

namespace {

/// A wait for readability, without a runtime, as bare_read is a read.
class bare_wait {
public:
    bare_wait(detail::epoll_driver& driver, int fd) {
        action_.fd = fd;
        request_ = driver.prepare(action_, task_);
        task_.word = bits::epoch_step | bits::armed_io | bits::held;
        driver.start(*request_);
    }
    void take_back(detail::epoll_driver& driver) {
        task_.word |= bits::take_back;
        driver.cancel(*request_);
        driver.poll();
        CHECK(over());
    }
    bool over() const { return (task_.word & bits::state_mask) != bits::armed_io; }
    int error() const { return action_.error; }

private:
    detail::task_block task_;
    detail::io_action action_{.kind = detail::io_kind::readability};
    detail::io_request* request_ = nullptr;
};

struct pair {
    pair() { REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0); }
    ~pair() {
        close(ends[0]);
        close(ends[1]);
    }
    int ends[2];
};
}

// A forked process, or dup(), keeps what is registered alive after its number has been closed.
TEST_CASE("epoll: an event of a descriptor that was closed does not hit the next with its number") {
    detail::epoll_driver driver;
    pair first;
    bare_wait given_up(driver, first.ends[0]);
    given_up.take_back(driver);  // and is still armed
    const int kept = dup(first.ends[0]);
    pair second;
    REQUIRE(dup2(second.ends[0], first.ends[0]) == first.ends[0]);
    bare_wait other(driver, first.ends[0]);
    CHECK(write(first.ends[1], "x", 1) == 1);
    CHECK_FALSE(other.over());
    driver.poll();
    driver.poll();
    CAPTURE(other.error());
    CHECK_FALSE(other.over());
    CHECK(write(second.ends[1], "x", 1) == 1);
    driver.poll();
    CHECK(other.over());
    CHECK(other.error() == 0);
    close(kept);
}

TEST_CASE("epoll: a number that was closed and is another's is watched like a new one") {
    detail::epoll_driver driver;
    pair first;
    bare_wait once(driver, first.ends[0]);
    CHECK(write(first.ends[1], "x", 1) == 1);
    driver.poll();
    CHECK(once.over());
    pair second;
    REQUIRE(dup2(second.ends[0], first.ends[0]) == first.ends[0]);
    bare_wait again(driver, first.ends[0]);
    driver.poll();
    CHECK_FALSE(again.over());
    CHECK(write(second.ends[1], "x", 1) == 1);
    driver.poll();
    CHECK(again.over());
}

TEST_CASE("epoll: who waits at what cannot be watched is told so") {
    detail::epoll_driver driver;
    const int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    REQUIRE(file >= 0);
    const bare_wait refused(driver, file);
    CHECK(refused.over());
    CHECK(refused.error() == EPERM);
    CHECK(driver.in_flight() == 0);
    close(file);
}

TEST_CASE("epoll: what was given up costs one wake-up at most") {
    detail::epoll_driver driver;
    pair ends;
    bare_wait given_up(driver, ends.ends[0]);
    given_up.take_back(driver);
    CHECK(write(ends.ends[1], "x", 1) == 1);
    driver.wait(driver.now() + 1'000'000);
    const auto before = driver.now();
    driver.wait(before + 5'000'000);  // the byte is still there
    CHECK(driver.now() >= before + 5'000'000);
}

TEST_CASE("epoll: both directions of a stream are waited for at once, and neither is forgotten") {
    rn::runtime runtime(rn::options().workers(2).driver(rn::driver_kind::epoll));
    const auto talk = []() -> rn::task<> {
        stream_pair ends = co_await connected_pair();
        const std::string text = pattern(3'000'000, 7);
        const auto send_all = [&ends, &text]() -> rn::task<> {
            CHECK(co_await ends.first.write_all(text));  // waits for room; whoever reads sends, too
            CHECK(ends.first.shutdown_write());
        };
        auto sender = rn::go(send_all);
        rn::go(echo, std::move(ends.second));
        CHECK(co_await read_all(ends.first) == text);
        CHECK(co_await sender);
    };
    CHECK(runtime.spawn(talk).wait());
}

TEST_CASE("child: epoll_pwait2 is forbidden" * doctest::skip()) {
    REQUIRE(forbid(SYS_epoll_pwait2, ENOSYS));
    rn::runtime runtime(rn::options().workers(1).driver(rn::driver_kind::epoll));
    const auto nap = []() -> rn::task<> {
        const auto before = std::chrono::steady_clock::now();
        CHECK(co_await rn::sleep_for(3ms));
        CHECK(std::chrono::steady_clock::now() - before >= 3ms);
    };
    CHECK(runtime.spawn(nap).wait());
}

TEST_CASE("epoll: without epoll_pwait2 it sleeps by milliseconds, and never too short") {
    const support::child_end end = support::child("child: epoll_pwait2 is forbidden").wait();
    CHECK_MESSAGE(end.exited(0), end.printed);
}

TEST_CASE("epoll: who waits without memory to be remembered is told so, and may try again") {
    if (!support::memory_can_be_scarce()) return;
    detail::epoll_driver driver;
    pair ends;
    const bare_wait first(driver, ends.ends[0]);
    const int higher = fcntl(ends.ends[0], F_DUPFD_CLOEXEC, 500);
    REQUIRE(higher >= 500);
    int error = 0;
    {
        const support::scarce_memory none(0);
        const bare_wait refused(driver, higher);
        if (refused.over()) error = refused.error();
    }
    CHECK(error == ENOMEM);
    const bare_wait again(driver, higher);
    CHECK_FALSE(again.over());
    CHECK(write(ends.ends[1], "x", 1) == 1);
    driver.poll();
    CHECK(again.over());
    CHECK(first.over());
    CHECK(driver.in_flight() == 0);
    close(higher);
}

TEST_CASE("epoll: a driver that cannot be made for want of descriptors keeps none") {
    rlimit before{};
    REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
    const int lowest_free = dup(STDOUT_FILENO);
    close(lowest_free);
    rlimit room_for_one = before;
    room_for_one.rlim_cur = static_cast<rlim_t>(lowest_free) + 1;
    REQUIRE(setrlimit(RLIMIT_NOFILE, &room_for_one) == 0);
    bool refused = false;
    try {
        const detail::epoll_driver driver;
    } catch (const std::system_error&) {  // not looked at: a sanitizer that looks needs a descriptor for it
        refused = true;
    }
    REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0);
    CHECK(refused);
    const int now = dup(STDOUT_FILENO);
    CHECK(now == lowest_free);
    close(now);
}

TEST_CASE("child: waiting in an epoll is forbidden" * doctest::skip()) {
    REQUIRE(forbid(SYS_epoll_pwait2, EPERM));
    REQUIRE(forbid(SYS_epoll_pwait, EPERM));
#ifdef SYS_epoll_wait
    REQUIRE(forbid(SYS_epoll_wait, EPERM));
#endif
    detail::epoll_driver driver;
    driver.wait(detail::no_deadline);
}

TEST_CASE("epoll: a program that may not wait in it ends with a report, and does not spin") {
    const support::child_end end = support::child("child: waiting in an epoll is forbidden").wait();
    CHECK_MESSAGE(end.killed_by(SIGABRT), end.printed);
    CHECK(end.said("runnel: epoll_wait: Operation not permitted"));
}

TEST_CASE("child: epoll is forbidden" * doctest::skip()) {
    REQUIRE(forbid(SYS_epoll_create1, EPERM));
    try {
        const detail::epoll_driver driver;
    } catch (const std::system_error& refused) {
        std::puts(refused.what());
    }
}

TEST_CASE("epoll: where it is forbidden the error says so, and does not speak of files") {
    const support::child_end end = support::child("child: epoll is forbidden").wait();
    CHECK_MESSAGE(end.exited(0), end.printed);
    CHECK(end.said("epoll_create1: it is forbidden here, by a seccomp profile perhaps"));
    CHECK_FALSE(end.said("open files"));
}
