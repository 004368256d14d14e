// One action to one request, one completion to one answer; see uring_request.hpp.
#include "uring_request.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>

#include "byte_calls.hpp"

namespace runnel::detail {

namespace {
constexpr std::size_t bytes_max = std::size_t{1} << 30;  // the kernel moves less than 2 GiB at once

unsigned length(const io_action& what) noexcept {
    return static_cast<unsigned>(std::min(what.bytes, bytes_max));
}
}

void fill_request(io_uring_sqe& request, const io_action& what) noexcept {
    switch (what.kind) {
        case io_kind::accept:
            io_uring_prep_accept(&request, what.fd, nullptr, nullptr, SOCK_CLOEXEC);
            break;
        case io_kind::connect:
            io_uring_prep_connect(&request, what.fd, static_cast<const sockaddr*>(what.data),
                                  static_cast<socklen_t>(what.bytes));
            break;
        case io_kind::receive:
            io_uring_prep_recv(&request, what.fd, what.data, length(what), 0);
            if (what.will_wait) request.ioprio |= IORING_RECVSEND_POLL_FIRST;
            break;
        case io_kind::send:
            io_uring_prep_send(&request, what.fd, what.data, length(what),
                               MSG_NOSIGNAL | (what.whole ? MSG_WAITALL : 0));
            break;
        case io_kind::write:  // note_success() makes the call, see byte_calls.hpp
            io_uring_prep_poll_add(&request, what.fd, POLLOUT);
            break;
        case io_kind::read:
        case io_kind::lease:  // `data` stays null: who waits takes the bytes itself
        case io_kind::readability:
            io_uring_prep_poll_add(&request, what.fd, POLLIN | POLLRDHUP);
            break;
    }
}

bool note_success(io_action& what, int status, unsigned flags) noexcept {
    switch (what.kind) {
        case io_kind::accept:
            what.moved = static_cast<std::size_t>(status);
            return true;
        case io_kind::receive:
            what.advance(static_cast<std::size_t>(status));
            what.more = (flags & IORING_CQE_F_SOCK_NONEMPTY) != 0;
            return true;
        case io_kind::send:
            what.advance(static_cast<std::size_t>(status));
            return !what.whole || what.bytes == 0;
        case io_kind::read:
            return go_on_reading(what);
        case io_kind::write:
            return go_on_writing(what);
        default:
            return true;
    }
}
}
