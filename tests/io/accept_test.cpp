// accept when the process has no descriptor left: it pauses, says so once, and recovers.
#include <sys/resource.h>

#include "child.hpp"
#include "loopback.hpp"

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
    const child_end end = run_child("child: accepts without descriptors");
    CHECK_MESSAGE(end.status == 0, end.words);
    const char report[] = "pauses until there are descriptors or memory again";
    CHECK(contains(end.words, report));
    CHECK(end.words.find(report) == end.words.rfind(report));
}
