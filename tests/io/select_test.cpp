// Sockets as cases of a select: what loses has read nothing, and what wins gets all.
#include <runnel/channel.hpp>
#include <runnel/pipe.hpp>
#include <runnel/select.hpp>
#include <runnel/select_any.hpp>
#include <runnel/sync.hpp>
#include <runnel/testing.hpp>

#include <sys/socket.h>

#include <array>

#include "loopback.hpp"
#include "support/level.hpp"

using namespace test;

TEST_CASE("select on a stream: bytes that are there win at once") {
    const auto body = []() -> rn::task<> {
        auto [near, far] = co_await connected_pair();
        CHECK(co_await far.write_all("hello"));
        CHECK(co_await near.readable());
        auto won = co_await rn::select(near.recv(), rn::sleep_for(1h));
        CHECK(won.index() == 0);
        CHECK(won.get<0>()->text() == "hello");
    };
    CHECK(run_on(1, body));
}

TEST_CASE("select on a stream: it waits until bytes come") {
    const auto body = []() -> rn::task<> {
        auto [near, far] = co_await connected_pair();
        rn::event waits;
        auto writer = rn::go(
            [](rn::tcp_stream& to) -> rn::task<> {
                CHECK(co_await rn::yield());
                CHECK(co_await to.write_all("late"));
            },
            rn::borrow(far));
        auto won = co_await rn::select(near.recv(), waits);
        CHECK(won.index() == 0);
        CHECK(won.get<0>()->text() == "late");
        CHECK(co_await writer);
    };
    CHECK(run_on(1, body));
    CHECK(run_on(2, body));
}

TEST_CASE("select on a stream: a case that loses has read nothing and the next read gets it all") {
    const auto body = []() -> rn::task<> {
        auto [near, far] = co_await connected_pair();
        auto [out, in] = rn::make_channel<int>(1);
        for (int round = 0; round < 100; ++round) {
            CHECK(co_await out.send(round));
            auto won = co_await rn::select(near.recv(), in.recv());
            CHECK(won.index() == 1);
            CHECK(*won.get<1>() == round);
        }
        CHECK(co_await far.write_all("all of it"));
        auto plain = co_await near.recv();
        CHECK(plain->text() == "all of it");
        CHECK(co_await far.write_all("and more"));
        std::array<std::byte, 64> room;
        auto won = co_await rn::select(near.read_some(room), rn::sleep_for(1h));
        CHECK(*won.get<0>() == 8);
    };
    CHECK(run_on(1, body));
}

// Its watch stays under way when the other case wins; what it then reports may be the past.
TEST_CASE("select on a stream: what was read without a select meanwhile does not wake the next one") {
    const auto body = []() -> rn::task<> {
        auto [near, far] = co_await connected_pair();
        for (int round = 0; round < 50; ++round) {
            auto lost = co_await rn::select(near.recv(), rn::sleep_for(1us));
            CHECK(lost.index() == 1);
            CHECK(co_await far.write_all("x"));
            CHECK((co_await near.recv())->text() == "x");
            auto quiet = co_await rn::select(near.recv(), rn::sleep_for(100us));
            CHECK(quiet.index() == 1);
        }
    };
    CHECK(run_on(1, body));
}

TEST_CASE("select on a stream: its end is an error that the case tells") {
    const auto body = []() -> rn::task<> {
        auto [near, far] = co_await connected_pair();
        CHECK(far.shutdown_write());
        auto won = co_await rn::select(near.recv(), rn::sleep_for(1h));
        CHECK(won.index() == 0);
        CHECK(won.get<0>().error() == rn::errc::end_of_stream);
    };
    CHECK(run_on(1, body));
}

TEST_CASE("select on a stream: close ends it - before it and while it waits") {
    const auto body = []() -> rn::task<> {
        auto [near, far] = co_await connected_pair();
        auto closer = rn::go(
            [](rn::tcp_stream& stream) -> rn::task<> {
                CHECK(co_await rn::yield());
                stream.close();
            },
            rn::borrow(near));
        auto won = co_await rn::select(near.recv(), rn::sleep_for(1h));
        CHECK(won.index() == 0);
        CHECK(won.get<0>().error() == rn::errc::closed);
        CHECK(co_await closer);
        auto again = co_await rn::select(near.readable(), rn::sleep_for(1h));
        CHECK(again.get<0>().error() == rn::errc::closed);
        auto gone = co_await far.recv();
        CHECK(!gone);
    };
    CHECK(run_on(1, body));
    CHECK(run_on(2, body));
}

TEST_CASE("select on a stream: a cancelled one has read nothing") {
    const auto body = []() -> rn::task<> {
        auto [near, far] = co_await connected_pair();
        auto limited = co_await rn::with_timeout(1ms, rn::select(near.recv(), rn::sleep_for(1h)));
        CHECK(limited.error() == rn::errc::timed_out);
        CHECK(co_await far.write_all("still"));
        CHECK((co_await near.recv())->text() == "still");
    };
    CHECK(run_on(1, body));
}

TEST_CASE("select on a stream: one case may have a limit of its own") {
    const auto body = []() -> rn::task<> {
        auto [near, far] = co_await connected_pair();
        auto won = co_await rn::select(rn::with_timeout(1ms, near.recv()), rn::sleep_for(1h));
        CHECK(won.index() == 0);
        CHECK(won.get<0>().error() == rn::errc::timed_out);
    };
    CHECK(run_on(1, body));
}

