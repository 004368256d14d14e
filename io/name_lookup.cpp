// Names in digits, places in line, and the question to the system; see name_lookup.hpp.
#include "name_lookup.hpp"

#include <netdb.h>

#include <cerrno>
#include <charconv>
#include <memory>
#include <new>

#include <runnel/blocking.hpp>
#include <runnel/resolve.hpp>

#include "simulation/simulated_network.hpp"

namespace runnel::detail {

namespace {

constexpr std::uint64_t lookups_at_once = 32;
constexpr std::size_t name_bytes_max = 1024;  // NI_MAXHOST - 1, more than any DNS name

bool can_be_asked(const std::string& text) noexcept {
    return text.size() < name_bytes_max && text.find('\0') == std::string::npos;
}

std::error_code lookup_error(int status, int system) noexcept {
    switch (status) {
        case EAI_NONAME:
            return resolve_errc::not_found;
        case EAI_NODATA:
        case EAI_ADDRFAMILY:
        case EAI_FAMILY:
            return resolve_errc::no_address;
        case EAI_AGAIN:
            return resolve_errc::temporary_failure;
        case EAI_SERVICE:
        case EAI_SOCKTYPE:
            return resolve_errc::unknown_service;
        case EAI_MEMORY:
            return std::make_error_code(std::errc::not_enough_memory);
        case EAI_SYSTEM:
            return {system, std::system_category()};
        default:
            return resolve_errc::server_failure;
    }
}

/// Step 3, on a thread of the pool. The place is given back with the arguments, after this has ended.
result<addresses> look_up(look_up_function ask, const name_query& what, const permit&) { return ask(what); }

/// Step 4.
task<result<addresses>> resolve_simulated(simulated_hosts& names, name_query what) {
    const simulated_hosts::entry found = names.look_up(what);
    if (found.delay > 0) {
        const auto waited = co_await sleep_for(std::chrono::nanoseconds(found.delay));
        if (!waited) co_return waited.error();
    }
    co_return found.answer;
}
}

result<std::uint16_t> port_in_digits(std::string_view text) noexcept {
    std::uint32_t port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (text.empty() || end != text.data() + text.size()) return make_error_code(resolve_errc::not_found);
    if (error != std::errc() || port > UINT16_MAX) return make_error_code(resolve_errc::unknown_service);
    return static_cast<std::uint16_t>(port);
}

result<name_query> split_name(std::string_view text) {
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) return std::make_error_code(std::errc::invalid_argument);
    std::string_view name = text.substr(0, colon);
    const bool in_brackets = name.size() >= 2 && name.front() == '[' && name.back() == ']';
    if (in_brackets)
        name = name.substr(1, name.size() - 2);
    else if (name.find_first_of(":[]") != std::string_view::npos)
        return std::make_error_code(std::errc::invalid_argument);  // "::1:80" could mean either
    return name_query(name, text.substr(colon + 1));
}

result<address> in_digits(const name_query& what) {
    if (what.name.empty() || !can_be_asked(what.name)) return make_error_code(resolve_errc::invalid_name);
    if (what.service.empty() || !can_be_asked(what.service))
        return make_error_code(resolve_errc::unknown_service);
    const result<std::uint16_t> port = port_in_digits(what.service);
    if (!port) return port.error();
    const bool is_ipv6 = what.name.find(':') != std::string::npos;
    const result<address> found = address::parse(is_ipv6 ? "[" + what.name + "]:0" : what.name + ":0");
    if (!found) return make_error_code(resolve_errc::not_found);
    return found->with_port(*port);
}

task<result<addresses>> name_lookups::resolve(name_query what) {
    const result<address> number = in_digits(what);
    if (number) co_return addresses(1, *number);
    if (number.error() != resolve_errc::not_found) co_return number.error();
    if (simulated_world* world = current_world())  // there is no other world
        co_return co_await resolve_simulated(static_cast<simulated_network&>(*world).hosts(),
                                             std::move(what));
    auto place = co_await places_.acquire();
    if (!place) co_return place.error();
    co_return co_await blocking(look_up, ask_, std::move(what), std::move(*place));
}

name_lookups& system_lookups() {
    static name_lookups* const all = new name_lookups(ask_system, lookups_at_once);
    return *all;
}

result<addresses> ask_system(const name_query& what) {
    addrinfo wanted{};
    wanted.ai_family = AF_UNSPEC;
    wanted.ai_socktype = SOCK_STREAM;  // else each address comes once for each type
    addrinfo* first = nullptr;
    const int status = ::getaddrinfo(what.name.c_str(), what.service.c_str(), &wanted, &first);
    if (status != 0) return lookup_error(status, errno);
    const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(first, ::freeaddrinfo);
    addresses found;
    for (const addrinfo* each = first; each != nullptr; each = each->ai_next) {
        if (each->ai_family != AF_INET && each->ai_family != AF_INET6) continue;
        found.emplace_back().assign(each->ai_addr, each->ai_addrlen);
    }
    if (found.empty()) return make_error_code(resolve_errc::no_address);
    return found;
}
}
