// tcp_options: how to make TCP sockets.
//
//   auto how = rn::tcp_options().reuse_port(true).keep_alive(rn::keep_alive().idle(30s));
//   auto listener = rn::tcp_listener::bind(":7777", how);
//
// What a listener was made with, the streams that it accepts have too: the system hands it on.
//
// Left out: SO_LINGER with a time. It makes close() wait, and with it a whole worker; who wants to know that the peer
// has read everything calls shutdown_write() and reads to the end of the stream.
#pragma once

#include <cstddef>

namespace runnel {

namespace detail {
/// A std::chrono::duration, whose header this one does without. A part of a second counts as one.
template <class Duration>
constexpr int whole_seconds(Duration time) noexcept {
    constexpr int most = 32767;  // the system takes no more
    const auto exact = static_cast<double>(time.count()) * static_cast<double>(Duration::period::num) /
                       static_cast<double>(Duration::period::den);
    if (!(exact < most)) return most;
    const int whole = static_cast<int>(exact);
    return whole < exact ? whole + 1 : whole;
}
}

/// Asks a peer that is silent whether it is still there, and gives the connection up (std::errc::timed_out) when
/// nothing answers. What is not said is the system's (on Linux: after two hours, nine times, every 75 s).
class keep_alive {
public:
    /// It asks.
    keep_alive() noexcept = default;
    /// It never asks, and a connection to a machine that has vanished lasts until something is written.
    static keep_alive off() noexcept {
        keep_alive none;
        none.on_ = false;
        return none;
    }

    /// How long it is silent before it is asked (TCP_KEEPIDLE).
    template <class Duration>
    keep_alive& idle(Duration time) noexcept {
        return idle_ = detail::whole_seconds(time), *this;
    }
    /// Then every so often (TCP_KEEPINTVL), this many times (TCP_KEEPCNT).
    template <class Duration>
    keep_alive& interval(Duration time) noexcept {
        return interval_ = detail::whole_seconds(time), *this;
    }
    keep_alive& count(int times) noexcept { return count_ = times, *this; }

    bool on() const noexcept { return on_; }
    // 0: as the system has it.
    int idle_seconds() const noexcept { return idle_; }
    int interval_seconds() const noexcept { return interval_; }
    int count() const noexcept { return count_; }

private:
    bool on_ = true;
    int idle_ = 0;
    int interval_ = 0;
    int count_ = 0;
};

/// A new one has no delay (as in Go) and its address can be bound again at once.
class tcp_options {
public:
    /// Sends small writes at once, rather than waiting for the acknowledgment of the last (TCP_NODELAY).
    tcp_options& nodelay(bool on) noexcept { return nodelay_ = on, *this; }
    /// A listener may take a port on which old connections still linger (SO_REUSEADDR).
    tcp_options& reuse_address(bool on) noexcept { return reuse_address_ = on, *this; }
    /// Several listeners may share a port, and the kernel spreads connections over them (SO_REUSEPORT).
    tcp_options& reuse_port(bool on) noexcept { return reuse_port_ = on, *this; }
    /// How many connections may wait for accept(); the system has a limit of its own (net.core.somaxconn).
    tcp_options& backlog(int connections) noexcept { return backlog_ = connections, *this; }
    /// Off, if nothing else is said.
    tcp_options& keep_alive(const runnel::keep_alive& how) noexcept { return keep_alive_ = how, *this; }
    /// close() resets the connection, and what has not been sent is lost (SO_LINGER with no time).
    tcp_options& reset_on_close(bool on) noexcept { return reset_on_close_ = on, *this; }
    /// As stream_socket::set_send_buffer() and set_receive_buffer(); 0 leaves them to the system. Set before the
    /// connection is there, they count for the window that TCP offers.
    tcp_options& send_buffer(std::size_t bytes) noexcept { return send_buffer_ = bytes, *this; }
    tcp_options& receive_buffer(std::size_t bytes) noexcept { return receive_buffer_ = bytes, *this; }

    bool nodelay() const noexcept { return nodelay_; }
    bool reuse_address() const noexcept { return reuse_address_; }
    bool reuse_port() const noexcept { return reuse_port_; }
    int backlog() const noexcept { return backlog_; }
    const runnel::keep_alive& keep_alive() const noexcept { return keep_alive_; }
    bool reset_on_close() const noexcept { return reset_on_close_; }
    std::size_t send_buffer() const noexcept { return send_buffer_; }
    std::size_t receive_buffer() const noexcept { return receive_buffer_; }

private:
    runnel::keep_alive keep_alive_ = runnel::keep_alive::off();
    std::size_t send_buffer_ = 0;
    std::size_t receive_buffer_ = 0;
    int backlog_ = 4096;
    bool nodelay_ = true;
    bool reuse_address_ = true;
    bool reuse_port_ = false;
    bool reset_on_close_ = false;
};
}