TEST_CASE("select on a stream: the stream may be moved when no select waits for it any more") {
    const auto body = []() -> rn::task<> {
        auto [near, far] = co_await connected_pair();
        auto lost = co_await rn::select(near.recv(), rn::sleep_for(1us));
        CHECK(lost.index() == 1);
        rn::tcp_stream moved = std::move(near);
        CHECK(co_await far.write_all("moved"));
        auto won = co_await rn::select(moved.recv(), rn::sleep_for(1h));
        CHECK(won.get<0>()->text() == "moved");
    };
    CHECK(run_on(1, body));
}

TEST_CASE("select on a stream: try_select reads what is there and does not wait") {
    const auto body = []() -> rn::task<> {
        auto [near, far] = co_await connected_pair();
        auto none = rn::try_select(near.recv());
        CHECK(none.error() == rn::errc::not_available);
        CHECK(co_await far.write_all("now"));
        CHECK(co_await near.readable());
        auto some = rn::try_select(near.recv());
        CHECK(some.get<0>()->text() == "now");
    };
    CHECK(run_on(1, body));
}

TEST_CASE("select on a stream: of many streams the one that speaks wins") {
    const auto body = []() -> rn::task<> {
        rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
        std::vector<rn::tcp_stream> near;
        std::vector<rn::tcp_stream> far;
        for (int i = 0; i < 20; ++i) {
            auto pair = co_await connected_pair(listener);
            near.push_back(std::move(pair.first));
            far.push_back(std::move(pair.second));
        }
        std::vector<rn::receive_case> all;
        for (rn::tcp_stream& each : near) all.push_back(each.recv().as_case());
        for (std::size_t speaker : {3U, 19U, 3U, 0U}) {
            CHECK(co_await far[speaker].write_all("me"));
            auto won = co_await rn::select_any(all);
            CHECK(won.index() == speaker);
            CHECK(won.get()->text() == "me");
        }
    };
    CHECK(run_on(2, body));
}

TEST_CASE("select on a listener: a connection that waits is a case that can happen") {
    const auto body = []() -> rn::task<> {
        rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
        auto none = rn::try_select(listener.accept());
        CHECK(none.error() == rn::errc::not_available);
        rn::tcp_stream near = (co_await rn::tcp_stream::connect(listener.local_address())).value();
        auto some = rn::try_select(listener.accept());
        REQUIRE(some);
        CHECK(some.get<0>());
    };
    CHECK(run_on(1, body));
}

TEST_CASE("select on a listener: a case that loses takes no connection") {
    const auto body = []() -> rn::task<> {
        rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
        for (int round = 0; round < 20; ++round) {
            auto lost = co_await rn::select(listener.accept(), rn::sleep_for(10us));
            CHECK(lost.index() == 1);
            rn::tcp_stream near = (co_await rn::tcp_stream::connect(listener.local_address())).value();
            auto won = co_await rn::select(rn::in_order, listener.accept(), rn::sleep_for(1h));
            CHECK(won.index() == 0);
            CHECK(won.get<0>()->peer_address().value() == near.local_address().value());
        }
    };
    CHECK(run_on(1, body));
    CHECK(run_on(2, body));
}

TEST_CASE("select on a listener: of several listeners the one that is called wins") {
    const auto body = []() -> rn::task<> {
        rn::tcp_listener a = rn::tcp_listener::bind("127.0.0.1:0").value();
        rn::tcp_listener b = rn::tcp_listener::bind("127.0.0.1:0").value();
        rn::tcp_stream to_b = (co_await rn::tcp_stream::connect(b.local_address())).value();
        auto first = co_await rn::select(a.accept(), b.accept());
        CHECK(first.index() == 1);
        rn::tcp_stream to_a = (co_await rn::tcp_stream::connect(a.local_address())).value();
        auto second = co_await rn::select(a.accept(), b.accept());
        CHECK(second.index() == 0);
    };
    CHECK(run_on(1, body));
}

TEST_CASE("accept: tasks that wait get connections first come first served") {
    const auto body = []() -> rn::task<> {
        rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
        std::vector<rn::address> peers(5);  // of who came first, second, …
        std::size_t came = 0;
        rn::task_set tasks;
        for (int i = 0; i < 5; ++i)
            tasks.spawn(
                [](rn::tcp_listener& at, std::vector<rn::address>& to, std::size_t& next) -> rn::task<> {
                    const std::size_t mine = next++;
                    to[mine] = (co_await at.accept()).value().peer_address().value();
                },
                rn::borrow(listener), rn::borrow(peers), rn::borrow(came));
        while (came < 5) CHECK(co_await rn::yield());
        std::vector<rn::tcp_stream> near;
        for (int i = 0; i < 5; ++i)
            near.push_back((co_await rn::tcp_stream::connect(listener.local_address())).value());
        CHECK(co_await tasks.join());
        for (std::size_t i = 0; i < 5; ++i) CHECK(peers[i] == near[i].local_address().value());
    };
    CHECK(run_on(1, body));
}

TEST_CASE("select on a pipe: what is written wins and a case that loses has read nothing") {
    const auto body = []() -> rn::task<> {
        auto [reader, writer] = rn::make_pipe().value();
        auto lost = co_await rn::select(reader.recv(), rn::sleep_for(1us));
        CHECK(lost.index() == 1);
        CHECK(co_await writer.write_all("through"));
        auto won = co_await rn::select(reader.recv(), rn::sleep_for(1h));
        CHECK(won.get<0>()->text() == "through");
        writer.close();
        auto end = co_await rn::select(reader.recv(), rn::sleep_for(1h));
        CHECK(end.get<0>().error() == rn::errc::end_of_stream);
        reader.close();
        auto closed = co_await rn::select(reader.recv(), rn::sleep_for(1h));
        CHECK(closed.get<0>().error() == rn::errc::closed);
    };
    CHECK(run_on(1, body));
}
