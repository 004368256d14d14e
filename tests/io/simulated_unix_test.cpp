// Unix sockets in a simulation: what Linux does, they do; the same stories run on both.
#include <runnel/testing.hpp>

#include <string>

#include "support/level.hpp"
#include "unix_loopback.hpp"

namespace rn = runnel;
namespace testing = runnel::testing;
using namespace std::chrono_literals;
using test::unix_pair;

namespace {

testing::options on(const testing::network& how) { return testing::options().network(how); }

/// What happens, in words: the same on the system's sockets and on simulated ones. `where` is a name to bind.
template <class F>
void check_as_on_linux(F story, const char* expected) {
    {
        const test::folder mine;
        std::string real;
        test::run_on(1, [&]() -> rn::task<> { real = co_await story(mine / "x"); });
        CHECK(real == expected);
    }
    const auto main = [&]() -> rn::task<> {
        const std::string simulated = co_await story("/tmp/in no file system/x");
        testing::expect(simulated == expected, simulated.c_str());
    };
    const auto all = testing::explore(on(testing::network().short_transfers(false)), 50, main);
    CHECK_MESSAGE(all.ok(), all.what());
}

std::string word(std::error_code error) {
    if (!error) return "ok ";
    if (error == rn::errc::end_of_stream) return "end ";
    if (error == rn::errc::closed) return "closed ";
    if (error == rn::errc::timed_out) return "late ";
    if (error == std::errc::connection_reset) return "reset ";
    if (error == std::errc::broken_pipe) return "pipe ";
    if (error == std::errc::connection_refused) return "refused ";
    if (error == std::errc::no_such_file_or_directory) return "nothing ";
    if (error == std::errc::address_in_use) return "taken ";
    if (error == std::errc::invalid_argument) return "invalid ";
    return error.message() + " ";
}

rn::task<std::string> reads(rn::unix_stream& from) {
    auto chunk = co_await from.recv();
    co_return chunk ? std::string(chunk->text()) + " " : word(chunk.error());
}
rn::task<std::string> writes(rn::unix_stream& to, std::string_view text) {
    const auto sent = co_await to.write_all(text);
    co_return word(sent.error);
}
rn::task<std::string> connects(std::string where) {
    const auto tried = co_await rn::unix_stream::connect(where);
    co_return word(tried.error());
}
std::string binds(const std::string& where, const rn::unix_options& how = {}) {
    return word(rn::unix_listener::bind(where, how).error());
}

rn::task<unix_pair> pair_at(std::string where) {
    auto listener = rn::unix_listener::bind(where).value();
    co_return co_await test::connected_pair(listener);
}

// --- Stories ---------------------------------------------------------------------------------------

rn::task<std::string> one_closes(std::string where) {
    auto [near, far] = co_await pair_at(where);
    std::string told = co_await writes(near, "bye");
    near.close();
    told += co_await reads(far);
    told += co_await reads(far);
    told += co_await reads(far);
    told += co_await writes(far, "hello?");
    told += word(far.shutdown_write().error());
    told += far.peer_address() ? "still knows" : "knows no more";
    co_return told;
}
TEST_CASE("simulated unix: what was written before a close is read; who writes then is told at once") {
    check_as_on_linux(one_closes, "ok bye end end pipe ok still knows");
}

rn::task<std::string> one_closes_on_unread_bytes(std::string where) {
    auto [near, far] = co_await pair_at(where);
    std::string told = co_await writes(near, "for you");
    told += co_await writes(far, "unread");
    near.close();
    told += co_await writes(far, "hello?");
    told += co_await reads(far);
    told += co_await reads(far);
    told += co_await reads(far);
    co_return told;
}
TEST_CASE("simulated unix: closing on unread bytes loses none of the others, and one read is told") {
    check_as_on_linux(one_closes_on_unread_bytes, "ok ok pipe for you reset end ");
}

rn::task<std::string> one_half_closes(std::string where) {
    auto [near, far] = co_await pair_at(where);
    std::string told = co_await writes(near, "question");
    told += word(near.shutdown_write().error());
    told += co_await writes(near, "more");
    told += co_await reads(far);
    told += co_await reads(far);
    told += co_await writes(far, "answer");
    far.close();
    told += co_await reads(near);
    told += co_await reads(near);
    co_return told;
}
TEST_CASE("simulated unix: half a connection can be closed and the other half goes on") {
    check_as_on_linux(one_half_closes, "ok ok pipe question end ok answer end ");
}

rn::task<std::string> a_half_closed_one_resets(std::string where) {
    auto [near, far] = co_await pair_at(where);
    std::string told = word(near.shutdown_write().error());
    told += co_await reads(far);
    told += co_await writes(far, "unread");
    near.close();
    told += co_await reads(far);
    told += co_await reads(far);
    co_return told;
}
TEST_CASE("simulated unix: a reset is told after the end of the stream too") {
    check_as_on_linux(a_half_closed_one_resets, "ok end ok reset end ");
}

rn::task<std::string> a_full_one_closes(std::string where) {
    auto [near, far] = co_await pair_at(where);
    const auto fill = [](rn::unix_stream& to) -> rn::task<std::string> {
        const std::string much = test::pattern(1'000'000);
        std::string told;
        while (told.empty() || told == "ok ") told = co_await writes(to, much);
        co_return told;
    };
    auto writer = rn::go(fill, rn::borrow(near));
    co_await rn::sleep_for(1ms);
    far.close();
    auto ended = co_await writer;
    co_return ended.value() + co_await reads(near);
}
TEST_CASE("simulated unix: a writer that waits for room learns that the peer is gone") {
    check_as_on_linux(a_full_one_closes, "pipe reset ");
}

rn::task<std::string> a_listener_closes(std::string where) {
    auto listener = rn::unix_listener::bind(where, rn::unix_options().keep_file(true)).value();
    auto queued = co_await rn::unix_stream::connect(where);
    listener.close();
    std::string told = co_await reads(*queued);
    told += co_await connects(where);
    told += binds(where);
    told += binds(where, rn::unix_options().replace_stale(true));
    told += co_await connects(where);
    co_return told;
}
TEST_CASE("simulated unix: a listener that closes resets who waits; its file stays until somebody takes it") {
    check_as_on_linux(a_listener_closes, "reset refused taken ok nothing ");
}

rn::task<std::string> names_are_taken(std::string where) {
    std::string told = co_await connects(where);
    auto listener = rn::unix_listener::bind(where).value();
    told += binds(where);
    told += binds(where, rn::unix_options().replace_stale(true));
    told += co_await connects(where);
    listener.close();
    told += co_await connects(where);
    const std::string abstract = "@story" + where;
    told += co_await connects(abstract);
    auto hidden = rn::unix_listener::bind(abstract).value();
    told += binds(abstract);
    told += co_await connects(abstract);
    hidden.close();
    told += co_await connects(abstract);
    told += binds(abstract);
    told += co_await connects("");
    auto chosen = rn::unix_listener::bind("").value();
    told += co_await connects(to_string(chosen.local_address()));
    co_return told;
}
TEST_CASE("simulated unix: who has a name, and what becomes of it") {
    check_as_on_linux(names_are_taken,
                      "nothing taken taken ok nothing refused taken ok refused ok invalid ok ");
}

rn::task<std::string> a_connection_outlives_its_listener(std::string where) {
    auto listener = rn::unix_listener::bind(where).value();
    auto [near, far] = co_await test::connected_pair(listener);
    listener.close();
    std::string told = binds(where);
    told += co_await writes(near, "still");
    told += co_await reads(far);
    told += to_string(far.local_address().value()) == where ? "here" : "elsewhere";
    co_return told;
}
TEST_CASE("simulated unix: a connection goes on without its listener, and the name is free") {
    check_as_on_linux(a_connection_outlives_its_listener, "ok ok still here");
}

rn::task<std::string> there_is_no_room(std::string where) {
    auto listener = rn::unix_listener::bind(where, rn::unix_options().backlog(0)).value();
    std::string told = co_await connects(where);
    const auto second = co_await rn::with_timeout(20ms, rn::unix_stream::connect(where));
    told += word(second.error());
    auto third = rn::go([](std::string to) { return rn::unix_stream::connect(to); }, where);
    co_await rn::sleep_for(2ms);
    const auto taken = co_await listener.accept();
    told += word(taken.error());
    const auto connected = co_await third;
    co_return told + word(connected.error());
}
TEST_CASE("simulated unix: a connect waits for room") {
    check_as_on_linux(there_is_no_room, "ok late ok ok ");
}

rn::task<std::string> a_pair(std::string) {
    auto [near, far] = rn::unix_stream::pair().value();
    std::string told =
        near.local_address()->is_unnamed() && near.peer_address()->is_unnamed() ? "unnamed " : "";
    told += near.peer_credentials()->uid == geteuid() ? "mine " : "others' ";
    told += co_await writes(near, "there");
    told += co_await writes(far, "back");
    told += co_await reads(near);
    told += co_await reads(far);
    near.close();
    told += co_await writes(near, "x");
    co_return told + co_await reads(far);
}
TEST_CASE("simulated unix: a pair is connected") {
    check_as_on_linux(a_pair, "unnamed mine ok ok back there closed end ");
}

rn::task<std::string> descriptors_are_looked_for(std::string) {
    auto [near, far] = rn::unix_stream::pair().value();
    std::byte buffer[64];
    const auto sends = [](rn::unix_stream& to) -> rn::task<> {
        co_await rn::sleep_for(1ms);
        const auto sent = co_await to.write_all("later");
        testing::expect(sent.bytes == 5);
        to.close();
    };
    std::string told = co_await writes(near, "plain");
    const auto there = co_await far.recv_with_descriptors(buffer, 4);
    told += std::to_string(there->bytes) + " " + std::to_string(there->descriptors.size()) + " ";
    auto sender = rn::go(sends, rn::borrow(near));
    const auto waited = co_await far.recv_with_descriptors(buffer, 4);
    told += std::to_string(waited->bytes) + " " + std::to_string(waited->descriptors.size()) + " ";
    co_await sender;
    const auto end = co_await far.recv_with_descriptors(buffer, 4);
    co_return told + word(end.error());
}
TEST_CASE("simulated unix: bytes without descriptors can be received as if some might come") {
    check_as_on_linux(descriptors_are_looked_for, "ok 5 0 5 0 end ");
}

// --- Under every seed ------------------------------------------------------------------------------

rn::task<> serve_echo(rn::unix_listener listener) {
    const auto echo = [](rn::unix_stream peer) -> rn::task<> {
        while (auto chunk = co_await peer.recv())
            if (!co_await peer.write_all(*chunk)) co_return;
    };
    rn::task_set connections;
    while (auto peer = co_await listener.accept()) connections.spawn(echo, std::move(*peer));
    co_await connections.join();
}

rn::task<> say_and_hear(std::string server, unsigned seed) {
    auto peer = co_await rn::unix_stream::connect(server);
    testing::expect(peer.has_value(), "connected");
    const std::string text = test::pattern(500, seed);
    const auto write = [](rn::unix_stream& to, const std::string& what) -> rn::task<> {
        const auto sent = co_await to.write_all(what);
        testing::expect(sent.bytes == what.size() && to.shutdown_write(), "all is sent");
    };
    auto writer = rn::go(write, rn::borrow(*peer), rn::borrow(text));
    const std::string heard = co_await test::read_to_end(*peer);
    co_await writer;
    testing::expect(heard == text, "the echo is what was said");
}

rn::task<> echo_of_three() {
    rn::go(serve_echo, rn::unix_listener::bind("/echo").value());
    rn::task_set clients;
    for (unsigned seed : {1U, 2U, 3U}) clients.spawn(say_and_hear, std::string("/echo"), seed);
    co_await clients.join();
}

TEST_CASE("simulated unix: an echo server and its clients, under every seed") {
    const auto rough = testing::network().buffer(64).resets(3).refusals(2).bandwidth(1);
    const auto all = testing::explore(on(rough), support::scaled(300U, 10'000U), echo_of_three);
    CHECK_MESSAGE(all.ok(), all.what());  // none of what is rough about the network is between processes
}

TEST_CASE("simulated unix: no time passes on the way") {
    const auto slow = testing::network().latency(1s, 2s);
    const auto run = testing::simulate(on(slow), []() -> rn::task<> {
        const auto before = rn::clock::now();
        co_await echo_of_three();
        testing::expect(rn::clock::now() == before, "at once");
    });
    CHECK_MESSAGE(run.ok(), run.what());
}

TEST_CASE("simulated unix: accept pauses when there are no descriptors, as with TCP") {
    const auto few = on(testing::network().descriptors(3));
    const auto run = testing::simulate(few, []() -> rn::task<> {
        auto listener = rn::unix_listener::bind("/x").value();
        auto first = co_await rn::unix_stream::connect("/x");
        auto second = co_await rn::unix_stream::connect("/x");
        const auto accept = [](rn::unix_listener& at) -> rn::task<rn::result<rn::unix_stream>> {
            co_return co_await at.accept();
        };
        auto accepted = rn::go(accept, rn::borrow(listener));
        co_await rn::sleep_for(50ms);
        testing::expect(listener.accept_pauses() > 1, "it has paused");
        second->close();
        auto got = co_await accepted;
        testing::expect(got.has_value(), "and goes on");
    });
    CHECK_MESSAGE(run.ok(), run.what());
}

TEST_CASE("simulated unix: what is bound to nothing cannot listen, and a name of TCP is not one of these") {
    const auto run = testing::simulate(on(testing::network()), []() -> rn::task<> {
        auto tcp = rn::tcp_listener::bind("[::]:1").value();
        auto here = rn::unix_listener::bind("/x").value();  // the first name: number 1 inside
        auto near = co_await rn::unix_stream::connect("/x");
        auto far = co_await here.accept();
        testing::expect(far.has_value());
        auto v6 = co_await rn::tcp_stream::connect("[::1]:1");
        testing::expect(v6.has_value(), "the port is TCP's alone");
    });
    CHECK_MESSAGE(run.ok(), run.what());
}
}
