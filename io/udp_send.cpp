// How datagrams are sent; see runnel/udp.hpp for the steps, runnel/detail/datagrams.hpp for the invariants.
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include <runnel/detail/io_backend.hpp>
#include <runnel/udp.hpp>

#include "drivers/absorb.hpp"
#include "io_figures.hpp"

namespace runnel::detail {

namespace {

constexpr std::size_t batch_max = 64;         // datagrams in one call; UDP_MAX_SEGMENTS is no less
constexpr std::size_t together_max = 65'000;  // bytes that go to the kernel as one

iovec piece_of(const outgoing& what) noexcept {
    // Only read.
    return {const_cast<std::byte*>(what.bytes.data()), what.bytes.size()};
}

void address_to(msghdr& message, const outgoing& what) noexcept {
    message = {};
    if (!what.has_address) return;
    message.msg_name = const_cast<void*>(what.to.native());
    message.msg_namelen = static_cast<socklen_t>(what.to.native_bytes());
}

bool same_peer(const outgoing& a, const outgoing& b) noexcept {
    return a.has_address == b.has_address && (!a.has_address || a.to == b.to);
}

/// How many from the front can go as one: as long as the first, the last perhaps shorter.
std::size_t run_length(const outgoing* all, std::size_t count) noexcept {
    const std::size_t size = all[0].bytes.size();
    std::size_t length = 1, bytes = size;
    while (size > 0 && length < count && same_peer(all[0], all[length])) {
        const std::size_t next = all[length].bytes.size();
        bytes += next;
        if (next == 0 || next > size || bytes > together_max) break;
        ++length;
        if (next < size) break;
    }
    return length;
}

/// The messages of one call, on the stack of who makes it.
class message_batch {
public:
    message_batch(const outgoing* all, std::size_t count, bool segments) noexcept {
        for (std::size_t at = 0; at < count; at += runs_[messages_++]) {
            const std::size_t run = segments ? run_length(all + at, count - at) : 1;
            add(all + at, run, pieces_ + at);
        }
    }
    mmsghdr* messages() noexcept { return headers_; }
    unsigned count() const noexcept { return messages_; }
    bool begins_with_a_run() const noexcept { return runs_[0] > 1; }

    /// How many datagrams are in the first so many messages?
    std::size_t datagrams_in(std::size_t messages) const noexcept {
        std::size_t all = 0;
        for (std::size_t i = 0; i < messages; ++i) all += runs_[i];
        return all;
    }

private:
    struct segment_size {
        alignas(cmsghdr) unsigned char bytes[CMSG_SPACE(sizeof(std::uint16_t))];
    };

    void add(const outgoing* first, std::size_t run, iovec* pieces) noexcept {
        msghdr& message = headers_[messages_].msg_hdr;
        address_to(message, *first);
        for (std::size_t i = 0; i < run; ++i) pieces[i] = piece_of(first[i]);
        message.msg_iov = pieces;
        message.msg_iovlen = run;
        runs_[messages_] = run;
        if (run > 1) tell_size(message, sizes_[messages_], static_cast<std::uint16_t>(first->bytes.size()));
    }

    static void tell_size(msghdr& message, segment_size& room, std::uint16_t size) noexcept {
        std::memset(room.bytes, 0, sizeof room.bytes);
        message.msg_control = room.bytes;
        message.msg_controllen = sizeof room.bytes;
        cmsghdr* header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_UDP;
        header->cmsg_type = UDP_SEGMENT;
        header->cmsg_len = CMSG_LEN(sizeof size);
        std::memcpy(CMSG_DATA(header), &size, sizeof size);
    }

