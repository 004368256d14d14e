// See simulated_sockets.hpp, whose rules are named here.
#include "simulated_sockets.hpp"

#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <runnel/detail/check.hpp>

#include "simulated_names.hpp"

namespace runnel::detail {

namespace {
constexpr std::uint16_t first_port = 32768, last_port = 60999;  // ip_local_port_range

bool is_every_host(const address& a) noexcept {
    return a.with_port(0) == (a.is_ipv4() ? address::any_ipv4(0) : address::any_ipv6(0));
}

bool same_host(const address& a, const address& b) noexcept { return a.with_port(0) == b.with_port(0); }

/// Is somebody who asks for `to` one for `at`? Rule 3.
bool meets(const address& at, const address& to) noexcept {
    if (at.port() != to.port() || is_local(at) != is_local(to)) return false;
    if (same_host(at, to)) return true;
    return is_every_host(at) && (at.is_ipv6() || to.is_ipv4());
}
}

address destination(const address& to) noexcept {
    if (!is_every_host(to)) return to;
    return to.is_ipv4() ? address::loopback_ipv4(to.port()) : address::loopback_ipv6(to.port());
}

address as_seen_by(const address& by, const address& a) noexcept {
    if (by.is_ipv4() || a.is_ipv6()) return a;
    sockaddr_in four;
    std::memcpy(&four, a.native(), sizeof four);
    sockaddr_in6 six{};
    six.sin6_family = AF_INET6;
    six.sin6_port = four.sin_port;
    six.sin6_addr.s6_addr[10] = six.sin6_addr.s6_addr[11] = 0xff;
    std::memcpy(&six.sin6_addr.s6_addr[12], &four.sin_addr, 4);
    address seen;
    seen.assign(&six, sizeof six);
    return seen;
}

simulated_socket* simulated_sockets::open(const address& unbound) {
    auto free = std::find(table_.begin(), table_.end(), nullptr);
    if (free == table_.end()) {
        if (table_.size() >= most_) return nullptr;
        free = table_.emplace(free);
    }
    *free = std::make_unique<simulated_socket>();
    (*free)->fd = first_number + static_cast<int>(free - table_.begin());
    (*free)->local = unbound;
    return free->get();
}

simulated_socket* simulated_sockets::find(int fd) const noexcept {
    check(fd < 0 || fd >= first_number,
          "simulation: a socket of the system; those of a simulation are made by its tasks");
    const auto index = static_cast<std::size_t>(fd - first_number);
    return fd >= 0 && index < table_.size() ? table_[index].get() : nullptr;
}

void simulated_sockets::close(simulated_socket& socket) noexcept {
    table_[static_cast<std::size_t>(socket.fd - first_number)].reset();
}

/// Rules 1 and 2.
bool simulated_sockets::in_the_way(const simulated_socket& other, const simulated_socket& mine,
                                   const address& at) const noexcept {
    if (&other == &mine || !other.bound || other.local.port() != at.port()) return false;
    if ((other.datagrams == nullptr) != (mine.datagrams == nullptr)) return false;  // ports of their own
    if (!meets(other.local, at) && !meets(at, other.local)) return false;
    if (other.reuse_port && mine.reuse_port) return false;
    return !(other.reuse_address && mine.reuse_address && !other.listens());
}

std::uint16_t simulated_sockets::free_port(const address& host) {
    for (int tries = first_port; tries <= last_port; ++tries) {
        last_port_ = last_port_ >= last_port ? first_port : static_cast<std::uint16_t>(last_port_ + 1);
        const address wanted = host.with_port(last_port_);
        const bool taken = std::any_of(table_.begin(), table_.end(), [&](const auto& each) {
            return each != nullptr && each->bound &&
                   (meets(each->local, wanted) || meets(wanted, each->local));
        });
        if (!taken) return last_port_;
    }
    return 0;
}

int simulated_sockets::bind(simulated_socket& socket, const address& to) {
    if (socket.bound || socket.is != simulated_socket::fresh) return -EINVAL;
    if (socket.local.is_ipv4() != to.is_ipv4()) return to.is_ipv4() ? -EINVAL : -EAFNOSUPPORT;
    const std::uint16_t port = to.port() != 0 ? to.port() : free_port(to);
    if (port == 0) return -EADDRINUSE;
    const address wanted = to.with_port(port);
    for (const auto& each : table_)
        if (each != nullptr && in_the_way(*each, socket, wanted)) return -EADDRINUSE;
    socket.local = wanted;
    socket.bound = true;
    return 0;
}

int simulated_sockets::listen(simulated_socket& socket, std::size_t backlog) {
    if (socket.is == simulated_socket::connecting || socket.is == simulated_socket::connected) return -EINVAL;
    if (!socket.bound && is_local(socket.local)) return -EINVAL;
    if (!socket.bound) {
        if (const int status = bind(socket, socket.local); status < 0) return status;
    }
    for (const auto& each : table_)
        if (each != nullptr && each->listens() && in_the_way(*each, socket, socket.local)) return -EADDRINUSE;
    socket.is = simulated_socket::listening;
    socket.backlog = backlog;
    return 0;
}

int simulated_sockets::bind_for(simulated_socket& socket, const address& peer) {
    if (socket.bound) return 0;
    const std::uint16_t port = free_port(peer);
    if (port == 0) return -EADDRNOTAVAIL;
    socket.local = peer.with_port(port);  // the network has that host too
    socket.bound = true;
    return 0;
}

bool simulated_sockets::is_bound(const address& name) const noexcept {
    return std::any_of(table_.begin(), table_.end(), [&](const auto& each) {
        return each != nullptr && each->owns_name && each->local == name;
    });
}

std::vector<simulated_socket*> simulated_sockets::listeners(const address& at) const {
    std::vector<simulated_socket*> exact, every;
    for (const auto& each : table_) {
        if (each == nullptr || each->is != simulated_socket::listening || each->shut) continue;
        if (!meets(each->local, at)) continue;
        (same_host(each->local, at) ? exact : every).push_back(each.get());
    }
    return exact.empty() ? every : exact;
}

std::vector<simulated_socket*> simulated_sockets::takers(const address& to, bool of_many) const {
    std::vector<simulated_socket*> all;
    for (const auto& each : table_) {
        if (each == nullptr || each->datagrams == nullptr || !each->bound || each->shut) continue;
        const bool at_port = each->local.port() == to.port() && is_every_host(each->local);
        if (meets(each->local, to) || meets(each->local, as_seen_by(each->local, to)) || (of_many && at_port))
            all.push_back(each.get());
    }
    return all;
}
}
