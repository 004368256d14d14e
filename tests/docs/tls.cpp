// The code of docs/tls.md, compiled and run.
#include <runnel/connect.hpp>
#include <runnel/context.hpp>
#include <runnel/go.hpp>
#include <runnel/resolve.hpp>
#include <runnel/serve.hpp>
#include <runnel/testing.hpp>
#include <runnel/testing_network.hpp>
#include <runnel/time.hpp>
#include <runnel/tls.hpp>

#include <chrono>
#include <cstdio>
#include <string>
#include <utility>

#include "tls/certificates.hpp"

namespace rn = runnel;
using namespace std::chrono_literals;

rn::task<rn::result<std::string>> ask(rn::tls_context trusting, std::string host, std::string question) {
    auto plain = co_await rn::connect_to(host + ":443");
    if (!plain) co_return plain.error();
    auto shaking =
        rn::tls_stream<>::connect(*std::move(plain), trusting, host);  // the host is who it must be
    auto peer = co_await rn::with_timeout(5s, std::move(shaking));
    if (!peer) {
        std::fputs((peer.explain() + "\n").c_str(), stderr);
        co_return peer.error();
    }
    if (auto sent = co_await peer->write_all(question); !sent) co_return sent.error;
    if (auto said = co_await peer->shutdown_write(); !said) co_return said.error();
    std::string answer;
    auto chunk = co_await peer->recv();
    for (; chunk; chunk = co_await peer->recv()) answer += chunk->text();
    if (chunk.error() != rn::errc::end_of_stream) co_return chunk.error();  // truncated: not all of it
    co_return answer;
}

rn::task<> talk(rn::tcp_stream& plain, rn::context finish, rn::tls_context site) {
    auto shaking = rn::tls_stream<rn::tcp_stream&>::accept(plain, site);  // in the connection's own task
    auto peer = co_await rn::with_timeout(5s, std::move(shaking));
    if (!peer) co_return;
    for (;;) {
        auto question = co_await rn::with_context(finish, peer->recv());
        if (!question) break;
        if (!co_await peer->write_all(question->text())) co_return;
    }
    (void)co_await peer->shutdown_write();  // farewell: what the peer has is all there was
}

rn::task<> serve_securely(rn::server& shop, rn::tcp_listener listener, rn::tls_context site) {
    const auto handler = [site](rn::tcp_stream& plain, rn::context finish) {
        return talk(plain, std::move(finish), site);
    };
    (void)co_await shop.serve(std::move(listener), handler);
}

rn::result<rn::tls_context> site(const std::string& chain, const std::string& key) {
    return rn::tls_context::server(rn::tls_options().certificate(chain, key).alpn({"http/1.1"}));
}

rn::result<rn::tls_context> trusting(const std::string& file) {
    return rn::tls_context::client(rn::tls_options().ca_file(file));  // without it: whom the system trusts
}

rn::task<> who_is_not_vouched_for_is_refused(rn::tls_context of_ours, rn::tls_context of_others,
                                             rn::tls_context us) {
    rn::testing::set_name("shop.test", {rn::address::parse("192.0.2.1:443").value()}, 20ms);
    rn::server shop;
    auto serving =
        rn::go(serve_securely, rn::borrow(shop), rn::tcp_listener::bind("192.0.2.1:443").value(), us);
    const auto answer = co_await ask(of_ours, "shop.test", "hello");
    rn::testing::expect(answer && *answer == "hello", "an answer");
    const auto refused = co_await ask(of_others, "shop.test", "hello");
    rn::testing::expect(refused.error() == rn::tls_errc::unknown_authority, "and none from a stranger");
    shop.stop();
    co_await serving;
}

int main() {
    const test::authority ours("ours");
    const test::authority others("others");
    const test::identity shop = ours.issue("DNS:shop.test");
    const auto run = rn::testing::explore(20, [&] {
        return who_is_not_vouched_for_is_refused(trusting(ours.file()).value(),
                                                 trusting(others.file()).value(),
                                                 site(shop.chain, shop.key).value());
    });
    std::fputs(run.what().c_str(), stderr);
    return run.ok() ? 0 : 1;
}
