// On a bad day: calls are interrupted, refused for now, done in part, and requests are taken late. Each byte arrives
// once, in order, and whoever waits is woken, whatever the streams are used for.
#include <runnel/buffered_writer.hpp>
#include <runnel/context.hpp>
#include <runnel/fork.hpp>
#include <runnel/pipe.hpp>
#include <runnel/select.hpp>
#include <runnel/udp.hpp>
#include <runnel/unix.hpp>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <string_view>

#include "bad_day.hpp"
#include "io/drivers/provided_buffers.hpp"
#include "support/level.hpp"
#include "tools.hpp"

using namespace test;

namespace {

constexpr std::size_t text_bytes = 20'000;

/// Writes in each of the ways there are, some of them cut short by a limit.
template <class Stream>
rn::task<> say_in_all_ways(Stream& to, const std::string& all, unsigned seed) {
    std::mt19937 random(seed);
    std::string_view text = all;
    while (!text.empty()) {
        const std::string_view piece = text.substr(0, 1 + random() % 3'000);
        rn::transfer done;
        switch (random() % 3) {
            case 0: {
                auto limited = rn::with_timeout(50us, to.write_all(piece));
                done = co_await std::move(limited);
                break;
            }
            case 1: {
                rn::buffered_writer gathered(to);
                const std::size_t half = piece.size() / 2;
                CHECK(co_await gathered.write_all(piece.substr(0, half)));
                CHECK(co_await gathered.write_all(piece.substr(half)));
                CHECK(co_await gathered.flush());
                done.bytes = piece.size();
                break;
            }
            default:
                done = co_await to.write_some(piece);
        }
        REQUIRE((done || done.error == rn::errc::timed_out));
        text.remove_prefix(done.bytes);
    }
    CHECK(to.shutdown_write());
}

/// What can be said in pieces, if it is a socket.
rn::task<> say_in_pieces(rn::tcp_stream& to, const std::string& all, unsigned seed) {
    std::mt19937 random(seed);
    std::string_view text = all;
    while (!text.empty()) {
        const std::string_view three[] = {
            text.substr(0, 700), text.substr(std::min<std::size_t>(700, text.size()), 10),
            text.substr(std::min<std::size_t>(710, text.size()), random() % 2'000)};
        const rn::transfer done = co_await to.write_all(three);
        REQUIRE(done);
        text.remove_prefix(done.bytes);
    }
    CHECK(to.shutdown_write());
}

/// Reads in each of the ways there are.
template <class Stream>
rn::task<> hear_in_all_ways(Stream& from, const std::string& text, unsigned seed) {
    std::mt19937 random(seed);
    std::string all;
    std::array<std::byte, 500> room;
    std::error_code ended;
    while (!ended) {
        switch (random() % 4) {
            case 0: {
                auto limited = rn::with_timeout(50us, from.recv());
                auto got = co_await std::move(limited);
                if (got)
                    all += got->text();
                else if (got.error() != rn::errc::timed_out)
                    ended = got.error();
                break;
            }
            case 1: {
                const auto got = co_await from.read_some(room);
                if (got)
                    all.append(reinterpret_cast<const char*>(room.data()), *got);
                else
                    ended = got.error();
                break;
            }
            case 2: {
                auto won = co_await rn::select(from.recv(), rn::sleep_for(50us));
                if (won.index() != 0) break;
                auto& got = won.template get<0>();
                // Y1 of readiness.hpp: who has won may find nothing, if the system thinks better of it.
                if (got)
                    all += got->text();
                else if (got.error() != std::errc::resource_unavailable_try_again)
                    ended = got.error();
                break;
            }
            default: {
                CHECK(co_await from.readable());
            }
        }
    }
    CHECK(ended == rn::errc::end_of_stream);
    CHECK(all == text);
}

rn::task<> both_ways(rn::tcp_stream near, rn::tcp_stream far, unsigned seed) {
    const std::string there = pattern(text_bytes, seed), back = pattern(text_bytes, seed + 1);
    rn::task_set all;
    all.spawn(say_in_all_ways<rn::tcp_stream>, rn::borrow(near), rn::borrow(there), seed);
    all.spawn(hear_in_all_ways<rn::tcp_stream>, rn::borrow(far), rn::borrow(there), seed + 2);
    all.spawn(say_in_pieces, rn::borrow(far), rn::borrow(back), seed + 3);
    all.spawn(hear_in_all_ways<rn::tcp_stream>, rn::borrow(near), rn::borrow(back), seed + 4);
    CHECK(co_await all.join());
}

/// Each connects, and accepts a connection, which may be another's.
rn::task<> connect_and_accept(rn::tcp_listener& listener) {
    for (int i = 0; i < 3; ++i) {
        auto near = co_await rn::tcp_stream::connect(listener.local_address());
        auto far = co_await listener.accept();
        REQUIRE(near);
        REQUIRE(far);
        CHECK(co_await near->write_all("x"));
        near->close();
        const auto said = co_await far->recv();
        CHECK(said->text() == "x");
    }
}

rn::task<> connections() {
    rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
    rn::task_set all;
    for (int i = 0; i < 2; ++i) all.spawn(connect_and_accept, rn::borrow(listener));
    CHECK(co_await all.join());
}

rn::task<> datagrams(unsigned seed) {
    rn::udp_socket near = rn::udp_socket::bind("127.0.0.1:0").value(),
                   far = rn::udp_socket::bind("127.0.0.1:0").value();
    const rn::address there = far.local_address().value();
    const auto say = [](rn::udp_socket& from, rn::address to) -> rn::task<> {
        for (int i = 0; i < 40; ++i) {
            const std::string number = std::to_string(i);
            CHECK(co_await from.send_to(number, to));
        }
    };
    auto saying = rn::go(say, rn::borrow(near), there);
    std::mt19937 random(seed);
    std::array<std::byte, 16> room;
    for (int i = 0; i < 40;) {
        std::string text;
        if (random() % 2 == 0) {
            const auto got = co_await far.recv_from(room);
            text.assign(reinterpret_cast<const char*>(room.data()), got->bytes);
        } else {
            auto won = co_await rn::select(far.recv(), rn::sleep_for(50us));
            if (won.index() != 0 || !won.get<0>()) continue;
            text = won.get<0>()->bytes.text();
        }
        CHECK(text == std::to_string(i));
        ++i;
    }
    CHECK(co_await saying);
}

rn::task<> pipes(unsigned seed) {
    auto [reader, writer] = rn::make_pipe().value();
    const std::string text = pattern(text_bytes, seed);
    rn::task_set all;
    all.spawn(say_in_all_ways<rn::pipe_writer>, rn::borrow(writer), rn::borrow(text), seed);
    all.spawn(hear_in_all_ways<rn::pipe_reader>, rn::borrow(reader), rn::borrow(text), seed + 1);
    CHECK(co_await all.join());
}

rn::task<> a_day(unsigned seed) {
    stream_pair ends = co_await connected_pair();
    co_await rn::when_all(both_ways(std::move(ends.first), std::move(ends.second), seed), connections(),
                          datagrams(seed), pipes(seed));
}

rn::options options_of_the_day(unsigned seed) {
    const unsigned workers = 1 + seed % 2;
    const char* const driver = std::getenv("RUNNEL_DRIVER");
    if (driver != nullptr && std::strcmp(driver, "epoll") == 0) return rn::options().workers(workers);
    rn::detail::ring_options ring;
    ring.enter = enter_on_a_bad_day;
    return with_ring(ring, workers);
}
}

namespace {

bool kernel_takes_buffers() {
    rn::detail::provided_buffers trial;
    rn::detail::ring ring(rn::detail::ring_options{});
    trial.begin(ring);
    return trial.begun();
}

rn::task<> take_turns(int count) {
    stream_pair ends = co_await connected_pair();
    for (int i = 0; i < count; ++i) {
        auto answer = rn::go(
            [](rn::tcp_stream& of) -> rn::task<std::string> {
                auto got = co_await of.recv();
                co_return std::string(got->text());
            },
            rn::borrow(i % 2 == 0 ? ends.first : ends.second));
        CHECK(co_await rn::yield());  // it waits
        const std::string text = "turn " + std::to_string(i);
        CHECK(co_await (i % 2 == 0 ? ends.second : ends.first).write_all(text));
        const auto heard = co_await answer;
        CHECK(heard.value() == text);
    }
}
}

TEST_CASE("recv() that has waited makes no call of its own, where the kernel takes our buffers") {
    const char* const driver = std::getenv("RUNNEL_DRIVER");
    if ((driver != nullptr && std::strcmp(driver, "epoll") == 0) || !kernel_takes_buffers()) {
        std::puts("skipped: there is no ring, or its kernel takes no buffers");
        return;
    }
    rn::runtime here(rn::options().workers(1));
    const std::uint64_t before = receive_calls();
    CHECK(here.spawn(take_turns, 100).wait());
    CHECK(receive_calls() - before < 10);
}

TEST_CASE("on a bad day of the system's each byte arrives once, and whoever waits is woken") {
    const unsigned days = support::scaled(100U, 10'000U);
    std::uint64_t faults = 0;
    for (unsigned seed = 1; seed <= days; ++seed) {
        CAPTURE(seed);
        rn::runtime here(options_of_the_day(seed));
        const bad_day today(seed);
        CHECK(here.spawn(a_day, seed).wait());
        faults += today.faults();
    }
    MESSAGE(days << " days, " << faults / days << " faults on each");
    CHECK(faults > 20 * days);
}
