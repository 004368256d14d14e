// What brings whole messages, as cases of a select: datagrams, and passed descriptors. What loses has taken none.
#include <runnel/channel.hpp>
#include <runnel/select.hpp>
#include <runnel/select_any.hpp>
#include <runnel/unix_datagram.hpp>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "udp_stories.hpp"
#include "unix_loopback.hpp"

using namespace test;

namespace {

using room = std::array<std::byte, 64>;

rn::task<> count_to(int end, rn::sender<int> out) {
    for (int i = 0; i < end; ++i)
        if (!co_await out.send(i)) co_return;
}

rn::task<> say_each(rn::udp_socket& from, int end, rn::address to) {
    for (int i = 0; i < end; ++i) {
        co_await say(from, std::to_string(i), to);
        (void)co_await rn::yield();
    }
}
}

TEST_CASE("select on udp: a datagram wins, also one without bytes, and what loses has taken none") {
    everywhere([]() -> rn::task<> {
        rn::udp_socket near = bound(), far = bound();
        const rn::address there = address_of(far);
        auto none = co_await rn::select(far.recv(), rn::sleep_for(100us));
        holds(none.index() == 1, "nothing there");
        co_await say(near, "", there);
        auto empty = co_await rn::select(far.recv(), rn::sleep_for(1h));
        holds(empty.index() == 0 && empty.get<0>()->bytes.empty(), "an empty one");
        auto [out, in] = rn::make_channel<int>(0);
        auto counting = rn::go(count_to, 30, std::move(out));
        auto saying = rn::go(say_each, rn::borrow(near), 30, there);
        int numbers = 0, datagrams = 0;
        while (numbers < 30 || datagrams < 30) {
            if (numbers == 30)
                in.reset();  // a channel that is closed would always win, and no time would pass
            auto won = co_await rn::select(far.recv(), in.recv());
            if (won.index() == 0) {
                const auto& got = won.get<0>();
                holds(got->bytes.text() == std::to_string(datagrams), "in order");
                holds(got->from == address_of(near), "from there");
                ++datagrams;
            } else {
                holds(*won.get<1>() == numbers, "each number");
                ++numbers;
            }
        }
        co_await counting;
        co_await saying;
    });
}

TEST_CASE("select on udp: into a buffer, and many at once") {
    everywhere([]() -> rn::task<> {
        rn::udp_socket near = bound(), far = bound();
        co_await say(near, "hello, world", address_of(far));
        std::array<std::byte, 5> little;
        auto one = co_await rn::select(rn::sleep_for(1h), far.recv_from(little));
        const auto& got = one.get<1>();
        holds(got->bytes == 5 && got->length == 12 && got->truncated, "cut short");
        std::array<room, 3> rooms;
        std::vector<rn::incoming> places(rooms.begin(), rooms.end());
        auto saying = rn::go(say_each, rn::borrow(near), 2, address_of(far));
        std::size_t filled = 0;
        while (filled < 2) {
            auto many = co_await rn::select(far.recv_many(places), rn::sleep_for(1h));
            holds(many.get<0>().has_value() && *many.get<0>() > 0, "some");
            filled += *many.get<0>();
        }
        holds(filled == 2, "both");
        co_await saying;
    });
}

TEST_CASE("select on udp: what the network reports of earlier datagrams wakes nobody, and is counted") {
    everywhere([]() -> rn::task<> {
        rn::udp_socket near = bound();
        holds(near.connect(left_address()).has_value(), "connected");
        for (std::size_t i = 0; i < 3; ++i) {
            (void)co_await near.send("is anybody there?");
            auto waiting = rn::sleep_for(5ms);
            auto won = co_await rn::select(near.recv(), std::move(waiting));
            holds(won.index() == 1, "nobody");
        }
        holds(near.icmp_errors() == 3, "each was reported: " + std::to_string(near.icmp_errors()));
    });
}

TEST_CASE("select on udp: of several that the kernel hands over as one, each is a turn") {
    on_the_kernel([]() -> rn::task<> {
        rn::udp_socket near = bound(), far = bound("127.0.0.1:0", rn::udp_options().coalesce(true));
        const std::string text = pattern(500);
        const std::vector<rn::outgoing> five(5,
                                             rn::outgoing(std::as_bytes(std::span(text)), address_of(far)));
        CHECK(co_await near.send_many(five));
        for (int i = 0; i < 5; ++i) {
            auto won = co_await rn::select(far.recv(), rn::sleep_for(1h));
            CHECK(won.get<0>()->bytes.text() == text);
        }
        auto none = co_await rn::select(far.recv(), rn::sleep_for(100us));
        CHECK(none.index() == 1);
    });
}

