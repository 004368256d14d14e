// Setting a ring up where it is refused, and where the kernel is old.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <cerrno>
#include <system_error>

#include "io/ring.hpp"
#include "support/child.hpp"
#include "tools.hpp"

using namespace test;
namespace detail = runnel::detail;

namespace {

/// From here on io_uring_setup fails in this process, as under a container's seccomp profile.
bool forbid_io_uring(unsigned error) {
    sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),  // the number of the system call
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog filter{sizeof steps / sizeof *steps, steps};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

std::string refusal() {
    try {
        rn::runtime runtime(rn::options().workers(2));
    } catch (const std::system_error& refused) {
        return refused.what();
    }
    return "not refused";
}
}

TEST_CASE("child: io_uring is forbidden" * doctest::skip()) {
    REQUIRE(forbid_io_uring(EPERM));
    const std::string words = refusal();
    for (const char* part :
         {"io_uring_setup", "seccomp", "kernel.io_uring_disabled", "Operation not permitted"})
        CHECK_MESSAGE(words.find(part) != words.npos, words);
}

TEST_CASE("child: the kernel has no io_uring" * doctest::skip()) {
    REQUIRE(forbid_io_uring(ENOSYS));
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

TEST_CASE("ring: what a newer kernel has is done without on an older one") {
    const auto talk = []() -> rn::task<> {
        stream_pair ends = co_await connected_pair();
        CHECK((co_await rn::with_timeout(1ms, ends.second.recv())).error() == rn::errc::timed_out);
        CHECK(co_await ends.first.write_all("hello"));
        CHECK(ends.first.shutdown_write());
        CHECK(co_await read_all(ends.second) == "hello");
    };
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
