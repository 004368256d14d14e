// Handshakes: who is trusted, who is not and what is said of it; protocols, sessions that are gone on with.
#include <doctest/doctest.h>

#include "secured.hpp"
#include "support/level.hpp"

using namespace test;

namespace {

/// What a client says to a server with this identity, and the server to the client.
std::pair<std::error_code, std::string> client_says(const identity& who, const std::string& host,
                                                    rn::tls_options trusts = trusting()) {
    std::pair<std::error_code, std::string> said;
    const auto talk = [&]() -> rn::task<> {
        stream_pair plain = co_await connected_pair();
        shaken ends = co_await shake_hands(std::move(plain), rn::tls_context::client(trusts).value(),
                                           rn::tls_context::server(known_as(who)).value(), host);
        said = {ends.first.error(), ends.first.explain()};
        CHECK(ends.first.has_value() == said.second.empty());
    };
    CHECK(run_on(1, talk));
    return said;
}
bool says(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }
}

TEST_CASE(
    "tls: a client takes a server whose certificate is of an authority that it trusts and for that host") {
    CHECK_FALSE(client_says(example(), "example.org").first);
    CHECK_FALSE(client_says(example(), "example.org.").first);
    CHECK_FALSE(client_says(example(), "EXAMPLE.org").first);
    CHECK_FALSE(client_says(example(), "www.example.net").first);
    CHECK_FALSE(client_says(example(), "127.0.0.1").first);
}

TEST_CASE("tls: another host's certificate is refused, and the text names the host") {
    for (const std::string host : {"example.com", "a.example.org", "a.b.example.net", "127.0.0.2", "::1"}) {
        const auto [error, text] = client_says(example(), host);
        CHECK_MESSAGE(error == rn::tls_errc::wrong_host, host);
        CHECK(says(text, ("TLS with " + host + ": the certificate is another host's").c_str()));
    }
}

TEST_CASE("tls: a certificate that has expired, or is not valid yet, is refused") {
    const auto old = client_says(ours().issue("DNS:example.org", -10, -1), "example.org");
    CHECK(old.first == rn::tls_errc::expired);
    CHECK(old.second == "TLS with example.org: the certificate has expired (certificate has expired)");
    CHECK(client_says(ours().issue("DNS:example.org", 1, 10), "example.org").first ==
          rn::tls_errc::not_yet_valid);
}

TEST_CASE("tls: who vouches for himself, or is vouched for by somebody unknown, is refused") {
    CHECK(client_says(ours().self_signed("DNS:example.org"), "example.org").first ==
          rn::tls_errc::self_signed);
    const authority theirs("somebody else");
    CHECK(client_says(theirs.issue("DNS:example.org"), "example.org").first ==
          rn::tls_errc::unknown_authority);
    // The system's certificates, if there are any, do not vouch for ours either.
    CHECK(client_says(example(), "example.org", rn::tls_options()).first == rn::tls_errc::unknown_authority);
}

