// Planted bugs: wake-ups that reach nobody. All three look at something, and wait for its change a point later.
#include <doctest/doctest.h>
#include <runnel/scope.hpp>
#include <runnel/sync.hpp>

#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "planted.hpp"

namespace rn = runnel;
using runnel::testing::failure;
using support::form;
using support::work;

namespace {

using event_queue = std::deque<std::shared_ptr<rn::event>>;

// --- Lost between the look and the queue -------------------------------------------------------------

/// Its permits are under one lock, the queue of those who wait for one under another.
class semaphore {
public:
    semaphore(form how, int permits) : how_(how), permits_(permits) {}

    /// False: cancelled.
    rn::task<bool> acquire() {
        const auto mine = std::make_shared<rn::event>();
        for (;;) {
            auto counting = co_await permits_lock_.lock();
            if (!counting) co_return false;
            if (permits_ > 0) {
                --permits_;
                co_return true;
            }
            if (how_ == form::broken) counting->unlock();  // who releases now finds nobody to wake
            co_await queue_up(mine);
            counting->unlock();
            auto woken = co_await mine->wait();
            if (!woken) co_return false;
            mine->reset();
        }
    }

    rn::task<> release() {
        auto counting = co_await permits_lock_.lock();
        if (!counting) co_return;
        ++permits_;
        counting->unlock();
        auto queueing = co_await queue_lock_.lock();
        if (!queueing || queue_.empty()) co_return;
        queue_.front()->set();
        queue_.pop_front();
    }

private:
    rn::task<> queue_up(std::shared_ptr<rn::event> who) {
        auto queueing = co_await queue_lock_.lock();
        if (queueing) queue_.push_back(std::move(who));
    }

    const form how_;
    rn::mutex permits_lock_, queue_lock_;
    int permits_;
    event_queue queue_;
};

rn::task<> query(semaphore& connections, int points_before) {
    co_await work(points_before);
    const bool acquired = co_await connections.acquire();
    if (!acquired) co_return;
    co_await work(1);
    co_await connections.release();
}

rn::task<> connection_pool(form how) {
    semaphore connections(how, 1);
    rn::task_set users;
    users.spawn(query, rn::borrow(connections), 8);
    users.spawn(query, rn::borrow(connections), 40);
    co_await users.join();
}

TEST_CASE("planted: a semaphore that lets go of its count before it queues loses a wake-up") {
    check_planted(connection_pool, failure::deadlock);
}

// --- Notified before it waits ------------------------------------------------------------------------

/// Something that the first who needs it makes, while the others wait.
class once {
public:
    explicit once(form how) : how_(how) {}

    rn::task<> call() {
        const state found = co_await look();
        if (found == state::made) co_return;
        if (found == state::being_made) co_return co_await wait();
        co_await work(2);
        co_await made();
    }

private:
    enum class state { none, being_made, made };

    rn::task<state> look() {
        auto held = co_await lock_.lock();
        if (!held) co_return state::made;
        co_return state_ == state::none ? std::exchange(state_, state::being_made) : state_;
    }
    rn::task<> made() {
        auto held = co_await lock_.lock();
        if (!held) co_return;
        state_ = state::made;
        for (const auto& each : std::exchange(waiting_, {})) each->set();
    }
    rn::task<> wait() {
        const auto mine = std::make_shared<rn::event>();
        auto held = co_await lock_.lock();
        if (!held) co_return;
        if (how_ == form::mended && state_ == state::made) co_return;
        waiting_.push_back(mine);
        held->unlock();
        co_await mine->wait();
    }

    const form how_;
    rn::mutex lock_;
    state state_ = state::none;
    event_queue waiting_;
};

rn::task<> need(once& it, int points_before) {
    co_await work(points_before);
    co_await it.call();
}

rn::task<> lazy_start(form how) {
    once settings(how);
    rn::task_set users;
    users.spawn(need, rn::borrow(settings), 8);
    users.spawn(need, rn::borrow(settings), 48);
    co_await users.join();
}

TEST_CASE("planted: who looks and then waits, without looking again, is notified before it waits") {
    check_planted(lazy_start, failure::deadlock);
}

// --- A close that nobody sees ------------------------------------------------------------------------

/// A queue that wakes its reader whenever something changes.
class mailbox {
public:
    explicit mailbox(form how) : how_(how) {}

    rn::task<> put(int letter) {
        auto held = co_await lock_.lock();
        if (!held) co_return;
        letters_.push_back(letter);
        changed_.set();
    }
    rn::task<> close() {
        auto held = co_await lock_.lock();
        if (!held) co_return;
        closed_ = true;
        changed_.set();
    }
    /// Nothing: closed and empty (or cancelled).
    rn::task<std::optional<int>> take() {
        for (;;) {
            const bool seen_closed = co_await is_closed();
            auto held = co_await lock_.lock();
            if (!held) co_return std::nullopt;
            if (!letters_.empty()) {
                const int first = letters_.front();
                letters_.pop_front();
                co_return first;
            }
            if (how_ == form::mended ? closed_ : seen_closed) co_return std::nullopt;
            changed_.reset();
            held->unlock();
            auto woken = co_await changed_.wait();
            if (!woken) co_return std::nullopt;
        }
    }

private:
    rn::task<bool> is_closed() {
        auto held = co_await lock_.lock();
        co_return closed_;
    }

    const form how_;
    rn::mutex lock_;
    rn::event changed_;
    std::deque<int> letters_;
    bool closed_ = false;
};

rn::task<> write_letters(mailbox& to, int count) {
    for (int i = 0; i < count; ++i) co_await to.put(i);
    co_await to.close();
}

rn::task<> read_letters(mailbox& from, int& read) {
    for (;;) {
        const auto letter = co_await from.take();
        if (!letter) co_return;
        ++read;
    }
}

rn::task<> correspondence(form how) {
    mailbox box(how);
    int read = 0;
    rn::task_set both;
    both.spawn(read_letters, rn::borrow(box), rn::borrow(read));
    both.spawn(write_letters, rn::borrow(box), 8);
    co_await both.join();
    runnel::testing::expect(read == 8);
}

TEST_CASE("planted: a reader that looks for the close before it takes the lock misses the close") {
    check_planted(correspondence, failure::deadlock);
}
}
