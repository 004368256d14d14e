// bad_day: the system's calls as they are when all goes wrong: interrupted, refused for now, done in part, taken late.
//
//     const bad_day today(seed);             // while it lives, one call in eight
//     run_on(2, …);
//     CHECK(today.faults() > 0);
//
// bad_day.cpp puts functions of its own in the place of recv(), sendmsg(), accept4() and so on, for the whole program
// that it is linked to, and enter_on_a_bad_day() in the place of io_uring_enter(): all that the library asks of sockets
// and pipes goes through these. They do only what the system may do at any time: what was asked for is done later, or
// in part, and no answer is a lie. So whatever a program relies on must still be true.
//
// The seed decides what the n-th call meets. Which call that is, the threads decide: a run is not repeated exactly.
#pragma once

#include <cstddef>
#include <cstdint>

namespace test {

class bad_day {
public:
    explicit bad_day(std::uint64_t seed) noexcept;
    bad_day(const bad_day&) = delete;
    bad_day& operator=(const bad_day&) = delete;
    ~bad_day();

    /// How many calls have met one.
    std::uint64_t faults() const noexcept;
};

/// How often recv() was called, on all days.
std::uint64_t receive_calls() noexcept;

/// For ring_options::enter.
int enter_on_a_bad_day(unsigned fd, unsigned to_submit, unsigned min_complete, unsigned flags, void* argument,
                       std::size_t argument_bytes) noexcept;
}
