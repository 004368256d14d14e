// Go's own rules of timers, tickers and sleeps, as its tests state them, written anew. docs/conformance/time.md says
// which is which.
#include <doctest/doctest.h>
#include <runnel/after_func.hpp>
#include <runnel/channel.hpp>
#include <runnel/scope.hpp>
#include <runnel/select.hpp>
#include <runnel/sync.hpp>
#include <runnel/timer.hpp>

#include <pthread.h>

#include <atomic>
#include <csignal>
#include <deque>
#include <random>
#include <thread>
#include <vector>

#include "channel/tasks.hpp"
#include "support/child.hpp"
#include "support/level.hpp"
#include "support/virtual_time.hpp"

using namespace std::chrono_literals;
using namespace support;

// --- Sleeping -----------------------------------------------------------------------------------------

namespace {
/// Sends signals to the thread that made it while it lives; none of them restarts a call of the kernel.
/// The handler stays: the last one may still be on its way.
class interruptions {
public:
    interruptions() : target_(pthread_self()) {
        struct sigaction nothing = {};
        nothing.sa_handler = [](int) {};
        sigaction(SIGUSR1, &nothing, nullptr);
        thread_ = std::thread([this] {
            while (!over_) {
                pthread_kill(target_, SIGUSR1);
                std::this_thread::sleep_for(1ms);
            }
        });
    }
    interruptions(const interruptions&) = delete;
    interruptions& operator=(const interruptions&) = delete;
    ~interruptions() {
        over_ = true;
        thread_.join();
    }

private:
    const pthread_t target_;
    std::atomic<bool> over_{false};
    std::thread thread_;
};
}

TEST_CASE("Go time: a signal does not shorten a sleep") {
    on_workers(1, []() -> rn::task<> {
        const interruptions all_the_time;
        const auto began = rn::clock::now();
        CHECK(co_await rn::sleep_for(20ms));
        CHECK(rn::clock::now() - began >= 20ms);
    });
}

// --- Functions ----------------------------------------------------------------------------------------

namespace {
rn::task<> again(int times, rn::event* end) {
    if (times == 0) {
        end->set();
        co_return;
    }
    rn::after_func(0s, again, times - 1, end);
    (void)co_await rn::sleep_for(1s);  // holds up nobody
}
}

TEST_CASE(
    "Go time: a function that starts itself again comes each time; and holds nobody up while it sleeps") {
    in_virtual_time([]() -> rn::task<> {
        rn::event end;
        const auto began = rn::clock::now();
        rn::after_func(0s, again, 10, &end);
        CHECK(co_await end);
        CHECK(rn::clock::now() == began);
    });
}

TEST_CASE("Go time: the time of a function comes although two tasks never wait for long") {
    on_workers(1, []() -> rn::task<> {
        const rn::channel<bool> c(1);
        rn::scope both;
        both.spawn(
            [](rn::channel<bool> to) -> rn::task<> {
                while (co_await to.send(true)) {}
            },
            c);
        both.spawn(
            [](rn::channel<bool> from) -> rn::task<> {
                while (co_await from.recv()) {}
            },
            c);
        const auto close = [](rn::channel<bool> of) -> rn::task<> {
            of.close();
            co_return;
        };
        rn::after_func(1us, close, c);
        CHECK(co_await both.join());
    });
}

// --- Timers -------------------------------------------------------------------------------------------

TEST_CASE("Go time: a limit of a select comes although another case is ready all the time") {
    for (const unsigned workers : {1U, 3U}) {
        CAPTURE(workers);
        on_workers(workers, []() -> rn::task<> {
            const rn::channel<bool> c(0);
            rn::scope senders;
            for (int i = 0; i < 2; ++i)
                senders.spawn(
                    [](rn::channel<bool> to) -> rn::task<> {
                        while (co_await to.send(true)) {}
                    },
                    c);
            rn::timer limit(5ms);
            for (bool over = false; !over;) {
                auto won = co_await rn::select(c.recv(), limit.fired());
                over = won.index() == 1;
            }
            c.close();
            CHECK(co_await senders.join());
        });
    }
}

TEST_CASE("Go time: a timer that is stopped and brought forward again and again still fires") {
    in_virtual_time([]() -> rn::task<> {
        for (int i = 0; i < 100; ++i) {
            rn::timer timer(1h);
            for (int turn = 0; turn < 10; ++turn) {
                timer.stop();
                timer.reset(-24h * 365 * 50);  // long past
            }
            CHECK(co_await rn::with_timeout(1ns, timer.fired()));
        }
    });
}

TEST_CASE("Go time: timers that are put off and brought forward lose none of their ticks") {
    in_virtual_time([]() -> rn::task<> {
        std::mt19937 random(1);
        std::deque<rn::timer> timers;
        std::vector<std::size_t> next;  // of each: how often it had its turn
        std::vector<std::size_t> left;  // those that have not had all
        for (std::size_t i = 0; i < 100; ++i) {
            timers.emplace_back(0s);
            next.push_back(0);
            left.push_back(i);
        }
        while (!left.empty()) {
            const auto one = left.begin() + static_cast<std::ptrdiff_t>(random() % left.size());
            rn::timer& timer = timers[*one];
            switch (next[*one]++) {
                case 0:
                case 8:
                    CHECK(co_await rn::with_timeout(1ns, timer.fired()));
                    break;
                case 1:
                    CHECK_FALSE(timer.reset(1min));
                    break;
                case 3:
                    CHECK_FALSE(timer.reset(3min));
                    break;
                case 5:
                    CHECK_FALSE(timer.reset(2min));
                    break;
                case 7:
                    CHECK_FALSE(timer.reset(0s));
                    break;
                case 9:
                    left.erase(one);
                    break;
                default:
                    CHECK(timer.stop());
                    break;
            }
        }
    });
}

