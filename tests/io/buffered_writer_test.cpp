// buffered_writer: few writes for many pieces, and each byte once whatever is cancelled or fails.
#include <doctest/doctest.h>
#include <runnel/buffered_writer.hpp>
#include <runnel/context.hpp>
#include <runnel/copy.hpp>
#include <runnel/testing.hpp>
#include <runnel/testing_network.hpp>

#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "loopback.hpp"
#include "support/level.hpp"

namespace testing = runnel::testing;
using namespace test;
using testing::expect;

namespace {

/// A stream that notes what is written to it, and fails after so many bytes.
struct noted {
    std::vector<std::string> writes;
    std::size_t room = std::string::npos;

    rn::task<rn::transfer> write_all(std::span<const std::byte> from) {
        const std::size_t count = std::min(from.size(), room);
        room -= count;
        writes.emplace_back(reinterpret_cast<const char*>(from.data()), count);
        co_return rn::transfer(
            count, count == from.size() ? std::error_code() : std::make_error_code(std::errc::io_error));
    }
    std::string all() const {
        std::string text;
        for (const std::string& each : writes) text += each;
        return text;
    }
};
using writer = rn::buffered_writer<noted>;
}

TEST_CASE("buffered_writer: small pieces go out together, when flushed or when there is no room for more") {
    CHECK(run_on(1, []() -> rn::task<> {
        noted to;
        writer out(to);
        std::string said;
        for (int i = 0; i < 1'000; ++i) {
            const std::string piece = "piece " + std::to_string(i) + " of a thousand\n";
            said += piece;
            const auto taken = co_await out.write_all(piece);
            CHECK(taken);
            CHECK(taken.bytes == piece.size());
        }
        CHECK(to.writes.size() == 1);
        CHECK(to.writes.front().size() == writer::capacity);
        CHECK(out.unsent() == std::string_view(said).substr(writer::capacity));
        CHECK(co_await out.flush());
        CHECK(to.writes.size() == 2);
        CHECK(to.all() == said);
        CHECK(out.unsent().empty());
        CHECK(co_await out.flush());
        CHECK(co_await out.write_all(""));
        CHECK(to.writes.size() == 2);  // there was nothing to write
    }));
}

TEST_CASE("buffered_writer: a piece longer than the buffer goes out uncopied, after what waits before it") {
    CHECK(run_on(1, []() -> rn::task<> {
        noted to;
        writer out(to);
        const std::string big(3 * writer::capacity, 'x');
        CHECK(co_await out.write_all(big));
        CHECK(to.writes.size() == 1);
        CHECK(co_await out.write_all("first "));
        CHECK(co_await out.write_all(big));
        CHECK(to.writes.size() == 3);
        CHECK(to.writes[1].substr(0, 7) == "first x");
        CHECK(to.all() == big + "first " + big);
    }));
}

TEST_CASE("buffered_writer: what did not go out waits, and goes before all else") {
    CHECK(run_on(1, []() -> rn::task<> {
        noted to;
        writer out(to);
        CHECK(co_await out.write_all("0123456789"));
        to.room = 4;
        const auto failed = co_await out.flush();
        CHECK(failed.error() == std::errc::io_error);
        CHECK(out.unsent() == "456789");
        writer elsewhere(std::move(out));
        CHECK(out.unsent().empty());
        to.room = std::string::npos;
        CHECK(co_await elsewhere.write_all("abc"));
        CHECK(co_await elsewhere.flush());
        CHECK(to.all() == "0123456789abc");
    }));
}

TEST_CASE(
    "buffered_writer: of a piece that fails in the midst, what it counts is taken and the rest is not") {
    CHECK(run_on(1, []() -> rn::task<> {
        noted to;
        writer out(to);
        const std::string big = std::string(writer::capacity, 'a') + std::string(writer::capacity, 'b') + "c";
        CHECK(co_await out.write_all("0"));
        to.room = 10;
        const auto taken = co_await out.write_all(big);
        CHECK(taken.error == std::errc::io_error);
        CHECK(taken.bytes == writer::capacity - 1);
        to.room = std::string::npos;
        CHECK(co_await out.write_all(std::string_view(big).substr(taken.bytes)));
        CHECK(co_await out.flush());
        CHECK(to.all() == "0" + big);
    }));
}

TEST_CASE("buffered_writer: each byte arrives once, in every network, however often it was too late") {
    const auto how = testing::options().network(testing::network().buffer(2'000));
    const auto all = testing::explore(how, support::scaled(50U, 5'000U), []() -> rn::task<> {
        rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:7000").value();
        stream_pair ends = co_await connected_pair(listener);
        auto hearing = rn::go(read_all, rn::borrow(ends.second));
        std::mt19937 random(7);
        std::string said;
        int late = 0;
        rn::buffered_writer out(ends.first);
        for (int i = 0; i < 40; ++i) {
            const std::string piece(random() % 5'000, static_cast<char>('a' + i % 26));
            said += piece;
            for (std::string_view rest = piece; !rest.empty();) {
                const auto taken = co_await rn::with_timeout(200us, out.write_all(rest));
                late += taken ? 0 : 1;
                rest.remove_prefix(taken.bytes);
            }
        }
        for (auto ended = co_await rn::with_timeout(200us, out.shutdown_write()); !ended;
             ended = co_await rn::with_timeout(200us, out.shutdown_write()))
            ++late;
        expect(late > 0, "some were too late");
        const auto heard = co_await hearing;
        expect(heard.value() == said, "what was said");
    });
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("buffered_writer: copy() writes to it, and ends it as it ends a stream") {
    CHECK(run_on(1, []() -> rn::task<> {
        stream_pair ins = co_await connected_pair();
        stream_pair outs = co_await connected_pair();
        CHECK(co_await ins.first.write_all("through both"));
        CHECK(ins.first.shutdown_write());
        rn::buffered_writer between(outs.first);
        const auto moved = co_await rn::copy(ins.second, between);
        CHECK(moved);
        CHECK(moved.bytes == 12);
        const std::string heard = co_await read_all(outs.second);
        CHECK(heard == "through both");
        between.close();
        CHECK_FALSE(outs.first.is_open());
    }));
}
