// Groups, at the loopback interface: join, leave, and what a sender chooses.
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <memory>

#include "udp_stories.hpp"

using namespace test;

namespace {

struct group {
    const char* host;
    const char* every_host;
    unsigned interface = 0;  // where it can be tried
};
constexpr group groups[] = {{"239.1.2.3:0", "0.0.0.0:0"}, {"[ff02::1234]:0", "[::]:0"}};

/// A member's socket, at a port of its own or at that one.
rn::udp_socket member(const group& of, std::uint16_t port = 0) {
    const rn::address at = rn::address::parse(of.every_host)->with_port(port);
    return rn::udp_socket::bind(at, rn::udp_options().reuse_address(true)).value();
}

rn::udp_socket sender(const group& of) {
    rn::udp_socket made = bound(of.every_host);
    holds(made.set_multicast_interface(of.interface).has_value(), "the interface is chosen");
    holds(made.set_multicast_hops(0).has_value(), "it stays in this machine");
    return made;
}

/// What is wrong with this interface, or nothing.
std::error_code trouble_at(const group& of) {
    rn::udp_socket trial = member(of), from = bound(of.every_host);
    const rn::address to = rn::address::parse(of.host)->with_port(9);
    const rn::result<> joined = trial.join(to, of.interface);
    if (!joined) return joined.error();
    const rn::result<> chosen = from.set_multicast_interface(of.interface);
    if (!chosen || !from.set_multicast_hops(0)) return chosen.error();
    return run_on(1, [&]() -> rn::task<rn::result<>> { co_return co_await from.send_to("x", to); }).error();
}

/// At the loopback interface, or at the first that takes it. What has no hops does not leave the machine.
group with_interface(group of) {
    std::error_code why;
    const std::unique_ptr<struct if_nameindex, decltype(&if_freenameindex)> all(if_nameindex(),
                                                                                if_freenameindex);
    for (const auto* each = all.get(); each != nullptr && each->if_index != 0; ++each) {
        of.interface = each->if_index;
        why = trouble_at(of);
        if (!why) return of;
    }
    skipped(("no interface takes " + std::string(of.host) + ": " + why.message()).c_str());
    of.interface = 0;
    return of;
}

template <class F>
void for_each_group(F story) {
    for (const group& each : groups) {
        in_simulation([&] { return story(each); });
        if (each.every_host[0] == '[' && !has_ipv6()) {
            skipped("this machine has no IPv6");
            continue;
        }
        const group here = with_interface(each);
        if (here.interface != 0) on_the_kernel([&] { return story(here); });
    }
}

rn::task<> members_hear(const group& of) {
    rn::udp_socket one = member(of);
    const std::uint16_t port = address_of(one).port();
    rn::udp_socket two = member(of, port), stranger = member(of, port), from = sender(of);
    const rn::address to = rn::address::parse(of.host)->with_port(port);
    for (rn::udp_socket* each : {&one, &two}) holds(each->join(to, of.interface).has_value(), "joined");
    holds(one.join(to, of.interface).error() == std::errc::address_in_use, "once");
    co_await say(from, "to all", to);
    for (rn::udp_socket* each : {&one, &two}) {
        auto got = co_await each->recv();
        holds(got->bytes.text() == "to all", "heard");
        holds(got->from.port() == address_of(from).port(), "from the sender");
    }
    holds(one.leave(to, of.interface).has_value(), "left");
    holds(one.leave(to, of.interface).error() == std::errc::address_not_available, "once");
    co_await say(from, "to the one who stays", to);
    const std::string heard = co_await next_text(two);
    holds(heard == "to the one who stays", heard);
    const auto none = co_await rn::with_timeout(5ms, one.recv());
    holds(none.error() == rn::errc::timed_out, "who has left hears nothing");
}

rn::task<> not_looped(const group& of) {
    rn::udp_socket one = member(of), from = sender(of);
    const rn::address to = rn::address::parse(of.host)->with_port(address_of(one).port());
    holds(one.join(to, of.interface).has_value(), "joined");
    holds(from.set_multicast_loop(false).has_value(), "set");
    co_await say(from, "to others", to);
    holds(from.set_multicast_loop(true).has_value(), "set");
    co_await say(from, "to us too", to);
    const std::string heard = co_await next_text(one);
    holds(heard == "to us too", heard);
}
}

TEST_CASE("udp: members of a group hear what is sent to it, until they leave") {
    for_each_group(members_hear);
}

TEST_CASE("udp: without loop the members on the sender's machine hear nothing") {
    for_each_group([](const group& of) -> rn::task<> {
        // The loopback interface brings back whatever goes out.
        if (of.interface == if_nametoindex("lo") && rn::detail::current_world() == nullptr)
            skipped("only at another interface than lo");
        else
            co_await not_looped(of);
    });
}

TEST_CASE("udp: only a group can be joined, and at an interface that exists") {
    on_the_kernel([]() -> rn::task<> {
        rn::udp_socket socket = bound("0.0.0.0:0");
        CHECK(socket.join(rn::address::parse("127.0.0.1:0").value()).error() == std::errc::invalid_argument);
        CHECK(socket.join(rn::address::parse("239.1.2.3:0").value(), 12345).error() ==
              std::errc::no_such_device);
        CHECK(socket.set_multicast_interface(12345).error() == std::errc::address_not_available);
        co_return;
    });
}

TEST_CASE("udp: a broadcast reaches every socket at its port") {
    in_simulation([]() -> rn::task<> {
        rn::udp_socket one = member(groups[0]);
        const std::uint16_t port = address_of(one).port();
        rn::udp_socket two = member(groups[0], port),
                       from = bound("0.0.0.0:0", rn::udp_options().broadcast(true));
        co_await say(from, "hello, all", rn::address::parse("255.255.255.255:1")->with_port(port));
        for (rn::udp_socket* each : {&one, &two}) {
            const std::string heard = co_await next_text(*each);
            holds(heard == "hello, all", heard);
        }
    });
}
