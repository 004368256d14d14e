// The explorer itself: litmus tests. What C++20 allows is seen, what it forbids is not; and a run can be repeated.
#include "model.hpp"

#include <doctest/doctest.h>
#include <time.h>

#include <cstdlib>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "explore.hpp"
#include "queue_programs.hpp"
#include "support/build_kind.hpp"
#include "support/level.hpp"

using namespace interleavings;

namespace {

constexpr order relaxed = order::relaxed, acquire = order::acquire, release = order::release,
                acq_rel = order::acq_rel, seq_cst = order::seq_cst;

/// What the threads of a litmus test share, and what they have read.
struct memory {
    runnel::detail::atomic<int> x{0};
    runnel::detail::atomic<int> y{0};
    plain<int> data;
    int read[4] = {};
};
using bodies = std::vector<std::function<void(memory&)>>;
using results = std::set<std::string>;  // "10": the first that was read is 1, the second 0

class litmus final : public program {
public:
    litmus(const bodies& all, results& seen) : all_(all), seen_(seen) {}
    unsigned threads() const override { return static_cast<unsigned>(all_.size()); }
    void thread(unsigned index) override { all_[index](at_); }
    void at_end() override {
        std::string line;
        for (const int each : at_.read) line += std::to_string(each);
        seen_.insert(line);
    }

private:
    const bodies& all_;
    results& seen_;
    memory at_;
};

/// All that can be read, by all interleavings; by chance the same must come out.
struct outcome {
    results seen;
    std::string failure;
};
outcome run(const bodies& all) {
    outcome every;
    const report found =
        explore("litmus", all_with(8, 8, 1'000'000), [&] { return litmus(all, every.seen); });
    CHECK((found.complete || !found.ok()));
    every.failure = found.failure();
    outcome by_chance;
    by_chance.failure =
        explore("litmus", by_seeds(2'000), [&] { return litmus(all, by_chance.seen); }).failure();
    CHECK(by_chance.failure == every.failure);
    if (every.failure.empty()) CHECK(by_chance.seen == every.seen);
    return every;
}

void pass_message(memory& at, order how) {
    at.data.set(1);
    at.x.store(1, how);
}
void get_message(memory& at, order how) {
    if (at.x.load(how) != 0) at.read[0] = at.data.get();
}

TEST_CASE("model: a message behind a flag needs a release and an acquire") {
    const auto failure = [](order sent, order got) {
        return run({[=](memory& at) { pass_message(at, sent); }, [=](memory& at) { get_message(at, got); }})
            .failure;
    };
    CHECK(failure(release, acquire).empty());
    CHECK(failure(seq_cst, seq_cst).empty());
    CHECK(failure(relaxed, acquire) == "a race: plain memory is read that another thread writes");
    CHECK(failure(release, relaxed) == "a race: plain memory is read that another thread writes");
}

TEST_CASE("model: a read-modify-write carries on what it has read; a store does not") {
    const auto failure = [](std::function<void(memory&)> middle) {
        return run({[](memory& at) { pass_message(at, release); }, middle,
                    [](memory& at) {
                        if (at.x.load(acquire) >= 2) at.read[0] = at.data.get();
                    }})
            .failure;
    };
    CHECK(failure([](memory& at) {
              int one = 1;
              at.x.compare_exchange_strong(one, 2, relaxed, relaxed);
          }).empty());
    CHECK(!failure([](memory& at) {
               if (at.x.load(relaxed) == 1) at.x.store(2, relaxed);
           }).empty());
}

TEST_CASE("model: two that each announce themselves and look at the other need seq_cst") {
    const auto seen = [](order announce, order look) {
        return run({[=](memory& at) {
                        at.x.store(1, announce);
                        at.read[0] = at.y.load(look);
                    },
                    [=](memory& at) {
                        at.y.store(1, announce);
                        at.read[1] = at.x.load(look);
                    }})
            .seen;
    };
    CHECK(seen(seq_cst, seq_cst) == results{"0100", "1000", "1100"});
    CHECK(seen(release, acquire) == results{"0000", "0100", "1000", "1100"});
    CHECK(seen(seq_cst, acquire) == results{"0000", "0100", "1000", "1100"});
    CHECK(seen(release, seq_cst) == results{"0000", "0100", "1000", "1100"});
}

TEST_CASE("model: two readers agree on the order of two stores only by seq_cst") {
    const auto disagree = [](order how, order look) {
        return run({[=](memory& at) { at.x.store(1, how); }, [=](memory& at) { at.y.store(1, how); },
                    [=](memory& at) {
                        at.read[0] = at.x.load(look);
                        at.read[1] = at.y.load(look);
                    },
                    [=](memory& at) {
                        at.read[2] = at.y.load(look);
                        at.read[3] = at.x.load(look);
                    }})
            .seen.contains("1010");
    };
    CHECK(disagree(release, acquire));
    CHECK(!disagree(seq_cst, seq_cst));
}

TEST_CASE("model: nobody goes back to an older store of one location") {
    const results seen = run({[](memory& at) {
                                  at.x.store(1, relaxed);
                                  at.x.store(2, relaxed);
                              },
                              [](memory& at) {
                                  at.read[0] = at.x.load(relaxed);
                                  at.read[1] = at.x.load(relaxed);
                              }})
                             .seen;
    CHECK(seen == results{"0000", "0100", "0200", "1100", "1200", "2200"});
}

TEST_CASE("model: what happened before is seen although it is relaxed") {
    const results seen = run({[](memory& at) {
                                  at.y.store(1, relaxed);
                                  at.x.store(1, release);
                              },
                              [](memory& at) {
                                  at.read[0] = at.x.load(acquire);
                                  at.read[1] = at.y.load(relaxed);
                              }})
                             .seen;
    CHECK(seen == results{"0000", "0100", "1100"});
}

TEST_CASE("model: a read-modify-write reads the newest") {
    const results seen = run({[](memory& at) { at.read[0] = at.x.fetch_add(1, relaxed); },
                              [](memory& at) { at.read[1] = at.x.fetch_add(1, relaxed); },
                              [](memory& at) { at.read[2] = at.x.exchange(5, relaxed); }})
                             .seen;
    CHECK(seen == results{"0120", "1020", "0510", "5010", "5600", "6500"});
}

TEST_CASE("model: a CAS that fails acquires by its second order alone") {
    const auto failure = [](order failing) {
        return run({[](memory& at) { pass_message(at, release); },
                    [=](memory& at) {
                        int none = 2;
                        at.x.compare_exchange_strong(none, 3, acq_rel, failing);
                        if (none == 1) at.read[0] = at.data.get();
                    }})
            .failure;
    };
    CHECK(failure(acquire).empty());
    CHECK(!failure(relaxed).empty());
}

TEST_CASE("model: load buffering is not shown") {
    const results seen = run({[](memory& at) {
                                  at.read[0] = at.x.load(relaxed);
                                  at.y.store(1, relaxed);
                              },
                              [](memory& at) {
                                  at.read[1] = at.y.load(relaxed);
                                  at.x.store(1, relaxed);
                              }})
                             .seen;
    CHECK(seen == results{"0000", "0100", "1000"});
}

TEST_CASE("model: who looks again and again sees the store at last and if there is none nobody can go on") {
    const auto failure = [](bool stored) {
        return run({[=](memory& at) {
                        if (stored) at.x.store(1, relaxed);
                    },
                    [](memory& at) {
                        while (at.x.load(relaxed) == 0) {}
                    }})
            .failure;
    };
    CHECK(failure(true).empty());
    CHECK(failure(false) == "nobody can go on");
}

TEST_CASE("model: two locks taken in both orders are found dead") {
    class crossed final : public program {
    public:
        unsigned threads() const override { return 2; }
        void thread(unsigned index) override {
            locks_[index].lock();
            locks_[1 - index].lock();
            locks_[1 - index].unlock();
            locks_[index].unlock();
        }

    private:
        spin_lock locks_[2];
    };
    CHECK(explore("crossed", by_seeds(1'000), [] { return crossed(); }).failure() == "nobody can go on");
    CHECK(explore("crossed", all_with(1, 0, 10'000), [] { return crossed(); }).failure() ==
          "nobody can go on");
    CHECK(explore("crossed", all_with(0, 0, 10'000), [] { return crossed(); }).complete);
}

/// Loses a count when both read before either writes.
class lost_count final : public program {
public:
    unsigned threads() const override { return 2; }
    void thread(unsigned) override { sum_.store(sum_.load() + 1); }
    void at_end() override { expect(sum_.load() == 2, "a count was lost"); }

private:
    runnel::detail::atomic<int> sum_{0};
};

TEST_CASE("explore: a failure comes with its interleaving and with the line that repeats it") {
    for (const search& how : {by_seeds(1'000), all_with(1, 0, 1'000)}) {
        const report first = explore("count", how, [] { return lost_count(); });
        REQUIRE(first.failure() == "a count was lost");
        const std::string& text = first.what();
        INFO(text);
        const std::size_t from = text.find("RUNNEL_INTERLEAVING='") + 21;
        const std::string key = text.substr(from, text.find('\'', from) - from);
        setenv("RUNNEL_INTERLEAVING", key.c_str(), 1);
        const report again = explore("count", by_seeds(1), [] { return lost_count(); });
        const report other = explore("another", by_seeds(1), [] { return owner_and_thieves(1); });
        unsetenv("RUNNEL_INTERLEAVING");
        CHECK(again.failure() == first.failure());
        CHECK(again.what().substr(again.what().find('\n')) == text.substr(text.find('\n')));
        CHECK(text.find("lost_count::thread") != text.npos);
        CHECK(other.ok());
    }
}

TEST_CASE("explore: without a preemption no count is lost") {
    const report seen = explore("count", all_with(0, 4, 1'000), [] { return lost_count(); });
    CHECK(seen.ok());
    CHECK(seen.complete);
    CHECK(seen.runs == 2);
}

/// Of this thread's processor time, so that other programs do not count.
double seconds() {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

TEST_CASE("explore: looks through more than 50,000 interleavings of a small program a second") {
    constexpr bool full_speed = support::optimized && !support::sanitized;
    constexpr std::uint64_t runs = full_speed ? 100'000 : 2'000;
    const double start = seconds();
    const report seen = explore("last branch", by_seeds(runs), [] { return last_branch(1); });
    const double rate = static_cast<double>(seen.runs) / (seconds() - start);
    CHECK_MESSAGE(seen.ok(), seen.what());
    MESSAGE(static_cast<long>(rate) << " interleavings a second");
    if (full_speed) CHECK(rate > 50'000);
}
}
