// Children: /bin/sh and what it knows.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include <atomic>

#include <runnel/buffered_reader.hpp>
#include <runnel/process.hpp>
#include <runnel/select.hpp>
#include <runnel/testing.hpp>

#include "descriptors.hpp"
#include "loopback.hpp"
#include "support/child.hpp"
#include "support/level.hpp"

using namespace test;

namespace {

rn::command shell(std::string script) {
    rn::command made("/bin/sh");
    made.args("-c", std::move(script));
    return made;
}

/// What it writes, without the last end of line; or why there is nothing.
rn::task<std::string> said_by(rn::command what) {
    auto done = co_await rn::output(std::move(what));
    if (!done.ok()) co_return "failed: " + (done.error ? done.error.message() : rn::to_string(done.status));
    if (!done.out.empty() && done.out.back() == '\n') done.out.pop_back();
    co_return std::move(done.out);
}
std::string said(rn::command what) { return run_on(1, said_by, std::move(what)).value(); }
}

TEST_CASE("process: its input and output are pipes, and wait() says how it ended, each time") {
    const nothing_left after;
    const auto talk = []() -> rn::task<> {
        rn::command cat("cat");
        cat.input(rn::stdio::pipe()).output(rn::stdio::pipe());
        rn::process child = cat.start().value();
        CHECK_FALSE(child.error().is_open());
        CHECK(co_await child.input().write_all("one\ntwo\n"));
        rn::buffered_reader lines(child.output());
        const auto first = co_await lines.read_line();
        CHECK(*first == "one");
        child.input().close();
        const auto second = co_await lines.read_line();
        CHECK(*second == "two");
        const auto end = co_await lines.read_line();
        CHECK(end.error() == rn::errc::end_of_stream);
        for (int i = 0; i < 2; ++i) {
            const auto status = co_await child.wait();
            CHECK(status.value().ok());
        }
        CHECK(child.kill(SIGTERM).error() == std::errc::no_such_process);
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("process: the status tells what it returned, or what killed it") {
    const nothing_left after;
    const auto talk = []() -> rn::task<> {
        const auto three = co_await rn::run_process(shell("exit 3"));
        CHECK(three.value() == rn::exit_status(3, 0));
        CHECK(rn::to_string(*three) == "exited with 3");
        const auto killed = co_await rn::run_process(shell("kill -TERM $$"));
        CHECK(killed->signal() == SIGTERM);
        CHECK(killed->code() == 143);
        CHECK_FALSE(killed->exited());
        CHECK(rn::to_string(*killed) == "killed by SIGTERM");
    };
    CHECK(run_on(2, talk));
}

TEST_CASE("process: a program that is not there is an error of start(), with its name") {
    const nothing_left after;
    const auto talk = []() -> rn::task<> {
        const rn::command missing("no-such-program-anywhere");
        const auto failed = missing.start();
        CHECK(failed.error() == std::errc::no_such_file_or_directory);
        CHECK(missing.explain(failed.error()) ==
              "cannot start 'no-such-program-anywhere': No such file or directory");
        rn::command elsewhere("/bin/true");
        elsewhere.directory("/no/such/folder").input(rn::stdio::pipe());
        CHECK(elsewhere.start().error() == std::errc::no_such_file_or_directory);
        CHECK(
            elsewhere.explain(std::make_error_code(std::errc::no_such_file_or_directory)).find("/no/such") !=
            std::string::npos);
        rn::command no_program("/etc/passwd");
        CHECK(no_program.start().error() == std::errc::permission_denied);
        co_return;
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("process: arguments arrive as they are, and so do environment and directory") {
    const nothing_left after;
    CHECK(said(rn::command("printf").args("[%s]", "a b", "$HOME", "")) == "[a b][$HOME][]");
    setenv("RUNNEL_TEST_GIVEN", "given", 1);
    CHECK(said(shell("echo $RUNNEL_TEST_GIVEN")) == "given");
    CHECK(said(shell("echo $RUNNEL_TEST_GIVEN $MORE").set("MORE", "more")) == "given more");
    CHECK(said(shell("echo $RUNNEL_TEST_GIVEN").set("RUNNEL_TEST_GIVEN", "changed")) == "changed");
    CHECK(said(shell("echo ${RUNNEL_TEST_GIVEN-none}").unset("RUNNEL_TEST_GIVEN")) == "none");
    CHECK(said(rn::command("/usr/bin/env").clear_environment().set("ONLY", "this")) == "ONLY=this");
    unsetenv("RUNNEL_TEST_GIVEN");
    CHECK(said(shell("pwd").directory("/usr")) == "/usr");
}

TEST_CASE("process: a child has the descriptors that were named and no others") {
    const nothing_left after;
    const int leak = open("/dev/null", O_RDONLY);  // not marked to be closed on exec
    const int high = fcntl(leak, F_DUPFD, 200);
    CHECK(said(shell("cd /proc/self/fd; echo *")).find(std::to_string(high)) == std::string::npos);
    // The shell itself opens one more, for the folder: of what is left it is 3.
    CHECK(said(shell("ls /proc/self/fd | tr '\\n' ' '")) == "0 1 2 3 ");
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    CHECK(write(ends[1], "passed\n", 7) == 7);
    CHECK(said(shell("read text <&7; echo $text").descriptor(ends[0], 7)) == "passed");
    CHECK(fcntl(ends[0], F_GETFD) == FD_CLOEXEC);
    for (const int each : {leak, high, ends[0], ends[1]}) close(each);
}

TEST_CASE("process: streams can be crossed, merged, or nothing") {
    const nothing_left after;
    CHECK(said(shell("echo out; echo err >&2").error(rn::stdio::to_output())) == "out\nerr");
    CHECK(said(shell("cat; echo end").input(rn::stdio::null())) == "end");
    const auto both = []() -> rn::task<> {
        const auto done = co_await rn::output(shell("echo out; echo err >&2; exit 4"));
        CHECK(done.out == "out\n");
        CHECK(done.err == "err\n");
        CHECK(done.status == rn::exit_status(4, 0));
        CHECK_FALSE(done.ok());
        int ends[2];
        CHECK(pipe2(ends, O_CLOEXEC) == 0);
        rn::pipe_reader reader = rn::pipe_reader::own(ends[0]);
        rn::command speaks = shell("echo to a descriptor >&2");
        speaks.output(rn::stdio::null()).error(rn::stdio::from(ends[1]));
        const auto end = co_await rn::run_process(speaks);
        CHECK(end.value().ok());
        close(ends[1]);
        rn::buffered_reader lines(reader);
        const auto line = co_await lines.read_line();
        CHECK(*line == "to a descriptor");
    };
    CHECK(run_on(1, both));
}

TEST_CASE("process: a child has no signal blocked and none ignored") {
    const nothing_left after;
    struct sigaction before{}, ignore{};
    ignore.sa_handler = SIG_IGN;
    sigaction(SIGUSR1, &ignore, &before);
    const std::string mask = said(shell("grep -E 'Sig(Blk|Ign)' /proc/self/status"));
    sigaction(SIGUSR1, &before, nullptr);
    const std::size_t ignored = mask.find("SigIgn:");
    REQUIRE(ignored != mask.npos);
    CHECK(mask.substr(0, ignored) == "SigBlk:\t0000000000000000\n");
    constexpr unsigned long long of_the_c_library = 0x1'8000'0000;  // 32 and 33, which posix_spawn() ignores
    CHECK((std::stoull(mask.substr(ignored + 7), nullptr, 16) & ~of_the_c_library) == 0);
}

TEST_CASE("process: cancelling wait() ends the wait and not the child") {
    const nothing_left after;
    const auto talk = []() -> rn::task<> {
        rn::command cat("cat");
        cat.input(rn::stdio::pipe()).output(rn::stdio::null());
        rn::process child = cat.start().value();
        const auto late = co_await rn::with_timeout(2ms, child.wait());
        CHECK(late.error() == rn::errc::timed_out);
        child.input().close();
        const auto end = co_await child.wait();
        CHECK(end.value().ok());
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("process: its end is a select case, of as many tasks as wait for it") {
    const nothing_left after;
    const auto ends = [](rn::process& child, std::atomic<int>& seen) -> rn::task<> {
        auto won = co_await rn::select(rn::sleep_for(1h), child.wait());
        CHECK(won.index() == 1);
        CHECK(won.get<1>().value().code() == 3);
        ++seen;
    };
    const auto talk = [&]() -> rn::task<> {
        rn::command reads = shell("read line; exit 3");
        reads.input(rn::stdio::pipe());
        rn::process child = reads.start().value();
        auto late = co_await rn::select(child.wait(), rn::sleep_for(1ms));
        CHECK(late.index() == 1);
        std::atomic<int> seen{0};
        rn::task_set waiting;
        for (int i = 0; i < 3; ++i) waiting.spawn(ends, rn::borrow(child), rn::borrow(seen));
        CHECK(co_await rn::sleep_for(1ms));  // mostly they wait by then; it must not matter
        child.input().close();
        const auto end = co_await child.wait();
        CHECK(end.value().code() == 3);
        CHECK(co_await waiting.join());
        CHECK(seen == 3);
        auto known = rn::try_select(child.wait());
        REQUIRE(known);
        CHECK(known.get<0>().value().code() == 3);
    };
    CHECK(run_on(1, talk));
    CHECK(run_on(2, talk));
}

TEST_CASE("process: one that a select has waited for may be dropped or detached while it runs") {
    const nothing_left after;
    const auto talk = []() -> rn::task<> {
        for (const bool detached : {false, true}) {
            rn::command reads = shell("read line");
            reads.input(rn::stdio::pipe());
            rn::process child = reads.start().value();
            auto late = co_await rn::select(child.wait(), rn::sleep_for(1ms));
            CHECK(late.index() == 1);
            if (detached) std::move(child).detach();  // its input is closed, so it ends
        }
    };
    CHECK(run_on(1, talk));
    CHECK(run_on(2, talk));
}

TEST_CASE("process: terminate() asks, and kills what does not listen") {
    const nothing_left after;
    const auto talk = []() -> rn::task<> {
        rn::command polite = shell("trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.01; done");
        polite.output(rn::stdio::pipe());
        rn::process listens = polite.start().value();
        rn::buffered_reader lines(listens.output());
        (void)co_await lines.read_line();
        const auto end = co_await listens.terminate();
        CHECK(end.value() == rn::exit_status(5, 0));

        rn::command deaf = shell("trap '' TERM; echo up; while :; do sleep 0.01; done");
        deaf.output(rn::stdio::pipe()).own_group();
        rn::process does_not = deaf.start().value();
        rn::buffered_reader up(does_not.output());
        (void)co_await up.read_line();
        const auto killed = co_await does_not.terminate(5ms);
        CHECK(killed->signal() == SIGKILL);
        CHECK(does_not.kill(SIGTERM).error() == std::errc::no_such_process);
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("process: of an own group all are reached") {
    const nothing_left after;
    const auto talk = []() -> rn::task<> {
        rn::command family = shell("sleep 1000 & echo $!; wait");
        family.output(rn::stdio::pipe()).own_group();
        rn::process child = family.start().value();
        rn::buffered_reader lines(child.output());
        const auto line = co_await lines.read_line();
        const int grandchild = std::stoi(std::string(*line));
        CHECK(getpgid(grandchild) == child.pid());
        const auto end = co_await child.terminate();
        CHECK(end->signal() == SIGTERM);
        const auto closed = co_await lines.read_line();  // the grandchild had the pipe, too
        CHECK(closed.error() == rn::errc::end_of_stream);
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("process: who drops one that runs kills it, and no zombie is left") {
    const nothing_left after;
    const auto talk = []() -> rn::task<> {
        rn::process child = rn::command("sleep").arg("1000").start().value();
        rn::process other = rn::command("sleep").arg("1000").start().value();
        child = std::move(other);
        co_return;
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("process: a detached one runs on and is reaped when it ends") {
    const nothing_left after;
    const auto talk = []() -> rn::task<> {
        auto [reader, writer] = rn::make_pipe().value();
        rn::command late = shell("read go; echo done");
        late.input(rn::stdio::pipe()).output(rn::stdio::from(writer.native_handle()));
        rn::process child = late.start().value();
        writer.close();
        const int number = child.pid();
        CHECK(kill(number, 0) == 0);
        std::move(child).detach();  // its input is closed, so it goes on
        rn::buffered_reader lines(reader);
        const auto line = co_await lines.read_line();
        CHECK(*line == "done");
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("process: many at once, waited for, dropped and detached") {
    const nothing_left after;
    const auto one = [](int number) -> rn::task<> {
        rn::process child = shell("exit " + std::to_string(number % 100)).start().value();
        if (number % 3 == 0) {
            const auto end = co_await child.wait();
            CHECK(end.value().code() == number % 100);
        } else if (number % 3 == 1) {
            std::move(child).detach();
        }
    };
    const auto storm = [one](int count) -> rn::task<> {
        rn::task_set all;
        for (int i = 0; i < count; ++i) all.spawn(one, i);
        CHECK(co_await all.join());
    };
    CHECK(run_on(2, storm, support::scaled(30, 500)));
}

TEST_CASE("process: somebody else who reaps all children ends wait() with no_child_process") {
    const nothing_left after;
    const auto talk = []() -> rn::task<> {
        rn::process child = rn::command("/bin/true").start().value();
        CHECK(waitpid(-1, nullptr, 0) == child.pid());
        const auto end = co_await child.wait();
        CHECK(end.error() == std::errc::no_child_process);
        CHECK(child.kill(SIGTERM).error() == std::errc::no_such_process);
        struct sigaction before{}, ignore{};
        ignore.sa_handler = SIG_IGN;
        sigaction(SIGCHLD, &ignore, &before);
        rn::process unseen = rn::command("sleep").arg("0.01").start().value();
        const auto lost = co_await unseen.wait();
        CHECK(lost.error() == std::errc::no_child_process);
        sigaction(SIGCHLD, &before, nullptr);
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("output: feeds and collects far more than a pipe holds, and both ways at once") {
    const nothing_left after;
    const auto talk = []() -> rn::task<> {
        const std::string text = pattern(std::size_t{1} << 20);
        const auto done = co_await rn::output(rn::command("cat"), rn::output_options().input(text));
        CHECK(done.ok());
        CHECK((done.out == text));
        const auto deaf = co_await rn::output(rn::command("/bin/true"), rn::output_options().input(text));
        CHECK(deaf.ok());  // that it does not read is no failure
    };
    CHECK(run_on(2, talk));
}

TEST_CASE("output: more than the limit ends the child; what was collected is there") {
    const nothing_left after;
    const auto talk = []() -> rn::task<> {
        const auto done =
            co_await rn::output(shell("while :; do echo 0123456789; done"), rn::output_options().limit(1000));
        CHECK(done.error == std::errc::message_size);
        CHECK(done.out.size() == 1000);
        CHECK(done.status.signal() != 0);
        const auto exactly = co_await rn::output(shell("printf 0123456789"), rn::output_options().limit(10));
        CHECK(exactly.ok());
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("output: a time limit ends the child; what was collected is there") {
    const nothing_left after;
    const auto talk = []() -> rn::task<> {
        const auto done = co_await rn::with_timeout(50ms, rn::output(shell("echo begun; exec sleep 1000")));
        CHECK(done.error == rn::errc::timed_out);
        CHECK(done.status.signal() == SIGTERM);
        const auto late = co_await rn::with_timeout(5ms, rn::run_process(rn::command("sleep").arg("1000")));
        CHECK(late.error() == rn::errc::timed_out);
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("run_process: under a cancelled context nothing is started; cancelled later the child is ended") {
    const nothing_left after;
    const auto talk = []() -> rn::task<> {
        auto [ctx, cancel] = rn::with_cancel(rn::current_context());
        const auto sleeps = []() -> rn::task<std::error_code> {
            const auto end = co_await rn::run_process(rn::command("sleep").arg("1000"));
            co_return end.error();
        };
        auto runs = rn::go(
            [](rn::context under, auto what) -> rn::task<std::error_code> {
                co_return co_await rn::with_context(under, what());
            },
            ctx, sleeps);
        while (!has_children()) CHECK(co_await rn::sleep_for(1ms));
        cancel();
        const auto why = co_await runs;
        CHECK(why.value() == rn::errc::cancelled);
        const auto refused = co_await rn::with_context(ctx, sleeps());
        CHECK(refused == rn::errc::cancelled);
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("child: a process in a simulation" * doctest::skip()) {
    (void)rn::testing::simulate(rn::testing::options(), []() -> rn::task<> {
        (void)rn::command("/bin/true").start();
        co_return;
    });
}
TEST_CASE("process: a simulation has none, and says so") {
    CHECK(support::aborts_saying("child: a process in a simulation", "a simulation has no processes"));
}
