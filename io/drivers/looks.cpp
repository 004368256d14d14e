// See looks.hpp.
#include "looks.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

#include "uninterrupted.hpp"

namespace runnel::detail {

bool reads_no_more(int fd) noexcept {
    pollfd socket{fd, POLLRDHUP, 0};
    return answer_of([&] { return poll(&socket, 1, 0); }) > 0 &&
           (socket.revents & (POLLRDHUP | POLLHUP | POLLNVAL)) != 0;
}

int look_for_datagram(int fd) noexcept {
    const long answer = answer_of([&] { return recv(fd, nullptr, 0, MSG_DONTWAIT | MSG_PEEK); });
    if (answer >= 0) return 1;
    if (answer == -EAGAIN || answer == -EWOULDBLOCK) return reads_no_more(fd) ? 1 : 0;
    return static_cast<int>(answer);
}
}
