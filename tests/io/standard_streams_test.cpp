// What a program was given to read and to write: each test starts one, and gives it a pipe, a file, a terminal.
#include <fcntl.h>
#include <pty.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cstdlib>
#include <runnel/buffered_reader.hpp>
#include <runnel/process.hpp>
#include <runnel/standard_streams.hpp>
#include <runnel/testing.hpp>

#include "descriptors.hpp"
#include "loopback.hpp"
#include "support/child.hpp"

using namespace test;

namespace {

/// Answers each line, then tells which flags its streams have.
rn::task<int> upper_case() {
    rn::pipe_reader in = rn::standard_input().value();
    rn::pipe_writer out = rn::standard_output().value();
    rn::buffered_reader lines(in);
    while (auto line = co_await lines.read_line()) {
        std::string answer;
        for (const char c : *line) answer += static_cast<char>(std::toupper(c));
        if (!co_await out.write_all(answer += '\n')) co_return 1;
    }
    rn::pipe_writer errors = rn::standard_error().value();
    const bool as_it_was = (fcntl(0, F_GETFL) & O_NONBLOCK) == 0 && (fcntl(1, F_GETFL) & O_NONBLOCK) == 0;
    const std::string_view answer = as_it_was ? "flags kept" : "flags changed";
    (void)co_await errors.write_all(answer);
    co_return 0;
}

/// Reads what never comes, for a moment.
rn::task<int> gives_up() {
    rn::pipe_reader in = rn::standard_input().value();
    rn::pipe_writer out = rn::standard_output().value();
    const auto late = co_await rn::with_timeout(5ms, in.recv());
    const char* const end = late.error() == rn::errc::timed_out ? "gave up\n" : "no\n";
    (void)co_await out.write_all(std::string_view(end));
    const auto line = co_await in.recv();  // and nothing was lost by that
    if (line) (void)co_await out.write_all(line->text());
    co_return 0;
}

/// This program again, as one of the cases below, with nothing else on its output.
rn::command program(const char* which) {
    rn::command made("/proc/self/exe");
    made.args("--no-skip", "--no-intro", "--no-version", std::string("--test-case=") + which);
    return made;
}
}

TEST_CASE("child: answers each line" * doctest::skip()) { std::_Exit(rn::run(upper_case)); }
TEST_CASE("child: gives up reading" * doctest::skip()) { std::_Exit(rn::run(gives_up)); }

TEST_CASE("standard streams: lines from a pipe are answered, and the flags of the pipe stay as they were") {
    const nothing_left after;
    const auto talk = []() -> rn::task<> {
        const auto done = co_await rn::output(program("child: answers each line"),
                                              rn::output_options().input("one\ntwo\nlast"));
        CHECK(done.status.ok());
        CHECK(done.out == "ONE\nTWO\nLAST\n");
        CHECK(done.err == "flags kept");
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("standard streams: a file is read, and another written, alike") {
    const nothing_left after;
    char name[] = "/tmp/runnel-test-XXXXXX", written[] = "/tmp/runnel-test-XXXXXX";
    const int in = mkstemp(name), out = mkstemp(written);
    std::string text, expected;
    for (int i = 0; i < 10'000; ++i) text += "line\n", expected += "LINE\n";
    REQUIRE(write(in, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    REQUIRE(lseek(in, 0, SEEK_SET) == 0);
    const auto talk = [](int from, int to) -> rn::task<> {
        rn::command made = program("child: answers each line");
        made.input(rn::stdio::from(from)).output(rn::stdio::from(to)).error(rn::stdio::null());
        const auto end = co_await rn::run_process(std::move(made));
        CHECK(end.value().ok());
    };
    CHECK(run_on(1, talk, in, out));
    std::string got(expected.size() + 1, '\0');
    got.resize(static_cast<std::size_t>(pread(out, got.data(), got.size(), 0)));
    CHECK((got == expected));
    for (const int each : {in, out}) close(each);
    unlink(name);
    unlink(written);
}

TEST_CASE("standard streams: a terminal is read line by line; reading it can be given up and goes on later") {
    const nothing_left after;
    int terminal = -1, side = -1;
    REQUIRE(openpty(&terminal, &side, nullptr, nullptr, nullptr) == 0);
    termios how{};
    tcgetattr(side, &how);
    how.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    how.c_oflag &= ~static_cast<tcflag_t>(OPOST);
    tcsetattr(side, TCSANOW, &how);
    const auto talk = [](int master, int slave) -> rn::task<> {
        rn::pipe_reader screen = rn::pipe_reader::own(dup(master));
        rn::pipe_writer keys = rn::pipe_writer::own(dup(master));
        rn::command made = program("child: gives up reading");
        made.input(rn::stdio::from(slave)).output(rn::stdio::from(slave));
        rn::process child = made.start().value();
        rn::buffered_reader lines(screen);
        const auto first = co_await lines.read_line();
        CHECK(*first == "gave up");
        CHECK(co_await keys.write_all("typed\n"));
        const auto second = co_await lines.read_line();
        CHECK(*second == "typed");
        const auto end = co_await child.wait();
        CHECK(end.value().ok());
        CHECK((fcntl(slave, F_GETFL) & O_NONBLOCK) == 0);
    };
    CHECK(run_on(1, talk, terminal, side));
    close(terminal);
    close(side);
}

TEST_CASE("child: standard streams in a simulation" * doctest::skip()) {
    (void)rn::testing::simulate(rn::testing::options(), []() -> rn::task<> {
        (void)rn::standard_input();
        co_return;
    });
}
TEST_CASE("standard streams: a simulation has none, and says so") {
    CHECK(support::aborts_saying("child: standard streams in a simulation", "a simulation has none"));
}
