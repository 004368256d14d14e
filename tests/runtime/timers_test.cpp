// The timers of a worker, against a slow reference: a sorted list.
#include "runtime/timers.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "support/level.hpp"

using namespace runnel::detail;

namespace {

/// Numbers below a bound, the same for the same seed on every machine.
class small_random {
public:
    explicit small_random(unsigned seed) : engine_(seed) {}
    int below(int bound) { return static_cast<int>(engine_() % static_cast<unsigned>(bound)); }

private:
    std::minstd_rand engine_;
};

/// A deadline that notes its number when it fires.
struct noted_timer final : timer_callback {
    noted_timer(int number, nanoseconds_t when, std::vector<int>& into) : id(number), fired(into) {
        node.when = when;
        node.callback = this;
    }
    noted_timer(const noted_timer&) = delete;
    noted_timer& operator=(const noted_timer&) = delete;
    bool hold() noexcept override { return true; }
    void run() noexcept override { fired.push_back(id); }

    int id;
    timer_node node;
    std::vector<int>& fired;
};

/// What should happen: a list that is kept sorted, equal deadlines in the order of insertion.
class reference_timers {
public:
    void insert(int id, nanoseconds_t when) {
        const auto later =
            std::find_if(entries_.begin(), entries_.end(), [when](const entry& e) { return e.when > when; });
        entries_.insert(later, {when, id});
    }
    bool remove(int id) {
        const auto found =
            std::find_if(entries_.begin(), entries_.end(), [id](const entry& e) { return e.id == id; });
        if (found == entries_.end()) return false;
        entries_.erase(found);
        return true;
    }
    void fire_due(nanoseconds_t now, std::vector<int>& fired) {
        while (!entries_.empty() && entries_.front().when <= now) {
            fired.push_back(entries_.front().id);
            entries_.erase(entries_.begin());
        }
    }
    nanoseconds_t earliest() const { return entries_.empty() ? no_deadline : entries_.front().when; }
    std::size_t size() const { return entries_.size(); }

private:
    struct entry {
        nanoseconds_t when;
        int id;
    };
    std::vector<entry> entries_;
};

struct fake_driver final : driver {
    unsigned poll() noexcept override { return 0; }
    unsigned wait(nanoseconds_t) noexcept override { return 0; }
    void wake() noexcept override { ++wakes; }
    void cancel(io_request&) noexcept override {}
    std::size_t in_flight() const noexcept override { return 0; }
    bool stranded() const noexcept override { return false; }
    unsigned help() noexcept override { return 0; }
    nanoseconds_t now() const noexcept override { return 0; }
    driver_counts counts() const noexcept override { return {}; }
    int wakes = 0;
};

void play_against_reference(unsigned seed) {
    small_random random(seed);
    std::vector<int> fired, expected;
    std::deque<noted_timer> timers;
    timer_heap heap;  // after the timers: it refers to them
    reference_timers reference;
    nanoseconds_t now = 0;
    const int spread = 1 + random.below(50);  // small: many equal deadlines
    for (int step = 0; step < 300; ++step) {
        const int choice = random.below(10);
        if (choice < 6) {
            const nanoseconds_t when = now + random.below(spread);
            timers.emplace_back(static_cast<int>(timers.size()), when, fired);
            heap.insert(timers.back().node);
            reference.insert(timers.back().id, when);
        } else if (choice < 9 && !timers.empty()) {
            noted_timer& one =
                timers[static_cast<std::size_t>(random.below(static_cast<int>(timers.size())))];
            REQUIRE(heap.remove(one.node) == reference.remove(one.id));
        } else {
            now += random.below(spread);
            heap.fire_due(now);
            reference.fire_due(now, expected);
            REQUIRE(fired == expected);
        }
        REQUIRE(heap.earliest() == reference.earliest());
        REQUIRE(heap.size() == reference.size());
    }
}
}

