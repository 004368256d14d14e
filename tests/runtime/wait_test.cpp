// The protocol of waits on real threads, with wait objects of our own: one waker wins, nothing is lost, a dump
// that holds a task delays it but takes it from nobody.
#include "runnel/detail/wait.hpp"

#include <doctest/doctest.h>
#include <runnel/scope.hpp>
#include <runnel/time.hpp>

#include <atomic>
#include <deque>
#include <memory>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/task_dump.hpp"
#include "runtime/task_life.hpp"
#include "runtime/task_slab.hpp"
#include "support/build_kind.hpp"
#include "support/level.hpp"
#include "support/runtimes.hpp"

namespace rn = runnel;
using namespace std::chrono_literals;
using namespace runnel::detail;
using support::run_on;

namespace {

/// The smallest thing to wait for: numbers, and who waits for one.
class mailbox : public wait_object {
public:
    void send(long value) {
        lock.lock();
        while (wait_node* waiter = waiters.pop_front()) {
            task_block& task = *waiter->task;
            const claimed how = claim(*waiter);
            if (how == claimed::lost) continue;
            *static_cast<long*>(waiter->slot) = value;
            lock.unlock();
            finish(task, how);
            return;
        }
        kept.push_back(value);
        lock.unlock();
    }
    bool waited_for() {
        lock.lock();
        const bool some = !waiters.empty();
        lock.unlock();
        return some;
    }

    wait_list waiters;  // all under the lock
    std::deque<long> kept;
};

class take_case final : public wait_case {
public:
    explicit take_case(mailbox* from) noexcept : from_(from) {}
    take_case(take_case&&) noexcept = default;
    wait_object* object() noexcept override { return from_; }
    bool try_now(late_wake&) noexcept override {
        if (from_->kept.empty()) return false;
        value = from_->kept.front();
        from_->kept.pop_front();
        return true;
    }
    void enlist(task_block& task, std::uint64_t ticket) noexcept override {
        node_.task = &task;
        node_.ticket = ticket;
        node_.slot = &value;
        from_->waiters.push_back(node_);
    }
    bool delist() noexcept override { return from_->waiters.delist(node_); }
    long value = 0;

private:
    mailbox* from_;
    wait_node node_;
};

struct taken {
    int from = -1;  // which case; -1: an error
    long value = 0;
    std::error_code error;
};

/// A number from one of several mailboxes; null ones never have any. The last case is a sleep.
template <std::size_t Boxes, choice Order = choice::fair>
class take_one {
public:
    using result_type = taken;
    static constexpr std::size_t case_count = Boxes + 1;
    static constexpr choice order = Order;

