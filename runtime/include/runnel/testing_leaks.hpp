// testing_leaks: a stretch of a test after which nothing that it made is left.
//
//   rn::testing::expect_no_leaks([] { rn::run(serve_one_client); });      // on a plain thread
//   co_await rn::testing::expect_no_leaks([&]() -> rn::task<> {           // in a task
//       co_await handle(request);
//   });
//
// A simulation does that by itself, for all of its run (options::leak_report() of testing.hpp); this is for
// runtimes, and for a part of a simulation. What is looked at: channels, contexts, timers, tickers, listeners and
// sockets that are open, and tasks, also ended ones whose join_handle was kept. In a simulation those that it made;
// else those that anybody made but simulations: nothing else in the process should make meanwhile what lasts longer.
//
//   L3  what was made before the stretch may end in it or not;
//   L4  what is just ending on another thread is waited for, up to a second, before it counts as left. (Not by a
//       plain body() that is called on a worker, which must not sleep.)
#pragma once

#include <source_location>
#include <string>
#include <type_traits>

#include "task.hpp"

namespace runnel::detail {
class census_region;
}

namespace runnel::testing {

/// Counts from its beginning on. Throws std::bad_alloc. Threads: an object of one at a time.
/// Cost: what is made meanwhile takes a lock when it is made and when it goes; a look at all tasks.
class leak_region {
public:
    leak_region();
    leak_region(const leak_region&) = delete;
    leak_region& operator=(const leak_region&) = delete;
    ~leak_region();

    /// What was made since then and is there just now: "2 channels made at server.cpp:31 ('jobs')", a line each; empty
    /// for nothing. Threads: in a simulation its tasks, when it was made there.
    std::string left() const;

private:
    detail::census_region* const counts_;  // owned
};
}

namespace runnel::detail {
/// L4, and then expect().
void expect_nothing_left(const testing::leak_region& in, std::source_location where);
task<> expect_nothing_left_soon(const testing::leak_region& in, std::source_location where);

template <class F>
task<> run_without_leaks(F body, std::source_location where) {
    const testing::leak_region region;
    (void)co_await body();
    co_await expect_nothing_left_soon(region, where);
}
}

namespace runnel::testing {

/// Calls body(), and expects that nothing of what was made meanwhile is left, as expect() of testing.hpp does: in a
/// simulation the run fails, elsewhere the program is ended with a report. When body() gives a task, so does this:
/// to be awaited. What body() throws comes out, and then nothing is expected.
/// Cancellation  that of body(). What is left is looked at all the same; a cancelled task does not wait for it (L4).
template <class F>
auto expect_no_leaks(F body, std::source_location where = std::source_location::current()) {
    if constexpr (std::is_void_v<decltype(body())>) {
        const leak_region region;
        body();
        detail::expect_nothing_left(region, where);
    } else {
        return detail::run_without_leaks(std::move(body), where);
    }
}
}