TEST_CASE("timers: random insertions, removals and firings agree with a sorted list") {
    const unsigned seeds = support::scaled(500U, 20'000U);
    for (unsigned seed = 0; seed < seeds; ++seed) {
        CAPTURE(seed);
        play_against_reference(seed);
    }
}

TEST_CASE("timers: equal deadlines fire in the order of insertion, also beyond one batch") {
    std::vector<int> fired, expected;
    std::deque<noted_timer> timers;
    timer_heap heap;
    for (int i = 0; i < 1000; ++i) {
        timers.emplace_back(i, 5, fired);
        heap.insert(timers.back().node);
        expected.push_back(i);
    }
    CHECK(heap.fire_due(4) == 0);
    CHECK(heap.fire_due(5) == 1000);
    CHECK(fired == expected);
}

TEST_CASE("timers: the order of insertion survives the overflow of its counter") {
    std::vector<int> fired;
    timer_heap heap;
    noted_timer first(0, 7, fired), second(1, 7, fired);
    heap.insert(first.node);
    first.node.sequence = UINT32_MAX;  // as if 2^32 - 1 had gone before; the next one has 1
    heap.insert(second.node);
    heap.fire_due(7);
    CHECK(fired == std::vector<int>{0, 1});
}

TEST_CASE("timers: link says whether the deadline is the new earliest") {
    std::vector<int> fired;
    noted_timer late(0, 20, fired), early(1, 10, fired), between(2, 15, fired), tie(3, 10, fired);
    timer_heap heap;
    heap.lock.lock();
    CHECK(heap.link(late.node));
    CHECK(heap.link(early.node));
    CHECK_FALSE(heap.link(between.node));
    CHECK_FALSE(heap.link(tie.node));
    heap.lock.unlock();
}

TEST_CASE("timers: a deadline of never stays out") {
    std::vector<int> fired;
    timer_heap heap;
    noted_timer endless(0, no_deadline, fired);
    heap.insert(endless.node);
    CHECK(heap.size() == 0);
    CHECK_FALSE(heap.remove(endless.node));
    CHECK(heap.fire_due(no_deadline - 1) == 0);
}

TEST_CASE("timers: a callback that refuses to be held does not run") {
    struct ending final : timer_callback {
        bool hold() noexcept override { return false; }
        void run() noexcept override { ran = true; }
        bool ran = false;
    } gone;
    timer_heap heap;
    timer_node node;
    node.callback = &gone;
    heap.insert(node);
    heap.fire_due(1);
    CHECK_FALSE(gone.ran);
    CHECK(heap.size() == 0);
}

TEST_CASE("timers: a tick is handed over under the lock and may set its next deadline") {
    struct periodic final : timer_callback {
        explicit periodic(timer_heap& of) : heap(of) { node.callback = this; }
        bool tick(std::int64_t, late_wake&) noexcept override {
            ++ticks;
            CHECK(heap.earliest() <= node.when);  // the owner must not fall asleep beyond it meanwhile
            node.when += 10;
            heap.link(node);
            return true;
        }
        bool hold() noexcept override { return false; }
        void run() noexcept override {}
        timer_heap& heap;
        timer_node node;
        int ticks = 0;
    };
    timer_heap heap;
    periodic ten(heap);
    heap.insert(ten.node);
    heap.fire_due(1000);
    CHECK(ten.ticks == 101);
    CHECK(heap.earliest() == 1010);
    heap.remove(ten.node);
}

TEST_CASE("timers: another thread's earlier deadline wakes the owner, a later one does not") {
    std::vector<int> fired;
    fake_driver owner;
    noted_timer late(0, 20, fired), early(1, 10, fired), later(2, 30, fired);
    timer_heap heap;
    heap.set_owner(&owner);
    heap.insert(late.node);
    CHECK(owner.wakes == 1);
    heap.insert(early.node);
    CHECK(owner.wakes == 2);
    heap.insert(later.node);
    CHECK(owner.wakes == 2);
}

TEST_CASE("timers: a node that outlives its timers has forgotten them") {
    std::vector<int> fired;
    noted_timer survivor(0, 20, fired);
    {
        timer_heap heap;
        heap.insert(survivor.node);
    }
    CHECK(survivor.node.heap == nullptr);
    CHECK(survivor.node.place == timer_node::unlinked);
}

TEST_CASE("timers: with several threads firing, each deadline fires once or is removed once") {
    struct counted_timer final : timer_callback {
        bool hold() noexcept override {
            holds.fetch_add(1);
            return true;
        }
        void run() noexcept override { runs.fetch_add(1); }
        timer_node node;
        std::atomic<int> holds{0}, runs{0};
        int removed = 0;
    };
    const int rounds = support::scaled(20, 500);
    for (int round = 0; round < rounds; ++round) {
        timer_heap heap;
        std::vector<counted_timer> timers(2000);
        std::atomic<bool> over{false};
        std::thread firing([&] {
            for (nanoseconds_t now = 0; !over.load(); now += 7) heap.fire_due(now % 1500);
        });
        small_random random(static_cast<unsigned>(round));
        for (counted_timer& timer : timers) {
            timer.node.when = random.below(2000);
            timer.node.callback = &timer;
            heap.insert(timer.node);
            if (random.below(4) == 0) timer.removed = heap.remove(timer.node) ? 1 : 0;
            if (random.below(16) == 0) heap.fire_due(random.below(2000));
        }
        over = true;
        firing.join();
        heap.fire_due(2000);
        for (const counted_timer& timer : timers) {
            CHECK(timer.runs == timer.holds);
            CHECK(timer.runs + timer.removed == 1);
        }
    }
}
