// socket_calls: what is asked of the operating system about sockets and answered at once.
//
// The base class asks the system. A back end that plays a network (simulation) overrides all of it; so
// no socket call and no address query is made anywhere else. Each call returns what the system does, or
// -errno: errno itself is never looked at later, on another thread perhaps.
#pragma once

#include <cstddef>

namespace runnel {
class address;
}

namespace runnel::detail {

enum class socket_option : unsigned char { nodelay, reuse_address, reuse_port };

class socket_calls {
public:
    /// A stream socket of the address's family, closed on exec.
    virtual int open_stream(const address& family_of) noexcept;
    virtual int set(int fd, socket_option which, bool on) noexcept;
    virtual int bind(int fd, const address& to) noexcept;
    virtual int listen(int fd, int backlog) noexcept;
    virtual int local(int fd, address& out) noexcept;
    virtual int peer(int fd, address& out) noexcept;
    virtual int shut_down(int fd, int how) noexcept;
    virtual int close(int fd) noexcept;

    /// What can be transferred without waiting; -EAGAIN when nothing can. Never raises SIGPIPE.
    virtual long receive_now(int fd, void* to, std::size_t bytes) noexcept;
    virtual long send_now(int fd, const void* from, std::size_t bytes) noexcept;

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
