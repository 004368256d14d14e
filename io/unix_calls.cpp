// The system's calls for Unix sockets and their files; see runnel/detail/socket_calls.hpp.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>

#include <runnel/detail/socket_calls.hpp>
#include <runnel/owned_descriptor.hpp>
#include <runnel/unix.hpp>

namespace runnel {

// Of whatever it is: no back end has anything to do with it.
void owned_descriptor::close() noexcept {
    if (descriptor_ >= 0) ::close(release());
}
}

namespace runnel::detail {

namespace {
int or_error(int status) noexcept { return status < 0 ? -errno : status; }

const char* path_of(native_address at) noexcept { return static_cast<const sockaddr_un*>(at.data)->sun_path; }
}

native_address native(const unix_address& a) noexcept { return {a.native(), a.native_bytes()}; }

int socket_calls::open_pair(socket_kind kind, int (&both)[2]) noexcept {
    const int type = kind == socket_kind::stream ? SOCK_STREAM : SOCK_DGRAM;
    return or_error(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, both));
}

int socket_calls::credentials(int fd, peer_credentials& out) noexcept {
    ucred found{};
    socklen_t bytes = sizeof found;
    const int status = or_error(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &found, &bytes));
    out = peer_credentials(found.pid, found.uid, found.gid);
    return status;
}

int socket_calls::find_file(native_address at, file_id& out) noexcept {
    struct stat found{};
    if (lstat(path_of(at), &found) < 0) return -errno;
    out = {found.st_dev, found.st_ino};
    return S_ISSOCK(found.st_mode) ? 0 : -ENOTSOCK;
}

/// The connect of a datagram socket: where a stream socket is bound, it is told that this is the wrong type
/// (EPROTOTYPE), without waiting and without a connection that somebody would accept.
int socket_calls::look_for_socket(native_address at) noexcept {
    const int fd = open(socket_kind::datagram, socket_family::local);
    if (fd < 0) return fd;
    const int status = connect_now(fd, at);
    close(fd);
    return status == -EPROTOTYPE ? 0 : status;
}

int socket_calls::set_file_mode(native_address at, unsigned mode) noexcept {
    return or_error(chmod(path_of(at), static_cast<mode_t>(mode)));
}

int socket_calls::remove_file(native_address at) noexcept { return or_error(unlink(path_of(at))); }
}
