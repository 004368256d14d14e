// accept when the process has no descriptor left: it pauses, says so once, and recovers.
#include <sys/resource.h>

#include "runtime/runtime_core.hpp"
#include "scripted_io.hpp"
#include "support/child.hpp"

using namespace test;

namespace {

void limit_descriptors(rlim_t most) {
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = most;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

std::chrono::microseconds processor_time() {
    rusage used{};
    getrusage(RUSAGE_SELF, &used);
    return std::chrono::seconds(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           std::chrono::microseconds(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

rn::task<int> accept_three(rn::tcp_listener& listener) {
    for (int i = 0; i < 3; ++i) CHECK(co_await listener.accept());
    co_return 3;
}

rn::task<> run_dry() {
    rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
    std::vector<rn::tcp_stream> clients;
    for (int i = 0; i < 3; ++i)
        clients.push_back((co_await rn::tcp_stream::connect(listener.local_address())).value());
    limit_descriptors(static_cast<rlim_t>(clients.back().native_handle()));

    auto server = rn::go(accept_three, rn::borrow(listener));
    while (listener.accept_pauses() < 2) CHECK(co_await rn::sleep_for(1ms));
    const auto before = processor_time();
    CHECK(co_await rn::sleep_for(300ms));  // to see what it does meanwhile: next to nothing
    CHECK(processor_time() - before < 100ms);
    CHECK(listener.accept_pauses() < 20);

    limit_descriptors(1024);
    CHECK((co_await server).value() == 3);
}
}

TEST_CASE("child: accepts without descriptors" * doctest::skip()) { CHECK(run_on(1, run_dry)); }

TEST_CASE("accept: without descriptors it pauses, says so once, and goes on when there are some") {
    const support::child_end end = support::child("child: accepts without descriptors").wait();
    CHECK_MESSAGE(end.exited(0), end.printed);
    CHECK(end.times("pauses until there are descriptors or memory again") == 1);
}

namespace {

rn::task<rn::result<>> why_accept_ends(rn::tcp_listener& listener) {
    co_return (co_await listener.accept()).error();
}
}

TEST_CASE("accept: its pauses grow from 5 to 100 ms") {
    const auto attempts = []() -> rn::task<int> {
        rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
        script().refuse_accepts = ENFILE;
        auto server = rn::go(why_accept_ends, rn::borrow(listener));
        CHECK(co_await rn::sleep_for(
            1s));  // tries at 0, by the task and by the driver, 5, 15, 35, 75, 155, … 955 ms
        const int tries = script().accepts;
        listener.close();
        const auto end = co_await server;
        CHECK(end.error() == rn::errc::closed);
        co_return tries;
    };
    CHECK(run_scripted(attempts).value() == 15);
}

// epoll_ctl(2) knows one want more than accept(2).
TEST_CASE("accept: it pauses, too, where nothing more can be watched") {
    const auto attempts = []() -> rn::task<> {
        rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
        script().refuse_accepts = ENOSPC;
        const auto limited = co_await rn::with_timeout(20ms, listener.accept());
        CHECK(limited.error() == rn::errc::timed_out);
        CHECK(script().accepts == 4);  // two at 0, and at 5 and 15 ms
    };
    CHECK(run_scripted(attempts));
}

TEST_CASE("accept: a connection that another process has taken first is no error") {
    const auto attempts = []() -> rn::task<> {
        rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
        script().refuse_accepts = EAGAIN;
        script().refusals = 3;
        auto server = rn::go(why_accept_ends, rn::borrow(listener));
        CHECK(co_await rn::sleep_for(1s));
        CHECK(script().accepts == 3);
        const auto client = co_await rn::tcp_stream::connect(listener.local_address());
        CHECK(client);
        CHECK(co_await server);
        CHECK(script().accepts == 4);
    };
    CHECK(run_scripted(attempts));
}

TEST_CASE("accept: in a pause it ends at once when the runtime begins to stop, or when it is cancelled") {
    static constexpr auto middle_of_a_pause = 100ms;  // from 75 to 155 ms after the first try
    const auto stop_in_pause = []() -> rn::task<> {
        rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
        script().refuse_accepts = EMFILE;
        const auto began = rn::clock::now();
        auto stopped = rn::go(why_accept_ends, rn::borrow(listener));
        CHECK(co_await rn::sleep_for(middle_of_a_pause));
        rn::detail::current_runtime().begin_stopping();
        const auto end = co_await stopped;
        CHECK(end.error() == rn::errc::stopping);
        CHECK(rn::clock::now() - began == middle_of_a_pause);
    };
    const auto cancel_in_pause = []() -> rn::task<> {
        rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
        script().refuse_accepts = EMFILE;
        const auto began = rn::clock::now();
        const auto limited = co_await rn::with_timeout(middle_of_a_pause, listener.accept());
        CHECK(limited.error() == rn::errc::timed_out);
        CHECK(rn::clock::now() - began == middle_of_a_pause);
    };
    CHECK(run_scripted(stop_in_pause));
    CHECK(run_scripted(cancel_in_pause));
}
