// Addresses: from text and back, through the system's own functions; see runnel/address.hpp.
#include <runnel/address.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <charconv>
#include <cstring>

namespace runnel {

namespace {

std::error_code bad_address() noexcept { return std::make_error_code(std::errc::invalid_argument); }

/// All of `text` as a decimal number of at most `max`.
template <class Number>
bool to_number(std::string_view text, Number& out) noexcept {
    const char* end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data(), end, out);
    return !text.empty() && error == std::errc() && stopped == end;
}

/// inet_pton with a view. IPv6 in its longest form has 45 characters.
bool to_bytes(int family, std::string_view text, void* out) noexcept {
    char terminated[64];
    if (text.size() >= sizeof terminated || text.find('\0') != text.npos) return false;
    text.copy(terminated, text.size());
    terminated[text.size()] = '\0';
    return inet_pton(family, terminated, out) == 1;
}

bool parse_ipv4(std::string_view host, std::uint16_t port, sockaddr_in& out) noexcept {
    out = {};
    out.sin_family = AF_INET;
    out.sin_port = htons(port);
    return host.empty() || to_bytes(AF_INET, host, &out.sin_addr);
}

bool parse_ipv6(std::string_view host, std::uint16_t port, sockaddr_in6& out) noexcept {
    out = {};
    out.sin6_family = AF_INET6;
    out.sin6_port = htons(port);
    const std::size_t percent = host.find('%');
    if (percent != host.npos && !to_number(host.substr(percent + 1), out.sin6_scope_id)) return false;
    return to_bytes(AF_INET6, host.substr(0, percent), &out.sin6_addr);
}

template <class Native>
address from_native(const Native& native) noexcept {
    address made;
    made.assign(&native, sizeof native);
    return made;
}

// Bytes, not a cast pointer: these types may not alias the array that holds them.
template <class Native>
Native to_native(const address& a) noexcept {
    Native native{};
    std::memcpy(&native, a.native(), sizeof native);
    return native;
}

address ipv6_with(const in6_addr& host, std::uint16_t port) noexcept {
    sockaddr_in6 native{};
    native.sin6_family = AF_INET6;
    native.sin6_port = htons(port);
    native.sin6_addr = host;
    return from_native(native);
}

address ipv4_with(std::uint32_t host, std::uint16_t port) noexcept {
    sockaddr_in native{};
    native.sin_family = AF_INET;
    native.sin_port = htons(port);
    native.sin_addr.s_addr = htonl(host);
    return from_native(native);
}
}

address::address() noexcept {
    const sa_family_t family = AF_INET;
    std::memcpy(bytes_, &family, sizeof family);
}

result<address> address::parse(std::string_view text) {
    const std::size_t colon = text.rfind(':');
    std::uint16_t port = 0;
    if (colon == text.npos || !to_number(text.substr(colon + 1), port)) return bad_address();
    const std::string_view host = text.substr(0, colon);
    if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
        sockaddr_in6 native;
        if (parse_ipv6(host.substr(1, host.size() - 2), port, native)) return from_native(native);
    } else {
        sockaddr_in native;
        if (parse_ipv4(host, port, native)) return from_native(native);
    }
    return bad_address();
}

address address::any_ipv4(std::uint16_t port) noexcept { return ipv4_with(INADDR_ANY, port); }
address address::any_ipv6(std::uint16_t port) noexcept { return ipv6_with(in6addr_any, port); }
address address::loopback_ipv4(std::uint16_t port) noexcept { return ipv4_with(INADDR_LOOPBACK, port); }
address address::loopback_ipv6(std::uint16_t port) noexcept { return ipv6_with(in6addr_loopback, port); }

bool address::is_ipv4() const noexcept {
    sa_family_t family;
    std::memcpy(&family, bytes_, sizeof family);
    return family == AF_INET;
}

std::uint16_t address::port() const noexcept {
    static_assert(offsetof(sockaddr_in, sin_port) == offsetof(sockaddr_in6, sin6_port));
    std::uint16_t port;
    std::memcpy(&port, bytes_ + offsetof(sockaddr_in, sin_port), sizeof port);
    return ntohs(port);
}

address address::with_port(std::uint16_t port) const noexcept {
    address other = *this;
    const std::uint16_t on_the_wire = htons(port);
    std::memcpy(other.bytes_ + offsetof(sockaddr_in, sin_port), &on_the_wire, sizeof on_the_wire);
    return other;
}

bool operator==(const address& a, const address& b) noexcept {
    return std::memcmp(a.bytes_, b.bytes_, address::room) == 0;
}

std::size_t address::native_bytes() const noexcept {
    return is_ipv4() ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
}

void address::assign(const void* native, std::size_t bytes) noexcept {
    static_assert(room == sizeof(sockaddr_in6));
    *this = address();
    std::memcpy(bytes_, native, bytes < room ? bytes : room);
    if (is_ipv6()) std::memset(bytes_ + offsetof(sockaddr_in6, sin6_flowinfo), 0, sizeof(std::uint32_t));
}

std::string to_string(const address& a) {
    char host[INET6_ADDRSTRLEN];
    if (a.is_ipv4()) {
        const auto native = to_native<sockaddr_in>(a);
        inet_ntop(AF_INET, &native.sin_addr, host, sizeof host);
        return std::string(host) + ':' + std::to_string(a.port());
    }
    const auto native = to_native<sockaddr_in6>(a);
    inet_ntop(AF_INET6, &native.sin6_addr, host, sizeof host);
    std::string text = std::string("[") + host;
    if (native.sin6_scope_id != 0) text += '%' + std::to_string(native.sin6_scope_id);
    return text + "]:" + std::to_string(a.port());
}
}
