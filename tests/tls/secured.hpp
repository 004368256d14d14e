// secured: what the tests of TLS begin with: an authority, and two ends of one connection that have shaken hands.
#pragma once

#include <runnel/fork.hpp>
#include <runnel/tls.hpp>

#include <string>
#include <utility>

#include "certificates.hpp"
#include "io/loopback.hpp"

namespace test {

using tls = rn::tls_stream<>;
using tls_pair = std::pair<tls, tls>;

/// One for all tests: what it issues is theirs.
inline const authority& ours() {
    static const authority the_one("the tests' own");
    return the_one;
}
inline rn::tls_options trusting() { return rn::tls_options().ca_file(ours().file()); }
inline rn::tls_options known_as(const identity& who) {
    return rn::tls_options().certificate(who.chain, who.key);
}

inline const identity& example() {
    static const identity the_one = ours().issue("DNS:example.org,DNS:*.example.net,IP:127.0.0.1");
    return the_one;
}
inline rn::tls_context example_client() { return rn::tls_context::client(trusting()).value(); }
inline rn::tls_context example_server() { return rn::tls_context::server(known_as(example())).value(); }

/// Both handshakes, and what each side says of it.
using shaken = std::pair<tls::handshaken, tls::handshaken>;
inline rn::task<shaken> shake_hands(stream_pair over, rn::tls_context client, rn::tls_context server,
                                    std::string host = "example.org") {
    auto [near, far] = co_await rn::when_all(tls::connect(std::move(over.first), client, host),
                                             tls::accept(std::move(over.second), server));
    co_return shaken(std::move(near), std::move(far));
}

inline rn::task<tls_pair> secured_pair(stream_pair over, rn::tls_context client = example_client(),
                                       rn::tls_context server = example_server()) {
    shaken ends = co_await shake_hands(std::move(over), std::move(client), std::move(server));
    if (!ends.first) throw std::runtime_error(ends.first.explain());
    if (!ends.second) throw std::runtime_error(ends.second.explain());
    co_return tls_pair(*std::move(ends.first), *std::move(ends.second));
}
inline rn::task<tls_pair> secured_pair() {
    stream_pair plain = co_await connected_pair();
    co_return co_await secured_pair(std::move(plain));
}

/// Until the end of the stream, or what else ends it.
struct heard_of {
    std::string text;
    std::error_code end;
};
template <class Stream>
rn::task<heard_of> hear(Stream& from) {
    heard_of all;
    for (;;) {
        auto next = co_await from.recv();
        if (!next) {
            all.end = next.error();
            co_return all;
        }
        all.text += next->text();
    }
}
}