TEST_CASE("tls: the peer of one who refuses learns why, by an alert") {
    const auto talk = []() -> rn::task<> {
        stream_pair plain = co_await connected_pair();
        shaken ends =
            co_await shake_hands(std::move(plain), rn::tls_context::client().value(), example_server());
        CHECK(ends.first.error() == rn::tls_errc::unknown_authority);
        CHECK(ends.second.error().category() == rn::openssl_category());
        CHECK(ends.second.explain() == "TLS with a client: tlsv1 alert unknown ca");
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("tls: verification can be turned off, by saying so; without it no host need be named") {
    const auto theirs = ours().self_signed("DNS:whoever");
    CHECK_FALSE(client_says(theirs, "example.org", rn::tls_options().verify_peer(false)).first);
    CHECK_FALSE(client_says(theirs, "", rn::tls_options().verify_peer(false)).first);
    CHECK(client_says(example(), "").first == std::errc::invalid_argument);
    CHECK(client_says(example(), std::string("example.org\0.com", 16)).first == std::errc::invalid_argument);
}

TEST_CASE("tls: a server that asks for certificates takes no client without, and knows who the others are") {
    const auto talk = []() -> rn::task<> {
        const identity who = ours().issue("DNS:client.example.org");
        auto asks = known_as(example()).ca_file(ours().file()).verify_peer(true);
        const auto server = rn::tls_context::server(asks).value();
        const auto known = rn::tls_context::client(trusting().certificate(who.chain, who.key)).value();
        stream_pair plain = co_await connected_pair();
        shaken ends = co_await shake_hands(std::move(plain), known, server);
        CHECK(ends.second.value().peer_subject() == "CN = client.example.org");
        CHECK(ends.first.value().peer_subject() == "CN = example.org");

        plain = co_await connected_pair();
        ends = co_await shake_hands(std::move(plain), example_client(), server);
        CHECK(says(ends.second.explain(), "peer did not return a certificate"));
        CHECK(
            ends.first
                .has_value());  // TLS 1.3: the client is done before it is judged, and hears of it as it reads
        auto judged = co_await ends.first->recv();
        CHECK(judged.error().message() == "tlsv13 alert certificate required");
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("tls: both agree on a protocol: the server's best that the client knows, or none") {
    const auto talk = []() -> rn::task<> {
        const auto client = rn::tls_context::client(trusting().alpn({"h2", "http/1.1"})).value();
        const auto server =
            rn::tls_context::server(known_as(example()).alpn({"spdy", "http/1.1", "h2"})).value();
        stream_pair plain = co_await connected_pair();
        tls_pair ends = co_await secured_pair(std::move(plain), client, server);
        CHECK(ends.first.alpn() == "http/1.1");
        CHECK(ends.second.alpn() == "http/1.1");
        CHECK(ends.first.version() == "TLSv1.3");
        const auto other = rn::tls_context::server(known_as(example()).alpn({"mqtt"})).value();
        plain = co_await connected_pair();
        ends = co_await secured_pair(std::move(plain), client, other);
        CHECK(ends.first.alpn().empty());
    };
    CHECK(run_on(1, talk));
    CHECK(rn::tls_context::client(trusting().alpn({""})).error() == std::errc::invalid_argument);
}

TEST_CASE("tls: the second connection to a host goes on with the session of the first") {
    const auto talk = []() -> rn::task<> {
        const auto client = example_client();
        const auto server = example_server();
        for (const bool again : {false, true, true}) {
            stream_pair plain = co_await connected_pair();
            tls_pair ends = co_await secured_pair(std::move(plain), client, server);
            CHECK(ends.first.resumed() == again);
            CHECK(ends.second.resumed() == again);
            CHECK(ends.first.peer_subject() == "CN = example.org");
            CHECK(co_await ends.second.write_all("hello"));  // a client has its ticket when it has read
            auto heard = co_await ends.first.recv();
            CHECK(heard->text() == "hello");
        }
        stream_pair plain = co_await connected_pair();
        shaken ends = co_await shake_hands(std::move(plain), client, server, "127.0.0.1");
        CHECK_FALSE(ends.first.value().resumed());  // for another host a session is none
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("tls_context: files that are missing, or hold something else, are errors that say so") {
    const auto error_of = [](const rn::tls_options& how) { return rn::tls_context::server(how).error(); };
    CHECK(error_of(rn::tls_options()) == std::errc::invalid_argument);
    CHECK(error_of(rn::tls_options().certificate("/no/such", "/no/such")) ==
          std::errc::no_such_file_or_directory);
    CHECK(error_of(rn::tls_options().certificate(example().key, example().key)).message() == "no start line");
    const identity other = ours().issue("DNS:other");
    CHECK(error_of(rn::tls_options().certificate(example().chain, other.key)).message() ==
          "key values mismatch");
    CHECK(rn::tls_context::client(rn::tls_options().ca_file("/no/such")).error());
}

TEST_CASE("tls: a peer that goes away in the midst of the handshake is told, and one that never answers is "
          "not waited "
          "for") {
    const auto talk = []() -> rn::task<> {
        stream_pair plain = co_await connected_pair();
        auto silent = co_await rn::with_timeout(
            20ms, tls::connect(std::move(plain.first), example_client(), "example.org"));
        CHECK(silent.error() == rn::errc::timed_out);
        plain = co_await connected_pair();
        CHECK(plain.first.shutdown_write());
        auto gone = co_await tls::accept(std::move(plain.second), example_server());
        CHECK(gone.error() == rn::tls_errc::truncated);
        CHECK(gone.explain() == "TLS with a client: the peer has closed the connection in the handshake");
    };
    CHECK(run_on(1, talk));
}

TEST_CASE("tls: whatever is sent in the place of a handshake is an error, and breaks nothing") {
    const auto talk = []() -> rn::task<> {
        const unsigned rounds = support::scaled(200U, 20'000U);
        rn::tcp_listener listener = rn::tcp_listener::bind("127.0.0.1:0").value();
        for (unsigned seed = 1; seed <= rounds; ++seed) {
            stream_pair plain = co_await connected_pair(listener);
            std::string noise = pattern(seed % 700, seed);
            if (seed % 2 == 0)
                noise = std::string("\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03", 11) + noise;
            CHECK(co_await plain.first.write_all(noise));
            CHECK(plain.first.shutdown_write());
            auto shaking = seed % 3 == 0
                               ? tls::connect(std::move(plain.second), example_client(), "example.org")
                               : tls::accept(std::move(plain.second), example_server());
            auto made = co_await std::move(shaking);
            CHECK_FALSE(made.has_value());
            CHECK_FALSE(made.explain().empty());
        }
    };
    CHECK(run_on(1, talk));
}
