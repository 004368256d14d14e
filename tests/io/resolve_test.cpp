// Names: digits, the system's answers, name servers that do not answer, and a simulation's table.
#include "runnel/resolve.hpp"

#include <runnel/testing.hpp>
#include <runnel/testing_network.hpp>

#include <algorithm>
#include <atomic>
#include <thread>

#include "io/name_lookup.hpp"
#include "loopback.hpp"

namespace testing = runnel::testing;
using namespace test;
using rn::detail::addresses;
using rn::detail::name_lookups;
using rn::detail::name_query;

namespace {

rn::result<addresses> must_not_be_asked(const name_query&) {
    FAIL("a lookup of what needs none");
    return addresses();
}

/// A name server that is silent until the test lets it answer.
struct silent_server {
    static inline std::atomic<bool> answers = false;
    static inline std::atomic<int> asked = 0, asking = 0, most = 0;

    static void begin() { answers = false, asked = 0, asking = 0, most = 0; }
    static void let_answer() {
        answers = true;
        answers.notify_all();
    }
    static rn::result<addresses> ask(const name_query&) {
        ++asked;
        most = std::max(most.load(), ++asking);
        answers.wait(false);
        --asking;
        return addresses(1, rn::address::loopback_ipv4(80));
    }
};

rn::task<rn::result<addresses>> ask_within(std::chrono::milliseconds limit, name_lookups& whom,
                                           std::string name) {
    auto lookup = whom.resolve(name_query(name, "80"));
    co_return co_await rn::with_timeout(limit, std::move(lookup));
}

std::error_code error_of(std::string text) {
    return run_on(
               1,
               [](std::string what) -> rn::task<std::error_code> {
                   co_return (co_await rn::resolve(what)).error();
               },
               text)
        .value();
}

testing::options plainly() { return testing::options().seed(1); }
}

TEST_CASE("resolve: an address in digits is its own answer and nobody is asked") {
    const auto digits = []() -> rn::task<> {
        name_lookups nobody(must_not_be_asked, 1);
        const auto four = co_await nobody.resolve(name_query("192.0.2.1", "443"));
        CHECK(to_string(four.value().at(0)) == "192.0.2.1:443");
        const auto six = co_await nobody.resolve(name_query("2001:db8::1", "443"));
        CHECK(to_string(six.value().at(0)) == "[2001:db8::1]:443");
        const auto whole = co_await rn::resolve("[::1]:80");
        CHECK(whole.value() == addresses(1, rn::address::loopback_ipv6(80)));
    };
    run_on(1, digits);
}

TEST_CASE("resolve: the system knows localhost") {
    const auto look = []() -> rn::task<> {
        const auto found = co_await rn::resolve("localhost", 8080);
        REQUIRE(found);
        const auto is_loopback = [](const rn::address& a) {
            return a == rn::address::loopback_ipv4(8080) || a == rn::address::loopback_ipv6(8080);
        };
        CHECK(std::all_of(found->begin(), found->end(), is_loopback));
    };
    run_on(2, look);
}

TEST_CASE("resolve: a name that does not exist is an error that says so in words") {
    const std::error_code why = error_of("no-such-host.invalid:80");
    CHECK(why.category() == rn::resolve_category());  // without a network no server answers: another of these
    CHECK(!why.message().empty());
    CHECK(make_error_code(rn::resolve_errc::not_found).message() == "there is no such host name");
}

TEST_CASE("resolve: what can be no name and port is refused before anybody is asked") {
    CHECK(error_of("localhost") == std::errc::invalid_argument);
    CHECK(error_of("::1:80") == std::errc::invalid_argument);
    CHECK(error_of(":80") == rn::resolve_errc::invalid_name);
    CHECK(error_of("localhost:65536") == rn::resolve_errc::unknown_service);
    CHECK(error_of("localhost:") == rn::resolve_errc::unknown_service);
    CHECK(error_of(std::string("local\0host:80", 13)) == rn::resolve_errc::invalid_name);
    CHECK(error_of(std::string(2000, 'a') + ":80") == rn::resolve_errc::invalid_name);
}

