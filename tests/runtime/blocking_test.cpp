// Blocking calls: run elsewhere, owned by themselves, waited for like anything else.
#include <doctest/doctest.h>
#include <signal.h>
#include <runnel/blocking.hpp>
#include <runnel/go.hpp>
#include <runnel/select.hpp>
#include <runnel/sync.hpp>
#include <runnel/time.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include "channel/tasks.hpp"
#include "runtime/blocking_pool.hpp"
#include "support/counted.hpp"
#include "support/level.hpp"
#include "support/sequencer.hpp"

using namespace std::chrono_literals;
using namespace support;

namespace {

int twice(int n) { return 2 * n; }
void nothing() {}
int fails() { throw std::runtime_error("no"); }
rn::result<int> half(int n) {
    if (n % 2 != 0) return rn::errc::not_available;
    return n / 2;
}
std::thread::id where() { return std::this_thread::get_id(); }
void wait_in(sequencer* order, int step) { order->turn(step); }
int value_of(counted_move_only held, std::unique_ptr<int> more) { return held.value() + *more; }
int length(const std::string& text) { return static_cast<int>(text.size()); }

struct account {
    int balance = 3;
    int plus(int n) const { return balance + n; }
};
}

TEST_CASE("blocking: gives what the call returned, on a thread of its own") {
    on_workers(1, []() -> rn::task<> {
        CHECK((co_await rn::blocking(twice, 21)).value() == 42);
        CHECK(co_await rn::blocking(nothing));
        CHECK((co_await rn::blocking(where)).value() != std::this_thread::get_id());
    });
}

TEST_CASE("blocking: a result is not wrapped into another") {
    on_workers(1, []() -> rn::task<> {
        rn::result<int> even = co_await rn::blocking(half, 8);
        CHECK(even.value() == 4);
        rn::result<int> odd = co_await rn::blocking(half, 7);
        CHECK(odd.error() == rn::errc::not_available);
    });
}

TEST_CASE("blocking: an error code that the call returns is its value") {
    on_workers(1, []() -> rn::task<> {
        const auto fails_in_words = [] { return make_error_code(rn::errc::full); };
        const rn::result<std::error_code> got = co_await rn::blocking(fails_in_words);
        REQUIRE(got);
        CHECK(*got == rn::errc::full);
    });
}

TEST_CASE("blocking: what the call throws is thrown at the co_await") {
    on_workers(
        1, []() -> rn::task<> { CHECK_THROWS_AS((void)co_await rn::blocking(fails), std::runtime_error); });
}

TEST_CASE("blocking: arguments are moved into the call, and are gone when the task goes on") {
    counted_move_only::reset();
    on_workers(1, []() -> rn::task<> {
        counted_move_only held(40);
        auto more = std::make_unique<int>(2);
        CHECK((co_await rn::blocking(value_of, std::move(held), std::move(more))).value() == 42);
        CHECK(counted_move_only::live() == 1);  // the one that was moved from
    });
    CHECK(counted_move_only::live() == 0);
    CHECK(counted_move_only::errors() == 0);
}

TEST_CASE("blocking: takes functions, members, closures without captures, and named closures by from()") {
    counted::reset();
    on_workers(1, []() -> rn::task<> {
        CHECK((co_await rn::blocking(length, std::string("four"))).value() == 4);
        CHECK((co_await rn::blocking(&account::plus, account(), 4)).value() == 7);
        CHECK((co_await rn::blocking([](int n) { return n + 1; }, 1)).value() == 2);
        const counted held(5);
        const auto copies = [held] { return held.value(); };
        CHECK((co_await rn::blocking(copies)).value() == 5);  // an lvalue is copied
        auto moves = [held] { return held.value(); };
        CHECK((co_await rn::blocking(rn::from(moves))).value() == 5);
        std::string text = "moved";
        CHECK((co_await rn::blocking(length, rn::from(text))).value() == 5);
        std::string lent = "lent";
        CHECK((co_await rn::blocking(length, rn::borrow(lent))).value() == 4);
        CHECK(lent == "lent");
    });
    CHECK(counted::live() == 0);
    CHECK(counted::errors() == 0);
}

TEST_CASE("blocking: a wait that ends early leaves the call running, with its arguments") {
    counted_move_only::reset();
    sequencer order;
    on_workers(1, [&]() -> rn::task<> {
        const auto slow = [&order](counted_move_only held) {
            order.advance();
            order.wait_for(2);
            const int value = held.value();
            order.advance();
            return value;
        };
        const auto got = co_await rn::with_timeout(1ms, rn::blocking(slow, counted_move_only(7)));
        CHECK(got.error() == rn::errc::timed_out);
        order.wait_for(1);  // it has begun: a call that has not is refused when the runtime stops
        CHECK(counted_move_only::live() >= 1);
        order.advance();
    });
    CHECK(order.step() == 3);  // the runtime has waited for it
    CHECK(counted_move_only::live() == 0);
    CHECK(counted_move_only::errors() == 0);
}

TEST_CASE("blocking: a wait that is refused does not start the call") {
    on_workers(1, []() -> rn::task<> {
        auto [ctx, cancel] = rn::with_cancel(rn::current_context());
        cancel();
        std::atomic<bool> ran{false};
        const auto note = [&ran] { ran = true; };
        CHECK((co_await rn::with_context(ctx, rn::blocking(note))).error() == rn::errc::cancelled);
        CHECK(co_await rn::blocking(nothing));
        CHECK_FALSE(ran);
    });
}

