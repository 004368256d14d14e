// Descriptors that go through a Unix socket: they arrive, work, and none is left open.
#include <fcntl.h>
#include <sys/socket.h>

#include <array>
#include <csignal>
#include <runnel/testing.hpp>

#include "support/child.hpp"
#include "unix_loopback.hpp"

using namespace test;

namespace {

struct pipe_ends {
    rn::owned_descriptor from, to;
    pipe_ends() {
        int both[2];
        REQUIRE(pipe2(both, O_CLOEXEC) == 0);
        from = rn::owned_descriptor(both[0]);
        to = rn::owned_descriptor(both[1]);
    }
};

using bytes = std::array<std::byte, 64>;

std::string text_of(const bytes& buffer, std::size_t size) {
    return {reinterpret_cast<const char*>(buffer.data()), size};
}

std::vector<int> copies(int of, std::size_t count) { return std::vector<int>(count, of); }
}

TEST_CASE("passing: a descriptor that was passed can be used, and is closed on exec") {
    const auto pass = []() -> rn::task<> {
        unix_pair ends = rn::unix_stream::pair().value();
        pipe_ends pipe;
        const int passed[] = {pipe.to.native_handle()};
        const rn::transfer sent = co_await ends.first.send_with_descriptors("here", passed);
        CHECK(sent.bytes == 4);
        pipe.to.close();

        bytes buffer;
        auto got = co_await ends.second.recv_with_descriptors(buffer, 4);
        CHECK(text_of(buffer, got->bytes) == "here");
        CHECK_FALSE(got->truncated);
        REQUIRE(got->descriptors.size() == 1);
        const int mine = got->descriptors.front().native_handle();
        CHECK((fcntl(mine, F_GETFD) & FD_CLOEXEC) != 0);
        CHECK(write(mine, "x", 1) == 1);
        char letter = 0;
        CHECK(read(pipe.from.native_handle(), &letter, 1) == 1);
        CHECK(letter == 'x');
    };
    CHECK(run_on(1, pass));
}

TEST_CASE("passing: a receiver that waits gets them too") {
    const auto pass = []() -> rn::task<> {
        unix_pair ends = rn::unix_stream::pair().value();
        const auto receive = [](rn::unix_stream& from) -> rn::task<std::size_t> {
            bytes buffer;
            auto got = co_await from.recv_with_descriptors(buffer, 3);
            for (const auto& each : got->descriptors)
                CHECK((fcntl(each.native_handle(), F_GETFD) & FD_CLOEXEC) != 0);
            co_return got->descriptors.size();
        };
        auto receiver = rn::go(receive, rn::borrow(ends.second));
        CHECK(co_await rn::sleep_for(5ms));  // mostly it is in the kernel by then; it must not matter
        const int passed[] = {0, 1, 2};
        CHECK(co_await ends.first.send_with_descriptors("x", passed));
        const auto got = co_await receiver;
        CHECK(got.value() == 3);
    };
    CHECK(run_on(2, pass));
}

TEST_CASE("passing: what is received and not looked at is closed") {
    const auto pass = []() -> rn::task<> {
        unix_pair ends = rn::unix_stream::pair().value();
        const auto before = open_descriptors();
        bytes buffer;
        for (const std::size_t count : {1U, 2U, 3U, 253U}) {
            CHECK(co_await ends.first.send_with_descriptors("x", copies(0, count)));
            {
                auto got = co_await ends.second.recv_with_descriptors(buffer, 253);
                CHECK(got->descriptors.size() == count);
                CHECK(open_descriptors() == before + static_cast<int>(count));
                auto first = std::move(got->descriptors.front());
                CHECK(first);
                CHECK_FALSE(got->descriptors.front());
            }
            CHECK(open_descriptors() == before);
        }
    };
    CHECK(run_on(1, pass));
}

