// Pipes, FIFOs and whatever else has a plain descriptor.
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#include <csignal>
#include <cstdio>
#include <runnel/buffered_reader.hpp>
#include <runnel/copy.hpp>
#include <runnel/driven_runtime.hpp>
#include <runnel/pipe.hpp>
#include <runnel/testing.hpp>

#include "descriptors.hpp"
#include "folder.hpp"
#include "io/drivers/byte_calls.hpp"
#include "loopback.hpp"
#include "support/level.hpp"

using namespace test;
namespace testing = runnel::testing;

namespace {

rn::task<std::string> read_pipe(rn::pipe_reader& from) {
    std::string all;
    while (auto chunk = co_await from.recv()) all += chunk->text();
    co_return all;
}

rn::task<rn::transfer> write_pipe(rn::pipe_writer& to, const std::string& text) {
    const rn::transfer sent = co_await to.write_all(text);
    to.close();
    co_return sent;
}

/// Is a SIGPIPE waiting for this thread, or for the process?
bool sigpipe_pending() {
    sigset_t pending;
    sigpending(&pending);
    return sigismember(&pending, SIGPIPE) == 1;
}
}

TEST_CASE("pipe: what is written at one end is read at the other, and the last writer's end is the end") {
    const nothing_left after;
    const auto talk = []() -> rn::task<std::string> {
        auto [reader, writer] = rn::make_pipe().value();
        CHECK(co_await writer.write_all("hello"));
        writer.close();
        co_return co_await read_pipe(reader);
    };
    CHECK(run_on(1, talk).value() == "hello");
}

TEST_CASE("pipe: far more than it holds goes through whole and in order") {
    const nothing_left after;
    const auto talk = [](std::string text) -> rn::task<std::string> {
        auto [reader, writer] = rn::make_pipe().value();
        auto sent = rn::go(write_pipe, rn::borrow(writer), rn::borrow(text));
        std::string all = co_await read_pipe(reader);
        const auto done = co_await sent;
        CHECK(done.value().bytes == text.size());
        co_return all;
    };
    const std::string large = pattern(std::size_t{2} << 20);
    CHECK((run_on(2, talk, large).value() == large));
}

