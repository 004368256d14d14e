// udp_stories: what tests of datagrams are made of: one text for the system's sockets and for simulated ones.
#pragma once

#include <doctest/doctest.h>
#include <runnel/detail/simulated_world.hpp>
#include <runnel/testing.hpp>
#include <runnel/udp.hpp>

#include <cstdio>
#include <string>

#include "loopback.hpp"
#include "support/level.hpp"

namespace test {

namespace testing = runnel::testing;

/// CHECK in a simulation too.
inline void holds(bool ok, const std::string& what,
                  std::source_location where = std::source_location::current()) {
    if (rn::detail::current_world() != nullptr)
        testing::expect(ok, what.c_str(), where);
    else
        CHECK_MESSAGE(ok, what);
}

template <class F>
void on_the_kernel(F story) {
    const auto end = run_on(1, story);
    CHECK(end);
}

template <class F>
void in_simulation(F story, const testing::network& how = testing::network()) {
    const auto all = testing::explore(testing::options().network(how), support::scaled(50U, 2'000U), story);
    CHECK_MESSAGE(all.ok(), all.what());
}

/// The story is true on the system's sockets and on simulated ones, under many seeds.
template <class F>
void everywhere(F story) {
    on_the_kernel(story);
    in_simulation(story);
}

inline rn::udp_socket bound(const char* to = "127.0.0.1:0", const rn::udp_options& how = {}) {
    return rn::udp_socket::bind(to, how).value();
}
inline rn::address address_of(rn::udp_socket& socket) { return socket.local_address().value(); }

/// For a test that cannot be done here.
inline void skipped(const char* why) { std::printf("skipped: %s\n", why); }

/// Where nobody is.
inline rn::address left_address() {
    rn::udp_socket gone = bound();
    return address_of(gone);
}

/// What the next datagram says, or what went wrong.
inline rn::task<std::string> next_text(rn::udp_socket& at) {
    auto got = co_await at.recv();
    if (!got) co_return got.error().message();
    co_return std::string(got->bytes.text());
}

inline rn::task<> say(rn::udp_socket& from, std::string_view text, const rn::address& to) {
    const rn::result<> sent = co_await from.send_to(text, to);
    holds(sent.has_value(), "sent");
}
}