TEST_CASE("passing: more than there is room for are closed, and that is told") {
    const auto pass = []() -> rn::task<> {
        unix_pair ends = rn::unix_stream::pair().value();
        const auto before = open_descriptors();
        bytes buffer;
        for (const std::size_t room : {0U, 1U, 2U, 3U, 4U}) {
            CHECK(co_await ends.first.send_with_descriptors("x", copies(0, 5)));
            auto got = co_await ends.second.recv_with_descriptors(buffer, room);
            CHECK(got->bytes == 1);
            CHECK(got->truncated);
            CHECK(got->descriptors.size() ==
                  room);  // and not one more, though the system would have room for it
            CHECK(open_descriptors() == before + static_cast<int>(room));
        }
        CHECK(open_descriptors() == before);
    };
    CHECK(run_on(1, pass));
}

TEST_CASE("passing: a plain read leaves the descriptors to the system, which closes them") {
    const auto pass = []() -> rn::task<> {
        unix_pair ends = rn::unix_stream::pair().value();
        const auto before = open_descriptors();
        CHECK(co_await ends.first.send_with_descriptors("x", copies(0, 5)));
        auto chunk = co_await ends.second.recv();
        CHECK(chunk->text() == "x");
        CHECK(open_descriptors() == before);
    };
    CHECK(run_on(1, pass));
}

TEST_CASE("passing: what was sent and never received is closed with the stream") {
    const auto pass = []() -> rn::task<> {
        const auto before = open_descriptors();
        {
            unix_pair ends = rn::unix_stream::pair().value();
            CHECK(co_await ends.first.send_with_descriptors("x", copies(0, 5)));
        }
        CHECK(open_descriptors() == before);
    };
    CHECK(run_on(1, pass));
}

TEST_CASE("passing: a receive that is cancelled has taken nothing") {
    const auto pass = []() -> rn::task<> {
        unix_pair ends = rn::unix_stream::pair().value();
        const auto before = open_descriptors();
        bytes buffer;
        const auto late = co_await rn::with_timeout(1ms, ends.second.recv_with_descriptors(buffer, 2));
        CHECK(late.error() == rn::errc::timed_out);
        CHECK(co_await ends.first.send_with_descriptors("x", copies(0, 2)));
        auto got = co_await ends.second.recv_with_descriptors(buffer, 2);
        CHECK(got->descriptors.size() == 2);
        got->descriptors.clear();
        CHECK(open_descriptors() == before);
    };
    CHECK(run_on(1, pass));
}

TEST_CASE("passing: cancelled at the moment of arrival it has them or has not, and none is lost between") {
    const auto race = []() -> rn::task<> {
        unix_pair ends = rn::unix_stream::pair().value();
        const auto before = open_descriptors();
        const auto receive = [](rn::unix_stream& from, std::size_t& taken) -> rn::task<> {
            bytes buffer;
            while (taken < 200) {
                auto got = co_await rn::with_timeout(50us, from.recv_with_descriptors(buffer, 1));
                if (!got) continue;
                CHECK(got->descriptors.size() == 1);
                ++taken;
            }
        };
        std::size_t taken = 0;
        auto receiver = rn::go(receive, rn::borrow(ends.second), rn::borrow(taken));
        for (int i = 0; i < 200; ++i) {
            CHECK(co_await ends.first.send_with_descriptors("x", copies(0, 1)));
            if (i % 3 == 0) CHECK(co_await rn::sleep_for(50us));
        }
        CHECK(co_await receiver);
        CHECK(open_descriptors() == before);
    };
    CHECK(run_on(2, race));
}

