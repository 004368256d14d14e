// testing: the same program, with nothing left to chance.
//
//   rn::task<> two_counters();                                   // unchanged code, any of it
//
//   auto run = rn::testing::simulate(rn::testing::options().seed(7), two_counters);
//   CHECK_MESSAGE(run.ok(), run.what());
//   auto all = rn::testing::explore(10'000, two_counters);       // a schedule per seed, until one fails
//   CHECK_MESSAGE(all.ok(), all.what());                         // names the seed; RUNNEL_SEED=… replays it
//
// How a simulated program runs
//   1  the caller's thread runs all tasks of a runtime of its own. Every co_await is a *point*, whether it
//      waits or not: there it is decided which of the ready tasks goes on;
//   2  when none is ready, time jumps to the next deadline, or to what the network brings next. (A program
//      that never waits keeps time from passing; after 10,000 points in which somebody was ready it jumps all
//      the same. options::slow_turns() and testing_clock.hpp let it pass in other ways.)
//   3  when there is nothing to wait for either, the program is deadlocked: that is a failure, with a list of
//      who waits where;
//   4  when main has ended, the runtime stops as under run(), in virtual time. Tasks that do not stop then
//      are a failure;
//   5  what its tasks have made and is still there then was left behind: that is a failure, too.
//
// Sockets are simulated too, unchanged code uses them: a network with latency, full buffers, short reads and
// writes, resets and partitions (class network below, testing_network.hpp). What arrives is one more of those
// who could go on at a point.
//
//   Y1  all decisions come from one seed, on any compiler and machine: the same seed gives the same run,
//       and the hash of all events proves it;
//   Y2  what would make that untrue is no part of the program: threads of its own, clocks but rn::clock,
//       random numbers that the test does not seed, addresses as an order (std::set<T*>, hashes of pointers), what an
//       earlier run has left in globals. A foreign thread that wakes a task is found out (check());
//       explore() runs the first seed twice and says so when the two differ. Which of two parameters dies first is
//       the compiler's choice: where others wait for their ends, Y1 holds for each compiler alone.
//
// Not taken: threads that are stopped and released one by one (slower by two orders of magnitude, and blind
// to what happens between two awaits all the same); hooking clock calls of the C library.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <source_location>
#include <string>
#include <type_traits>

#include "detail/spawning.hpp"
#include "result.hpp"
#include "task.hpp"
#include "time.hpp"

namespace runnel::testing {

/// How the decisions of one run are made.
enum class strategy : unsigned char {
    mixed,    // one of those below, chosen by the seed
    uniform,  // each ready task is as likely at each point
    sticky,   // a task mostly goes on until it waits: few switches, at random points
    pct,      // random priorities, lowered at a few random points (Burckhardt et al., ASPLOS 2010)
    fifo,     // nobody is interrupted, who became ready first goes first: what a plain run looks like
};

/// The network that simulated programs see: tcp_listener, unix_listener and their streams, without any socket of
/// the system. It has every address, so one program can play several machines. Each setter returns the object,
/// each getter has the same name. What can be done to it while it runs is in testing_network.hpp.
class network {
public:
    /// From when something is sent until it arrives; in each direction the order is kept. Drawn in eighths of
    /// the range, so that much arrives at the same time, in an order that the seed decides. Default 0 to 1 ms.
    network& latency(std::chrono::nanoseconds min, std::chrono::nanoseconds max) noexcept {
        return latency_min_ = min, latency_max_ = max, *this;
    }
    /// Of each connection and direction. Default 0: there is no limit.
    network& bandwidth(std::uint64_t bytes_per_second) noexcept {
        return bandwidth_ = bytes_per_second, *this;
    }
    /// What one direction of a connection holds, from the writer up to the reader, and what a socket for datagrams
    /// holds until they are received. Default 64 KiB.
    network& buffer(std::size_t bytes) noexcept { return buffer_ = bytes, *this; }
    /// One in four reads and writes moves a part of what it could. Default on.
    network& short_transfers(bool on) noexcept { return short_transfers_ = on, *this; }
    /// Open sockets at the same time; one more is EMFILE. Default 1024.
    network& descriptors(std::uint32_t most) noexcept { return descriptors_ = most, *this; }
    /// One in n writes gets its connection reset, at both ends. Default 0: none.
    network& resets(std::uint32_t one_in) noexcept { return resets_ = one_in, *this; }
    /// One in n connects is refused although somebody listens. Default 0: none.
    network& refusals(std::uint32_t one_in) noexcept { return refusals_ = one_in, *this; }
    /// Of the datagrams one in n never arrives, or arrives twice, or is overtaken by others. Default 0: none.
    network& datagram_loss(std::uint32_t one_in) noexcept { return loss_ = one_in, *this; }
    network& datagram_duplicates(std::uint32_t one_in) noexcept { return duplicates_ = one_in, *this; }
    network& datagram_reordering(std::uint32_t one_in) noexcept { return reordering_ = one_in, *this; }

