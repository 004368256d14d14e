// Answers of the system that are rare: no room to send, no memory, reports that come twice.
#include <cerrno>

#include "io/drivers/absorb.hpp"
#include "scripted_io.hpp"
#include "udp_stories.hpp"

using namespace test;

namespace {

/// A socket that sends to itself.
struct loop {
    rn::udp_socket socket = bound();
    rn::address here = address_of(socket);
    const std::string text = "hello";
    std::vector<rn::outgoing> out = std::vector<rn::outgoing>(3, {std::as_bytes(std::span(text)), here});
};

rn::task<rn::result<>> send_one(loop& by) { co_return co_await by.socket.send_to(by.text, by.here); }
rn::task<rn::sent_many> send_three(loop& by) { co_return co_await by.socket.send_many(by.out); }

std::size_t arrived(loop& at) {
    std::size_t count = 0;
    std::byte buffer[16];
    while (recv(at.socket.native_handle(), buffer, sizeof buffer, MSG_DONTWAIT) >= 0) ++count;
    return count;
}

/// A task that waits in the back end by the time this returns.
template <class F>
auto waiting(F f, loop& by) -> rn::task<decltype(rn::go(f, rn::borrow(by)))> {
    auto task = rn::go(f, rn::borrow(by));
    for (int i = 0; i < 5; ++i) co_await rn::yield();
    co_return task;
}
}

TEST_CASE("udp: a send without room waits, and is sent by the request") {
    run_scripted([]() -> rn::task<> {
        loop mine;
        script().answers = {EAGAIN};
        auto sending = co_await waiting(send_one, mine);
        CHECK(arrived(mine) == 0);
        script().complete_all();
        CHECK(co_await sending);
    });
}

TEST_CASE("udp: of many without room the first waits, and the rest follow it at once") {
    run_scripted([]() -> rn::task<> {
        loop mine;
        script().answers = {EAGAIN};
        auto sending = co_await waiting(send_three, mine);
        CHECK(arrived(mine) == 0);
        script().complete_all();  // as if the first were sent
        const rn::sent_many sent = (co_await sending).value();
        CHECK(sent.count == 3);
        CHECK(!sent.error);
        CHECK(arrived(mine) == 2);
    });
}

TEST_CASE("udp: of many some find room, and that is no error") {
    run_scripted([]() -> rn::task<> {
        loop mine;
        script().answers = {EAGAIN, EAGAIN};
        auto sending = co_await waiting(send_three, mine);
        script().complete_all();
        const rn::sent_many sent = (co_await sending).value();
        CHECK(sent.count == 1);
        CHECK(!sent.error);
    });
}

TEST_CASE("udp: a send that waits ends with the context, or the socket") {
    run_scripted([]() -> rn::task<> {
        loop mine;
        script().answers = {EAGAIN, EAGAIN};
        const rn::result<> limited = co_await rn::with_timeout(1s, mine.socket.send_to(mine.text, mine.here));
        CHECK(limited.error() == rn::errc::timed_out);
        auto sending = co_await waiting(send_three, mine);
        mine.socket.close();
        script().complete_all(EPIPE);
        const rn::sent_many sent = (co_await sending).value();
        CHECK(sent.count == 0);
        CHECK(sent.error == rn::errc::closed);
    });
}

TEST_CASE("udp: without memory to send from a datagram is lost, and that is counted and no error") {
    run_scripted([]() -> rn::task<> {
        loop mine;
        script().answers = {ENOBUFS};
        CHECK(co_await send_one(mine));
        CHECK(mine.socket.lost_sends() == 1);
        script().answers = {ENOBUFS};
        const rn::sent_many sent = co_await send_three(mine);
        CHECK(sent.count == 3);
        CHECK(!sent.error);
        CHECK(mine.socket.lost_sends() == 2);
        CHECK(arrived(mine) == 2);
        script().answers = {EAGAIN};
        auto sending = co_await waiting(send_one, mine);
        script().complete_all(ENOBUFS);
        CHECK(co_await sending);
        CHECK(mine.socket.lost_sends() == 3);
    });
}

TEST_CASE("udp: one report is absorbed by a send, the second in a row is its own error") {
    run_scripted([]() -> rn::task<> {
        loop mine;
        script().answers = {ECONNREFUSED};
        CHECK(co_await send_one(mine));
        CHECK(mine.socket.icmp_errors() == 1);
        script().answers = {ENETUNREACH, ENETUNREACH};
        CHECK((co_await send_one(mine)).error() == std::errc::network_unreachable);
        CHECK(mine.socket.icmp_errors() == 1);
        script().answers = {EHOSTUNREACH, EAGAIN};
        auto sending = co_await waiting(send_one, mine);
        CHECK(mine.socket.icmp_errors() == 2);
        script().complete_all();
        CHECK(co_await sending);
        script().answers = {EINTR, EPERM};
        CHECK((co_await send_one(mine)).error() == std::errc::operation_not_permitted);
        CHECK(mine.socket.icmp_errors() == 2);
    });
}

TEST_CASE("udp: a report is absorbed by a wait any number of times, by a send that waits once") {
    rn::detail::io_action wait{};
    wait.kind = rn::detail::io_kind::datagram;
    CHECK(!absorb(wait, ECONNREFUSED));  // it has not asked for it
    std::size_t count = 0;
    wait.absorbed = &count;
    for (unsigned i = 0; i < 3; ++i) CHECK(absorb(wait, EHOSTUNREACH));
    CHECK(count == 3);
    CHECK(!absorb(wait, EBADF));
    rn::detail::io_action send{};
    send.kind = rn::detail::io_kind::send_message;
    send.absorbed = &count;
    CHECK(absorb(send, ECONNREFUSED));
    CHECK(!absorb(send, ECONNREFUSED));
    CHECK(count == 4);
}
