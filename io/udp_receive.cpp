// How datagrams are received; see runnel/udp.hpp for the steps, runnel/detail/datagrams.hpp for the invariants.
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <runnel/detail/io_backend.hpp>
#include <runnel/udp.hpp>

#include "drivers/absorb.hpp"
#include "io_figures.hpp"

namespace runnel::detail {

namespace {

constexpr std::size_t batch_max = 64;         // in one call
constexpr std::size_t datagram_max = 65'535;  // several that are handed over as one, too
constexpr int reports_max = 1'000;            // in a row
constexpr std::size_t small = buffer_pool::buffer_bytes;

/// Makes a call that receives until it has, or finds nothing. Step 1.
template <class Call>
long absorbing(datagrams& on, Call call) noexcept {
    long status = call();
    // Each is told once; what goes on for ever is something else, a profile that forbids the call perhaps.
    for (int reports = 0; status < 0 && reports < reports_max; status = call()) {
        if (is_network_report(static_cast<int>(-status))) {
            count_report(on.reports);
            ++reports;
        } else if (status != -EINTR) {
            break;
        }
    }
    return status;
}

void note_sender(address& from, const sockaddr_in6& name, socklen_t bytes) noexcept {
    from.assign(&name, bytes);
}

void note_size(received& what, std::size_t room, std::size_t length) noexcept {
    what.bytes = std::min(room, length);
    what.length = length;
    what.truncated = length > room;
}

/// The messages of one call, on the stack of who makes it.
class place_batch {
public:
    place_batch(incoming* places, std::size_t count) noexcept : places_(places) {
        for (std::size_t i = 0; i < count; ++i) {
            pieces_[i] = {places[i].to.data(), places[i].to.size()};
            msghdr& message = headers_[i].msg_hdr;
            message = {};
            message.msg_name = &names_[i];
            message.msg_namelen = sizeof names_[i];
            message.msg_iov = &pieces_[i];
            message.msg_iovlen = 1;
        }
    }
    mmsghdr* messages() noexcept { return headers_; }

