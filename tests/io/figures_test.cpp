// Bytes, connections and errors, as metrics.hpp counts them: each of a runtime of its own, so all counts begin at 0.
#include <runnel/metrics.hpp>
#include <runnel/process.hpp>
#include <runnel/select.hpp>
#include <runnel/udp.hpp>

#include "unix_loopback.hpp"

using namespace test;

namespace {
rn::worker_metrics total() { return rn::current_metrics().total; }
}

TEST_CASE("figures: bytes are counted on both ends, however they are read and written") {
    const auto talk = []() -> rn::task<> {
        auto [near, far] = co_await connected_pair();
        CHECK(co_await near.write_all("12345"));
        const std::string_view list[] = {"678", "90"};
        CHECK(co_await near.write_all(std::span(list)));
        CHECK(total().bytes_sent == 10);
        std::size_t came = 0;
        std::byte buffer[4];
        const auto first = co_await far.read_some(buffer);
        came += *first;
        CHECK(total().bytes_received == came);
        while (came < 10) came += (co_await far.recv())->size();
        CHECK(total().bytes_received == 10);
        CHECK(total().bytes_sent == 10);
        CHECK(total().io_errors == 0);
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("figures: what had to wait for room or for bytes is counted too") {
    const auto talk = []() -> rn::task<> {
        auto [near, far] = co_await connected_pair();
        const std::string much = pattern(20'000'000);
        auto reading = rn::go(read_all, rn::borrow(far));
        CHECK(co_await near.write_all(much));
        CHECK(near.shutdown_write());
        const auto came = co_await reading;
        CHECK(came->size() == much.size());
        CHECK(total().bytes_sent == much.size());
        CHECK(total().bytes_received == much.size());
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("figures: a case of a select that reads counts its bytes") {
    const auto talk = []() -> rn::task<> {
        auto [near, far] = co_await connected_pair();
        CHECK(co_await near.write_all("hello"));
        std::byte buffer[3];
        const auto read = co_await rn::select(far.read_some(buffer));
        CHECK(read.index() == 0);
        CHECK(total().bytes_received == 3);
        const auto rest = co_await rn::select(far.recv());
        CHECK(rest.index() == 0);
        CHECK(total().bytes_received == 5);
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("figures: connections that were accepted and made and those that were refused") {
    const auto talk = []() -> rn::task<> {
        auto [near, far] = co_await connected_pair();
        CHECK(total().accepted == 1);
        CHECK(total().connected == 1);
        CHECK(total().not_connected == 0);
        std::string nobody;
        {
            auto gone = rn::tcp_listener::bind("127.0.0.1:0").value();
            nobody = to_string(gone.local_address());
        }
        const auto refused = co_await rn::tcp_stream::connect(nobody);
        CHECK_FALSE(refused);
        const auto nonsense = co_await rn::tcp_stream::connect("nonsense");
        CHECK_FALSE(nonsense);
        CHECK(total().connected == 1);
        CHECK(total().not_connected == 2);
        CHECK(total().io_errors == 1);
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("figures: the error of a write to a peer that is gone is one and a limit that has passed is none") {
    const auto talk = []() -> rn::task<> {
        auto [near, far] = co_await connected_pair();
        const auto late = co_await rn::with_timeout(1ms, near.recv());
        CHECK(late.error() == rn::errc::timed_out);
        CHECK(total().io_errors == 0);
        CHECK(far.set_reset_on_close(true));
        far.close();
        CHECK(co_await rn::with_timeout(10s, near.readable()));
        auto failed = co_await near.write_all("x");
        CHECK(failed.error);
        CHECK(total().io_errors == 1);
        CHECK(total().bytes_sent == 0);
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("figures: datagrams count their bytes singly and in batches") {
    const auto talk = []() -> rn::task<> {
        auto one = rn::udp_socket::bind("127.0.0.1:0").value();
        auto other = rn::udp_socket::bind("127.0.0.1:0").value();
        const rn::address to = other.local_address().value();
        CHECK(co_await one.send_to("hello", to));
        const auto came = co_await other.recv();
        CHECK(came->bytes.size() == 5);
        CHECK(total().bytes_sent == 5);
        CHECK(total().bytes_received == 5);
        const rn::outgoing four(std::as_bytes(std::span("abcd", 4)), to);
        const std::vector<rn::outgoing> several(3, four);
        const auto sent = co_await one.send_many(several);
        CHECK(sent);
        std::byte rooms[3][10];
        std::vector<rn::incoming> places(3);
        for (std::size_t i = 0; i < 3; ++i) places[i].to = rooms[i];
        std::size_t got = 0;
        while (got < 3) got += (co_await other.recv_many(std::span(places).subspan(got))).value();
        CHECK(total().bytes_sent == 17);
        CHECK(total().bytes_received == 17);
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("figures: bytes through Unix sockets and pipes are in the same counts and on the page") {
    const folder mine;
    const auto talk = [](std::string path) -> rn::task<> {
        auto listener = rn::unix_listener::bind(path).value();
        auto [near, far] = co_await connected_pair(listener);
        CHECK(co_await near.write_all("hello"));
        const auto chunk = co_await far.recv();
        CHECK(chunk->size() == 5);
        const auto done = co_await rn::output(rn::command("echo").args("seven!"));
        CHECK(done.out == "seven!\n");
        CHECK(total().bytes_received == 12);
        CHECK(total().accepted == 1);
        const std::string page = rn::to_prometheus(rn::current_metrics());
        for (const char* line : {"runnel_io_received_bytes_total{runtime=\"test\",worker=\"0\"} 12\n",
                                 "runnel_io_sent_bytes_total{runtime=\"test\",worker=\"0\"} 5\n",
                                 "runnel_connections_accepted_total{runtime=\"test\",worker=\"0\"} 1\n",
                                 "runnel_connections_made_total{runtime=\"test\",worker=\"0\"} 1\n",
                                 "runnel_connections_failed_total{runtime=\"test\",worker=\"0\"} 0\n",
                                 "runnel_io_errors_total{runtime=\"test\",worker=\"0\"} 0\n"})
            CHECK_MESSAGE(page.find(line) != page.npos, line);
    };
    CHECK(run_on(1, talk, mine / "echo"));
}
