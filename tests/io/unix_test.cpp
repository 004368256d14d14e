// What a user of Unix stream sockets sees: names and files, connecting, who is there, ending.
#include <sys/prctl.h>
#include <sys/resource.h>

#include <csignal>
#include <cstdio>
#include <fstream>

#include "scripted_io.hpp"
#include "support/child.hpp"
#include "unix_loopback.hpp"

using namespace test;

namespace {

rn::task<> echo_one(rn::unix_listener& listener) {
    rn::unix_stream peer = (co_await listener.accept()).value();
    while (auto chunk = co_await peer.recv())
        if (!co_await peer.write_all(*chunk)) co_return;
}

rn::task<std::string> echoed(std::string where, std::string question) {
    rn::unix_listener listener = rn::unix_listener::bind(where).value();
    auto server = rn::go(echo_one, rn::borrow(listener));
    rn::unix_stream stream = (co_await rn::unix_stream::connect(where)).value();
    CHECK(co_await stream.write_all(question));
    CHECK(stream.shutdown_write());
    std::string answer = co_await read_to_end(stream);
    CHECK(co_await server);
    co_return answer;
}

std::string own_name(const char* what) {
    return "@runnel test " + std::string(what) + std::to_string(getpid());
}

rn::task<std::error_code> why_connect_fails(std::string to) {
    co_return (co_await rn::unix_stream::connect(to)).error();
}

std::error_code connect_error(const std::string& to) { return run_on(1, why_connect_fails, to).value(); }

rn::task<rn::result<>> why_accept_ends(rn::unix_listener& listener) {
    co_return (co_await listener.accept()).error();
}
}

// --- Talking ---------------------------------------------------------------------------------------

TEST_CASE("unix: an echo at a path gives back what was written") {
    const folder mine;
    CHECK(run_on(2, echoed, mine / "echo", "hello").value() == "hello");
}

TEST_CASE("unix: an echo at an abstract name gives back what was written and leaves no file") {
    CHECK(run_on(2, echoed, own_name("echo"), "hello").value() == "hello");
    CHECK_FALSE(exists(own_name("echo")));
}

TEST_CASE("unix: a message far larger than the buffers arrives whole") {
    const auto talk = []() -> rn::task<> {
        unix_pair ends = rn::unix_stream::pair().value();
        const std::string large = pattern(std::size_t{2} << 20);
        auto reader = rn::go(read_to_end<rn::unix_stream>, rn::borrow(ends.second));
        const rn::transfer sent = co_await ends.first.write_all(large);
        CHECK(sent.bytes == large.size());
        CHECK(ends.first.shutdown_write());
        const auto heard = co_await reader;
        CHECK((heard.value() == large));
    };
    CHECK(run_on(2, talk));
}

