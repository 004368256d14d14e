// Another's TLS at the other end: the commands `openssl s_server` and `openssl s_client`, where they are installed.
#include <doctest/doctest.h>
#include <runnel/buffered_reader.hpp>
#include <runnel/process.hpp>

#include <cstdio>
#include <cstdlib>

#include "secured.hpp"

using namespace test;

namespace {

bool has_openssl() {
    static const bool there = std::system("openssl version >/dev/null 2>&1") == 0;
    if (!there) std::puts("skipped: the command openssl is not installed");
    return there;
}

/// A port that was free just now.
std::string free_port() {
    return std::to_string(rn::tcp_listener::bind("127.0.0.1:0").value().local_address().port());
}

rn::command openssl(std::vector<std::string> words) {
    rn::command made("openssl");
    made.args(words).input(rn::stdio::pipe()).output(rn::stdio::pipe()).error(rn::stdio::null());
    return made;
}
}

TEST_CASE("openssl s_server: understands us, of TLS 1.3 and 1.2, and we it") {
    if (!has_openssl()) return;
    for (const char* version : {"-tls1_3", "-tls1_2"}) {
        const auto talk = [version]() -> rn::task<> {
            const std::string port = free_port();
            rn::command serving = openssl({"s_server", "-accept", "127.0.0.1:" + port, "-cert",
                                           example().chain, "-key", example().key, version, "-rev"});
            rn::process server = serving.start().value();
            rn::buffered_reader said(server.output());
            auto line = co_await said.read_line();
            while (line && *line != "ACCEPT") line = co_await said.read_line();
            auto plain = co_await rn::tcp_stream::connect("127.0.0.1:" + port);
            auto peer = co_await tls::connect(std::move(plain.value()), example_client(), "example.org");
            CHECK_MESSAGE(peer.has_value(), peer.explain());
            if (!peer) co_return;
            CHECK(peer->version() == (version[6] == '3' ? "TLSv1.3" : "TLSv1.2"));
            CHECK(co_await peer->write_all("drawer\n"));
            rn::buffered_reader lines(*peer);
            const auto reversed = co_await lines.read_line();
            CHECK(reversed.value() == "reward");
            CHECK(co_await peer->shutdown_write());
        };
        CHECK(run_on(1, talk));
    }
}