TEST_CASE(
    "resolve: a name server that never answers holds up nobody who has a limit and only so many threads") {
    silent_server::begin();
    name_lookups two_at_once(silent_server::ask, 2);
    {
        rn::runtime runtime(rn::options().workers(2));
        const auto story = [](name_lookups& whom) -> rn::task<> {
            rn::task_set asking;
            const auto gives_up = [](name_lookups& of) -> rn::task<> {
                const auto answer = co_await ask_within(200ms, of, "a.test");
                CHECK(answer.error() == rn::errc::timed_out);
            };
            for (int i = 0; i < 10; ++i) asking.spawn(gives_up, rn::borrow(whom));
            co_await asking.join();
            CHECK(silent_server::asked == 2);  // the others have waited in line
            const auto late = co_await ask_within(20ms, whom, "b.test");
            CHECK(late.error() == rn::errc::timed_out);  // the two still run
            silent_server::let_answer();
            const auto found = co_await ask_within(10s, whom, "c.test");
            CHECK(found.value().size() == 1);
        };
        CHECK(runtime.spawn(story, rn::borrow(two_at_once)).wait());
    }
    CHECK(silent_server::most == 2);
    CHECK(silent_server::asked == 3);
}

TEST_CASE("resolve: a lookup that nobody waits for any more is left behind by its runtime") {
    silent_server::begin();
    name_lookups one(silent_server::ask, 1);
    {
        rn::runtime runtime(rn::options().workers(1));
        const auto gives_up = [](name_lookups& of) -> rn::task<> {
            const auto answer = co_await ask_within(5ms, of, "a.test");
            CHECK(answer.error() == rn::errc::timed_out);
        };
        CHECK(runtime.spawn(gives_up, rn::borrow(one)).wait());
        silent_server::let_answer();
    }
    while (silent_server::asking != 0) std::this_thread::yield();
    // Its place came back: it belongs to the lookup, not to the runtime that is gone.
    const auto again = [](name_lookups& of) -> rn::task<> {
        const auto answer = co_await ask_within(10s, of, "a.test");
        CHECK(answer.has_value());
    };
    rn::runtime other(rn::options().workers(1));
    CHECK(other.spawn(again, rn::borrow(one)).wait());
}

TEST_CASE("resolve: a simulation answers from the table that the test has filled") {
    const auto story = []() -> rn::task<> {
        testing::set_name("db.test", {rn::address::parse("10.0.0.1:0").value()}, 40ms);
        const auto start = rn::clock::now();
        const auto found = co_await rn::resolve("DB.test:https");
        testing::expect(found && to_string(found->at(0)) == "10.0.0.1:443",
                        "the address with the port asked for");
        testing::expect(rn::clock::now() - start == 40ms, "after the delay");
        const auto local = co_await rn::resolve("localhost:80");
        testing::expect(local && local->size() == 2, "localhost is there by itself");
        const auto other = co_await rn::resolve("example.org:80");
        testing::expect(other.error() == rn::resolve_errc::not_found, "the system is not asked");
        testing::forget_name("db.test");
        const auto gone = co_await rn::resolve("db.test:80");
        testing::expect(gone.error() == rn::resolve_errc::not_found, "forgotten");
    };
    const auto run = testing::simulate(plainly(), story);
    CHECK_MESSAGE(run.ok(), run.what());
}

TEST_CASE("resolve: in a simulation a name server can be silent and the limit comes in virtual time") {
    const auto story = []() -> rn::task<> {
        testing::set_name_error("slow.test", make_error_code(rn::resolve_errc::temporary_failure), 10s);
        auto impatient = rn::resolve("slow.test:80");
        const auto limited = co_await rn::with_timeout(1s, std::move(impatient));
        testing::expect(limited.error() == rn::errc::timed_out, "timed out");
        const auto patient = co_await rn::resolve("slow.test:80");
        testing::expect(patient.error() == rn::resolve_errc::temporary_failure, "said to try again");
    };
    const auto run = testing::simulate(plainly(), story);
    CHECK_MESSAGE(run.ok(), run.what());
    CHECK(run.time() == 11s);
}