TEST_CASE("unix: a pair is connected and its ends are unnamed") {
    const auto talk = []() -> rn::task<> {
        unix_pair ends = rn::unix_stream::pair().value();
        CHECK(ends.first.local_address()->is_unnamed());
        CHECK(ends.first.peer_address()->is_unnamed());
        CHECK(co_await ends.first.write_all("there"));
        CHECK(co_await ends.second.write_all("back"));
        ends.first.shutdown_write();
        ends.second.shutdown_write();
        CHECK(co_await read_to_end(ends.first) == "back");
        CHECK(co_await read_to_end(ends.second) == "there");
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("unix: both ends know where they met") {
    const folder mine;
    const auto compare = [](std::string where) -> rn::task<> {
        rn::unix_listener listener = rn::unix_listener::bind(where).value();
        unix_pair ends = co_await connected_pair(listener);
        CHECK(to_string(listener.local_address()) == where);
        CHECK(to_string(ends.first.peer_address().value()) == where);
        CHECK(to_string(ends.second.local_address().value()) == where);
        CHECK(ends.second.peer_address()->is_unnamed());
    };
    CHECK(run_on(1, compare, mine / "here"));
    CHECK(run_on(1, compare, own_name("here")));
}

TEST_CASE("unix: the peer's credentials are those of its process") {
    const auto ask = []() -> rn::task<> {
        rn::unix_listener listener = rn::unix_listener::bind(own_name("who")).value();
        unix_pair ends = co_await connected_pair(listener);
        for (rn::unix_stream* each : {&ends.first, &ends.second}) {
            const auto peer = each->peer_credentials();
            CHECK(peer->pid == getpid());
            CHECK(peer->uid == geteuid());
            CHECK(peer->gid == getegid());
        }
        ends.first.close();
        CHECK(ends.first.peer_credentials().error() == rn::errc::closed);
    };
    CHECK(run_on(1, ask));
}

// --- Names and files -------------------------------------------------------------------------------

TEST_CASE("unix: bind and connect say that a path is too long") {
    const std::string longer(108, 'x');
    CHECK(rn::unix_listener::bind(longer).error() == std::errc::filename_too_long);
    CHECK(connect_error(longer) == std::errc::filename_too_long);
}

TEST_CASE("unix: bound to no name a listener gets one from the system") {
    const auto listener = rn::unix_listener::bind("").value();
    CHECK(listener.local_address().is_abstract());
    CHECK_FALSE(connect_error(to_string(listener.local_address())));
}

TEST_CASE("unix: connect says whether nothing is there or nobody listens any more") {
    const folder mine;
    const std::string where = mine / "left";
    CHECK(connect_error(where) == std::errc::no_such_file_or_directory);
    rn::unix_listener::bind(where, rn::unix_options().keep_file(true)).value().close();
    CHECK(exists(where));
    CHECK(connect_error(where) == std::errc::connection_refused);
    CHECK(connect_error(own_name("nobody")) == std::errc::connection_refused);
    CHECK(connect_error("") == std::errc::invalid_argument);
}

TEST_CASE("unix: a listener's file goes with it") {
    const folder mine;
    const std::string where = mine / "x";
    {
        auto listener = rn::unix_listener::bind(where).value();
        CHECK(exists(where));
        auto moved = std::move(listener);
        CHECK(exists(where));
        moved.close();
        CHECK_FALSE(exists(where));
        CHECK(rn::unix_listener::bind(where));  // a temporary
        CHECK_FALSE(exists(where));
        listener = rn::unix_listener::bind(where).value();
        listener = rn::unix_listener::bind(mine / "y").value();
        CHECK_FALSE(exists(where));
        CHECK(exists(mine / "y"));
    }
    CHECK_FALSE(exists(mine / "y"));
}

TEST_CASE("unix: a file that has replaced the listener's stays") {
    const folder mine;
    const std::string where = mine / "x";
    auto first = rn::unix_listener::bind(where).value();
    std::filesystem::rename(where, mine / "old");
    auto second = rn::unix_listener::bind(where).value();
    first.close();
    CHECK(exists(where));
    CHECK_FALSE(connect_error(where));
}

TEST_CASE("unix: a name that is taken is taken, whether somebody listens or not") {
    const folder mine;
    const std::string where = mine / "x";
    const auto alive = rn::unix_listener::bind(where, rn::unix_options().keep_file(true));
    CHECK(rn::unix_listener::bind(where).error() == std::errc::address_in_use);
    CHECK(exists(where));
    rn::unix_listener::bind(mine / "left", rn::unix_options().keep_file(true)).value().close();
    CHECK(rn::unix_listener::bind(mine / "left").error() == std::errc::address_in_use);
    const auto name = rn::unix_listener::bind(own_name("taken"));
    CHECK(rn::unix_listener::bind(own_name("taken")).error() == std::errc::address_in_use);
}

TEST_CASE("unix: replace_stale takes over what a program has left behind") {
    const folder mine;
    const std::string where = mine / "left";
    rn::unix_listener::bind(where, rn::unix_options().keep_file(true)).value().close();
    const auto listener = rn::unix_listener::bind(where, rn::unix_options().replace_stale(true)).value();
    CHECK_FALSE(connect_error(where));
}

TEST_CASE("unix: replace_stale leaves a living listener alone, which notices nothing") {
    const folder mine;
    const std::string where = mine / "x";
    auto alive = rn::unix_listener::bind(where).value();
    const auto again = [&] {
        return rn::unix_listener::bind(where, rn::unix_options().replace_stale(true)).error();
    };
    CHECK(again() == std::errc::address_in_use);
    const auto nobody = [](rn::unix_listener& listener) -> rn::task<> {
        CHECK((co_await rn::with_timeout(5ms, listener.accept())).error() == rn::errc::timed_out);
    };
    CHECK(run_on(1, nobody, rn::borrow(alive)));
    CHECK_FALSE(connect_error(where));
}

TEST_CASE("unix: replace_stale leaves what is no socket alone") {
    const folder mine;
    const std::string where = mine / "notes";
    std::ofstream(where) << "mine";
    CHECK(rn::unix_listener::bind(where, rn::unix_options().replace_stale(true)).error() ==
          std::errc::address_in_use);
    CHECK(std::filesystem::file_size(where) == 4);
    std::filesystem::create_symlink("nowhere", mine / "link");
    CHECK(rn::unix_listener::bind(mine / "link", rn::unix_options().replace_stale(true)).error() ==
          std::errc::address_in_use);
    CHECK(exists(mine / "link"));
}

TEST_CASE("unix: the file has the mode that was asked for, or the umask's") {
    const folder mine;
    const auto asked = rn::unix_listener::bind(mine / "a", rn::unix_options().mode(0612));
    CHECK(mode_of(mine / "a") == 0612U);
    const mode_t before = umask(027);
    const auto masked = rn::unix_listener::bind(mine / "b");
    umask(before);
    CHECK(mode_of(mine / "b") == 0750U);
}

TEST_CASE("unix: a folder that is not there is an error") {
    const folder mine;
    CHECK(rn::unix_listener::bind(mine / "no/x").error() == std::errc::no_such_file_or_directory);
}

TEST_CASE("child: one who may not connect" * doctest::skip()) {
    const char* where = std::getenv("RUNNEL_TEST_SOCKET");
    constexpr uid_t nobody = 65534;
    REQUIRE(seteuid(nobody) == 0);
    CHECK(connect_error(where) == std::errc::permission_denied);
    CHECK(rn::unix_listener::bind(where, rn::unix_options().replace_stale(true)).error() ==
          std::errc::address_in_use);
    REQUIRE(seteuid(0) == 0);  // a sanitizer looks at the process when it ends
    prctl(PR_SET_DUMPABLE, 1);
}

TEST_CASE("unix: who may not write to the file may neither connect nor replace it") {
    if (geteuid() != 0) {
        MESSAGE("skipped: only root can become somebody who may not");
        return;
    }
    const folder mine;
    std::filesystem::permissions(mine.path(), std::filesystem::perms::all);
    const std::string where = mine / "x";
    const auto listener = rn::unix_listener::bind(where, rn::unix_options().mode(0600)).value();
    const support::child_end end =
        support::child("child: one who may not connect", "RUNNEL_TEST_SOCKET=" + where).wait();
    CHECK_MESSAGE(end.exited(0), end.printed);
    CHECK(exists(where));
}

// --- Waiting and ending ------------------------------------------------------------------------------

TEST_CASE("unix: a connect waits while the listener has no room and goes on when there is some") {
    const auto crowd = []() -> rn::task<> {
        rn::unix_listener listener =
            rn::unix_listener::bind(own_name("crowd"), rn::unix_options().backlog(0)).value();
        const auto first = co_await rn::unix_stream::connect(listener.local_address());
        CHECK(first);
        auto second = rn::go([](rn::unix_address to) { return rn::unix_stream::connect(to); },
                             listener.local_address());
        const auto meanwhile = co_await rn::with_timeout(20ms, second.join());
        CHECK(meanwhile.error() == rn::errc::timed_out);
        CHECK(co_await listener.accept());
        const auto connected = co_await second;
        CHECK(connected);
        CHECK(co_await listener.accept());
    };
    CHECK(run_on(1, crowd));
}

TEST_CASE("unix: a connect that waits for room can be given a deadline") {
    const auto late = []() -> rn::task<> {
        rn::unix_listener listener =
            rn::unix_listener::bind(own_name("late"), rn::unix_options().backlog(0)).value();
        const auto first = co_await rn::unix_stream::connect(listener.local_address());
        const auto before = open_descriptors();
        const auto second =
            co_await rn::with_timeout(20ms, rn::unix_stream::connect(listener.local_address()));
        CHECK(second.error() == rn::errc::timed_out);
        CHECK(open_descriptors() == before);
    };
    CHECK(run_on(1, late));
}

TEST_CASE("unix: a cancelled connect does nothing") {
    const auto cancelled = []() -> rn::task<> {
        rn::unix_listener listener = rn::unix_listener::bind(own_name("cancelled")).value();
        auto [context, cancel] = rn::with_cancel(rn::current_context());
        cancel();
        const auto tried =
            co_await rn::with_context(context, rn::unix_stream::connect(listener.local_address()));
        CHECK(tried.error() == rn::errc::cancelled);
        const auto nobody = co_await rn::with_timeout(1ms, listener.accept());
        CHECK(nobody.error() == rn::errc::timed_out);
    };
    CHECK(run_on(1, cancelled));
}

namespace {
rn::task<rn::result<>> why_writing_ends(rn::unix_stream& stream) {
    for (;;)
        if (const rn::transfer sent = co_await stream.write_all(pattern(65536)); !sent) co_return sent.error;
}

rn::task<rn::result<>> why_recv_ends(rn::unix_stream& stream) { co_return (co_await stream.recv()).error(); }
}

TEST_CASE("unix: close ends what waits at the socket with errc::closed") {
    const auto close_all = []() -> rn::task<> {
        rn::unix_listener listener = rn::unix_listener::bind(own_name("close")).value();
        unix_pair ends = co_await connected_pair(listener);
        auto reader = rn::go(why_recv_ends, rn::borrow(ends.first));
        auto writer = rn::go(why_writing_ends, rn::borrow(ends.first));
        auto server = rn::go(why_accept_ends, rn::borrow(listener));
        CHECK(co_await rn::sleep_for(5ms));  // mostly all three are in the kernel by then; it must not matter
        ends.first.close();
        listener.close();
        CHECK((co_await reader).error() == rn::errc::closed);
        CHECK((co_await writer).error() == rn::errc::closed);
        CHECK((co_await server).error() == rn::errc::closed);
        CHECK((co_await ends.first.recv()).error() == rn::errc::closed);
        CHECK((co_await ends.first.write_all("x")).error == rn::errc::closed);
        CHECK(ends.first.shutdown_write().error() == rn::errc::closed);
        CHECK_FALSE(listener.is_open());
    };
    CHECK(run_on(2, close_all));
}

TEST_CASE("unix: writing to a peer that is gone is an error and no signal") {
    const auto write = []() -> rn::task<> {
        unix_pair ends = rn::unix_stream::pair().value();
        ends.second.close();
        CHECK((co_await ends.first.write_all("x")).error == std::errc::broken_pipe);
        CHECK((co_await ends.first.recv()).error() == rn::errc::end_of_stream);
    };
    CHECK(run_on(1, write));
}

// --- Accepting without descriptors: the loop is that of TCP (accept_test.cpp) ----------------------------

TEST_CASE("unix: accept pauses while there are no descriptors and goes on when there are some") {
    const auto attempts = []() -> rn::task<> {
        rn::unix_listener listener = rn::unix_listener::bind(own_name("dry")).value();
        script().refuse_accepts = EMFILE;
        auto server = rn::go(why_accept_ends, rn::borrow(listener));
        CHECK(co_await rn::sleep_for(1s));
        CHECK(script().accepts == 15);  // twice at 0, at 5, 15, 35, 75, 155, 255, … 955 ms
        CHECK(listener.accept_pauses() == 14);
        script().refuse_accepts = 0;
        const auto client = co_await rn::unix_stream::connect(listener.local_address());
        CHECK(client);
        const auto accepted = co_await server;
        CHECK(accepted);
    };
    CHECK(run_scripted(attempts));
}

namespace {
rn::task<> run_dry() {
    rn::unix_listener listener = rn::unix_listener::bind(own_name("really dry")).value();
    const auto client = (co_await rn::unix_stream::connect(listener.local_address())).value();
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    const rlim_t before = std::exchange(limit.rlim_cur, static_cast<rlim_t>(client.native_handle()));
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    auto server = rn::go(why_accept_ends, rn::borrow(listener));
    while (listener.accept_pauses() < 2) CHECK(co_await rn::sleep_for(1ms));
    limit.rlim_cur = before;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    const auto accepted = co_await server;
    CHECK(accepted);
}
}

TEST_CASE("child: accepts at a name without descriptors" * doctest::skip()) { CHECK(run_on(1, run_dry)); }

TEST_CASE("unix: accept without descriptors says at which name it pauses") {
    const support::child_end end = support::child("child: accepts at a name without descriptors").wait();
    CHECK_MESSAGE(end.exited(0), end.printed);
    CHECK(end.times("runnel: accept at @runnel test really dry") == 1);
}
