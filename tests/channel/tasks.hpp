// tasks: a runtime of its own for each test, and how a test knows that its tasks have parked.
//
//     on_workers(1, []() -> rn::task<> {
//         …
//         rn::go(receive_one, in.share());
//         co_await settle();                 // now it waits in recv()
//
// With one worker nothing is left to chance: tasks run in the order in which they became ready, and
// settle() returns when all others wait. The short tests use that; the stress tests take more workers.
#pragma once

#include <doctest/doctest.h>
#include <runnel/runtime.hpp>
#include <runnel/scope.hpp>

namespace rn = runnel;

namespace support {

/// Runs f(args…) as a task in a runtime of its own; gives its value, throws what it threw.
template <class F, class... Args>
auto on_workers(unsigned workers, F&& f, Args&&... args) {
    rn::runtime runtime(rn::options().workers(workers).driver(rn::driver_kind::none));
    auto end = runtime.spawn(std::forward<F>(f), std::forward<Args>(args)...).wait();
    REQUIRE(end);
    if constexpr (!std::is_void_v<typename decltype(end)::value_type>) return *std::move(end);
}

/// Runs the same rule on one worker, where the order is known, and on several, where it is not.
template <class F>
void on_one_and_several(F rule) {
    for (const unsigned workers : {1U, 3U}) {
        CAPTURE(workers);
        on_workers(workers, rule);
    }
}

/// One worker: lets the other tasks run until all of them wait. (Each turn runs whatever is ready once.)
inline rn::task<> settle() {
    for (int turn = 0; turn < 16; ++turn) (void)co_await rn::shielded(rn::yield());
}
}