    std::chrono::nanoseconds latency_min() const noexcept { return latency_min_; }
    std::chrono::nanoseconds latency_max() const noexcept { return latency_max_; }
    std::uint64_t bandwidth() const noexcept { return bandwidth_; }
    std::size_t buffer() const noexcept { return buffer_; }
    bool short_transfers() const noexcept { return short_transfers_; }
    std::uint32_t descriptors() const noexcept { return descriptors_; }
    std::uint32_t resets() const noexcept { return resets_; }
    std::uint32_t refusals() const noexcept { return refusals_; }
    std::uint32_t datagram_loss() const noexcept { return loss_; }
    std::uint32_t datagram_duplicates() const noexcept { return duplicates_; }
    std::uint32_t datagram_reordering() const noexcept { return reordering_; }

private:
    std::chrono::nanoseconds latency_min_{0};
    std::chrono::nanoseconds latency_max_{1'000'000};
    std::uint64_t bandwidth_ = 0;
    std::size_t buffer_ = 64 * 1024;
    std::uint32_t descriptors_ = 1024;
    std::uint32_t resets_ = 0;
    std::uint32_t refusals_ = 0;
    std::uint32_t loss_ = 0;
    std::uint32_t duplicates_ = 0;
    std::uint32_t reordering_ = 0;
    bool short_transfers_ = true;
};

/// Settings of a simulation. Each setter returns the object, each getter has the same name.
class options {
public:
    /// Default: RUNNEL_SEED from the environment, else 1.
    options& seed(std::uint64_t number) noexcept { return seed_ = number, *this; }
    options& how(strategy chosen) noexcept { return strategy_ = chosen, *this; }
    /// Points after which a run has failed, as one that does not end. Default 1,000,000.
    options& points(std::uint64_t most) noexcept { return points_ = most, *this; }
    /// From `stopping` to the cancel of what is left when main has ended. Default 0, as in runnel::options.
    options& grace(std::chrono::nanoseconds time) noexcept { return grace_ = time, *this; }
    /// At one in n points at which a deadline is at most `most` away, it comes although tasks are ready: as if a turn
    /// had taken that long. Finds what a task slow past a timeout breaks. Default 0: time passes only when all wait.
    options& slow_turns(std::uint32_t one_in,
                        std::chrono::nanoseconds most = std::chrono::milliseconds(100)) noexcept {
        return slow_turns_ = one_in, slow_turns_most_ = most, *this;
    }
    /// Called after every point; false ends the run as failed. `holds` is referred to, not copied.
    template <class F>
    options& invariant(F& holds) noexcept {
        invariant_ = [](void* user) { return static_cast<bool>((*static_cast<F*>(user))()); };
        invariant_user_ = const_cast<std::remove_const_t<F>*>(&holds);
        return *this;
    }
    /// Tasks that wait for a channel<T> to which nobody else has a handle, when main ends, are a failure. Default on.
    options& orphan_report(bool on) noexcept { return orphan_report_ = on, *this; }
    /// Channels, contexts, timers, tickers, sockets and listeners that the run's tasks have made (not its blocking()
    /// calls) and that are still there when all have ended and the runtime has stopped, and tasks whose join_handle
    /// is, are a failure that tells where they were made. What was made before the run is not looked at; what is to
    /// outlive it was made before it, or this is off. Default on.
    options& leak_report(bool on) noexcept { return leak_report_ = on, *this; }
    options& network(const testing::network& how) noexcept { return network_ = how, *this; }
    /// Keep the log of every run, not of a failed one only (explore() does that). Default off.
    options& keep_log(bool on) noexcept { return keep_log_ = on, *this; }

    std::uint64_t seed() const noexcept { return seed_; }
    strategy how() const noexcept { return strategy_; }
    std::uint64_t points() const noexcept { return points_; }
    std::chrono::nanoseconds grace() const noexcept { return grace_; }
    const testing::network& network() const noexcept { return network_; }
    std::uint32_t slow_turns() const noexcept { return slow_turns_; }
    std::chrono::nanoseconds slow_turns_most() const noexcept { return slow_turns_most_; }
    bool orphan_report() const noexcept { return orphan_report_; }
    bool leak_report() const noexcept { return leak_report_; }
    bool keep_log() const noexcept { return keep_log_; }
    bool holds() const { return invariant_ == nullptr || invariant_(invariant_user_); }