TEST_CASE("blocking: is a case of a select") {
    sequencer order;
    on_workers(1, [&]() -> rn::task<> {
        const auto won =
            co_await rn::select(rn::blocking(wait_in, &order, 2), rn::blocking(wait_in, &order, 0));
        CHECK(won.index() == 1);
        order.advance();
    });
}

TEST_CASE("blocking: waiting calls do not hold up the worker") {
    sequencer order;
    on_workers(1, [&]() -> rn::task<> {
        rn::task_set calls;
        const auto call = [&](int step) -> rn::task<> {
            CHECK(co_await rn::blocking(wait_in, &order, step));
        };
        for (int step = 20; step > 0; --step) calls.spawn(call, step);  // each waits for the next one
        (void)co_await rn::yield();
        order.advance();
        (void)co_await calls.join();
    });
    CHECK(order.step() == 21);
}

TEST_CASE("blocking: beyond the limit of threads calls wait for their turn, in order") {
    rn::runtime runtime(rn::options().workers(1).driver(rn::driver_kind::none).blocking_threads(2));
    std::atomic<int> at_once{0}, most{0}, ended{0};
    const auto call = [&] {
        const int now = ++at_once;
        for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {}
        std::this_thread::yield();
        --at_once;
        ++ended;
    };
    const auto body = [&]() -> rn::task<> {
        rn::task_set calls;
        const auto one = [&]() -> rn::task<> { CHECK(co_await rn::blocking(call)); };
        for (int i = 0; i < 200; ++i) calls.spawn(one);
        (void)co_await calls.join();
    };
    CHECK(runtime.spawn(body).wait());
    CHECK(ended == 200);
    CHECK(most <= 2);
}

TEST_CASE("blocking: there is one thread at least, whatever the options say") {
    rn::runtime runtime(rn::options().workers(1).driver(rn::driver_kind::none).blocking_threads(0));
    const auto body = []() -> rn::task<int> { co_return (co_await rn::blocking(twice, 4)).value(); };
    CHECK(runtime.spawn(body).wait().value() == 8);
}

TEST_CASE("blocking: its threads leave asynchronous signals to the program, and take faults") {
    on_workers(1, []() -> rn::task<> {
        const auto mask = [] {
            sigset_t set;
            pthread_sigmask(SIG_SETMASK, nullptr, &set);
            return set;
        };
        const auto set = co_await rn::blocking(mask);
        for (const int signal : {SIGINT, SIGTERM, SIGCHLD, SIGALRM, SIGUSR1, SIGQUIT})
            CHECK(sigismember(&*set, signal) == 1);
        for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT})
            CHECK(sigismember(&*set, signal) == 0);
    });
}

TEST_CASE("blocking: many calls from several workers, some of them given up, all end once") {
    const int rounds = scaled(200, 10'000);
    std::atomic<int> ended{0};
    counted::reset();
    on_workers(2, [&, rounds]() -> rn::task<> {
        rn::task_set tasks;
        const auto one = [&, rounds](int number) -> rn::task<> {
            for (int i = 0; i < rounds; ++i) {
                const auto call = [&ended](counted held) {
                    ++ended;
                    return held;
                };
                if ((i + number) % 3 == 0)
                    (void)co_await rn::with_timeout(20us, rn::blocking(call, counted(i)));
                else
                    CHECK((co_await rn::blocking(call, counted(i))).value().value() == i);
            }
        };
        for (int i = 0; i < 4; ++i) tasks.spawn(one, i);
        (void)co_await tasks.join();
    });
    CHECK(ended == 4 * rounds);
    CHECK(counted::live() == 0);
    CHECK(counted::errors() == 0);
}

namespace {
/// A call without a waiter, which takes part in a sequence.
class bare_call final : public rn::detail::blocking_job {
public:
    bare_call(sequencer& order, int step, std::atomic<int>& gone) : order_(order), step_(step), gone_(gone) {}

private:
    ~bare_call() override { ++gone_; }
    void call() noexcept override {
        order_.advance();
        order_.wait_for(step_);
    }
    sequencer& order_;
    int step_;
    std::atomic<int>& gone_;
};
}

TEST_CASE("blocking pool: when it stops, it drops what has not begun and names what does not end in time") {
    sequencer order;
    std::atomic<int> gone{0};
    {
        rn::detail::blocking_pool pool(1);
        pool.submit(*new bare_call(order, 2, gone));
        pool.submit(*new bare_call(order, 0, gone));  // behind the first: never begun
        order.wait_for(1);
        CHECK(pool.counts().threads == 1);
        CHECK(pool.counts().queued == 1);
        CHECK(pool.stop(1'000'000).size() == 1);
        CHECK(gone == 1);
        pool.submit(*new bare_call(order, 0, gone));  // refused
        CHECK(gone == 2);
        order.advance();
    }
    while (gone != 3) std::this_thread::yield();  // the late one ends by itself
}

TEST_CASE("blocking pool: when it stops, it waits for a call that ends in time") {
    sequencer order;
    std::atomic<int> gone{0};
    rn::detail::blocking_pool pool(1);
    pool.submit(*new bare_call(order, 2, gone));
    order.wait_for(1);
    std::thread other([&] {
        // Behind the one that runs they queue up; refused they are gone at once: then it stops.
        for (; gone == 0; std::this_thread::yield()) pool.submit(*new bare_call(order, 0, gone));
        order.advance();
    });
    CHECK(pool.stop(INT64_MAX).empty());  // a grace that is too long to count is long enough
    other.join();
    CHECK(gone >= 2);
}
