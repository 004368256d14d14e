// One action to one request, one completion to one answer; see uring_request.hpp.
#include "uring_request.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>

#include <runnel/detail/buffer_pool.hpp>
#include <runnel/detail/pieces.hpp>

#include "byte_calls.hpp"
#include "file_forms.hpp"
#include "plain_action.hpp"

namespace runnel::detail {

namespace {
constexpr std::size_t bytes_max = std::size_t{1} << 30;  // the kernel moves less than 2 GiB at once

unsigned length(const io_action& what) noexcept {
    return static_cast<unsigned>(std::min(what.bytes, bytes_max));
}

/// Some kernels send what is attached again with the rest of a whole send: then we ask for the rest.
void fill_send(io_uring_sqe& request, const io_action& what, pieces& left) noexcept {
    const bool whole = what.whole && !left.has_attached() && what.watched_by == nullptr;
    io_uring_prep_sendmsg(&request, what.fd, &left.message(), MSG_NOSIGNAL | (whole ? MSG_WAITALL : 0));
}
}

void fill_request(io_uring_sqe& request, const io_action& what, bool provided) noexcept {
    switch (what.kind) {
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
                               MSG_NOSIGNAL | (what.whole && what.watched_by == nullptr ? MSG_WAITALL : 0));
            break;
        case io_kind::receive_message:
            io_uring_prep_recvmsg(&request, what.fd, static_cast<msghdr*>(what.data),
                                  MSG_CMSG_CLOEXEC | (what.full_length ? MSG_TRUNC : 0));
            if (what.will_wait) request.ioprio |= IORING_RECVSEND_POLL_FIRST;
            break;
        case io_kind::send_message:
            io_uring_prep_poll_add(&request, what.fd, POLLOUT);  // see note_success()
            break;
        case io_kind::send_pieces:
            fill_send(request, what, *static_cast<pieces*>(what.data));
            break;
        case io_kind::datagram:  // not a poll: an error would end that one
            io_uring_prep_recv(&request, what.fd, nullptr, 0, MSG_PEEK);
            break;
        case io_kind::write:  // note_success() makes the call, see byte_calls.hpp
            io_uring_prep_poll_add(&request, what.fd, POLLOUT);
            break;
        case io_kind::lease:
            if (!provided) {  // `data` stays null: who waits takes the bytes itself
                io_uring_prep_poll_add(&request, what.fd, POLLIN | POLLRDHUP);
                break;
            }
            // Polls first: the kernel looks for a buffer before it looks for bytes.
            io_uring_prep_recv(&request, what.fd, nullptr, buffer_pool::buffer_bytes, 0);
            request.ioprio |= IORING_RECVSEND_POLL_FIRST;
            request.flags |= IOSQE_BUFFER_SELECT;
            break;
        case io_kind::read:
        case io_kind::readability:
            io_uring_prep_poll_add(&request, what.fd, POLLIN | POLLRDHUP);
            break;
        case io_kind::file:
            fill_file_request(request, what);
            break;
    }
}

bool note_success(io_action& what, int status, unsigned flags) noexcept {
    switch (what.kind) {
        case io_kind::lease:
            if (what.data == nullptr) return true;
            [[fallthrough]];
        case io_kind::receive:
            what.advance(static_cast<std::size_t>(status));
            what.more = (flags & IORING_CQE_F_SOCK_NONEMPTY) != 0;
            return true;
        case io_kind::send:
        case io_kind::send_pieces:
            what.advance(static_cast<std::size_t>(status));
            return !what.whole || what.bytes == 0;
        case io_kind::receive_message:
            what.more = (flags & IORING_CQE_F_SOCK_NONEMPTY) != 0;
            what.advance(static_cast<std::size_t>(status));
            return true;
        case io_kind::send_message:
            // A datagram that the kernel could not place at once it has taken from its buffer already, at least of a
            // Unix socket, and a request that it tries again then sends one without bytes. So we only let it wait.
            return go_on_with(what);
        case io_kind::file:
            return note_file_answer(what, status);
        case io_kind::read:
            return go_on_reading(what);
        case io_kind::write:
            return go_on_writing(what);
        default:
            return true;
    }
}
}