TEST_CASE("Go time: of two selects at one timer its tick ends one; and once it is stopped it ends none") {
    in_virtual_time([]() -> rn::task<> {
        rn::timer timer(10'000s);
        rn::event stop;
        int ticks = 0;
        int stops = 0;
        const auto wait = [&]() -> rn::task<> {
            auto won = co_await rn::select(timer.fired(), stop);
            ++(won.index() == 0 ? ticks : stops);
        };
        rn::task_set both;
        both.spawn(wait);
        both.spawn(wait);
        co_await settle();
        CHECK(timer.reset(20'000s));
        CHECK(co_await rn::sleep_for(10'000s));
        CHECK(ticks == 0);
        CHECK(timer.reset(1ms));
        CHECK(co_await rn::sleep_for(1h));
        CHECK(ticks == 1);
        CHECK_FALSE(timer.reset(1ms));
        CHECK(timer.stop());
        CHECK(co_await rn::sleep_for(1h));
        stop.set();
        (void)co_await both.join();
        CHECK(ticks == 1);
        CHECK(stops == 1);
    });
}

namespace {
/// Queues up numbers between two channels, without end.
rn::task<> queue_up(rn::channel<int> in, rn::channel<int> out) {
    std::deque<int> waiting;
    for (;;) {
        const bool none = waiting.empty();
        const rn::channel<int> ready = none ? rn::channel<int>() : out;  // nil while there is nothing to send
        const int next = none ? 0 : waiting.front();
        auto won = co_await rn::select(in.recv(), ready.send(next));
        if (!won) co_return;
        if (won.index() == 1) {
            waiting.pop_front();
            continue;
        }
        auto number = won.take<0>();
        if (!number) co_return;
        waiting.push_back(*number);
    }
}
}

TEST_CASE(
    "Go time: thousands of limits that never come are in nobody's way; nor are thousands of short sleeps") {
    const int rounds = scaled(100, 10'000);
    on_workers(3, [rounds]() -> rn::task<> {
        rn::scope others;
        const auto sleep = []() -> rn::task<> { (void)co_await rn::sleep_for(10us); };
        for (int i = 0; i < 2'000; ++i) others.spawn(sleep);
        const rn::channel<int> in(0);
        const rn::channel<int> out(0);
        others.spawn(queue_up, in, out);
        for (int round = 0; round < rounds; ++round) {
            for (int i = 0; i < 20; ++i) CHECK(co_await in.send(i));
            for (int i = 0; i < 20; ++i) {
                auto won = co_await rn::select(out.recv(), rn::after(1h));
                REQUIRE(won.index() == 0);
                CHECK(won.take<0>().value() == i);
            }
        }
        in.close();
        CHECK(co_await others.join());
    });
}

// --- Tickers ------------------------------------------------------------------------------------------

TEST_CASE(
    "Go time: a ticker ticks by its period and by its new one after a reset; stopped it does not tick") {
    in_virtual_time([]() -> rn::task<> {
        const auto began = rn::clock::now();
        rn::ticker ticker(20ms);
        for (int i = 0; i < 5; ++i) CHECK(co_await ticker.tick());
        ticker.reset(40ms);
        for (int i = 0; i < 5; ++i) CHECK(co_await ticker.tick());
        CHECK(rn::clock::now() - began == 300ms);
        ticker.stop();
        CHECK(co_await rn::sleep_for(80ms));
        CHECK_FALSE(rn::try_select(ticker.tick()));
    });
}

TEST_CASE("Go time: a ticker whose tick has come before its reset ticks by the new period only; for who "
          "waits too") {
    in_virtual_time([]() -> rn::task<> {
        rn::ticker ticker(1ms);
        CHECK(co_await rn::sleep_for(10ms));
        ticker.reset(1h);
        CHECK_FALSE(rn::try_select(ticker.tick()));
        auto waiter = rn::go([&]() -> rn::task<rn::clock::time_point> {
            const auto tick = co_await ticker.tick();
            co_return tick.value();
        });
        co_await settle();
        const auto moved = rn::clock::now();
        ticker.reset(1ms);
        CHECK((co_await waiter).value() == moved + 1ms);
        CHECK(co_await rn::sleep_for(1ms));
        CHECK(rn::try_select(ticker.tick()));  // and goes on
    });
}

TEST_CASE("Go time: many tasks take the ticks of a ticker that ticks each nanosecond") {
    on_one_and_several([]() -> rn::task<> {
        rn::ticker ticker(1ns);
        rn::task_set all;
        const auto take = [&ticker]() -> rn::task<> {
            for (int i = 0; i < 100; ++i) CHECK(co_await ticker.tick());
        };
        for (int i = 0; i < 10; ++i) all.spawn(take);
        (void)co_await all.join();
        ticker.stop();
    });
}

TEST_CASE("child: a ticker of a period below zero" * doctest::skip()) {
    on_workers(1, []() -> rn::task<> {
        const rn::ticker ticker(-1ns);
        co_return;
    });
}
TEST_CASE("child: a ticker is reset to a period of zero" * doctest::skip()) {
    on_workers(1, []() -> rn::task<> {
        rn::ticker ticker(1s);
        ticker.reset(0s);
        co_return;
    });
}

TEST_CASE("Go time: a period that is not positive is misuse and said aloud") {
    CHECK(aborts_saying("child: a ticker of a period below zero", "the period must be positive"));
    CHECK(aborts_saying("child: a ticker is reset to a period of zero", "the period must be positive"));
}
