// See simulated_datagrams.hpp, whose steps are named here.
#include "simulated_datagrams.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "../drivers/absorb.hpp"

namespace runnel::detail {

namespace {

constexpr std::size_t ipv4_max = 65'507, ipv6_max = 65'527;

in6_addr host_of_ipv6(const address& a) noexcept {
    sockaddr_in6 native{};
    std::memcpy(&native, a.native(), std::min(sizeof native, a.native_bytes()));
    return native.sin6_addr;
}

std::uint32_t host_of_ipv4(const address& a) noexcept {
    sockaddr_in native{};
    std::memcpy(&native, a.native(), std::min(sizeof native, a.native_bytes()));
    return ntohl(native.sin_addr.s_addr);
}

bool is_group(const address& a) noexcept {
    if (a.is_ipv4()) return host_of_ipv4(a) >> 28 == 14;
    return host_of_ipv6(a).s6_addr[0] == 0xff;
}

bool is_broadcast(const address& a) noexcept { return a.is_ipv4() && host_of_ipv4(a) == INADDR_BROADCAST; }

/// The IPv4 address in one of the form ::ffff:a.b.c.d.
address unmapped(const address& a) noexcept {
    const in6_addr host = host_of_ipv6(a);
    if (a.is_ipv4() || !IN6_IS_ADDR_V4MAPPED(&host)) return a;
    sockaddr_in four{};
    four.sin_family = AF_INET;
    four.sin_port = htons(a.port());
    std::memcpy(&four.sin_addr, &host.s6_addr[12], sizeof four.sin_addr);
    address made;
    made.assign(&four, sizeof four);
    return made;
}

std::vector<std::byte> gathered(const msghdr& message) {
    std::vector<std::byte> all;
    for (std::size_t i = 0; i < message.msg_iovlen; ++i) {
        const auto* from = static_cast<const std::byte*>(message.msg_iov[i].iov_base);
        all.insert(all.end(), from, from + message.msg_iov[i].iov_len);
    }
    return all;
}

/// How many there was room for.
std::size_t scatter(const std::vector<std::byte>& from, msghdr& message) noexcept {
    std::size_t at = 0;
    for (std::size_t i = 0; i < message.msg_iovlen && at < from.size(); ++i) {
        const std::size_t part = std::min(message.msg_iov[i].iov_len, from.size() - at);
        if (part > 0) std::memcpy(message.msg_iov[i].iov_base, from.data() + at, part);
        at += part;
    }
    return at;
}

void tell_sender(const address& from, msghdr& message) noexcept {
    if (message.msg_name == nullptr) return;
    const auto room = static_cast<std::size_t>(message.msg_namelen);
    std::memcpy(message.msg_name, from.native(), std::min(room, from.native_bytes()));
    message.msg_namelen = static_cast<socklen_t>(from.native_bytes());
}
}

void simulated_datagrams::open(simulated_socket& socket) const {
    socket.datagrams = std::make_shared<datagram_box>(socket);
}

void simulated_datagrams::close(simulated_socket& socket) noexcept {
    socket.datagrams->holder = nullptr;  // P2
}

int simulated_datagrams::set(simulated_socket& socket, socket_option which, int value) noexcept {
    datagram_box& box = *socket.datagrams;
    if (which == socket_option::broadcast) box.broadcasts = value != 0;
    if (which == socket_option::multicast_loop) box.loops = value != 0;
    if (which == socket_option::v6only) box.v6only = value != 0;
    return which == socket_option::coalesce || which == socket_option::segment ? -ENOPROTOOPT : 0;
}

int simulated_datagrams::set_membership(simulated_socket& socket, const address& group, bool joined) {
    if (!is_group(group) || (group.is_ipv6() && socket.local.is_ipv4())) return -EINVAL;
    std::vector<address>& groups = socket.datagrams->groups;
    const auto found = std::find(groups.begin(), groups.end(), group.with_port(0));
    if (joined == (found != groups.end())) return joined ? -EADDRINUSE : -EADDRNOTAVAIL;
    if (joined)
        groups.push_back(group.with_port(0));
    else
        groups.erase(found);
    return 0;
}

int simulated_datagrams::connect(simulated_socket& socket, const address& to) {
    const address peer = destination(to);
    if (peer.is_ipv6() && socket.local.is_ipv4()) return -EAFNOSUPPORT;
    if (const int status = sockets_.bind_for(socket, peer); status < 0) return status;
    socket.local = source_for(socket, unmapped(peer));
    socket.datagrams->peer = unmapped(peer);
    return 0;
}

// --- Sending ---------------------------------------------------------------------------------------

int simulated_datagrams::destination_of(const simulated_socket& socket, const msghdr& what,
                                        address& to) const noexcept {
    const datagram_box& box = *socket.datagrams;
    if (what.msg_name != nullptr)
        to.assign(what.msg_name, what.msg_namelen);
    else if (box.peer.has_value())
        to = *box.peer;
    else
        return -EDESTADDRREQ;
    if (to.is_ipv6() && socket.local.is_ipv4()) return -EAFNOSUPPORT;
    if (to.port() == 0) return -EINVAL;
    to = unmapped(destination(to));
    if (to.is_ipv4() && box.v6only) return -ENETUNREACH;
    return is_broadcast(to) && !box.broadcasts ? -EACCES : 0;
}

/// The network has every host, and a socket at every host sends from the one that it sends to.
address simulated_datagrams::source_for(const simulated_socket& socket, const address& to) const noexcept {
    const address host = unmapped(destination(socket.local));
    const bool has_host = destination(socket.local) == socket.local && host.is_ipv4() == to.is_ipv4();
    if (has_host) return host;
    if (!is_group(to) && !is_broadcast(to)) return to.with_port(socket.local.port());
    const std::uint16_t port = socket.local.port();
    return to.is_ipv4() ? address::loopback_ipv4(port) : address::loopback_ipv6(port);
}

long simulated_datagrams::send(simulated_socket& socket, const msghdr& what) {
    if (const int report = std::exchange(socket.datagrams->report, 0); report != 0) return -report;
    if (socket.shut) return -EPIPE;
    parcel made;
    if (const int status = destination_of(socket, what, made.to); status < 0) return status;
    made.bytes = gathered(what);
    if (made.bytes.size() > (made.to.is_ipv4() ? ipv4_max : ipv6_max)) return -EMSGSIZE;
    if (!socket.bound) {
        if (const int status = sockets_.bind(socket, socket.local); status < 0) return status;
    }
    made.from = source_for(socket, made.to);
    const auto bytes = static_cast<long>(made.bytes.size());
    if (is_group(made.to) && !socket.datagrams->loops)
        drop(made, "is for members elsewhere");
    else
        launch(socket.datagrams, std::move(made));
    return bytes;
}

void simulated_datagrams::launch(const shared_box& sender, parcel what) {
    const testing::network& how = medium_.how();
    if (medium_.strikes(how.datagram_loss())) return drop(what, "is lost on its way");
    if (medium_.strikes(how.datagram_duplicates())) carry(sender, what);
    carry(sender, std::move(what));
}

/// Step 1.
void simulated_datagrams::carry(const shared_box& sender, parcel what) {
    const nanoseconds_t soonest = medium_.now() + medium_.latency();
    if (medium_.strikes(medium_.how().datagram_reordering())) {
        const nanoseconds_t later = soonest + medium_.how().latency_max().count();
        medium_.at(later, [this, sender, late = std::move(what)] { arrive(sender, late); });
        return;
    }
    const nanoseconds_t arrival = std::max(soonest, sender->last_arrival);
    sender->last_arrival = arrival;
    sender->under_way.emplace_back(arrival, std::move(what));
    medium_.at(arrival, [this, sender] {
        // Of the events at one time any may come first, and each takes the first that is due.
        const parcel first = std::move(sender->under_way.front().second);
        sender->under_way.pop_front();
        arrive(sender, first);
    });
}

// --- Arriving --------------------------------------------------------------------------------------

void simulated_datagrams::arrive(const shared_box& sender, const parcel& what) {
    if (medium_.is_cut(what.from, what.to)) return drop(what, "is lost at a cut");
    const std::vector<simulated_socket*> all = takers(what);
    if (all.empty()) {
        drop(what, "finds nobody");
        if (!is_group(what.to) && !is_broadcast(what.to)) report_refused(sender, what.to);
    }
    for (simulated_socket* each : all) deliver(*each, what);
}

/// Step 3.
void simulated_datagrams::report_refused(const shared_box& sender, const address& to) {
    medium_.at(medium_.now() + medium_.latency(), [this, sender, to] {
        if (sender->holder == nullptr || sender->peer != to) return;
        sender->report = ECONNREFUSED;
        medium_.changed(*sender->holder);
    });
}

/// Step 2.
std::vector<simulated_socket*> simulated_datagrams::takers(const parcel& what) {
    const bool to_group = is_group(what.to), to_all = is_broadcast(what.to);
    std::vector<simulated_socket*> best;
    int best_fit = 0;
    for (simulated_socket* each : sockets_.takers(what.to, to_group || to_all)) {
        const datagram_box& box = *each->datagrams;
        const auto& groups = box.groups;
        if (box.v6only && what.to.is_ipv4()) continue;
        if (box.peer.has_value() && box.peer != what.from) continue;
        if (to_group && std::find(groups.begin(), groups.end(), what.to.with_port(0)) == groups.end())
            continue;
        const bool at_host = unmapped(each->local) == what.to;
        const int fit = to_group || to_all ? 0 : (box.peer.has_value() ? 2 : 0) + (at_host ? 1 : 0);
        if (fit > best_fit) best.clear();
        best_fit = std::max(fit, best_fit);
        if (fit == best_fit) best.push_back(each);
    }
    if (to_group || to_all || best.size() < 2) return best;
    return {best[medium_.choose(static_cast<std::uint32_t>(best.size()))]};
}

/// Step 4.
void simulated_datagrams::deliver(simulated_socket& to, const parcel& what) {
    datagram_box& box = *to.datagrams;
    if (box.bytes + what.bytes.size() > medium_.how().buffer() && !box.arrived.empty())
        return drop(what, "finds no room");
    medium_.note(simulated_medium::what::arrived, what.to.port(), what.bytes.size());
    if (medium_.keeps_log())
        medium_.log(to_string(what.from) + " -> " + to_string(what.to) + ": a datagram of " +
                    std::to_string(what.bytes.size()) + " bytes");
    box.bytes += what.bytes.size();
    box.arrived.push_back(what);
    medium_.changed(to);
}

void simulated_datagrams::drop(const parcel& what, const char* why) {
    medium_.note(simulated_medium::what::lost, what.to.port(), what.bytes.size());
    if (medium_.keeps_log())
        medium_.log(to_string(what.from) + " -> " + to_string(what.to) + ": a datagram " + why);
}

// --- Receiving -------------------------------------------------------------------------------------

long simulated_datagrams::receive(simulated_socket& socket, msghdr& into, bool full_length) noexcept {
    datagram_box& box = *socket.datagrams;
    if (const int report = std::exchange(box.report, 0); report != 0) return -report;
    if (box.arrived.empty()) return -EAGAIN;
    const parcel got = std::move(box.arrived.front());
    box.arrived.pop_front();
    box.bytes -= got.bytes.size();
    const std::size_t moved = scatter(got.bytes, into);
    tell_sender(as_seen_by(socket.local, got.from), into);
    into.msg_controllen = 0;
    into.msg_flags = moved < got.bytes.size() ? MSG_TRUNC : 0;
    return static_cast<long>(full_length ? got.bytes.size() : moved);
}

int simulated_datagrams::look(simulated_socket& socket) noexcept {
    if (const int report = std::exchange(socket.datagrams->report, 0); report != 0) return -report;
    return socket.shut || !socket.datagrams->arrived.empty() ? 1 : 0;
}

bool simulated_datagrams::readable(const simulated_socket& socket) const noexcept {
    const datagram_box& box = *socket.datagrams;
    return socket.shut || box.report != 0 || !box.arrived.empty();
}

bool simulated_datagrams::attempt(simulated_socket& socket, io_action& action) {
    if (action.kind == io_kind::readability) return readable(socket);
    if (action.kind == io_kind::datagram) {
        int found = look(socket);
        while (found < 0 && absorb(action, -found)) found = look(socket);
        if (found < 0) action.error = -found;
        return found != 0;
    }
    if (action.kind != io_kind::send_message) {
        action.error = EOPNOTSUPP;
        return true;
    }
    const long sent = send(socket, *static_cast<const msghdr*>(action.data));
    if (sent < 0)
        action.error = static_cast<int>(-sent);
    else
        action.advance(static_cast<std::size_t>(sent));
    return true;
}
}
