// udp_socket: datagrams, whole or not at all; nothing transient ends a loop.
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "support/child.hpp"
#include "udp_stories.hpp"

using namespace test;

namespace {

rn::task<> answer(rn::udp_socket& socket) {
    while (auto question = co_await socket.recv()) co_await socket.send_to(question->bytes, question->from);
}

rn::task<> ask_and_hear() {
    rn::udp_socket server = bound();
    auto serving = rn::go(answer, rn::borrow(server));
    rn::udp_socket client = bound();
    co_await say(client, "how late is it?", address_of(server));
    auto heard = co_await client.recv();
    holds(heard->bytes.text() == "how late is it?", "the answer");
    holds(heard->from == address_of(server), "from the server");
    server.close();
    holds(!!co_await serving, "the server has ended");
}
}

TEST_CASE("udp: a server answers whoever asks, until it is closed") { everywhere(ask_and_hear); }

TEST_CASE("udp: a datagram is received as it was sent, of whatever size, and one without bytes is one") {
    everywhere([]() -> rn::task<> {
        rn::udp_socket near = bound(), far = bound("127.0.0.1:0", rn::udp_options().receive_buffer(1 << 20));
        for (const std::size_t size :
             {0UL, 1UL, 1500UL, 16384UL, 16385UL, rn::udp_socket::bytes_max, 0UL, 7UL}) {
            const std::string sent = pattern(size, static_cast<unsigned>(size));
            co_await say(near, sent, address_of(far));
            const std::string got = co_await next_text(far);
            holds(got == sent, "leased: " + std::to_string(size));
            co_await say(near, sent, address_of(far));
            std::vector<std::byte> buffer(70'000);
            const auto into = co_await far.recv_from(buffer);
            holds(into.has_value() && into->bytes == size && into->length == size && !into->truncated,
                  "into ours");
            holds(std::memcmp(buffer.data(), sent.data(), size) == 0, "all of it");
            holds(into->from == address_of(near), "by whom");
        }
    });
}

TEST_CASE("udp: what does not fit into the buffer is lost and told; the next datagram is whole") {
    everywhere([]() -> rn::task<> {
        rn::udp_socket near = bound(), far = bound();
        co_await say(near, "abcdef", address_of(far));
        co_await say(near, "xyz", address_of(far));
        std::byte small[4];
        const auto cut = co_await far.recv_from(small);
        holds(cut->bytes == 4 && cut->length == 6 && cut->truncated, "two are lost");
        const auto next = co_await far.recv_from(small);
        holds(next->bytes == 3 && next->length == 3 && !next->truncated, "none is lost");
        co_await say(near, "abc", address_of(far));
        const auto none = co_await far.recv_from(std::span<std::byte>());
        holds(none->bytes == 0 && none->length == 3 && none->truncated, "without a buffer all is lost");
    });
}

TEST_CASE("udp: too much for a datagram is message_size, and no report of the network") {
    everywhere([]() -> rn::task<> {
        rn::udp_socket near = bound(), far = bound();
        const std::string much(rn::udp_socket::bytes_max + 1, 'x');
        const auto sent = co_await near.send_to(much, address_of(far));
        holds(sent.error() == std::errc::message_size, sent.error().message());
        holds(near.icmp_errors() == 0, "it is our own error");
        co_await say(near, "less", address_of(far));
        const std::string got = co_await next_text(far);
        holds(got == "less", "the socket goes on");
    });
}

TEST_CASE("udp: a connected socket hears its peer alone, and send() goes there") {
    everywhere([]() -> rn::task<> {
        rn::udp_socket near = bound("0.0.0.0:0"), far = bound(), other = bound();
        const auto nowhere = co_await near.send("to whom?");
        holds(nowhere.error() == std::errc::destination_address_required, nowhere.error().message());
        holds(near.peer_address().error() == std::errc::not_connected, "it has no peer");
        holds(near.connect(address_of(far)).has_value(), "connected");
        holds(near.peer_address().value() == address_of(far), "it has one now");
        holds(address_of(near).with_port(0) == rn::address::loopback_ipv4(0), "and a host to send from");
        const auto sent = co_await near.send("to you");
        holds(sent.has_value(), "sent");
        const auto got = co_await far.recv();
        holds(got->bytes.text() == "to you" && got->from == address_of(near), "from here");
        co_await say(other, "not for you", address_of(near));
        co_await say(far, "for you", address_of(near));
        const std::string heard = co_await next_text(near);
        holds(heard == "for you", heard);
    });
}

// --- What is transient is no error ---------------------------------------------------------------------

TEST_CASE("udp: nobody at the port ends neither receives nor sends; it is counted") {
    everywhere([]() -> rn::task<> {
        const rn::address left = left_address();
        rn::udp_socket near = bound();
        holds(near.connect(left).has_value(), "connected");
        for (int i = 0; i < 3; ++i) {
            const auto sent = co_await near.send("anybody there?");
            holds(sent.has_value(), "sent: " + sent.error().message());
            const auto none = co_await rn::with_timeout(10ms, near.recv());
            holds(none.error() == rn::errc::timed_out, none.error().message());
        }
        holds(near.icmp_errors() == 3, "each was reported: " + std::to_string(near.icmp_errors()));
        rn::udp_socket far = rn::udp_socket::bind(left).value();
        const auto sent = co_await near.send("and now?");
        holds(sent.has_value(), "sent");
        const std::string heard = co_await next_text(far);
        holds(heard == "and now?", heard);
    });
}

TEST_CASE("udp: a send that gets the report of an earlier one is made again") {
    on_the_kernel([]() -> rn::task<> {  // where it comes at once
        const rn::address left = left_address();
        rn::udp_socket near = bound();
        holds(near.connect(left).has_value(), "connected");
        for (int i = 0; i < 4; ++i) CHECK(co_await near.send("anybody there?"));
        CHECK(near.icmp_errors() == 3);
        const auto none = co_await rn::with_timeout(0ms, near.recv());
        CHECK(none.error() == rn::errc::timed_out);
        rn::udp_socket far = rn::udp_socket::bind(left).value();
        for (const char* text : {"1", "2"}) CHECK(co_await near.send(text));
        CHECK(co_await next_text(far) == "1");
        CHECK(co_await next_text(far) == "2");
    });
}

TEST_CASE("udp: a receive that waits goes on waiting when a report comes") {
    everywhere([]() -> rn::task<> {
        const rn::address left = left_address();
        rn::udp_socket near = bound();
        holds(near.connect(left).has_value(), "connected");
        auto hearing = rn::go(next_text, rn::borrow(near));
        for (int i = 0; i < 10; ++i) co_await rn::yield();
        for (std::size_t i = 0; i < 3; ++i) {
            const auto sent = co_await near.send("anybody there?");
            holds(sent.has_value(), "sent");
            while (near.icmp_errors() <= i) co_await rn::sleep_for(1ms);
        }
        rn::udp_socket far = rn::udp_socket::bind(left).value();
        co_await say(far, "I am here", address_of(near));
        const std::string heard = (co_await hearing).value();
        holds(heard == "I am here", heard);
        holds(near.icmp_errors() == 3, "counted, each as it came");
    });
}

TEST_CASE("udp: an error of the way itself is one") {
    on_the_kernel([]() -> rn::task<> {
        rn::udp_socket near = bound();
        const auto sent = co_await near.send_to("hello", rn::address::parse("255.255.255.255:9").value());
        CHECK(sent.error() == std::errc::permission_denied);  // without udp_options::broadcast
        CHECK(near.icmp_errors() == 0);
    });
    in_simulation([]() -> rn::task<> {
        rn::udp_socket near = bound();
        const auto sent = co_await near.send_to("hello", rn::address::parse("255.255.255.255:9").value());
        holds(sent.error() == std::errc::permission_denied, sent.error().message());
        const auto six = co_await near.send_to("hello", rn::address::loopback_ipv6(9));
        holds(six.error() == std::errc::address_family_not_supported, six.error().message());
    });
}

// --- How waiting ends ------------------------------------------------------------------------------------

namespace {
rn::task<rn::result<>> leases(rn::udp_socket& at) { co_return (co_await at.recv()).error(); }
rn::task<rn::result<>> receives(rn::udp_socket& at) {
    std::byte buffer[8];
    co_return (co_await at.recv_from(buffer)).error();
}
rn::task<rn::result<>> receives_many(rn::udp_socket& at) {
    rn::incoming places[2];
    co_return (co_await at.recv_many(places)).error();
}
constexpr auto every_receive = {leases, receives, receives_many};
}

TEST_CASE("udp: close ends each receive that waits, and refuses what comes later") {
    everywhere([]() -> rn::task<> {
        for (const auto receive : every_receive) {
            rn::udp_socket near = bound();
            const rn::address here = address_of(near);
            auto waiting = rn::go(receive, rn::borrow(near));
            for (int i = 0; i < 10; ++i) co_await rn::yield();
            near.close();
            const rn::result<> end = co_await waiting;
            holds(end.error() == rn::errc::closed, end.error().message());
            holds(!near.is_open(), "closed");
            const rn::result<> late = co_await receive(near);
            holds(late.error() == rn::errc::closed, late.error().message());
            const auto sent = co_await near.send_to("late", here);
            holds(sent.error() == rn::errc::closed, "send_to");
            holds(near.connect(here).error() == rn::errc::closed, "connect");
            holds(near.local_address().error() == rn::errc::closed, "local_address");
            holds(rn::udp_socket::bind(here).has_value(), "the address is free again");
        }
    });
}

TEST_CASE("udp: a cancelled or limited receive has taken nothing") {
    everywhere([]() -> rn::task<> {
        for (const auto receive : every_receive) {
            rn::udp_socket near = bound(), far = bound();
            const auto [ctx, cancel] = rn::with_cancel(rn::current_context());
            auto waiting = rn::go(
                [&near, &receive = receive](rn::context in) -> rn::task<rn::result<>> {
                    co_return co_await rn::with_context(in, receive(near));
                },
                ctx);
            for (int i = 0; i < 10; ++i) co_await rn::yield();
            cancel();
            const rn::result<> end = co_await waiting;
            holds(end.error() == rn::errc::cancelled, end.error().message());
            const auto late = co_await rn::with_timeout(1ms, near.recv());
            holds(late.error() == rn::errc::timed_out, late.error().message());
            co_await say(far, "still there", address_of(near));
            const std::string heard = co_await next_text(near);
            holds(heard == "still there", heard);
        }
    });
}

TEST_CASE("udp: a cancelled context refuses each operation before it has an effect") {
    everywhere([]() -> rn::task<> {
        rn::udp_socket near = bound(), far = bound();
        const rn::address there = address_of(far);
        const auto [ctx, cancel] = rn::with_cancel(rn::current_context());
        cancel();
        const auto sent = co_await rn::with_context(ctx, near.send_to("no", there));
        holds(sent.error() == rn::errc::cancelled, "send_to");
        rn::outgoing two[] = {{std::span<const std::byte>(), there}, {std::span<const std::byte>(), there}};
        const rn::sent_many many = co_await rn::with_context(ctx, near.send_many(two));
        holds(many.error == rn::errc::cancelled && many.count == 0, "send_many");
        co_await say(near, "yes", there);
        const auto refused = co_await rn::with_context(ctx, far.recv());
        holds(refused.error() == rn::errc::cancelled, "recv");
        const std::string heard = co_await next_text(far);
        holds(heard == "yes", heard);
    });
}

TEST_CASE("udp: one task receives while another sends") {
    everywhere([]() -> rn::task<> {
        rn::udp_socket near = bound(), far = bound();
        auto serving = rn::go(answer, rn::borrow(far));
        auto hearing = rn::go(
            [](rn::udp_socket& at) -> rn::task<int> {
                int heard = 0;
                while (heard < 50) {
                    const auto got = co_await rn::with_timeout(1s, at.recv());
                    if (!got) break;
                    ++heard;
                }
                co_return heard;
            },
            rn::borrow(near));
        for (int i = 0; i < 50; ++i) {
            co_await say(near, std::to_string(i), address_of(far));
            co_await rn::yield();
        }
        const int heard = (co_await hearing).value();
        holds(heard == 50, std::to_string(heard));
        far.close();
        co_await serving;
    });
}

// --- Addresses and settings --------------------------------------------------------------------------

TEST_CASE("udp: an IPv6 socket at every host also hears IPv4, and can answer; v6only does not") {
    if (!has_ipv6()) return skipped("this machine has no IPv6");
    everywhere([]() -> rn::task<> {
        rn::udp_socket six = bound("[::]:0"), four = bound();
        const std::uint16_t port = address_of(six).port();
        co_await say(four, "from four", rn::address::loopback_ipv4(port));
        const auto got = co_await six.recv();
        holds(got->bytes.text() == "from four", "heard");
        holds(to_string(got->from) == "[::ffff:127.0.0.1]:" + std::to_string(address_of(four).port()),
              "mapped");
        co_await say(six, "to four", got->from);
        const std::string heard = co_await next_text(four);
        holds(heard == "to four", heard);
        rn::udp_socket alone = bound("[::]:0", rn::udp_options().v6only(true)), also = bound("[::1]:0");
        co_await say(four, "unheard", rn::address::loopback_ipv4(address_of(alone).port()));
        co_await say(also, "heard", rn::address::loopback_ipv6(address_of(alone).port()));
        const std::string only = co_await next_text(alone);
        holds(only == "heard", only);
    });
}

namespace {
/// "[fe80::…%n]:0" of some interface, or nothing.
std::string link_local_host() {
    ifaddrs* all = nullptr;
    if (getifaddrs(&all) != 0) return {};
    std::string found;
    for (const ifaddrs* each = all; each != nullptr; each = each->ifa_next) {
        if (each->ifa_addr == nullptr || each->ifa_addr->sa_family != AF_INET6) continue;
        sockaddr_in6 six;
        std::memcpy(&six, each->ifa_addr, sizeof six);
        if (!IN6_IS_ADDR_LINKLOCAL(&six.sin6_addr) || (each->ifa_flags & IFF_UP) == 0) continue;
        rn::address made;
        made.assign(&six, sizeof six);
        found = to_string(made);
    }
    freeifaddrs(all);
    return found;
}
}

TEST_CASE("udp: an address that is taken is address_in_use, unless both share it") {
    everywhere([]() -> rn::task<> {
        rn::udp_socket first = bound();
        const rn::address here = address_of(first);
        holds(rn::udp_socket::bind(here).error() == std::errc::address_in_use, "taken");
        const auto shared = rn::udp_options().reuse_port(true);
        holds(rn::udp_socket::bind(here, shared).error() == std::errc::address_in_use,
              "the first does not share");
        rn::udp_socket second = bound("127.0.0.1:0", shared);
        holds(rn::udp_socket::bind(address_of(second), shared).has_value(), "both share");
        rn::udp_socket third = bound("127.0.0.1:0", rn::udp_options().reuse_address(true));
        holds(rn::udp_socket::bind(address_of(third), rn::udp_options().reuse_address(true)).has_value(),
              "reuse");
        holds(rn::udp_socket::bind("no address").error() == std::errc::invalid_argument, "text");
        co_return;
    });
}

TEST_CASE("udp: TCP has ports of its own") {
    everywhere([]() -> rn::task<> {
        std::vector<rn::udp_socket> tried;  // a port may be in use by somebody's TCP
        do tried.push_back(bound());
        while (!rn::tcp_listener::bind(address_of(tried.back())) && tried.size() < 20);
        holds(tried.size() < 20, "one is free");
        co_return;
    });
}

TEST_CASE("udp: the settings reach the system") {
    on_the_kernel([]() -> rn::task<> {
        rn::udp_socket socket =
            bound("127.0.0.1:0",
                  rn::udp_options().broadcast(true).send_buffer(50'000).receive_buffer(60'000).hop_limit(3));
        const auto get = [&](int level, int name) {
            int value = -1;
            socklen_t bytes = sizeof value;
            CHECK(getsockopt(socket.native_handle(), level, name, &value, &bytes) == 0);
            return value;
        };
        CHECK(get(SOL_SOCKET, SO_BROADCAST) == 1);
        CHECK(get(SOL_SOCKET, SO_SNDBUF) == 100'000);
        CHECK(get(SOL_SOCKET, SO_RCVBUF) == 120'000);
        CHECK(get(0, 2) == 3);  // IPPROTO_IP, IP_TTL
        co_return;
    });
}

TEST_CASE("udp: the scope of a link-local address is its interface") {
    const std::string host = link_local_host();
    if (host.empty()) return skipped("no interface has a link-local address");
    on_the_kernel([&]() -> rn::task<> {
        rn::udp_socket near = bound(host.c_str()), far = bound(host.c_str());
        co_await say(near, "on this link", address_of(far));
        const auto got = co_await far.recv();
        CHECK(got->bytes.text() == "on this link");
        CHECK(got->from == address_of(near));
        CHECK(to_string(got->from).starts_with(host.substr(0, host.size() - 1)));
    });
}

TEST_CASE("child: two tasks receive at once" * doctest::skip()) {
    on_the_kernel([]() -> rn::task<> {
        rn::udp_socket near = bound();
        auto one = rn::go(next_text, rn::borrow(near));
        auto two = rn::go(next_text, rn::borrow(near));
        (void)co_await one;
        (void)co_await two;
    });
}
TEST_CASE("udp: two receives at once are a bug of the program") {
    CHECK(support::aborts_saying("child: two tasks receive at once", "two operations at once"));
}
