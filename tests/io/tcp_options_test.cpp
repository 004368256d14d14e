// What tcp_options asks for, the system has: on what connects, and on what is accepted.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "unix_loopback.hpp"

using namespace test;

namespace {

int option(int fd, int level, int name) {
    int value = -1;
    socklen_t bytes = sizeof value;
    CHECK(getsockopt(fd, level, name, &value, &bytes) == 0);
    return value;
}

int linger_of(int fd) {
    linger value{};
    socklen_t bytes = sizeof value;
    CHECK(getsockopt(fd, SOL_SOCKET, SO_LINGER, &value, &bytes) == 0);
    return value.l_onoff != 0 ? value.l_linger : -1;
}

struct keep_alive_values {
    int on, idle, interval, count;
    friend bool operator==(const keep_alive_values&, const keep_alive_values&) = default;
};

keep_alive_values keep_alive_of(int fd) {
    return {option(fd, SOL_SOCKET, SO_KEEPALIVE), option(fd, IPPROTO_TCP, TCP_KEEPIDLE),
            option(fd, IPPROTO_TCP, TCP_KEEPINTVL), option(fd, IPPROTO_TCP, TCP_KEEPCNT)};
}

rn::task<stream_pair> connected_with(rn::tcp_options how) {
    auto listener = rn::tcp_listener::bind("127.0.0.1:0", how).value();
    auto near = (co_await rn::tcp_stream::connect(listener.local_address(), how)).value();
    auto far = (co_await listener.accept()).value();
    co_return stream_pair(std::move(near), std::move(far));
}
}

TEST_CASE("tcp options: keep-alive is off, unless it is asked for, with the numbers that are given") {
    const auto look = []() -> rn::task<> {
        stream_pair plain = co_await connected_with(rn::tcp_options());
        CHECK(keep_alive_of(plain.first.native_handle()).on == 0);
        const auto alive = rn::keep_alive().idle(30s).interval(1500ms).count(4);
        stream_pair asked = co_await connected_with(rn::tcp_options().keep_alive(alive));
        const keep_alive_values expected{1, 30, 2, 4};
        CHECK((keep_alive_of(asked.first.native_handle()) == expected));
        CHECK((keep_alive_of(asked.second.native_handle()) == expected));
    };
    CHECK(run_on(1, look));
}

TEST_CASE("tcp options: keep-alive can be set and cleared later, and impossible numbers are an error") {
    const auto look = []() -> rn::task<> {
        stream_pair ends = co_await connected_with(rn::tcp_options());
        const int fd = ends.first.native_handle();
        const keep_alive_values before = keep_alive_of(fd);
        CHECK(ends.first.set_keep_alive(rn::keep_alive().idle(std::chrono::minutes(1))));
        CHECK((keep_alive_of(fd) == keep_alive_values{1, 60, before.interval, before.count}));
        CHECK(ends.first.set_keep_alive(rn::keep_alive::off()));
        CHECK(keep_alive_of(fd).on == 0);
        CHECK(ends.first.set_keep_alive(rn::keep_alive().count(1000)).error() == std::errc::invalid_argument);
        CHECK(
            rn::tcp_listener::bind("127.0.0.1:0", rn::tcp_options().keep_alive(rn::keep_alive().count(1000)))
                .error() == std::errc::invalid_argument);
        ends.first.close();
        CHECK(ends.first.set_keep_alive(rn::keep_alive()).error() == rn::errc::closed);
    };
    CHECK(run_on(1, look));
}

TEST_CASE("tcp options: connect says what it could not have") {
    const auto look = []() -> rn::task<> {
        auto listener = rn::tcp_listener::bind("127.0.0.1:0").value();
        const auto impossible = rn::tcp_options().keep_alive(rn::keep_alive().count(1000));
        const auto tried = co_await rn::tcp_stream::connect(listener.local_address(), impossible);
        CHECK(tried.error() == std::errc::invalid_argument);
    };
    CHECK(run_on(1, look));
}

TEST_CASE("tcp options: a part of a second is a second, and an age is as much as the system takes") {
    CHECK(rn::keep_alive().idle(1ns).idle_seconds() == 1);
    CHECK(rn::keep_alive().idle(1s).idle_seconds() == 1);
    CHECK(rn::keep_alive().idle(1001ms).idle_seconds() == 2);
    CHECK(rn::keep_alive().idle(std::chrono::years(100)).idle_seconds() == 32767);
}

TEST_CASE("tcp options: buffers are those that were asked for, doubled by the system") {
    const auto look = []() -> rn::task<> {
        stream_pair ends =
            co_await connected_with(rn::tcp_options().send_buffer(20'000).receive_buffer(30'000));
        for (rn::tcp_stream* each : {&ends.first, &ends.second}) {
            CHECK(each->send_buffer().value() == 40'000);
            CHECK(each->receive_buffer().value() == 60'000);
            CHECK(option(each->native_handle(), SOL_SOCKET, SO_SNDBUF) == 40'000);
        }
        CHECK(ends.first.set_send_buffer(50'000));
        CHECK(ends.first.set_receive_buffer(60'000));
        CHECK(ends.first.send_buffer().value() == 100'000);
        CHECK(ends.first.receive_buffer().value() == 120'000);
        ends.first.close();
        CHECK(ends.first.set_send_buffer(1).error() == rn::errc::closed);
        CHECK(ends.first.send_buffer().error() == rn::errc::closed);
        unix_pair both = rn::unix_stream::pair().value();
        CHECK(both.first.set_send_buffer(50'000));
        CHECK(both.first.send_buffer().value() == 100'000);
    };
    CHECK(run_on(1, look));
}

TEST_CASE("tcp options: with reset_on_close the peer is told by a reset") {
    const auto look = []() -> rn::task<> {
        stream_pair ends = co_await connected_with(rn::tcp_options().reset_on_close(true));
        CHECK(linger_of(ends.first.native_handle()) == 0);
        CHECK(linger_of(ends.second.native_handle()) == 0);
        CHECK(ends.second.set_reset_on_close(false));
        CHECK(linger_of(ends.second.native_handle()) == -1);
        ends.first.close();
        CHECK((co_await ends.second.recv()).error() == std::errc::connection_reset);
    };
    CHECK(run_on(1, look));
}