TEST_CASE("select on udp: a plain thread can look whether there is one, and takes it") {
    rn::udp_socket near = bound(), far = bound();
    CHECK(rn::try_select(far.recv()).error() == rn::errc::not_available);
    const int status = run_on(
                           1,
                           [](rn::udp_socket& from, rn::address to) -> rn::task<int> {
                               CHECK(co_await from.send_to("hello", to));
                               co_return 1;
                           },
                           rn::borrow(near), address_of(far))
                           .value();
    CHECK(status == 1);
    auto got = rn::try_select(far.recv());
    REQUIRE(got);
    CHECK(got.get<0>()->bytes.text() == "hello");
}

TEST_CASE("select on udp: close ends it, before and while it waits") {
    everywhere([]() -> rn::task<> {
        rn::udp_socket socket = bound();
        const auto close_it = [](rn::udp_socket& of) -> rn::task<> {
            (void)co_await rn::yield();
            of.close();
        };
        auto closing = rn::go(close_it, rn::borrow(socket));
        for (int i = 0; i < 2; ++i) {
            auto won = co_await rn::select(socket.recv(), rn::sleep_for(1h));
            holds(won.index() == 0 && won.get<0>().error() == rn::errc::closed, "closed");
        }
        co_await closing;
    });
}

TEST_CASE("select on udp: sockets in one dynamic select, again and again") {
    everywhere([]() -> rn::task<> {
        rn::udp_socket near = bound();
        std::vector<rn::udp_socket> sockets;
        for (int i = 0; i < 5; ++i) sockets.push_back(bound());
        std::vector<decltype(sockets[0].recv().as_case())> all;
        for (rn::udp_socket& each : sockets) all.push_back(each.recv().as_case());
        for (const std::size_t which : {3U, 1U, 3U, 3U}) {
            co_await say(near, "you", address_of(sockets[which]));
            auto won = co_await rn::select_any(all);
            holds(won.index() == which && won.get()->bytes.text() == "you", "that one");
        }
    });
}

TEST_CASE("select on a Unix datagram socket: a message wins as a whole, and close ends it") {
    const auto body = []() -> rn::task<> {
        auto [near, far] = rn::unix_datagram::pair().value();
        room buffer;
        auto none = co_await rn::select(far.recv(buffer), rn::sleep_for(100us));
        CHECK(none.index() == 1);
        CHECK(co_await near.send("hello"));
        CHECK(co_await near.send("again"));
        for (int i = 0; i < 2; ++i) {
            auto won = co_await rn::select(far.recv(buffer), rn::sleep_for(1h));
            CHECK(won.get<0>()->bytes == 5);
        }
        auto closing = rn::go(
            [](rn::unix_datagram& which) -> rn::task<> {
                CHECK(co_await rn::yield());
                which.close();
            },
            rn::borrow(far));
        auto ended = co_await rn::select(far.recv(buffer), rn::sleep_for(1h));
        CHECK(ended.get<0>().error() == rn::errc::closed);
        CHECK(co_await closing);
    };
    CHECK(run_on(2, body));
}

TEST_CASE("select on descriptors that are passed: they come with their bytes, or not at all") {
    const auto body = []() -> rn::task<> {
        unix_pair ends = rn::unix_stream::pair().value();
        room buffer;
        auto none = co_await rn::select(ends.second.recv_with_descriptors(buffer, 2), rn::sleep_for(100us));
        CHECK(none.index() == 1);
        const int passed[] = {0, 1};
        CHECK(co_await ends.first.send_with_descriptors("both", passed));
        auto won = co_await rn::select(ends.second.recv_with_descriptors(buffer, 2), rn::sleep_for(1h));
        const auto& got = won.get<0>();
        CHECK(got->bytes == 4);
        CHECK(got->descriptors.size() == 2);
        CHECK_FALSE(got->truncated);
        auto refused = co_await rn::select(ends.second.recv_with_descriptors({}, 2), rn::sleep_for(1ms));
        CHECK(refused.index() == 1);  // there is nothing to read
        ends.first.close();
        auto ended = co_await rn::select(ends.second.recv_with_descriptors(buffer, 2), rn::sleep_for(1h));
        CHECK(ended.get<0>().error() == rn::errc::end_of_stream);
    };
    CHECK(run_on(2, body));
}
