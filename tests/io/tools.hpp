// tools: what tests need to force the rare: workers on demand, small rings, a system call that fails.
#pragma once

#include <runnel/detail/wait.hpp>

#include "io/drivers/uring_driver.hpp"
#include "loopback.hpp"

namespace test {

/// Goes on on the worker of that number, and stays there until released.
inline rn::task<> move_to_worker(unsigned number) {
    rn::detail::task_block& self = rn::detail::running_task();
    self.pinned = static_cast<std::uint16_t>(number);
    self.routed = true;
    CHECK(co_await rn::yield());
}
inline void release_from_worker() {
    rn::detail::task_block& self = rn::detail::running_task();
    self.pinned = runnel::detail::task_block::anywhere;
    self.routed = false;
}

/// Keeps its processor busy without giving way, like a long computation.
inline void spin_for(std::chrono::milliseconds time) {
    const auto end = std::chrono::steady_clock::now() + time;
    while (std::chrono::steady_clock::now() < end) {}
}

/// Options of the rings that drivers made by small_ring_drivers() have. Set before a runtime is made.
inline rn::detail::ring_options ring_to_make;

inline std::unique_ptr<rn::detail::driver_factory> drivers_as_set() {
    return rn::detail::make_uring_drivers(ring_to_make);
}

/// A runtime whose workers have rings like `ring`.
inline rn::options with_ring(const rn::detail::ring_options& ring, unsigned workers) {
    ring_to_make = ring;
    return rn::options().workers(workers).drivers_from(drivers_as_set);
}
}
