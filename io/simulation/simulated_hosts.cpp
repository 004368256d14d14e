// See simulated_hosts.hpp, and runnel/testing_network.hpp for what a test may set.
#include "simulated_hosts.hpp"

#include <algorithm>

#include <runnel/resolve.hpp>

namespace runnel::detail {

namespace {

std::string in_lower_case(std::string_view name) {
    std::string lower(name);
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return lower;
}

result<std::uint16_t> port_of(std::string_view service) noexcept {
    if (service == "http") return std::uint16_t{80};
    if (service == "https") return std::uint16_t{443};
    if (service == "domain") return std::uint16_t{53};
    const result<std::uint16_t> port = port_in_digits(service);
    if (!port) return make_error_code(resolve_errc::unknown_service);
    return port;
}
}

simulated_hosts::simulated_hosts() {
    addresses both{address::loopback_ipv6(0), address::loopback_ipv4(0)};
    set("localhost", entry(std::move(both), 0));
}

void simulated_hosts::set(std::string_view name, entry what) {
    names_.insert_or_assign(in_lower_case(name), std::move(what));
}

void simulated_hosts::forget(std::string_view name) { names_.erase(in_lower_case(name)); }

simulated_hosts::entry simulated_hosts::look_up(const name_query& what) const {
    const result<std::uint16_t> port = port_of(what.service);
    if (!port) return entry(port.error(), 0);
    const auto known = names_.find(in_lower_case(what.name));
    if (known == names_.end()) {
        // An address in digits whose service was not: the system would know it, too.
        const result<address> digits = in_digits(name_query(what.name, std::to_string(*port)));
        if (digits) return entry(addresses(1, *digits), 0);
        return entry(make_error_code(resolve_errc::not_found), 0);
    }
    entry found = known->second;
    if (found.answer)
        for (address& each : *found.answer) each = each.with_port(*port);
    return found;
}
}
