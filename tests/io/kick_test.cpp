// A kick makes a completion appear that the kernel has put off for a thread which is busy in user space.
//
// Without a kick it appears at the next tick of the system's clock, milliseconds later: in one attempt of fifty
// that is soon enough by chance; with one it nearly always is. Only attempts count in which both threads were
// running: on a loaded machine that takes some.
#include <fcntl.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "bare_read.hpp"
#include "io/drivers/kick.hpp"
#include "io/drivers/uring_driver.hpp"

using namespace test;
namespace detail = runnel::detail;

namespace {

constexpr int attempts_max = 200;

struct tally {
    int tried = 0;
    int served = 0;
    bool enough() const { return tried >= 10; }
    bool mostly_served() const {
        if (!enough()) MESSAGE("the machine is too loaded to tell: " << served << " of " << tried);
        return !enough() || 2 * served >= tried;
    }
};

std::vector<int> usable_processors() {
    cpu_set_t set;
    std::vector<int> usable;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        for (int i = 0; i < CPU_SETSIZE; ++i)
            if (CPU_ISSET(i, &set)) usable.push_back(i);
    return usable;
}

bool can_kick() {
    const long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
    const bool can = commands > 0 && (commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ) != 0;
    if (can && usable_processors().size() >= 2) return true;
    MESSAGE("skipped: needs two processors and membarrier(2)");
    return false;
}

void move_to_processor(int processor) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(processor, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
}

/// Keeps this thread on a processor while it lives: not on the one of the owner that it is to help.
class on_processor {
public:
    explicit on_processor(int processor) {
        CHECK(sched_getaffinity(0, sizeof before_, &before_) == 0);
        move_to_processor(processor);
    }
    ~on_processor() { sched_setaffinity(0, sizeof before_, &before_); }
    on_processor(const on_processor&) = delete;
    on_processor& operator=(const on_processor&) = delete;

private:
    cpu_set_t before_;
};

/// A thread that submits something, then computes, in user space only, until it is told that the attempt is over.
class busy_owner {
public:
    /// Returns whether there is to be another attempt.
    bool compute(int attempt) {
        began_ = attempt;
        while (over_.load(std::memory_order_relaxed) < attempt) ++beats_;
        return over_ == attempt;
    }

    // The other side:

    void wait_until_it_computes(int attempt) const {
        while (began_ < attempt) sched_yield();
    }
    bool runs() const {
        const unsigned before = beats_;
        for (int look = 0; look < 1000; ++look)
            if (beats_ != before) return true;
        return false;
    }
    void end(int attempt, bool last) { over_ = last ? attempts_max + 1 : attempt; }

private:
    std::atomic<int> began_{0}, over_{0};
    std::atomic<unsigned> beats_{0};
};

/// What `serve` says of an attempt during which both threads ran.
template <class Serve>
void attempt(const busy_owner& owner, tally& all, Serve serve) {
    const bool ran = owner.runs();
    const auto began = detail::monotonic_now();
    const bool served = serve();
    if (!ran || detail::monotonic_now() - began > 1'000'000 || !owner.runs()) return;
    ++all.tried;
    if (served) ++all.served;
}

/// How often the completion appears within about 50 microseconds after kick(processor of the owner).
tally count_served(void (*kick)(int processor)) {
    const std::vector<int> processors = usable_processors();
    detail::ring ring{detail::ring_options{}};
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    busy_owner owner;
    std::thread thread([&] {
        move_to_processor(processors[1]);
        int attempt = 0;
        do {
            io_uring_prep_poll_add(ring.next(), ends[0], POLLIN);
            ring.publish();
            ring.submit();
        } while (owner.compute(++attempt));
    });
    const on_processor here(processors[0]);
    tally all;
    for (int i = 1; i <= attempts_max && !all.enough(); ++i) {
        owner.wait_until_it_computes(i);
        attempt(owner, all, [&] {
            CHECK(write(ends[1], "x", 1) == 1);
            kick(processors[1]);
            for (int look = 0; look < 2000 && !ring.has_completions(); ++look) {}
            return ring.has_completions();
        });
        while (ring.front() == nullptr) sched_yield();
        ring.pop();
        char byte;
        CHECK(read(ends[0], &byte, 1) == 1);
        owner.end(i, i == attempts_max || all.enough());
    }
    thread.join();
    close(ends[0]);
    close(ends[1]);
    return all;
}

/// How often one help() completes the read of an owner that computes; on another processor, perhaps, than where
/// its driver has seen it last.
tally count_helped(bool moved) {
    const std::vector<int> processors = usable_processors();
    detail::uring_driver* driver = nullptr;
    bare_read* read = nullptr;
    busy_owner owner;
    std::thread thread([&] {
        detail::uring_driver mine{detail::ring_options{}};
        driver = &mine;
        bool more = true;
        for (int attempt = 1; more; ++attempt) {
            move_to_processor(processors[moved ? 0 : 1]);
            bare_read one(mine);
            mine.poll();
            move_to_processor(processors[1]);
            read = &one;
            more = owner.compute(attempt);
        }
    });
    const on_processor here(processors[0]);
    tally all;
    for (int i = 1; i <= attempts_max && !all.enough(); ++i) {
        owner.wait_until_it_computes(i);
        attempt(owner, all, [&] {
            read->send_byte();
            driver->help();
            return read->over();
        });
        while (!read->over()) driver->help();
        owner.end(i, i == attempts_max || all.enough());
    }
    thread.join();
    return all;
}
}

TEST_CASE("kick: of the processor on which the thread computes") {
    if (!can_kick()) return;
    detail::allow_kicks();
    CHECK(count_served([](int processor) { detail::kick_processor(processor); }).mostly_served());
}

TEST_CASE("kick: of all processors of this process") {
    if (!can_kick()) return;
    detail::allow_kicks();
    CHECK(count_served([](int) { detail::kick_process(); }).mostly_served());
}

TEST_CASE("kick: a helper has it do what was put off for a busy owner, though that one has moved meanwhile") {
    if (!can_kick()) return;
    CHECK(count_helped(false).mostly_served());
    CHECK(count_helped(true).mostly_served());
}
