// One action, call by call; see plain_action.hpp.
#include "plain_action.hpp"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include <runnel/detail/pieces.hpp>

#include "absorb.hpp"
#include "byte_calls.hpp"
#include "looks.hpp"
#include "uninterrupted.hpp"

namespace runnel::detail {

namespace {
constexpr std::size_t most_at_once = std::size_t{1} << 20;

bool would_wait(long answer) noexcept { return answer == -EAGAIN || answer == -EWOULDBLOCK; }

bool end(io_action& what, long answer) noexcept {
    if (answer < 0) what.error = static_cast<int>(-answer);
    return true;
}

void set_blocking(int fd, bool on) noexcept {
    const int flags = fcntl(fd, F_GETFL);
    const int wanted = on ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
    if (flags >= 0 && flags != wanted) fcntl(fd, F_SETFL, wanted);
}

bool receive(io_action& what) noexcept {
    const long answer = answer_of([&] { return recv(what.fd, what.data, what.bytes, MSG_DONTWAIT); });
    if (would_wait(answer)) return false;
    if (answer > 0) what.advance(static_cast<std::size_t>(answer));
    return end(what, answer);
}

bool send(io_action& what) noexcept {
    const std::size_t bytes = std::min(what.bytes, most_at_once);
    const long answer =
        answer_of([&] { return ::send(what.fd, what.data, bytes, MSG_DONTWAIT | MSG_NOSIGNAL); });
    if (would_wait(answer)) return false;
    if (answer > 0) what.advance(static_cast<std::size_t>(answer));
    return answer < 0 ? end(what, answer) : !what.whole || what.bytes == 0;
}

bool receive_message(io_action& what) noexcept {
    const int flags = MSG_DONTWAIT | MSG_CMSG_CLOEXEC | (what.full_length ? MSG_TRUNC : 0);
    const long answer = answer_of([&] { return recvmsg(what.fd, static_cast<msghdr*>(what.data), flags); });
    if (would_wait(answer)) return false;
    if (answer > 0) what.advance(static_cast<std::size_t>(answer));
    return end(what, answer);
}

bool send_message(io_action& what) noexcept {
    const auto call = [&] {
        return sendmsg(what.fd, static_cast<const msghdr*>(what.data), MSG_DONTWAIT | MSG_NOSIGNAL);
    };
    long answer = answer_of(call);
    while (answer < 0 && absorb(what, static_cast<int>(-answer))) answer = answer_of(call);
    if (would_wait(answer)) return false;
    if (answer > 0) what.advance(static_cast<std::size_t>(answer));
    return end(what, answer);
}

bool send_pieces(io_action& what) noexcept {
    const msghdr& message = static_cast<pieces*>(what.data)->message();
    const long answer = answer_of([&] { return sendmsg(what.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL); });
    if (would_wait(answer)) return false;
    if (answer > 0) what.advance(static_cast<std::size_t>(answer));
    return answer < 0 ? end(what, answer) : !what.whole || what.bytes == 0;
}

bool await_datagram(io_action& what) noexcept {
    int answer = look_for_datagram(what.fd);
    while (answer < 0 && absorb(what, -answer)) answer = look_for_datagram(what.fd);
    return answer != 0 && end(what, answer);
}

/// On Linux a connect that a signal has interrupted goes on, as one that does not wait does.
bool begin_connect(io_action& what) noexcept {
    set_blocking(what.fd, false);
    if (connect(what.fd, static_cast<const sockaddr*>(what.data), static_cast<socklen_t>(what.bytes)) == 0)
        errno = 0;
    if (errno == EINPROGRESS || errno == EINTR) return false;
    const int error = errno;
    set_blocking(what.fd, true);
    return end(what, -error);
}

bool end_connect(io_action& what) noexcept {
    int error = 0;
    socklen_t bytes = sizeof error;
    if (getsockopt(what.fd, SOL_SOCKET, SO_ERROR, &error, &bytes) < 0) error = errno;
    set_blocking(what.fd, true);
    return end(what, -error);
}
}

bool goes_out(io_kind kind) noexcept {
    return kind == io_kind::send || kind == io_kind::send_message || kind == io_kind::send_pieces ||
           kind == io_kind::connect || kind == io_kind::write;
}

bool begin_action(io_action& what) noexcept {
    switch (what.kind) {
        case io_kind::connect:
            return begin_connect(what);
        case io_kind::receive:
            return !what.will_wait && receive(what);
        case io_kind::read:
            return !what.will_wait && go_on_reading(what);
        case io_kind::write:
            return go_on_writing(what);
        case io_kind::send:
            return send(what);
        case io_kind::receive_message:
            return !what.will_wait && receive_message(what);
        case io_kind::send_message:
            return send_message(what);
        case io_kind::send_pieces:
            return send_pieces(what);
        case io_kind::lease:  // `data` stays null: who waits takes the bytes itself
        case io_kind::readability:
        case io_kind::datagram:  // was looked for a moment ago
        case io_kind::file:      // never here: slot_driver lets the pool do it
            return false;
    }
    return false;
}

bool go_on_with(io_action& what) noexcept {
    switch (what.kind) {
        case io_kind::connect:
            return end_connect(what);
        case io_kind::receive:
            return receive(what);
        case io_kind::send:
            return send(what);
        case io_kind::receive_message:
            return receive_message(what) || reads_no_more(what.fd);
        case io_kind::send_message:
            return send_message(what);
        case io_kind::send_pieces:
            return send_pieces(what);
        case io_kind::datagram:
            return await_datagram(what);
        case io_kind::read:
            return go_on_reading(what);
        case io_kind::write:
            return go_on_writing(what);
        case io_kind::lease:
        case io_kind::readability:
        case io_kind::file:
            return true;
    }
    return true;
}
}