TEST_CASE("passing: close ends a receiver and a sender that wait") {
    const auto close = []() -> rn::task<> {
        unix_pair ends = rn::unix_stream::pair().value();
        const auto receive = [](rn::unix_stream& from) -> rn::task<rn::result<>> {
            bytes buffer;
            co_return (co_await from.recv_with_descriptors(buffer, 1)).error();
        };
        const auto send = [](rn::unix_stream& to) -> rn::task<rn::result<>> {
            const std::string text = pattern(100'000);
            const auto passed = copies(0, 1);
            for (;;)
                if (const auto sent = co_await to.send_with_descriptors(text, passed); !sent)
                    co_return sent.error;
        };
        auto receiver = rn::go(receive, rn::borrow(ends.first));
        auto sender = rn::go(send, rn::borrow(ends.first));
        CHECK(co_await rn::sleep_for(5ms));
        ends.first.close();
        const auto received = co_await receiver;
        const auto sent = co_await sender;
        CHECK(received.error() == rn::errc::closed);
        CHECK(sent.error() == rn::errc::closed);
    };
    CHECK(run_on(2, close));
}

TEST_CASE("passing: of a large message the descriptors come once, with the first byte") {
    const auto pass = []() -> rn::task<> {
        unix_pair ends = rn::unix_stream::pair().value();
        CHECK(ends.first.set_send_buffer(1));
        const auto send = [](rn::unix_stream& to, const std::string& text) -> rn::task<> {
            const auto passed = copies(0, 2);
            const rn::transfer sent = co_await to.send_with_descriptors(text, passed);
            CHECK(sent.bytes == text.size());
            CHECK(to.shutdown_write());
        };
        const std::string text = pattern(200'000);
        auto sender = rn::go(send, rn::borrow(ends.first), rn::borrow(text));
        std::string heard;
        std::vector<std::size_t> counts;
        bytes buffer;
        for (;;) {
            auto got = co_await ends.second.recv_with_descriptors(buffer, 8);
            if (!got) break;
            heard += text_of(buffer, got->bytes);
            if (!got->descriptors.empty()) counts.push_back(got->descriptors.size());
        }
        CHECK(co_await sender);
        CHECK((heard == text));
        CHECK(counts == std::vector<std::size_t>{2});
    };
    CHECK(run_on(2, pass));
}

TEST_CASE("passing: what cannot be passed is an error") {
    const auto pass = []() -> rn::task<> {
        unix_pair ends = rn::unix_stream::pair().value();
        bytes buffer;
        CHECK((co_await ends.first.send_with_descriptors("", copies(0, 1))).error ==
              std::errc::invalid_argument);
        CHECK((co_await ends.first.send_with_descriptors("x", copies(0, 254))).error ==
              std::errc::invalid_argument);
        CHECK((co_await ends.first.send_with_descriptors("x", copies(-1, 1))).error ==
              std::errc::bad_file_descriptor);
        CHECK((co_await ends.second.recv_with_descriptors(std::span<std::byte>(), 1)).error() ==
              std::errc::invalid_argument);
        CHECK(co_await ends.first.send_with_descriptors("none", {}));
        const auto got = co_await ends.second.recv_with_descriptors(buffer, 1);
        CHECK(got->bytes == 4);
        CHECK(ends.first.shutdown_write());
        CHECK((co_await ends.second.recv_with_descriptors(buffer, 1)).error() == rn::errc::end_of_stream);
    };
    CHECK(run_on(1, pass));
}

TEST_CASE("passing: an owned descriptor is closed once, or given up") {
    const auto before = open_descriptors();
    rn::owned_descriptor first(dup(0));
    rn::owned_descriptor second(std::move(first));
    CHECK_FALSE(first);
    CHECK(second);
    first = std::move(second);
    CHECK(open_descriptors() == before + 1);
    const int given_up = first.release();
    CHECK(open_descriptors() == before + 1);
    first = rn::owned_descriptor(given_up);
    first = rn::owned_descriptor(dup(0));
    CHECK(open_descriptors() == before + 1);
    first.close();
    first.close();
    CHECK(open_descriptors() == before);
}

TEST_CASE("child: passes a descriptor in a simulation" * doctest::skip()) {
    (void)runnel::testing::simulate(runnel::testing::options(), []() -> rn::task<> {
        unix_pair ends = rn::unix_stream::pair().value();
        const int passed[] = {0};
        (void)co_await ends.first.send_with_descriptors("x", passed);
    });
}

TEST_CASE("passing: a simulation says that it has no descriptors to pass") {
    const auto end = support::child("child: passes a descriptor in a simulation").wait();
    CHECK(end.killed_by(SIGABRT));
    CHECK_MESSAGE(end.said("descriptors cannot be passed there"), end.printed);
}
