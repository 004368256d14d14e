// idle: which workers sleep, which search, and why no wake-up is lost.
//
// Work that a worker makes ready stays with it; a sleeper is woken only for a real backlog, or for work
// from outside, and only when nobody searches already: the searcher will find it, and the last searcher
// that finds something wakes the next. So a burst wakes workers one after the other, and ping-pong none.
//
//   word = {searching:16, awake:16}            sleepers = a stack under a lock
//
// Publishing work                                  Going to sleep
//   1  push it (ends in a seq_cst operation)         1  leave searching and awake (seq_cst), join sleepers
//   2  read word; nobody searches, some sleep:       2  look at every queue, ring and timer once more
//   3  take a sleeper off the stack, count it        3  found: come back (if still on the stack; else a
//      as awake and searching, unpark it                waker has us: use its wake-up). Nothing: sleep.
//
//   I1  1 and 2 on both sides are seq_cst, so either the waker sees the sleeper or the sleeper the work;
//   I2  who is taken off the stack is unparked exactly once;
//   I3  at most half of the awake workers search (a searcher that finds nothing sleeps), but for those that
//       find something in step 2 after all;
//   I4  a searcher that finds something in step 2 comes back as a searcher: whoever pushed while it was one has
//       woken nobody for its sake, and there may be more than the one task that it will take.
//
// After Tokio's idle.rs; Go's comment at the head of proc.go tells why the simpler forms fail: handing
// over a worker per ready task makes workers sleep and wake all the time, waking none loses parallelism.
#pragma once

#include <cstdint>
#include <vector>

#include <runnel/detail/atomic.hpp>
#include <runnel/detail/spin_lock.hpp>

namespace runnel::detail {

class idle_set {
public:
    explicit idle_set(unsigned workers) : workers_(workers), word_(workers) { sleepers_.reserve(workers); }

    /// A sleeper that should be unparked for work just published, counted as searching; or -1. Cost: a load
    /// when nobody sleeps or somebody searches.
    int worker_to_wake() noexcept {
        const std::uint32_t word = word_.load();  // seq_cst: I1
        if (searching(word) != 0 || awake(word) >= workers_) return -1;
        return take_sleeper(true);
    }
    /// The same although somebody searches: for help that a searcher may not give.
    int any_sleeper() noexcept { return awake(word_.load()) >= workers_ ? -1 : take_sleeper(false); }

    /// May this worker search? Counts it if so.
    bool start_searching() noexcept {
        // relaxed: a hint; too many searchers do no harm.
        const std::uint32_t word = word_.load(std::memory_order_relaxed);
        if (2 * searching(word) >= awake(word)) return false;
        word_.fetch_add(one_searching);
        return true;
    }
    /// True: it was the last, so if it found work somebody else should look for more.
    bool stop_searching() noexcept { return searching(word_.fetch_sub(one_searching)) == 1; }

    /// May this worker spin before it sleeps? One at a time.
    bool start_spinning() noexcept {
        // relaxed: a hint; the exchange decides, and orders nothing.
        return !spinning_.load(std::memory_order_relaxed) &&
               !spinning_.exchange(true, std::memory_order_relaxed);
    }
    void stop_spinning() noexcept {
        // relaxed: see above
        spinning_.store(false, std::memory_order_relaxed);
    }

    /// Step 1 of going to sleep.
    void sleep(unsigned worker, bool was_searching) noexcept {
        lock_.lock();
        word_.fetch_sub(was_searching ? one_searching + 1 : 1);  // seq_cst: I1
        sleepers_.push_back(worker);
        lock_.unlock();
    }
    /// Awake again without having been woken; counted as searching if it says so (I4). False: a waker has taken
    /// it off the stack first (I2), and has counted it as searching; its unpark has come or is coming.
    bool come_back(unsigned worker, bool searches) noexcept {
        lock_.lock();
        for (auto at = sleepers_.begin(); at != sleepers_.end(); ++at) {
            if (*at == worker) {
                sleepers_.erase(at);
                word_.fetch_add(searches ? one_searching + 1 : 1);
                lock_.unlock();
                return true;
            }
        }
        lock_.unlock();
        return false;
    }

    std::uint32_t awake_now() const noexcept { return awake(word_.load()); }
    /// Does it look as if a wake could be of use? For work that is not lost without one (R2 of worker.hpp).
    bool worth_waking() const noexcept {
        // relaxed: a hint.
        const std::uint32_t word = word_.load(std::memory_order_relaxed);
        return searching(word) == 0 && awake(word) < workers_;
    }

private:
    static constexpr std::uint32_t one_searching = 1U << 16;
    static constexpr std::uint32_t searching(std::uint32_t word) noexcept { return word >> 16; }
    static constexpr std::uint32_t awake(std::uint32_t word) noexcept { return word & 0xffff; }

    int take_sleeper(bool unless_searched) noexcept {
        int chosen = -1;
        lock_.lock();
        if (!sleepers_.empty() && !(unless_searched && searching(word_.load()) != 0)) {
            chosen = static_cast<int>(sleepers_.back());
            sleepers_.pop_back();
            word_.fetch_add(one_searching + 1);
        }
        lock_.unlock();
        return chosen;
    }

    const unsigned workers_;
    atomic<std::uint32_t> word_;
    atomic<bool> spinning_{false};
    spin_lock lock_;
    std::vector<unsigned> sleepers_;  // the last to sleep is the first to wake: its caches are warm
};
}