    mmsghdr headers_[batch_max];
    iovec pieces_[batch_max];
    segment_size sizes_[batch_max];
    std::size_t runs_[batch_max];
    unsigned messages_ = 0;
};

bool refuses_segments(int error) noexcept {
    return error == EINVAL || error == EIO || error == EMSGSIZE || error == EOPNOTSUPP ||
           error == ENOPROTOOPT;
}
}

void* message_room::set(const outgoing& with) noexcept {
    static_assert(sizeof(bytes_) == sizeof(msghdr) + sizeof(iovec));
    auto* message = new (bytes_) msghdr;
    address_to(*message, with);
    message->msg_iov = new (bytes_ + sizeof(msghdr)) iovec(piece_of(with));
    message->msg_iovlen = 1;
    return message;
}

io_action datagram_sending::action() noexcept {
    io_action made{};
    made.kind = io_kind::send_message;
    return made;
}

void datagram_sending::set(const outgoing* all, std::size_t count, io_action& wait) noexcept {
    all_ = all;
    count_ = count;
    wait.absorbed = &on_->reports;
    if (count > 0) wait.data = first_.set(*all);
}

long datagram_sending::now(socket_calls& calls, int fd) noexcept {
    while (sent_ < count_) {
        const long status = call(calls, fd);
        if (status > 0) {
            if (std::exchange(report_, 0) != 0) count_report(on_->reports);
            sent_ += static_cast<std::size_t>(status);
        } else if (!goes_on_after(static_cast<int>(-status))) {
            if (sent_ == 0) return status;
            break;
        }
    }
    return static_cast<long>(sent_);
}

/// How many datagrams one call has sent, or -errno of the first.
long datagram_sending::call(socket_calls& calls, int fd) noexcept {
    const outgoing* next = all_ + sent_;
    if (count_ - sent_ == 1) {
        message_room room;
        const long status = calls.send_message_now(fd, *static_cast<const msghdr*>(room.set(*next)));
        if (status < 0) return status;
        note_sent(static_cast<std::size_t>(status));
        return 1;
    }
    message_batch batch(next, std::min(count_ - sent_, batch_max), on_->segments);
    const long status = calls.send_messages_now(fd, batch.messages(), batch.count());
    if (status > 0) {
        const std::size_t count = batch.datagrams_in(static_cast<std::size_t>(status));
        for (std::size_t i = 0; i < count; ++i) note_sent(next[i].bytes.size());
        return static_cast<long>(count);
    }
    if (!batch.begins_with_a_run() || !refuses_segments(static_cast<int>(-status))) return status;
    if (report_ == 0 && is_network_report(static_cast<int>(-status))) return status;  // it may be one
    on_->segments = false;                                                            // G2
    report_ = 0;
    return -EINTR;
}

/// Is the call to be made again?
bool datagram_sending::goes_on_after(int error) noexcept {
    if (error == EINTR) return true;
    if (error == ENOBUFS) {
        count_report(on_->lost);
        ++sent_;
        return true;
    }
    if (error == EAGAIN) {
        if (std::exchange(report_, 0) != 0) count_report(on_->reports);
        return false;
    }
    if (report_ == 0 && is_network_report(error)) {
        report_ = error;
        return true;
    }
    report_ = 0;
    error_ = error;
    return false;
}

std::error_code datagram_sending::finish(const runnel::transfer& done, const io_action& wait) noexcept {
    if (wait.has_absorbed && is_network_report(wait.error))
        count_report(on_->reports, -std::size_t{1});  // its own
    if (sent_ == 0) {
        const bool lost = done.error == std::error_code(ENOBUFS, std::system_category());
        if ((done.error && !lost) || count_ == 0) return done.error;
        if (lost)
            count_report(on_->lost);
        else
            note_sent(all_[0].bytes.size());
        sent_ = 1;
        send_rest();
    }
    return {error_, std::system_category()};
}

/// What there is room for now; G3.
void datagram_sending::send_rest() noexcept {
    if (count_ == 1 || !on_->socket.enter(lane::out, true)) return;
    (void)now(current_io(), on_->socket.fd());
    on_->socket.leave(lane::out);
}
}
