// Datagrams by the dozen: send_many, recv_many, and what the kernel moves as one (UDP_SEGMENT, UDP_GRO).
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include "udp_stories.hpp"

using namespace test;

namespace {

/// Texts of these sizes, all different, and the datagrams that hold them.
struct texts {
    texts(const std::vector<std::size_t>& sizes, const rn::address& to) {
        for (const std::size_t size : sizes)
            all.push_back(pattern(size, static_cast<unsigned>(all.size() + 1)));
        for (const std::string& each : all) out.emplace_back(std::as_bytes(std::span(each)), to);
    }
    std::vector<std::string> all;
    std::vector<rn::outgoing> out;
};

rn::task<> send_all(rn::udp_socket& from, std::span<const rn::outgoing> all) {
    while (!all.empty()) {
        const rn::sent_many sent = co_await from.send_many(all);
        holds(sent && sent.count > 0, "sent: " + sent.error.message());
        if (!sent) co_return;
        all = all.subspan(sent.count);
    }
}

struct places {
    explicit places(std::size_t count, std::size_t bytes) : memory(count * bytes) {
        for (std::size_t i = 0; i < count; ++i)
            each.emplace_back(std::span(memory).subspan(i * bytes, bytes));
    }
    std::vector<std::byte> memory;
    std::vector<rn::incoming> each;
};

std::string text_of(const rn::incoming& place) {
    return {reinterpret_cast<const char*>(place.bytes().data()), place.bytes().size()};
}

/// Receives so many, a few at a time; gives their texts.
rn::task<std::vector<std::string>> receive_all(rn::udp_socket& at, std::size_t count, std::size_t at_once) {
    places room(at_once, 2'000);
    std::vector<std::string> got;
    while (got.size() < count) {
        const auto some = co_await rn::with_timeout(5s, at.recv_many(room.each));
        holds(some.has_value(), "received: " + some.error().message());
        if (!some) break;
        for (std::size_t i = 0; i < *some; ++i) {
            holds(!room.each[i].what.truncated, "whole");
            got.push_back(text_of(room.each[i]));
        }
    }
    co_return got;
}

/// Those of the second kind end a run of equal sizes, those of the third are alone.
std::vector<std::size_t> mixed_sizes() {
    std::vector<std::size_t> sizes(70, 500);
    for (std::size_t size : {100UL, 100UL, 100UL, 40UL, 700UL, 0UL, 0UL, 1UL, 1UL}) sizes.push_back(size);
    return sizes;
}

const rn::udp_options roomy = rn::udp_options().receive_buffer(1 << 20);

rn::task<> many_there(bool segment, bool coalesce, std::size_t at_once) {
    rn::udp_socket near = bound("127.0.0.1:0", rn::udp_options().segment(segment));
    rn::udp_socket far = bound("127.0.0.1:0", rn::udp_options(roomy).coalesce(coalesce));
    const texts mine(mixed_sizes(), address_of(far));
    co_await send_all(near, mine.out);
    const std::vector<std::string> got = co_await receive_all(far, mine.all.size(), at_once);
    holds(got == mine.all, "each as it was sent, in order");
}
}

TEST_CASE("udp: many at once arrive one by one, with the kernel's help and without") {
    for (const bool segment : {false, true})
        for (const bool coalesce : {false, true})
            for (const std::size_t at_once : {1UL, 3UL, 200UL})
                everywhere([=] { return many_there(segment, coalesce, at_once); });
}

TEST_CASE("udp: a receive of many waits for the first, and takes what there is") {
    everywhere([]() -> rn::task<> {
        rn::udp_socket near = bound(), far = bound();
        auto receiving = rn::go(receive_all, rn::borrow(far), 3UL, 10UL);
        for (int i = 0; i < 10; ++i) co_await rn::yield();
        const texts mine({5, 6, 7}, address_of(far));
        co_await send_all(near, mine.out);
        const std::vector<std::string> got = (co_await receiving).value();
        holds(got == mine.all, "all");
    });
}

TEST_CASE("udp: many to several peers go to each of them") {
    everywhere([]() -> rn::task<> {
        rn::udp_socket near = bound(), one = bound(), two = bound();
        const std::string text = pattern(300);
        const auto bytes = std::as_bytes(std::span(text));
        const rn::address to_one = address_of(one), to_two = address_of(two);
        std::vector<rn::outgoing> out;
        for (int i = 0; i < 10; ++i) out.emplace_back(bytes, i % 5 < 3 ? to_one : to_two);
        co_await send_all(near, out);
        const auto got_one = co_await receive_all(one, 6, 10), got_two = co_await receive_all(two, 4, 10);
        holds(got_one == std::vector<std::string>(6, text) && got_two == std::vector<std::string>(4, text),
              "each");
    });
}

TEST_CASE("udp: the first error among many is told with how many went before it") {
    everywhere([]() -> rn::task<> {
        rn::udp_socket near = bound(), far = bound();
        texts mine({10, 20, 70'000, 30}, address_of(far));
        const rn::sent_many sent = co_await near.send_many(mine.out);
        holds(sent.count == 2 && sent.error == std::errc::message_size, sent.error.message());
        const auto got = co_await receive_all(far, 2, 10);
        holds(got.size() == 2 && got[1] == mine.all[1], "those before it");
        const rn::sent_many none = co_await near.send_many({});
        holds(none && none.count == 0, "nothing to send is no error");
        const auto nothing = co_await near.recv_many({});
        holds(nothing.has_value() && *nothing == 0, "nor is no room");
    });
}

TEST_CASE("udp: many of a connected socket go to its peer, and reports are absorbed") {
    everywhere([]() -> rn::task<> {
        const rn::address left = left_address();
        rn::udp_socket near = bound();
        holds(near.connect(left).has_value(), "connected");
        const std::string text = pattern(100);
        const std::vector<rn::outgoing> out(5, rn::outgoing(std::as_bytes(std::span(text))));
        co_await send_all(near, out);
        const auto none = co_await rn::with_timeout(10ms, near.recv());
        holds(none.error() == rn::errc::timed_out, none.error().message());
        holds(near.icmp_errors() > 0, "reported");
        rn::udp_socket far = rn::udp_socket::bind(left).value();
        co_await send_all(near, out);
        const auto got = co_await receive_all(far, 5, 10);
        holds(got == std::vector<std::string>(5, text), "all");
    });
}

// --- What the kernel moves as one --------------------------------------------------------------------

namespace {
bool has_segments() {
    rn::udp_socket socket = bound();
    int bytes = 0;
    socklen_t size = sizeof bytes;
    return getsockopt(socket.native_handle(), SOL_UDP, UDP_SEGMENT, &bytes, &size) == 0;
}

/// How the kernel hands over three datagrams of 400 bytes to somebody who takes them as one.
rn::task<std::size_t> length_of_the_first(bool segment) {
    rn::udp_socket near = bound("127.0.0.1:0", rn::udp_options().segment(segment)), far = bound();
    const int on = 1;
    CHECK(setsockopt(far.native_handle(), SOL_UDP, UDP_GRO, &on, sizeof on) == 0);
    const texts mine({400, 400, 400}, address_of(far));
    co_await send_all(near, mine.out);
    const auto got = co_await far.recv();
    co_return got->bytes.size();
}
}

TEST_CASE("udp: equal sizes to one address reach the kernel as one") {
    if (!has_segments()) return skipped("this kernel has no UDP_SEGMENT");
    CHECK(run_on(1, [] { return length_of_the_first(true); }).value() == 1200);
    CHECK(run_on(1, [] { return length_of_the_first(false); }).value() == 400);
}

TEST_CASE("udp: where the kernel refuses to take them as one they go one by one") {
    if (!has_segments()) return skipped("this kernel has no UDP_SEGMENT");
    on_the_kernel([]() -> rn::task<> {
        rn::udp_socket near = bound(), far = bound("127.0.0.1:0", roomy);
        const int on = 1;  // segments need checksums
        CHECK(setsockopt(near.native_handle(), SOL_SOCKET, SO_NO_CHECK, &on, sizeof on) == 0);
        for (int round = 0; round < 2; ++round) {
            const texts mine(mixed_sizes(), address_of(far));
            co_await send_all(near, mine.out);
            const auto got = co_await receive_all(far, mine.all.size(), 64);
            CHECK(got == mine.all);
        }
        CHECK(near.icmp_errors() == 0);
    });
}

TEST_CASE("udp: what came as one is given out by every way to receive, also what a buffer has no room for") {
    on_the_kernel([]() -> rn::task<> {
        rn::udp_socket near = bound(), far = bound("127.0.0.1:0", rn::udp_options(roomy).coalesce(true));
        const texts mine({1000, 1000, 1000, 1000, 10}, address_of(far));
        co_await send_all(near, mine.out);
        CHECK(co_await next_text(far) == mine.all[0]);
        std::byte small[600];
        const auto cut = co_await far.recv_from(small);
        CHECK(cut->bytes == 600);
        CHECK(cut->length == 1000);
        CHECK(cut->truncated);
        CHECK(cut->from == address_of(near));
        const auto rest = co_await receive_all(far, 3, 10);
        CHECK(rest[0] == mine.all[2]);
        CHECK(rest[2] == mine.all[4]);
        const auto none = co_await rn::with_timeout(1ms, far.recv());
        CHECK(none.error() == rn::errc::timed_out);
        co_await say(near, "", address_of(far));
        CHECK(co_await next_text(far) == "");
    });
}
