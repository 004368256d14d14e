// Signals as something to wait for; each test that sends some is careful that nobody is hit by their usual effect.
#include <pthread.h>
#include <unistd.h>

#include <csignal>
#include <runnel/block_on.hpp>
#include <runnel/select.hpp>
#include <runnel/signals.hpp>
#include <runnel/testing.hpp>
#include <runnel/testing_signals.hpp>

#include "descriptors.hpp"
#include "loopback.hpp"
#include "support/child.hpp"
#include "support/level.hpp"

using namespace test;
namespace testing = runnel::testing;

namespace {

/// As block_signals(), for this scope: the thread that runs the tests is not under run().
class blocked {
public:
    explicit blocked(std::initializer_list<int> numbers) {
        pthread_sigmask(SIG_SETMASK, nullptr, &before_);
        rn::block_signals(numbers);
    }
    ~blocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    blocked(const blocked&) = delete;
    blocked& operator=(const blocked&) = delete;

private:
    sigset_t before_;
};

void send(int number) { CHECK(kill(getpid(), number) == 0); }

/// Has it been read? Then those that follow are not merged with it by the kernel.
void wait_until_taken(int number) {
    sigset_t pending;
    do {
        sigpending(&pending);
    } while (sigismember(&pending, number) == 1);
}
}

TEST_CASE("signals: each receiver of a signal gets it") {
    const nothing_left after;
    const blocked meanwhile({SIGUSR1, SIGUSR2});
    const auto listen = []() -> rn::task<> {
        rn::signals first({SIGUSR1, SIGUSR2});
        rn::signals second({SIGUSR1});
        send(SIGUSR1);
        const auto one = co_await first.recv();
        const auto two = co_await second.recv();
        CHECK(one->number == SIGUSR1);
        CHECK(one->from == getpid());
        CHECK(one->times == 1);
        CHECK(two->number == SIGUSR1);
        send(SIGUSR2);
        const auto other = co_await first.recv();
        CHECK(other->number == SIGUSR2);
        const auto none = co_await rn::with_timeout(2ms, second.recv());
        CHECK(none.error() == rn::errc::timed_out);
    };
    CHECK(run_on(2, listen));
}

TEST_CASE("signals: those that came while nobody waited are kept and counted, in the order of their first") {
    const blocked meanwhile({SIGUSR1, SIGUSR2});
    const auto listen = []() -> rn::task<> {
        rn::signals both({SIGUSR1, SIGUSR2});
        for (const int number : {SIGUSR2, SIGUSR1, SIGUSR2, SIGUSR2}) {
            send(number);
            wait_until_taken(number);
        }
        rn::signals last({SIGUSR1});  // it begins when the others have been told: its thread is the same
        const auto first = co_await both.recv();
        CHECK(first->number == SIGUSR2);
        CHECK(first->times == 3);
        const auto second = co_await both.recv();
        CHECK(second->number == SIGUSR1);
        CHECK(second->times == 1);
    };
    CHECK(run_on(1, listen));
}

TEST_CASE("signals: recv is a select case, and a losing one loses no signal") {
    const blocked meanwhile({SIGUSR1});
    const auto listen = []() -> rn::task<> {
        rn::signals usr({SIGUSR1});
        auto late = co_await rn::select(usr.recv(), rn::after(1ms));
        CHECK(late);
        CHECK(late.index() == 1);
        send(SIGUSR1);
        auto got = co_await rn::select(usr.recv(), rn::after(1h));
        CHECK(got.index() == 0);
        CHECK(got.get<0>()->number == SIGUSR1);
    };
    CHECK(run_on(1, listen));
}

TEST_CASE("signals: recv ends when the runtime begins to stop, and when its context is cancelled") {
    const blocked meanwhile({SIGUSR1});
    rn::runtime runtime(rn::options().workers(1).grace(1h));
    const auto listen = []() -> rn::task<std::error_code> {
        rn::signals usr({SIGUSR1});
        const auto got = co_await usr.recv();
        co_return got.error();
    };
    auto stops = runtime.spawn(listen);
    const auto cancelled = [listen]() -> rn::task<std::error_code> {
        auto [ctx, cancel] = rn::with_cancel(rn::current_context());
        cancel();
        co_return co_await rn::with_context(ctx, listen());
    };
    CHECK(runtime.spawn(cancelled).wait().value() == rn::errc::cancelled);
    CHECK(runtime.stop());
    CHECK(stops.wait().value() == rn::errc::stopping);
}

TEST_CASE("signals: with_signals makes a context that the first one cancels, and its cause says which") {
    const blocked meanwhile({SIGUSR1, SIGUSR2});
    const auto listen = []() -> rn::task<> {
        const auto asked = rn::with_signals(rn::current_context(), {SIGUSR1, SIGUSR2});
        send(SIGUSR2);
        auto ended = co_await rn::with_context(asked.ctx(), rn::sleep_for(1h));
        CHECK(ended.error() == rn::errc::cancelled);
        CHECK(asked.ctx().cause() == rn::signal_error(SIGUSR2));
        CHECK(asked.ctx().cause().message() == "SIGUSR2");
        send(SIGUSR1);  // does nothing more
        wait_until_taken(SIGUSR1);
    };
    CHECK(run_on(1, listen));
}

