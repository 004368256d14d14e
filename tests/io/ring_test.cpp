// Setting a ring up where it is refused, and where the kernel is old.
#include <sys/resource.h>
#include <sys/syscall.h>

#include <cerrno>
#include <system_error>

#include "forbid.hpp"
#include "io/drivers/ring.hpp"
#include "support/child.hpp"
#include "tools.hpp"

using namespace test;
namespace detail = runnel::detail;

namespace {

rn::task<> talk() {
    stream_pair ends = co_await connected_pair();
    CHECK((co_await rn::with_timeout(1ms, ends.second.recv())).error() == rn::errc::timed_out);
    CHECK(co_await ends.first.write_all("hello"));
    CHECK(ends.first.shutdown_write());
    CHECK(co_await read_all(ends.second) == "hello");
}

std::string refusal() {
    try {
        rn::runtime runtime(rn::options().workers(2).driver(rn::driver_kind::uring));
    } catch (const std::system_error& refused) {
        return refused.what();
    }
    return "not refused";
}
}

TEST_CASE("child: io_uring is forbidden" * doctest::skip()) {
    REQUIRE(forbid(SYS_io_uring_setup, EPERM));
    const std::string words = refusal();
    for (const char* part :
         {"io_uring_setup", "seccomp", "kernel.io_uring_disabled", "Operation not permitted"})
        CHECK_MESSAGE(words.find(part) != words.npos, words);
}

TEST_CASE("child: the kernel has no io_uring" * doctest::skip()) {
    REQUIRE(forbid(SYS_io_uring_setup, ENOSYS));
    const std::string words = refusal();
    for (const char* part : {"io_uring_setup", "no io_uring", "Linux 5.13"})
        CHECK_MESSAGE(words.find(part) != words.npos, words);
}

TEST_CASE("child: there is no descriptor for a ring" * doctest::skip()) {
    rlimit before{};
    getrlimit(RLIMIT_NOFILE, &before);
    const rlimit none{3, before.rlim_max};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
    const std::string words = refusal();
    setrlimit(RLIMIT_NOFILE, &before);
    for (const char* part : {"io_uring_setup", "RLIMIT_NOFILE"})
        CHECK_MESSAGE(words.find(part) != words.npos, words);
}

TEST_CASE("ring: a refused set-up says which call failed, why, and what to do") {
    for (const char* name : {"child: io_uring is forbidden", "child: the kernel has no io_uring",
                             "child: there is no descriptor for a ring"}) {
        const support::child_end end = support::child(name).wait();
        CHECK_MESSAGE(end.exited(0), end.printed);
    }
}

TEST_CASE("child: a program where io_uring is forbidden" * doctest::skip()) {
    REQUIRE(forbid(SYS_io_uring_setup, EPERM));
    for (int i = 0; i < 2; ++i) {
        rn::runtime runtime(rn::options().workers(2));
        CHECK(std::string(runtime.driver_name()) == "epoll");
        CHECK(runtime.spawn(talk).wait());
    }
}

TEST_CASE("child: a program in which RUNNEL_DRIVER asks for the ring" * doctest::skip()) {
    REQUIRE(forbid(SYS_io_uring_setup, EPERM));
    CHECK_THROWS_AS(rn::runtime(rn::options().workers(1)), std::system_error);
}

TEST_CASE("driver: where io_uring is refused a program runs with epoll, and says so once with the reason") {
    const support::child_end end =
        support::child("child: a program where io_uring is forbidden", "RUNNEL_DRIVER=").wait();
    CHECK_MESSAGE(end.exited(0), end.printed);
    const std::string line = "runnel: epoll instead of io_uring: io_uring_setup: io_uring is forbidden here";
    const std::size_t said = end.printed.find(line);
    CHECK_MESSAGE(said != std::string::npos, end.printed);
    CHECK(end.printed.find(line, said + 1) == std::string::npos);
}

TEST_CASE("child: a program that may make a ring but not enter it" * doctest::skip()) {
    REQUIRE(forbid(SYS_io_uring_enter, EPERM));
    rn::runtime runtime(rn::options().workers(2));
    CHECK(std::string(runtime.driver_name()) == "epoll");
    CHECK(runtime.spawn(talk).wait());
}

TEST_CASE("driver: a ring that can be made and not entered is refused, too") {
    const support::child_end end =
        support::child("child: a program that may make a ring but not enter it", "RUNNEL_DRIVER=").wait();
    CHECK_MESSAGE(end.exited(0), end.printed);
    CHECK(end.said("runnel: epoll instead of io_uring: io_uring_enter: io_uring is forbidden here"));
}

TEST_CASE("driver: what RUNNEL_DRIVER asks for is not replaced by another") {
    const char* const name = "child: a program in which RUNNEL_DRIVER asks for the ring";
    const support::child_end end = support::child(name, "RUNNEL_DRIVER=uring").wait();
    CHECK_MESSAGE(end.exited(0), end.printed);
}

TEST_CASE("ring: what a newer kernel has is done without on an older one") {
    for (const unsigned withheld :
         {0U, IORING_SETUP_COOP_TASKRUN, IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL}) {
        detail::ring_options old;
        old.flags_withheld = withheld;
        rn::runtime runtime(with_ring(old, 2));
        CHECK(runtime.spawn(talk).wait());
    }
}

TEST_CASE("ring: what is published is counted until the kernel has taken it") {
    detail::ring ring(detail::ring_options{.sq_entries = 4, .cq_entries = 8});
    for (unsigned i = 0; i < 4; ++i) {
        io_uring_sqe* request = ring.next();
        REQUIRE(request != nullptr);
        io_uring_prep_nop(request);
        request->user_data = i;
        ring.publish();
    }
    CHECK(ring.next() == nullptr);  // full
    CHECK(ring.unsubmitted() == 4);
    CHECK(ring.submit() == 4);
    CHECK(ring.unsubmitted() == 0);
    for (unsigned i = 0; i < 4; ++i) {
        REQUIRE(ring.front() != nullptr);
        CHECK(ring.front()->user_data == i);
        ring.pop();
    }
    CHECK(ring.front() == nullptr);
    CHECK_FALSE(ring.has_completions());
}

TEST_CASE("ring: a wait without completions ends when its time is over") {
    detail::ring ring(detail::ring_options{});
    CHECK(ring.wait(1'000'000) == -ETIME);
}