    void note(std::size_t received) noexcept {
        for (std::size_t i = 0; i < received; ++i) {
            note_size(places_[i].what, places_[i].to.size(), headers_[i].msg_len);
            note_sender(places_[i].what.from, names_[i], headers_[i].msg_hdr.msg_namelen);
            note_received(headers_[i].msg_len);
        }
    }

private:
    incoming* places_;
    mmsghdr headers_[batch_max];
    iovec pieces_[batch_max];
    sockaddr_in6 names_[batch_max];
};

/// Bytes of each datagram in what was handed over as one; 0: it is one.
std::size_t piece_size(msghdr& message) noexcept {
    for (cmsghdr* each = CMSG_FIRSTHDR(&message); each != nullptr; each = CMSG_NXTHDR(&message, each)) {
        if (each->cmsg_level != SOL_UDP || each->cmsg_type != UDP_GRO) continue;
        int size = 0;
        std::memcpy(&size, CMSG_DATA(each), sizeof size);
        return static_cast<std::size_t>(size);
    }
    return 0;
}

/// Memory of that size or more, as chunks have it.
std::byte* memory_for(std::size_t bytes) noexcept {
    return bytes <= small ? lease_buffer() : static_cast<std::byte*>(std::malloc(bytes));
}

/// Receives one message into memory of its own, whatever its length: what is longer than a buffer of the pool lies
/// on the stack until its length is known. 1, or -errno.
long take_message(datagrams& on, socket_calls& calls, int fd, coalesced& into) noexcept {
    std::byte* memory = memory_for(small);
    if (memory == nullptr) return -ENOMEM;
    std::byte rest[datagram_max - small];
    iovec pieces[2] = {{memory, small}, {rest, sizeof rest}};
    sockaddr_in6 name;
    alignas(cmsghdr) unsigned char control[CMSG_SPACE(sizeof(int))];
    msghdr message;
    const long length = absorbing(on, [&]() noexcept {
        message = {};
        message.msg_name = &name;
        message.msg_namelen = sizeof name;
        message.msg_iov = pieces;
        message.msg_iovlen = 2;
        message.msg_control = control;
        message.msg_controllen = on.coalesces ? sizeof control : 0;
        return calls.receive_message_now(fd, message, false);
    });
    const std::size_t bytes = length > 0 ? static_cast<std::size_t>(length) : 0;
    std::byte* all = memory;
    if (bytes > small) {
        all = memory_for(bytes);
        if (all != nullptr) {
            std::memcpy(all, memory, small);
            std::memcpy(all + small, rest, bytes - small);
        }
    }
    if (all != memory || bytes == 0) give_back_buffer(memory);
    if (length < 0) return length;
    note_received(bytes);
    if (all == nullptr) return -ENOMEM;
    into.all = make_chunk::of(bytes > 0 ? all : nullptr, bytes);
    into.piece = piece_size(message);
    into.given = 0;
    into.has_more = true;
    note_sender(into.from, name, message.msg_namelen);
    return 1;
}

/// The next datagram of several.
std::span<const std::byte> next_piece(coalesced& of) noexcept {
    const std::size_t left = of.all.size() - of.given;
    const std::size_t size = of.piece > 0 ? std::min(of.piece, left) : left;
    const std::span<const std::byte> piece(of.all.data() + of.given, size);
    of.given += size;
    of.has_more = of.given < of.all.size();
    return piece;
}

void free_if_empty(coalesced& of) noexcept {
    if (!of.has_more) of.all = make_chunk::of(nullptr, 0);
}
}

io_action datagram_receiving::action() noexcept {
    io_action made{};
    made.kind = io_kind::datagram;
    return made;
}

void datagram_receiving::set(io_action& wait) noexcept { wait.absorbed = &on_->reports; }

void datagram_receiving::set(incoming* places, std::size_t count, io_action& wait) noexcept {
    places_ = places;
    count_ = count;
    leases_ = false;
    set(wait);
}

long datagram_receiving::now(socket_calls& calls, int fd) noexcept {
    if (leases_) return lease(calls, fd);
    return on_->coalesces ? fill_from_held(calls, fd) : fill_places(calls, fd);
}

long datagram_receiving::fill_places(socket_calls& calls, int fd) noexcept {
    while (filled_ < count_) {
        const std::size_t asked = std::min(count_ - filled_, batch_max);
        place_batch batch(places_ + filled_, asked);
        const long got = absorbing(*on_, [&]() noexcept {
            return calls.receive_messages_now(fd, batch.messages(), static_cast<unsigned>(asked));
        });
        if (got < 0 && filled_ == 0) return got;
        if (got <= 0) break;
        batch.note(static_cast<std::size_t>(got));
        filled_ += static_cast<std::size_t>(got);
        if (static_cast<std::size_t>(got) < asked) break;
    }
    return static_cast<long>(filled_);
}

long datagram_receiving::fill_from_held(socket_calls& calls, int fd) noexcept {
    coalesced& held = on_->held;
    for (; filled_ < count_; ++filled_) {
        const long status = held.has_more ? 1 : take_message(*on_, calls, fd, held);
        if (status < 0 && filled_ == 0) return status;
        if (status < 0) break;
        incoming& place = places_[filled_];
        const std::span<const std::byte> piece = next_piece(held);
        note_size(place.what, place.to.size(), piece.size());
        place.what.from = held.from;
        if (place.what.bytes > 0) std::memcpy(place.to.data(), piece.data(), place.what.bytes);
        free_if_empty(held);
    }
    return static_cast<long>(filled_);
}

long datagram_receiving::lease(socket_calls& calls, int fd) noexcept {
    coalesced& held = on_->held;
    const long status = held.has_more ? 1 : take_message(*on_, calls, fd, held);
    if (status < 0) return status;
    from_ = held.from;
    const bool is_one = held.given == 0 && (held.piece == 0 || held.piece >= held.all.size());
    if (is_one) {
        leased_ = std::move(held.all);
        held.has_more = false;
    } else {
        std::byte* memory = memory_for(held.piece);
        if (memory == nullptr) return -ENOMEM;
        const std::span<const std::byte> piece = next_piece(held);
        std::memcpy(memory, piece.data(), piece.size());
        leased_ = make_chunk::of(memory, piece.size());
    }
    free_if_empty(held);
    filled_ = 1;
    return 1;
}

bool datagram_receiving::is_there(socket_calls& calls, int fd) noexcept {
    return on_->held.has_more || absorbing(*on_, [&]() noexcept { return calls.datagram_now(fd); }) != 0;
}

std::error_code datagram_receiving::finish(const runnel::transfer& done) noexcept {
    if (filled_ > 0) return {};
    if (done.error || (!leases_ && count_ == 0)) return done.error;
    if (!on_->socket.enter(lane::in, true)) return errc::closed;  // G3
    const long status = now(current_io(), on_->socket.fd());
    on_->socket.leave(lane::in);
    if (status < 0) return {static_cast<int>(-status), std::system_category()};
    return {};
}
}
