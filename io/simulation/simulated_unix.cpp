// The Unix sockets of a simulated network; see simulated_network.hpp and simulated_names.hpp.
//
// As on Linux, connecting to one is done at once: nobody there, or no room, is known at once too. What is written has
// no way to go: it arrives at the time at which it was sent, in the order of simulated_stream.hpp, and nothing is lost.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <runnel/detail/check.hpp>
#include <runnel/unix.hpp>

#include "simulated_network.hpp"

namespace runnel::detail {

int simulated_network::bind_local(simulated_socket& socket, native_address to) {
    if (socket.bound) return -EINVAL;
    if (const int status = names_.bind(to, socket.local); status < 0) return status;
    socket.bound = socket.owns_name = true;
    return 0;
}

int simulated_network::begin_local_connect(simulated_request& request, simulated_socket& socket) {
    address to;
    const native_address wanted{request.action->data, request.action->bytes};
    if (const int status = names_.find(wanted, to); status < 0) return status;
    const std::vector<simulated_socket*> all = sockets_.listeners(to);
    if (all.empty()) return -ECONNREFUSED;
    simulated_socket& listener = *all.front();
    if (listener.to_accept.size() > listener.backlog) return -EAGAIN;
    socket.is = simulated_socket::connecting;
    note(what::asked, to.port(), 0);
    queue({&request, request.serial, socket.local, to, 0}, listener);
    return 0;
}

simulated_connection& simulated_network::connect_at_once(simulated_socket& one, simulated_socket& other) {
    simulated_connection& made = connections_.emplace_back(
        static_cast<simulated_medium&>(*this), static_cast<std::uint32_t>(connections_.size()), one.local,
        other.local, one.local, other.local, other.local);
    one.stream = &made.near;
    other.stream = &made.far;
    for (simulated_socket* each : {&one, &other}) {
        each->stream->holder = each;
        each->is = simulated_socket::connected;
    }
    return made;
}

int simulated_network::open_pair(socket_kind kind, int (&both)[2]) noexcept {
    both[0] = open(kind, socket_family::local);
    if (both[0] < 0) return both[0];
    both[1] = open(kind, socket_family::local);
    if (both[1] < 0) {
        close(both[0]);
        return both[1];
    }
    connect_at_once(*sockets_.find(both[0]), *sockets_.find(both[1]));
    return 0;
}

/// All of a simulation is one process.
int simulated_network::credentials(int fd, peer_credentials& out) noexcept {
    if (sockets_.find(fd) == nullptr) return -EBADF;
    out = peer_credentials(getpid(), geteuid(), getegid());
    return 0;
}

int simulated_network::find_file(native_address at, file_id& out) noexcept {
    address found;
    if (const int status = names_.find(at, found); status < 0) return status;
    out = {0, found.port()};
    return 0;
}

int simulated_network::look_for_socket(native_address at) noexcept {
    address found;
    if (const int status = names_.find(at, found); status < 0) return status;
    return sockets_.is_bound(found) ? 0 : -ECONNREFUSED;
}

int simulated_network::set_file_mode(native_address, unsigned) noexcept { return 0; }

int simulated_network::remove_file(native_address at) noexcept { return names_.remove(at); }

std::string simulated_network::text_of(const address& a) const {
    if (!is_local(a)) return to_string(a);
    return a.port() != 0 ? to_string(names_.name_of(a)) : "unnamed";
}

int simulated_network::give(native_address_room& out, const address& a) const noexcept {
    if (is_local(a)) {
        const unix_address name = names_.name_of(a);
        out.bytes = name.native_bytes();
        std::memcpy(out.data, name.native(), out.bytes);
    } else {
        out.bytes = a.native_bytes();
        std::memcpy(out.data, a.native(), out.bytes);
    }
    return 0;
}
}