TEST_CASE("pipe: read_some takes what there is, and at the end says end_of_stream again and again") {
    const auto talk = []() -> rn::task<> {
        auto [reader, writer] = rn::make_pipe().value();
        CHECK(co_await writer.write_some("abcdef"));
        std::byte four[4];
        const auto first = co_await reader.read_some(four);
        CHECK(first.value() == 4);
        const auto second = co_await reader.read_some(four);
        CHECK(second.value() == 2);
        writer.close();
        for (int i = 0; i < 2; ++i) {
            const auto end = co_await reader.read_some(four);
            CHECK(end.error() == rn::errc::end_of_stream);
        }
        const auto nothing = co_await reader.read_some(std::span<std::byte>());
        CHECK(nothing.value() == 0);
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("pipe: a read that waits ends with a limit and has read nothing; the next one gets what comes") {
    const auto talk = []() -> rn::task<> {
        auto [reader, writer] = rn::make_pipe().value();
        std::byte some[16];
        const auto late = co_await rn::with_timeout(2ms, reader.read_some(some));
        CHECK(late.error() == rn::errc::timed_out);
        const auto leased = co_await rn::with_timeout(2ms, reader.recv());
        CHECK(leased.error() == rn::errc::timed_out);
        const auto ready = co_await rn::with_timeout(2ms, reader.readable());
        CHECK(ready.error() == rn::errc::timed_out);
        CHECK(co_await writer.write_all("x"));
        CHECK(co_await reader.readable());
        const auto got = co_await reader.recv();
        CHECK(got->text() == "x");
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("pipe: a write that is cancelled tells how much went out") {
    const auto talk = []() -> rn::task<> {
        auto [reader, writer] = rn::make_pipe().value();
        const std::string large(std::size_t{1} << 20, 'x');
        const rn::transfer sent = co_await rn::with_timeout(5ms, writer.write_all(large));
        CHECK(sent.error == rn::errc::timed_out);
        CHECK(sent.bytes > 0);
        CHECK(sent.bytes < large.size());
        writer.close();
        const std::string all = co_await read_pipe(reader);
        CHECK(all.size() == sent.bytes);
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("pipe: close() ends a read and a write in flight and nobody else gets their numbers before") {
    const nothing_left after;
    const auto talk = []() -> rn::task<> {
        auto [reader, writer] = rn::make_pipe().value();
        const auto wait = [](rn::pipe_reader& from) -> rn::task<std::error_code> {
            const auto got = co_await rn::with_timeout(1h, from.recv());
            co_return got.error();
        };
        auto waits = rn::go(wait, rn::borrow(reader));
        CHECK(co_await rn::sleep_for(1ms));
        reader.close();
        const auto why = co_await waits;
        CHECK(why.value() == rn::errc::closed);
        CHECK_FALSE(reader.is_open());
        const auto again = co_await reader.recv();
        CHECK(again.error() == rn::errc::closed);

        auto second = rn::make_pipe().value();
        const auto fill = [](rn::pipe_writer& to) -> rn::task<rn::transfer> {
            const std::string large(std::size_t{1} << 20, 'x');
            co_return co_await to.write_all(large);
        };
        auto fills = rn::go(fill, rn::borrow(second.writer));
        CHECK(co_await rn::sleep_for(1ms));
        second.writer.close();
        const auto sent = co_await fills;
        CHECK(sent.value().bytes > 0);
        CHECK(sent.value().error == rn::errc::closed);
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("pipe: nobody reads any more is broken_pipe and leaves no SIGPIPE behind") {
    const auto talk = []() -> rn::task<> {
        for (const bool with_flag : {true, false}) {
            rn::detail::kernel_knows_no_signal = with_flag;
            auto [reader, writer] = rn::make_pipe().value();
            reader.close();
            const rn::transfer sent = co_await writer.write_all("x");
            CHECK(sent.error == std::errc::broken_pipe);
            CHECK_FALSE(sigpipe_pending());
        }
        // And of a write that waits already.
        auto [reader, writer] = rn::make_pipe().value();
        const auto fill = [](rn::pipe_writer& to) -> rn::task<rn::transfer> {
            const std::string large(std::size_t{1} << 20, 'x');
            co_return co_await to.write_all(large);
        };
        auto fills = rn::go(fill, rn::borrow(writer));
        CHECK(co_await rn::sleep_for(1ms));
        reader.close();
        const auto sent = co_await fills;
        CHECK(sent.value().error == std::errc::broken_pipe);
        CHECK_FALSE(sigpipe_pending());
    };
    CHECK(run_on(1, talk));
    rn::detail::kernel_knows_no_signal = true;
}

TEST_CASE("pipe: a thread of somebody else's loop is not hit by SIGPIPE, and keeps its mask") {
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, nullptr, &before);
    for (const bool with_flag : {true, false}) {
        rn::detail::kernel_knows_no_signal = with_flag;
        CHECK(sigismember(&before, SIGPIPE) == 0);  // it would end this program
        auto [reader, writer] = rn::make_pipe().value();
        reader.close();
        CHECK(rn::detail::write_bytes_now(writer.native_handle(), "x", 1, false) == -EPIPE);
        CHECK_FALSE(sigpipe_pending());
        pthread_sigmask(SIG_SETMASK, nullptr, &after);
        CHECK(sigismember(&after, SIGPIPE) == 0);
    }
    rn::detail::kernel_knows_no_signal = true;
}

TEST_CASE("pipe: a SIGPIPE that was pending before is still there after a write that raised one") {
    sigset_t only, before;
    sigemptyset(&only);
    sigaddset(&only, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &only, &before);
    pthread_kill(pthread_self(), SIGPIPE);
    rn::detail::kernel_knows_no_signal = false;
    auto [reader, writer] = rn::make_pipe().value();
    reader.close();
    CHECK(rn::detail::write_bytes_now(writer.native_handle(), "x", 1, false) == -EPIPE);
    CHECK(sigpipe_pending());
    const timespec now{};
    CHECK(sigtimedwait(&only, nullptr, &now) == SIGPIPE);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    rn::detail::kernel_knows_no_signal = true;
}

TEST_CASE("pipe: the flags of the open file stay as they were, blocking or not") {
    const auto talk = []() -> rn::task<> {
        for (const int flag : {0, O_NONBLOCK}) {
            int ends[2];
            CHECK(pipe2(ends, O_CLOEXEC | flag) == 0);
            rn::pipe_reader reader = rn::pipe_reader::own(ends[0]);
            rn::pipe_writer writer = rn::pipe_writer::own(ends[1]);
            const auto late = co_await rn::with_timeout(1ms, reader.recv());
            CHECK(late.error() == rn::errc::timed_out);
            CHECK(co_await writer.write_all("x"));
            const auto got = co_await reader.recv();
            CHECK(got->text() == "x");
            CHECK((fcntl(ends[0], F_GETFL) & O_NONBLOCK) == flag);
            CHECK((fcntl(ends[1], F_GETFL) & O_NONBLOCK) == flag);
        }
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("pipe: bytes that another process has taken first are waited for anew") {
    const auto talk = []() -> rn::task<> {
        auto [reader, writer] = rn::make_pipe().value();
        const int thief = dup(reader.native_handle());
        auto reads = rn::go(read_pipe, rn::borrow(reader));
        CHECK(co_await rn::sleep_for(1ms));
        for (int i = 0; i < 50; ++i) {
            CHECK(write(writer.native_handle(), "s", 1) == 1);
            char stolen;
            fcntl(thief, F_SETFL, O_NONBLOCK);
            (void)!read(thief, &stolen, 1);
            CHECK(co_await rn::yield());
        }
        close(thief);
        CHECK(co_await writer.write_all("mine"));
        writer.close();
        const auto all = co_await reads;
        CHECK(all.value().find("mine") != std::string::npos);
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("pipe: copy and buffered_reader work on pipes as on sockets") {
    const auto talk = []() -> rn::task<> {
        auto in = rn::make_pipe().value();
        auto out = rn::make_pipe().value();
        CHECK(co_await in.writer.write_all("one\ntwo\nrest"));
        in.writer.close();
        const rn::transfer copied = co_await rn::copy(in.reader, out.writer);
        CHECK(copied.bytes == 12);
        rn::buffered_reader lines(out.reader);
        std::vector<std::string> got;
        while (auto line = co_await lines.read_line()) got.emplace_back(*line);
        CHECK(got == std::vector<std::string>{"one", "two", "rest"});
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("fifo: a reader waits for the first writer, a writer for a reader") {
    const nothing_left after;
    const folder here;
    const std::string path = here / "fifo";
    REQUIRE(mkfifo(path.c_str(), 0600) == 0);
    const auto talk = [](std::string where) -> rn::task<> {
        const auto nobody = co_await rn::with_timeout(3ms, rn::pipe_writer::open(where));
        CHECK(nobody.error() == rn::errc::timed_out);
        rn::pipe_reader reader = rn::pipe_reader::open(where).value();
        const auto early = co_await rn::with_timeout(3ms, reader.recv());
        CHECK(early.error() == rn::errc::timed_out);
        auto reads = rn::go(read_pipe, rn::borrow(reader));
        rn::pipe_writer writer = (co_await rn::pipe_writer::open(where)).value();
        CHECK(co_await writer.write_all("through a name"));
        writer.close();
        const auto all = co_await reads;
        CHECK(all.value() == "through a name");
    };
    CHECK(run_on(1, talk, path));
    const auto missing = rn::pipe_reader::open(here / "missing");
    CHECK(missing.error() == std::errc::no_such_file_or_directory);
}

TEST_CASE("fifo: an end that blocks, as another program has opened it, holds no worker either") {
    const nothing_left after;
    const folder here;
    const std::string path = here / "fifo";
    REQUIRE(mkfifo(path.c_str(), 0600) == 0);
    const auto talk = [](std::string where) -> rn::task<> {
        rn::pipe_reader reader = rn::pipe_reader::own(open(where.c_str(), O_RDWR | O_CLOEXEC));
        rn::pipe_writer writer = rn::pipe_writer::own(open(where.c_str(), O_WRONLY | O_CLOEXEC));
        const std::string text = pattern(300'000);
        const auto late = co_await rn::with_timeout(2ms, reader.recv());
        CHECK(late.error() == rn::errc::timed_out);
        auto sent = rn::go(write_pipe, rn::borrow(writer), rn::borrow(text));
        std::string all;
        while (all.size() < text.size()) {
            const auto more = co_await reader.recv();
            all += more->text();
        }
        CHECK((all == text));
        CHECK(co_await sent);
    };
    CHECK(run_on(1, talk, path));
}

TEST_CASE("pipe: a file and a device have the same shape, though nobody can wait for them") {
    const nothing_left after;
    const folder here;
    const auto talk = [](std::string where) -> rn::task<> {
        const std::string text = pattern(300'000);
        close(creat(where.c_str(), 0600));
        rn::pipe_writer writer = (co_await rn::pipe_writer::open(where)).value();
        const rn::transfer sent = co_await writer.write_all(text);
        CHECK(sent.bytes == text.size());
        rn::pipe_reader reader = rn::pipe_reader::open(where).value();
        CHECK(co_await reader.readable());
        const std::string all = co_await read_pipe(reader);
        CHECK((all == text));
        rn::pipe_reader null = rn::pipe_reader::open("/dev/null").value();
        CHECK(co_await null.readable());
        const auto end = co_await null.recv();
        CHECK(end.error() == rn::errc::end_of_stream);
        rn::pipe_writer sink = (co_await rn::pipe_writer::open("/dev/null")).value();
        CHECK(co_await sink.write_all(text));
        rn::pipe_reader zeros = rn::pipe_reader::open("/dev/zero").value();
        const auto some = co_await zeros.recv();
        CHECK(some->size() > 0);
    };
    CHECK(run_on(1, talk, here / "plain"));
}

TEST_CASE("pipe: in a simulation it is a simulated one, with nothing lost and broken_pipe at the end") {
    const auto all = testing::explore(support::scaled(50U, 2'000U), []() -> rn::task<> {
        auto [reader, writer] = rn::make_pipe().value();
        const std::string text = pattern(200'000);
        auto sent = rn::go(write_pipe, rn::borrow(writer), rn::borrow(text));
        const std::string got = co_await read_pipe(reader);
        testing::expect(got == text, "all arrives");
        (void)co_await sent;
        auto second = rn::make_pipe().value();
        const auto late = co_await rn::with_timeout(1s, second.reader.recv());
        testing::expect(late.error() == rn::errc::timed_out, "a limit ends a read");
        second.reader.close();
        const rn::transfer broken = co_await second.writer.write_all("x");
        testing::expect(broken.error == std::errc::broken_pipe, "broken_pipe");
        auto third = rn::make_pipe().value();
        const auto read = [](rn::pipe_reader& from) -> rn::task<std::error_code> {
            co_return (co_await from.recv()).error();
        };
        auto reads = rn::go(read, rn::borrow(third.reader));
        (void)co_await rn::sleep_for(1s);
        third.reader.close();
        const auto why = co_await reads;
        testing::expect(*why == rn::errc::closed, "close() ends a read");
    });
    CHECK_MESSAGE(all.ok(), all.what());
}