    explicit take_one(std::vector<mailbox*> from, std::chrono::nanoseconds at_most = 1h)
        : limit_(at_most.count(), deadline_case::origin::wait) {
        for (mailbox* each : from) cases_.emplace_back(each);
    }
    await_many<take_one> awaiter() noexcept { return await_many<take_one>(*this); }
    void gather(wait_case** out) noexcept {
        for (take_case& each : cases_) *out++ = &each;
        *out = &limit_;
    }
    taken complete(unsigned index) {
        taken got;
        got.from = static_cast<int>(index);
        if (index < Boxes) got.value = cases_[index].value;
        return got;
    }
    taken fail(std::error_code error) {
        taken got;
        got.error = error;
        return got;
    }

private:
    std::vector<take_case> cases_;
    limit_case limit_;
};

take_one<2> either(mailbox* a, mailbox* b, std::chrono::nanoseconds at_most = 1h) {
    return take_one<2>({a, b}, at_most);
}

template <class Condition>
void until(Condition done) {
    while (!done()) std::this_thread::yield();
}

/// The block of the one task that waits.
task_block* parked_task() {
    task_block* found = nullptr;
    for_each_block([&](task_block& block) {
        if ((block.word.load() & word_bits::state_mask) == word_bits::armed) found = &block;
    });
    return found;
}

// --- One waker wins -----------------------------------------------------------------------------------

TEST_CASE("wait: takes what is there, or parks until it comes; the other cases are as if nothing had been") {
    run_on(1, []() -> rn::task<> {
        mailbox a, b;
        a.send(1);
        const taken now = co_await either(&a, &b);
        CHECK(now.from == 0);
        CHECK(now.value == 1);
        const auto sends = [&]() -> rn::task<> {
            CHECK(a.waited_for());
            CHECK(b.waited_for());
            b.send(2);
            CHECK(a.waited_for());  // unlinked by the woken task, not by its waker
            b.send(3);
            co_return;
        };
        rn::go(sends);
        const taken later = co_await either(&a, &b);
        CHECK(later.from == 1);
        CHECK(later.value == 2);
        CHECK(!a.waited_for());
        CHECK(b.kept.size() == 1);
    });
}

TEST_CASE("wait: the same object in several cases gives one value to one of them") {
    run_on(1, []() -> rn::task<> {
        mailbox a;
        const auto sends = [&]() -> rn::task<> {
            a.send(1);
            a.send(2);
            co_return;
        };
        rn::go(sends);
        const taken got = co_await either(&a, &a);
        CHECK(got.value == 1);
        CHECK(!a.waited_for());
        CHECK(a.kept.front() == 2);
    });
}

TEST_CASE("wait: objects that are null are never ready; with only such a wait can still time out") {
    run_on(1, []() -> rn::task<> {
        mailbox a;
        const taken late = co_await either(nullptr, nullptr, 1ms);
        CHECK(late.from == 2);
        a.send(5);
        const taken got = co_await either(nullptr, &a);
        CHECK(got.from == 1);
    });
}

TEST_CASE("wait: of several ready cases each is taken as often, in_order the first") {
    run_on(1, []() -> rn::task<> {
        mailbox a, b, c;
        const std::vector<mailbox*> all{&a, &b, &c};
        int from[3] = {};
        for (int i = 0; i < 3000; ++i) {
            for (mailbox* each : all)
                if (each->kept.empty()) each->send(1);
            const taken got = co_await take_one<3>(all);
            ++from[got.from];
        }
        for (const int each : from) CHECK(each > 800);
        using ordered = take_one<3, choice::in_order>;
        a.send(1), b.send(1), a.send(1);
        const taken first = co_await ordered(all);
        CHECK(first.from == 0);
    });
}

TEST_CASE("wait: more cases than fit on the stack") {
    run_on(1, []() -> rn::task<> {
        std::vector<mailbox> boxes(100);
        std::vector<mailbox*> all;
        for (mailbox& each : boxes) all.push_back(&each);
        const auto sends = [&]() -> rn::task<> {
            boxes[77].send(7);
            co_return;
        };
        rn::go(sends);
        const taken later = co_await take_one<100>(all);
        CHECK(later.from == 77);
        boxes[99].send(9);
        const taken now = co_await take_one<100>(all);
        CHECK(now.value == 9);
        for (mailbox& each : boxes) CHECK(!each.waited_for());
    });
}

TEST_CASE("claim: the first one wins, a second and one with an older ticket lose") {
    mailbox a, b;
    rn::runtime here(support::workers(1));
    const auto takes = [&]() -> rn::task<long> {
        const taken first = co_await either(&a, &b);
        const taken second = co_await either(&a, &b);
        co_return first.from * 10 + second.from;
    };
    auto end = here.spawn(takes);
    until([&] { return b.waited_for(); });
    task_block& task = *parked_task();
    const std::uint64_t old_ticket = task.word.load();
    CHECK(claim(task, old_ticket, 1) == claimed::won);
    CHECK(claim(task, old_ticket, 0) == claimed::lost);
    a.send(1);  // finds a node whose wait is over: keeps the value for the next
    CHECK(!a.waited_for());
    CHECK(a.kept.size() == 1);
    finish(task, claimed::won);
    CHECK(end.wait().value() == 10);
    CHECK(claim(task, old_ticket, 0) == claimed::lost);
}

// --- A dump holds a task ----------------------------------------------------------------------------------

TEST_CASE("hold: a task that is woken while it is held goes on when the holder lets go, once") {
    mailbox a, b;
    rn::runtime here(support::workers(1));
    std::atomic<int> wakes{0};
    const auto takes = [&]() -> rn::task<> {
        for (int i = 0; i < 2; ++i) {
            (void)co_await either(&a, &b);
            ++wakes;
        }
    };
    auto end = here.spawn(takes);
    until([&] { return b.waited_for(); });
    task_block& task = *parked_task();
    REQUIRE(hold(task));
    CHECK(!hold(task));
    a.send(1);
    a.send(2);  // kept: the wait has its value
    CHECK(wakes == 0);
    CHECK(let_go(task));
    CHECK(end.wait());
    CHECK(wakes == 2);
}

TEST_CASE("hold: let go before the wake, it changes nothing; and a cancel waits for it too") {
    mailbox a, b;
    rn::runtime here(support::workers(1));
    auto [ctx, cancel] = rn::with_cancel(rn::background());
    const auto takes = [&]() -> rn::task<std::error_code*> {
        const auto inside = [&]() -> rn::task<int> {
            (void)co_await either(&a, &b);
            const taken got = co_await either(&a, &b);
            co_return got.error == rn::errc::cancelled;
        };
        static std::error_code yes;
        const int cancelled = co_await rn::with_context(ctx, inside());
        if (cancelled != 0) co_return &yes;
        co_return nullptr;
    };
    auto end = here.spawn(takes);
    until([&] { return b.waited_for(); });
    REQUIRE(hold(*parked_task()));
    CHECK(!let_go(*parked_task()));
    a.send(1);
    until([&] { return a.waited_for() && b.waited_for() && parked_task() != nullptr; });
    task_block& task = *parked_task();
    REQUIRE(hold(task));
    cancel();
    CHECK(let_go(task));
    CHECK(end.wait().value() != nullptr);
}

// --- All at once ------------------------------------------------------------------------------------------

/// Eight mailboxes, tasks that take from two each with and without limits, in contexts that are cancelled;
/// threads that send, cancel, and hold whatever waits.
struct commotion {
    mailbox boxes[8];
    std::atomic<long> got{0}, count{0}, cancelled{0}, late{0};

