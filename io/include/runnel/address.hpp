// address: where a peer is: an IPv4 or IPv6 address and a port.
//
//   auto here = rn::address::parse("127.0.0.1:8080").value();
//   auto six = rn::address::parse("[::1]:8080").value();
//   to_string(six) == "[::1]:8080"
//
// A value in the form that the system's calls take. Names are not looked up here: that takes time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <runnel/result.hpp>

namespace runnel {

class address {
public:
    /// 0.0.0.0:0
    address() noexcept;

    /// From "1.2.3.4:80", "[::1]:80", "[fe80::1%2]:80" (2 is the interface's number), or ":80", which is
    /// every IPv4 address of this machine.
    /// Returns  std::errc::invalid_argument for anything else, host names too.
    static result<address> parse(std::string_view text);
    static address any_ipv4(std::uint16_t port) noexcept;
    static address any_ipv6(std::uint16_t port) noexcept;
    static address loopback_ipv4(std::uint16_t port) noexcept;
    static address loopback_ipv6(std::uint16_t port) noexcept;

    bool is_ipv4() const noexcept;
    bool is_ipv6() const noexcept { return !is_ipv4(); }
    std::uint16_t port() const noexcept;
    address with_port(std::uint16_t port) const noexcept;

    friend bool operator==(const address& a, const address& b) noexcept;

    /// The sockaddr of the system. `assign` is for what the system has written there.
    const void* native() const noexcept { return bytes_; }
    std::size_t native_bytes() const noexcept;
    void assign(const void* native, std::size_t bytes) noexcept;

private:
    static constexpr std::size_t room = 28;  // a sockaddr_in6
    alignas(4) unsigned char bytes_[room] = {};
};

/// "1.2.3.4:80" or "[::1]:80": what parse() reads.
std::string to_string(const address& a);
}
