#include <doctest/doctest.h>

#include <ostream>
#include <runnel/address.hpp>

using runnel::address;

namespace {
std::string round_trip(std::string_view text) {
    const auto parsed = address::parse(text);
    return parsed ? to_string(*parsed) : parsed.error().message();
}
}

TEST_CASE("address: what to_string writes parse reads") {
    for (const char* text : {"127.0.0.1:80", "0.0.0.0:0", "255.255.255.255:65535", "[::1]:80", "[::]:0",
                             "[2001:db8::8:800:200c:417a]:8080", "[fe80::1%3]:443"})
        CHECK(round_trip(text) == text);
}

TEST_CASE("address: an empty host is every IPv4 address of this machine") {
    CHECK(address::parse(":8080").value() == address::any_ipv4(8080));
}

TEST_CASE("address: what is no address is an invalid argument") {
    for (const char* text : {"",
                             ":",
                             "80",
                             "127.0.0.1",
                             "127.0.0.1:",
                             "127.0.0.1:65536",
                             "127.0.0.1:-1",
                             "127.0.0.1:8o",
                             "127.0.0.1 :80",
                             "127.0.0.1: 80",
                             "300.0.0.1:80",
                             "1.2.3:80",
                             "::1:80",
                             "[::1]",
                             "[::1]80",
                             "[::1:80",
                             "[]:80",
                             "[::1%eth0]:80",
                             "[1.2.3.4]:80",
                             "localhost:80",
                             "a.very.long.name.that.is.no.address.at."
                             "all.and.has.more.than.sixty.four.letters:1"})
        CHECK_MESSAGE(address::parse(text).error() == std::errc::invalid_argument, text);
    CHECK_FALSE(address::parse(std::string_view("127.0.0.1\0:80", 13)));
}

TEST_CASE("address: equal means the same host and port in the same family") {
    CHECK(address::parse("127.0.0.1:80").value() == address::loopback_ipv4(80));
    CHECK(address::parse("[0:0:0:0:0:0:0:1]:80").value() == address::loopback_ipv6(80));
    CHECK(address::loopback_ipv4(80) != address::loopback_ipv4(81));
    CHECK(address::loopback_ipv4(80) != address::loopback_ipv6(80));
    CHECK(address() == address::any_ipv4(0));
}

TEST_CASE("address: with_port changes the port only") {
    CHECK(address::loopback_ipv6(1).with_port(443) == address::loopback_ipv6(443));
    CHECK(address::loopback_ipv4(1).with_port(443).port() == 443);
}