TEST_CASE("signals: they come and go without end, and their thread with them") {
    const nothing_left after;
    const blocked meanwhile({SIGUSR1});
    const auto storm = [](int rounds) -> rn::task<> {
        for (int i = 0; i < rounds; ++i) {
            rn::signals usr({SIGUSR1});
            send(SIGUSR1);
            const auto got = co_await usr.recv();
            CHECK(got->number == SIGUSR1);
        }
    };
    rn::runtime runtime(rn::options().workers(1));
    CHECK(runtime.spawn(storm, support::scaled(20, 1'000)).wait());
}

TEST_CASE("child: signals that cannot be received" * doctest::skip()) { rn::signals wrong({SIGKILL}); }
TEST_CASE("child: signals of a fault" * doctest::skip()) { rn::signals wrong({SIGSEGV}); }
TEST_CASE("signals: what nobody can receive is refused, with the reason") {
    CHECK(support::aborts_saying("child: signals that cannot be received", "no signal that can be received"));
    CHECK(support::aborts_saying("child: signals of a fault", "for the thread in which it happens"));
}

namespace {

/// For a parent that waits for the word.
void say(const char* text) {
    std::puts(text);
    std::fflush(stdout);
}

rn::task<int> receives_hup() {
    {
        rn::signals hup({SIGHUP});
        say("ready");
        const auto got = co_await hup.recv();
        say(got && got->number == SIGHUP ? "reloaded" : "no");
    }
    say("gone");  // and SIGHUP has its usual effect again
    (void)co_await rn::sleep_for(1h);
    co_return 0;
}

rn::task<int> receives_term() {
    const auto asked = rn::with_signals(rn::current_context(), {SIGTERM});
    say("ready");
    (void)co_await rn::with_context(asked.ctx(), rn::sleep_for(1h));
    const bool still_runs = !rn::current_context().cancelled();
    say(still_runs ? asked.ctx().cause().message().c_str() : "stopped");
    co_return 7;
}

rn::task<int> received_term() {
    {
        rn::signals term({SIGTERM});
        say("ready");
        (void)co_await term.recv();
    }
    say("again");
    const auto slept = co_await rn::sleep_for(1h);
    say(slept.error() == rn::errc::cancelled ? "stopped" : "no");
    co_return 8;
}
}

TEST_CASE("child: main receives SIGHUP" * doctest::skip()) {
    std::signal(SIGHUP, SIG_DFL);  // it may be ignored where the tests are run: under nohup
    std::_Exit(rn::run(receives_hup));
}
TEST_CASE("child: main receives SIGTERM" * doctest::skip()) { std::_Exit(rn::run(receives_term)); }
TEST_CASE("child: main has received SIGTERM" * doctest::skip()) { std::_Exit(rn::run(received_term)); }

TEST_CASE(
    "signals: under run() a received SIGHUP has no other effect, and its usual one when nobody receives it") {
    support::child program("child: main receives SIGHUP");
    REQUIRE(program.wait_for("ready"));
    program.send(SIGHUP);
    REQUIRE(program.wait_for("gone"));
    CHECK(program.wait_for("reloaded"));
    program.send(SIGHUP);
    CHECK(program.wait().killed_by(SIGHUP));
}

TEST_CASE("signals: who receives SIGTERM takes it from run(), which stops by it again when he is gone") {
    support::child taken("child: main receives SIGTERM");
    REQUIRE(taken.wait_for("ready"));
    taken.send(SIGTERM);
    CHECK(taken.wait().exited(7));
    CHECK(taken.wait().said("SIGTERM"));
    support::child given_back("child: main has received SIGTERM");
    REQUIRE(given_back.wait_for("ready"));
    given_back.send(SIGTERM);
    REQUIRE(given_back.wait_for("again"));
    given_back.send(SIGTERM);
    CHECK(given_back.wait().exited(8));
    CHECK(given_back.wait().said("stopped"));
}

TEST_CASE("signals: a simulation has signals of its own, raised by the test") {
    const auto all = testing::explore(support::scaled(50U, 2'000U), []() -> rn::task<> {
        testing::expect(!testing::raise_signal(SIGTERM), "nobody receives it");
        rn::signals hup({SIGHUP});
        const auto asked = rn::with_signals(rn::current_context(), {SIGTERM});
        const auto raise = []() -> rn::task<> {
            for (const int number : {SIGHUP, SIGHUP, SIGTERM})
                testing::expect(testing::raise_signal(number), "it is received");
            co_return;
        };
        auto raises = rn::go(raise);
        const auto first = co_await hup.recv();
        testing::expect(first && first->number == SIGHUP, "SIGHUP");
        (void)co_await raises;
        const auto second = co_await rn::with_timeout(1s, hup.recv());
        testing::expect(first->times == 2 || (second && second->times == 1), "both were told");
        testing::expect(asked.ctx().cancelled(), "SIGTERM");
    });
    CHECK_MESSAGE(all.ok(), all.what());
}
