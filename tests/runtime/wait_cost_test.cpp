// What it costs a task that its waits can be cancelled, counted: "a task of the root context arms by a plain store, any
// other by one exchange", and no wait takes a lock of its context.
#include <doctest/doctest.h>
#include <runnel/context.hpp>
#include <runnel/go.hpp>
#include <runnel/sync.hpp>

#include <utility>

#include "runtime/context_node.hpp"
#include "support/locked_instructions.hpp"
#include "support/runtimes.hpp"

namespace rn = runnel;
using namespace std::chrono_literals;
using namespace support;

namespace {

/// Atomic read-modify-writes of one wait that parks.
struct cost {
    long to_park = 0;
    long to_go_on = 0;
};

/// Waits for an event as co_await does, and counts.
class [[nodiscard]] counted_wait {
public:
    using result_type = void;
    counted_wait(rn::event& of, cost* into) noexcept : of_(of), into_(into) {}

    class awaiter_type {
    public:
        awaiter_type(rn::event& of, cost* into) noexcept : op_(of.wait()), into_(into) {}
        awaiter_type(const awaiter_type&) = delete;
        awaiter_type& operator=(const awaiter_type&) = delete;
        bool await_ready() const noexcept { return false; }
        bool await_suspend(std::coroutine_handle<> awaiter) noexcept {
            cost* const into = into_;  // the only worker runs this: nobody resumes the task meanwhile
            locked_instructions count;
            const bool parked = rn::detail::suspend_one(op_, awaiter);
            into->to_park = count.stop();
            return parked;
        }
        void await_resume() {
            locked_instructions count;
            const unsigned code = rn::detail::resume_one(op_);
            into_->to_go_on = count.stop();
            CHECK(code == 0);
        }

    private:
        rn::event_operation op_;
        cost* into_;
    };
    awaiter_type awaiter() const noexcept { return awaiter_type(of_, into_); }

private:
    rn::event& of_;
    cost* into_;
};

rn::task<> set_later(rn::event* event) {
    event->set();
    co_return;
}

/// The second wait of the task that runs this: with the first it becomes a member of its context, once and for all. The
/// lock of that is held meanwhile: a wait that took it would never end.
rn::task<> wait_twice(cost* into) {
    rn::detail::context_node& ctx = *rn::detail::running_task().ctx.load();
    for (const bool member : {false, true}) {
        rn::event event;
        auto sets = rn::go(set_later, &event);
        if (member) ctx.lock.lock();
        co_await counted_wait(event, into);
        if (member) ctx.lock.unlock();
        (void)co_await sets;
    }
}

cost cost_of(rn::task<> (*game)(cost*)) {
    cost counted;
    rn::runtime here(workers(1).slow_turn(1h));  // an instruction that traps may take 50 us
    CHECK(here.spawn(game, &counted).wait());
    return counted;
}

rn::task<> wait_in_a_context(cost* into) {
    auto [ctx, cancel] = rn::with_cancel(rn::current_context());
    auto waits = rn::with_context(ctx, wait_twice(into));
    co_await std::move(waits);
}
}

TEST_CASE("wait: a task of the root pays no lock and no atomic read-modify-write to be cancellable; any "
          "other one") {
    if (!locked_instructions::countable()) return;
    constexpr long lock_of_the_event = 1;
    const cost root = cost_of(wait_twice);
    CHECK(root.to_park == lock_of_the_event);
    CHECK(root.to_go_on == 0);
    const cost any_other = cost_of(wait_in_a_context);
    CHECK(any_other.to_park == lock_of_the_event + 1);
    CHECK(any_other.to_go_on == 0);
}
