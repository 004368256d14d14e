// See absorb.hpp.
#include "absorb.hpp"

#include <atomic>
#include <cerrno>

namespace runnel::detail {

bool is_network_report(int error) noexcept {
    switch (error) {
        case ECONNREFUSED:
        case EHOSTUNREACH:
        case ENETUNREACH:
        case EHOSTDOWN:
        case ENETDOWN:
        case ENONET:
        case ENOPROTOOPT:
        case EPROTO:
        case EOPNOTSUPP:
        case EACCES:    // forbidden on the way, by IPv6
        case EMSGSIZE:  // too big for a link on the way
            return true;
        default:
            return false;
    }
}

void count_report(std::size_t& figure, std::size_t reports) noexcept {
    // relaxed: a figure for people.
    std::atomic_ref<std::size_t>(figure).fetch_add(reports, std::memory_order_relaxed);
}

bool absorb(io_action& what, int error) noexcept {
    if (what.absorbed == nullptr || !is_network_report(error)) return false;
    if (what.kind != io_kind::datagram && what.has_absorbed) return false;
    what.has_absorbed = true;
    count_report(*what.absorbed);
    return true;
}
}