    rn::task<> takes(unsigned seed, int rounds) {
        std::minstd_rand random(seed);
        for (int i = 0; i < rounds; ++i) {
            mailbox* a = &boxes[random() % 8];
            mailbox* b = &boxes[random() % 8];
            const auto limit = std::chrono::microseconds(random() % 2 == 0 ? 100 : 3'600'000'000);
            const taken one = co_await either(a, b, limit);
            if (one.error) {
                ++cancelled;
                co_return;
            }
            if (one.from == 2) {
                ++late;
                continue;
            }
            if (one.value == 0) throw std::logic_error("woken without a value");
            got += one.value;
            ++count;
        }
    }
    rn::task<> generation(unsigned seed) {
        rn::scope s;
        for (unsigned i = 0; i < 8; ++i) s.spawn(&commotion::takes, this, seed * 8 + i, 50);
        const auto ends = [&]() -> rn::task<> {
            co_await rn::sleep_for(std::chrono::microseconds(seed % 7 * 200));
            s.cancel();
        };
        if (seed % 3 != 0) s.spawn(ends);
        co_await s.join();
    }
    rn::task<> generations(unsigned seed, const std::atomic<bool>& over) {
        for (; !over; seed += 10) co_await generation(seed);
    }
};

void hold_all(const std::atomic<bool>& over, std::atomic<long>& held) {
    while (!over)
        for_each_block([&](task_block& block) {
            if (!hold(block)) return;
            // What a dump reads: the chain of coroutines that wait for each other.
            for (auto frame = block.leaf; frame;) {
                const auto& promise = promise_of(frame);
                if (promise.await_at.line() != 0) ++held;
                frame = promise.continuation;
            }
            let_go(block);
        });
}

TEST_CASE("wait: senders, limits, cancels, dumps and reuse at once lose no value and hang nobody") {
    const auto time = support::scaled(500ms, 20'000ms);
    commotion all;
    std::atomic<bool> over{false}, drained{false};
    std::atomic<long> held{0};
    long sent = 0;
    rn::runtime here(support::workers(3));
    std::vector<rn::join_handle<>> tasks;
    for (unsigned i = 0; i < 4; ++i)
        tasks.push_back(here.spawn(&commotion::generations, &all, i * 1000, rn::borrow(std::as_const(over))));
    std::thread dumper([&] { hold_all(drained, held); });
    std::thread sender([&] {
        std::minstd_rand random(1);
        for (long value = 1; !over; ++value) {
            all.boxes[random() % 8].send(value);
            sent += value;
            if (random() % 64 == 0) std::this_thread::yield();
        }
        // Whoever still waits for a value gets it.
        for (long value = 1; !drained; ++value) {
            all.boxes[value % 8].send(value);
            sent += value;
            std::this_thread::yield();
        }
    });
    std::this_thread::sleep_for(time);
    over = true;
    for (auto& each : tasks) CHECK(each.wait());
    drained = true;
    sender.join();
    dumper.join();
    long left = 0;
    for (mailbox& each : all.boxes) {
        CHECK(!each.waited_for());
        for (const long value : each.kept) left += value;
    }
    INFO("taken " << all.count << ", late " << all.late << ", cancelled " << all.cancelled << ", held "
                  << held);
    CHECK(all.got + left == sent);
    CHECK(all.count > 0);
    CHECK(all.cancelled > 0);
    CHECK(held > 0);
}

TEST_CASE("wait: tasks of the root, which arm without a look at the flag, are all found by the stop") {
    for (int round = 0; round < support::scaled(100, 5'000); ++round) {
        mailbox a, b;
        rn::runtime here(support::workers(2));
        std::atomic<int> ended{0};
        const auto takes = [&]() -> rn::task<> {
            for (int i = 0;; ++i) {
                const taken got = co_await either(&a, &b, std::chrono::microseconds(i % 50));
                if (got.error) break;
            }
            ++ended;
        };
        for (int i = 0; i < 4; ++i) here.spawn(takes);
        here.stop().value();
        CHECK(ended == 4);
    }
}
}