    options() noexcept;

private:
    std::uint64_t seed_;
    std::uint64_t points_ = 1'000'000;
    std::chrono::nanoseconds grace_{0};
    std::chrono::nanoseconds slow_turns_most_{0};
    std::uint32_t slow_turns_ = 0;
    bool (*invariant_)(void*) = nullptr;
    void* invariant_user_ = nullptr;
    testing::network network_;
    strategy strategy_ = strategy::mixed;
    bool orphan_report_ = true;
    bool leak_report_ = true;
    bool keep_log_ = false;
};

/// Why a run failed.
enum class failure : unsigned char {
    none,
    expectation,     // expect() was false
    invariant,       // options::invariant was false
    exception,       // one that nobody could receive; main's too
    error,           // main returned a result with an error
    deadlock,        // nobody can ever go on, and main has not ended
    orphans,         // main has ended, and tasks wait for a channel<T> that nobody else has a handle of
    endless,         // more than options::points
    not_stopped,     // tasks that went on after main's end and the cancel
    leak,            // all has ended, and something that a task made is still there
    ignored_cancel,  // a task that goes on waiting although it is cancelled
    not_the_same,    // a second run with the same seed went another way: see Y2
};

/// How one run ended.
class [[nodiscard]] report {
public:
    bool ok() const noexcept { return is_.kind == failure::none; }
    explicit operator bool() const noexcept { return ok(); }
    failure kind() const noexcept { return is_.kind; }
    /// What went wrong, the seed that shows it, and the log if it was kept; empty when nothing did.
    const std::string& what() const noexcept { return is_.what; }
    std::uint64_t seed() const noexcept { return is_.seed; }
    /// Over all events: equal for equal runs.
    std::uint64_t hash() const noexcept { return is_.hash; }
    std::uint64_t points() const noexcept { return is_.points; }
    /// Virtual time from the beginning to the end.
    std::chrono::nanoseconds time() const noexcept { return is_.time; }
    const std::string& log() const noexcept { return is_.log; }

    struct values {
        failure kind = failure::none;
        std::string what, log;
        std::uint64_t seed = 0, hash = 0, points = 0;
        std::chrono::nanoseconds time{0};
    };
    explicit report(values is) : is_(std::move(is)) {}

private:
    values is_;
};

/// How an exploration ended: with the first failure, or without any.
class [[nodiscard]] exploration {
public:
    bool ok() const noexcept { return first_.ok(); }
    explicit operator bool() const noexcept { return ok(); }
    /// Schedules that were tried, the failing one included.
    std::uint64_t runs() const noexcept { return runs_; }
    /// There are no more than that (exhaust() only).
    bool complete() const noexcept { return complete_; }
    const report& first_failure() const noexcept { return first_; }
    const std::string& what() const noexcept { return first_.what(); }

    exploration(report first, std::uint64_t runs, bool complete)
        : first_(std::move(first)), runs_(runs), complete_(complete) {}

private:
    report first_;
    std::uint64_t runs_;
    bool complete_;
};
}

namespace runnel::detail {

/// Makes main anew for each run.
struct main_maker {
    virtual task<std::error_code> make() = 0;

protected:
    ~main_maker() = default;
};

template <class T>
task<std::error_code> as_simulated_main(task<T> body) {
    if constexpr (std::is_void_v<T>) {
        co_await std::move(body);
        co_return std::error_code();
    } else {
        T end = co_await std::move(body);
        co_return end.error();
    }
}

template <class F>
struct maker_of final : main_maker {
    explicit maker_of(F& main) noexcept : main_(main) {}
    task<std::error_code> make() override { return as_simulated_main(main_()); }
    F& main_;
};

testing::report simulate(const testing::options& how, main_maker& main);
testing::exploration explore(const testing::options& how, std::uint64_t runs, main_maker& main);
testing::exploration exhaust(const testing::options& how, unsigned preemptions, std::uint64_t runs_max,
                             main_maker& main);
}

namespace runnel::testing {

/// Runs main() (a callable without arguments that gives task<> or task<result<…>>) once, by one seed.
/// Returns   how it ended; expectations that failed, exceptions and deadlocks are in it.
/// Aborts    as the library does on misuse; the report then names the seed.
/// Threads   not on a worker; several at once on threads of their own.
template <class F>
report simulate(const options& how, F&& main) {
    detail::maker_of<std::remove_reference_t<F>> maker(main);
    return detail::simulate(how, maker);
}

/// Runs main() by up to `runs` seeds, from how.seed() on, until one fails. Then looks for a shorter schedule that
/// fails in the same way, and reports that one's log. With RUNNEL_SEED in the environment that seed alone is run.
template <class F>
exploration explore(const options& how, std::uint64_t runs, F&& main) {
    detail::maker_of<std::remove_reference_t<F>> maker(main);
    return detail::explore(how, runs, maker);
}
template <class F>
exploration explore(std::uint64_t runs, F&& main) {
    return explore(options(), runs, main);
}

/// Runs main() by every schedule that interrupts tasks which could go on at most `preemptions` times, and every
/// outcome of random choices, up to `runs_max` of them. For small programs: most races need one or two.
template <class F>
exploration exhaust(unsigned preemptions, std::uint64_t runs_max, F&& main) {
    detail::maker_of<std::remove_reference_t<F>> maker(main);
    return detail::exhaust(options(), preemptions, runs_max, maker);
}

/// False fails the simulation it is called in (the first one counts), which then ends at the next point.
/// Outside a simulation a false one aborts, as check() does.
void expect(bool ok, const char* what = "expectation",
            std::source_location where = std::source_location::current());

/// A choice of the test's own, 0 to ways-1, by the seed: which request comes next, how long to wait. It is part of
/// replays, and is 0 wherever a shortened schedule can do without another, so let 0 be the plainest case.
/// Simulations only (check()ed).
std::uint32_t choose(std::uint32_t ways);

/// Waits until every other task of the simulation waits for something: nothing will happen any more without the
/// caller, or before time passes (to a deadline, or to what the network brings next). Simulations only (check()ed).
task<> wait_until_all_tasks_wait();
}
