// Planted bugs: what one task has seen is not true any more when it acts on it. A claim, a count, a waiter.
#include <doctest/doctest.h>
#include <runnel/scope.hpp>
#include <runnel/sync.hpp>

#include <algorithm>
#include <atomic>
#include <deque>
#include <utility>
#include <vector>

#include "planted.hpp"

namespace rn = runnel;
using runnel::testing::expect;
using runnel::testing::failure;
using support::form;
using support::work;

namespace {

// --- Claimed twice -----------------------------------------------------------------------------------

/// One at a time may have it: who signs.
class meeting_room {
public:
    explicit meeting_room(form how) : how_(how) {}

    rn::task<bool> claim(int me) {
        if (how_ == form::mended) {
            const int before = co_await sign_if_free(me);
            co_return before == nobody;
        }
        const int before = co_await signature();
        if (before != nobody) co_return false;
        co_await sign(me);
        const int after = co_await signature();  // looks safe: but the other one may still be about to sign
        co_return after == me;
    }
    rn::task<> leave() { co_await sign(nobody); }

    static constexpr int nobody = 0;

private:
    rn::task<int> signature() {
        auto held = co_await lock_.lock();
        co_return signed_;
    }
    rn::task<> sign(int who) {
        auto held = co_await lock_.lock();
        if (held) signed_ = who;
    }
    rn::task<int> sign_if_free(int me) {
        auto held = co_await lock_.lock();
        if (!held) co_return me;
        co_return signed_ == nobody ? std::exchange(signed_, me) : signed_;
    }

    const form how_;
    rn::mutex lock_;
    int signed_ = nobody;
};

rn::task<> meet(meeting_room& room, int me, std::atomic<int>& inside) {
    co_await work(16 * me);
    const bool mine = co_await room.claim(me);
    if (!mine) co_return;
    expect(++inside == 1, "two meetings in one room");
    co_await work(1);
    --inside;
    co_await room.leave();
}

rn::task<> two_meetings(form how) {
    meeting_room room(how);
    std::atomic<int> inside = 0;
    rn::task_set groups;
    groups.spawn(meet, rn::borrow(room), 1, rn::borrow(inside));
    groups.spawn(meet, rn::borrow(room), 2, rn::borrow(inside));
    co_await groups.join();
}

TEST_CASE("planted: to look, to sign and to look again is no claim") {
    check_planted(two_meetings, failure::expectation);
}

// --- A count that is read, awaited and written -----------------------------------------------------------

/// Requests that are under way.
class gauge {
public:
    explicit gauge(form how) : how_(how) {}

    rn::task<> add(int by) {
        if (how_ == form::mended) co_return co_await add_at_once(by);
        const int before = co_await get();
        co_await set(before + by);
    }
    rn::task<int> get() {
        auto held = co_await lock_.lock();
        co_return value_;
    }

private:
    rn::task<> set(int value) {
        auto held = co_await lock_.lock();
        if (held) value_ = value;
    }
    rn::task<> add_at_once(int by) {
        auto held = co_await lock_.lock();
        if (held) value_ += by;
    }

    const form how_;
    rn::mutex lock_;
    int value_ = 0;
};

rn::task<> handle_request(gauge& under_way, int points_before) {
    co_await work(points_before);
    co_await under_way.add(1);
    co_await work(1);
    co_await under_way.add(-1);
}

rn::task<> two_requests(form how) {
    gauge under_way(how);
    rn::task_set requests;
    requests.spawn(handle_request, rn::borrow(under_way), 8);
    requests.spawn(handle_request, rn::borrow(under_way), 120);
    co_await requests.join();
    const int left = co_await under_way.get();
    expect(left == 0, "the count of what is under way is wrong");
}

TEST_CASE("planted: a count that is read under one lock and written under the next is wrong in the end") {
    check_planted(two_requests, failure::expectation);
}

// --- A waiter that is gone ---------------------------------------------------------------------------------

/// Room for waiters, used again and again. A handle of an earlier use is found out: as plain memory it would not.
class waiter_slots {
public:
    struct handle {
        std::size_t index;
        unsigned generation;
        friend bool operator==(const handle&, const handle&) = default;
    };

    handle take() {
        if (free_.empty()) {
            slots_.emplace_back();
            free_.push_back(slots_.size() - 1);
        }
        const std::size_t index = free_.back();
        free_.pop_back();
        slots_[index].woken.reset();
        return {index, slots_[index].generation};
    }
    void give_back(handle used) {
        ++slots_[used.index].generation;
        free_.push_back(used.index);
    }
    rn::event& at(handle used) {
        expect(slots_[used.index].generation == used.generation, "a waiter is used after it was freed");
        return slots_[used.index].woken;
    }

private:
    struct slot {
        unsigned generation = 0;
        rn::event woken;
    };
    std::deque<slot> slots_;  // stays where it is
    std::vector<std::size_t> free_;
};

/// A value that is not there yet. Who waits for it queues first and then looks, so no wake-up is lost.
class future {
public:
    explicit future(form how) : how_(how) {}

    rn::task<> wait() {
        const waiter_slots::handle mine = co_await queue_up();
        const bool there = co_await is_there();
        if (!there) co_await woken(mine);
        auto held = co_await rn::shielded(lock_.lock());
        std::erase(waiting_, mine);
        slots_.give_back(mine);
    }

    rn::task<> set() {
        co_await put();
        auto held = co_await lock_.lock();
        if (!held) co_return;
        const std::vector<waiter_slots::handle> all = std::exchange(waiting_, {});
        if (how_ == form::broken) held->unlock();  // who goes now does not find itself in the list, and goes
        for (const auto& each : all) co_await wake(each);
    }

private:
    rn::task<waiter_slots::handle> queue_up() {
        auto held = co_await rn::shielded(lock_.lock());
        const waiter_slots::handle mine = slots_.take();
        waiting_.push_back(mine);
        co_return mine;
    }
    rn::task<bool> is_there() {
        auto held = co_await lock_.lock();
        co_return there_;
    }
    rn::task<> woken(waiter_slots::handle mine) {
        auto held = co_await lock_.lock();
        if (!held) co_return;
        rn::event& mine_is_set = slots_.at(mine);
        held->unlock();
        co_await mine_is_set.wait();
    }
    rn::task<> put() {
        auto held = co_await lock_.lock();
        if (held) there_ = true;
    }
    /// Under the lock, if it is held already.
    rn::task<> wake(waiter_slots::handle one) {
        slots_.at(one).set();
        co_return;
    }

    const form how_;
    rn::mutex lock_;
    bool there_ = false;
    waiter_slots slots_;
    std::vector<waiter_slots::handle> waiting_;
};

rn::task<> get_reply(future& reply) {
    co_await work(8);
    co_await reply.wait();
}

rn::task<> give_reply(future& reply) {
    co_await work(32);
    co_await reply.set();
}

rn::task<> question(form how) {
    future reply(how);
    rn::task_set people;
    people.spawn(get_reply, rn::borrow(reply));
    people.spawn(give_reply, rn::borrow(reply));
    co_await people.join();
}

TEST_CASE("planted: a waiter that was taken off the list and went by itself is woken after its end") {
    check_planted(question, failure::expectation);
}
}
