// What went wrong with an accept, and how often; see accept_loop.hpp.
#include "accept_loop.hpp"

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <string>

#include <runnel/unix_address.hpp>

#include "call_socket.hpp"

namespace runnel::detail {

accept_trouble kind_of(std::error_code error) noexcept {
    if (error.category() != std::system_category()) return accept_trouble::lasting;
    switch (error.value()) {
        case ECONNABORTED:
        case ECONNRESET:
        case EPROTO:
        case ENETDOWN:
        case ENETUNREACH:
        case EHOSTDOWN:
        case EHOSTUNREACH:
        case ENONET:
        case ENOPROTOOPT:
        case ETIMEDOUT:
        case EINTR:
            return accept_trouble::of_the_connection;
        case EAGAIN:
            return accept_trouble::none_there;
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
        case ENOSPC:  // of an epoll: too many watches
            return accept_trouble::of_this_process;
        default:
            return accept_trouble::lasting;
    }
}

namespace {
std::string name_of(descriptor& on) {
    native_address_room found;
    const int status = call(on, [&](socket_calls& calls, int fd) { return calls.local(fd, found); });
    if (status < 0) return "a closed listener";
    if (family_of(found) == socket_family::local) return to_string(to_address<unix_address>(found));
    return to_string(to_address<address>(found));
}
}

void listener::note_pause(std::error_code why) noexcept {
    // relaxed: a figure for people.
    const std::size_t before = std::atomic_ref<std::size_t>(pauses_).fetch_add(1, std::memory_order_relaxed);
    if (before != 0) return;
    const std::string where = name_of(socket_);
    std::fprintf(stderr, "runnel: accept at %s pauses until there are descriptors or memory again: %s\n",
                 where.c_str(), why.message().c_str());
}

std::size_t listener::accept_pauses() const noexcept {
    // relaxed: a figure for people.
    return std::atomic_ref<std::size_t>(const_cast<std::size_t&>(pauses_)).load(std::memory_order_relaxed);
}
}
