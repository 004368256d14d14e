// socket_calls: what is asked of the operating system about sockets and answered at once.
//
// The base class asks the system. A back end that plays a network (simulation) overrides all of it; so
// no socket call and no address query is made anywhere else. Each call returns what the system does, or
// -errno: errno itself is never looked at later, on another thread perhaps.
#pragma once

#include <cstddef>

struct mmsghdr;
struct msghdr;

namespace runnel {
class address;
class unix_address;
class peer_credentials;
}

namespace runnel::detail {

enum class socket_kind : unsigned char { stream, datagram };
enum class socket_family : unsigned char { ipv4, ipv6, local };

enum class socket_option : unsigned char {
    nodelay,
    reuse_address,
    reuse_port,
    keep_alive,
    keep_alive_idle,  // seconds, as the interval
    keep_alive_interval,
    keep_alive_count,
    linger,       // seconds; -1: off
    send_buffer,  // bytes; the system takes twice as much, and says so
    receive_buffer,
    non_blocking,
    broadcast,
    v6only,
    hop_limit,
    multicast_loop,
    multicast_hops,
    multicast_interface,  // by its number
    multicast_all,        // what is sent to groups that others have joined
    segment,              // bytes of each datagram that the kernel makes of one
    coalesce              // it may make one of several
};

/// An address of any family in the system's form, which lives somewhere else.
struct native_address {
    const void* data = nullptr;
    std::size_t bytes = 0;
};

/// Room for one; `bytes` tells how much of it the system has written.
struct native_address_room {
    alignas(8) unsigned char data[128];
    std::size_t bytes = 0;
    native_address get() const noexcept { return {data, bytes}; }
};

/// What a file is, whatever its name.
struct file_id {
    unsigned long long device = 0, number = 0;
    friend bool operator==(const file_id& a, const file_id& b) noexcept = default;
};

native_address native(const address& a) noexcept;
native_address native(const unix_address& a) noexcept;
socket_family family_of(const address& a) noexcept;
socket_family family_of(const native_address_room& written) noexcept;

class socket_calls {
public:
    /// A socket that is closed on exec.
    virtual int open(socket_kind kind, socket_family family) noexcept;
    virtual int set(int fd, socket_option which, int value) noexcept;
    virtual int get(int fd, socket_option which, int& value) noexcept;
    virtual int bind(int fd, native_address to) noexcept;
    /// Of what connects at once: datagrams, and what is non-blocking. Others wait: io_kind::connect.
    virtual int connect_now(int fd, native_address to) noexcept;
    /// And is not blocking from then on.
    virtual int listen(int fd, int backlog) noexcept;
    virtual int local(int fd, native_address_room& out) noexcept;
    virtual int peer(int fd, native_address_room& out) noexcept;
    /// Of Unix sockets: two that are connected; who is at the other end.
    virtual int open_pair(socket_kind kind, int (&both)[2]) noexcept;
    virtual int credentials(int fd, peer_credentials& out) noexcept;
    virtual int shut_down(int fd, int how) noexcept;
    virtual int close(int fd) noexcept;

    /// What can be transferred without waiting; -EAGAIN when nothing can. Never raises SIGPIPE.
    virtual long receive_now(int fd, void* to, std::size_t bytes) noexcept;
    virtual long send_now(int fd, const void* from, std::size_t bytes) noexcept;
    /// Would receive_now() not wait, or accept_now()?
    virtual bool readable_now(int fd) noexcept;
    /// The same of UDP: 1, or 0, or an error, of which reports of the network (ICMP) are told once.
    virtual int datagram_now(int fd) noexcept;
    /// A connection's descriptor, of a listener that is not blocking.
    virtual int accept_now(int fd) noexcept;
    /// The same of one message (see io_kind::receive_message). `full_length`: of a datagram cut short, all of it.
    virtual long receive_message_now(int fd, msghdr& into, bool full_length) noexcept;
    virtual long send_message_now(int fd, const msghdr& what) noexcept;
    /// The same of several, each with its full length: how many, at least one.
    virtual long receive_messages_now(int fd, mmsghdr* into, unsigned most) noexcept;
    virtual long send_messages_now(int fd, mmsghdr* what, unsigned count) noexcept;
    /// Joins a group at an interface, by its number, or leaves it.
    virtual int set_membership(int fd, native_address group, unsigned interface, bool joined) noexcept;

    // The files that Unix sockets are; see detail/socket_file.hpp. `at` is a path.
    /// -ENOTSOCK when it is another kind of file.
    virtual int find_file(native_address at, file_id& out) noexcept;
    /// Is some socket bound to it? -ECONNREFUSED: none is. Nobody there notices.
    virtual int look_for_socket(native_address at) noexcept;
    virtual int set_file_mode(native_address at, unsigned mode) noexcept;
    virtual int remove_file(native_address at) noexcept;

    /// A pipe, closed on exec: [0] to read, [1] to write.
    virtual int make_pipe(int (&ends)[2]) noexcept;
    /// As receive_now() and send_now(), of any descriptor; `at_once`: it is one that never waits.
    virtual long read_now(int fd, void* to, std::size_t bytes, bool at_once) noexcept;
    virtual long write_now(int fd, const void* from, std::size_t bytes, bool at_once) noexcept;

protected:
    ~socket_calls() = default;
};

/// The one of the worker that runs this; on a plain thread the system's. Threads: any.
socket_calls& current_sockets() noexcept;
}
