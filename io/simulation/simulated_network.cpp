// Operations and calls; see simulated_network.hpp. Connecting, and what is done to the network, is in
// simulated_connecting.cpp.
#include "simulated_network.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <span>

#include <runnel/detail/check.hpp>
#include <runnel/detail/file_action.hpp>
#include <runnel/detail/pieces.hpp>
#include <runnel/detail/wait.hpp>
#include <runnel/testing_files.hpp>

#include "../drivers/plain_action.hpp"

namespace runnel::detail {

std::unique_ptr<simulated_world> make_simulated_network(const testing::network& how, simulator& by,
                                                        driver& owner) {
    return std::make_unique<simulated_network>(how, by, owner);
}

simulated_network::simulated_network(const testing::network& how, simulator& by, driver& owner)
    : simulated_medium(how, by), owner_(owner), sockets_(how.descriptors()), files_(*this) {}

simulated_network::~simulated_network() {
    for (simulated_request& each : requests_) {
        if (each.action == nullptr || each.task != nullptr) continue;
        if (each.on != nullptr) std::erase(each.on->in, &each);
        each.on = nullptr;
        tell(each, standing_action::event::driver_ends);
    }
}

// --- Operations ------------------------------------------------------------------------------------

simulated_request& simulated_network::take_request(io_action& action) {
    if (free_.empty()) free_.push_back(&requests_.emplace_back());
    simulated_request& made = *free_.back();
    free_.pop_back();
    made.owner = &owner_;
    made.action = &action;
    made.task = nullptr;
    ++in_flight_;
    return made;
}

io_request* simulated_network::prepare(io_action& action, task_block& task) noexcept {
    simulated_request& made = take_request(action);
    made.task = &task;
    return &made;
}

io_request* simulated_network::prepare(standing_action& action) noexcept { return &take_request(action); }

void simulated_network::discard(io_request& request) noexcept {
    give_back(static_cast<simulated_request&>(request));
    --in_flight_;
}

void simulated_network::give_back(simulated_request& unused) {
    ++unused.serial;
    unused.action = nullptr;
    free_.push_back(&unused);
}

/// Step 1.
void simulated_network::start(io_request& request) noexcept {
    auto& started = static_cast<simulated_request&>(request);
    if (started.action->kind == io_kind::file) return start_file(started);
    simulated_socket* socket = sockets_.find(started.action->fd);
    if (socket == nullptr) return end(started, EBADF);
    started.on = socket;
    const io_kind kind = started.action->kind;
    if (kind == io_kind::connect) {
        if (const int status = begin_connect(started, *socket); status < 0) return end(started, -status);
    } else if (attempt(started)) {
        return end(started, started.action->error);
    }
    (goes_out(kind) ? socket->out : socket->in).push_back(&started);
}

/// Step 3.
void simulated_network::cancel(io_request& request) noexcept {
    auto& taken_back = static_cast<simulated_request&>(request);
    at(now(), [this, &taken_back, serial = taken_back.serial] {
        if (taken_back.serial != serial) return;
        const bool is_queued = taken_back.on != nullptr;
        if (!is_queued && taken_back.task == nullptr) return tell(taken_back, standing_action::event::nudged);
        if (is_queued) {
            std::erase(taken_back.on->in, &taken_back);
            std::erase(taken_back.on->out, &taken_back);
        }
        end(taken_back, ECANCELED);
    });
}

long simulated_network::read_file_now(int, const file_action&) noexcept { return -EAGAIN; }

/// Nothing is waited for but the disk: it is done when its time has come, or taken back before that.
void simulated_network::start_file(simulated_request& request) {
    at(now() + files_.latency(), [this, &request, serial = request.serial] {
        if (request.serial != serial) return;
        io_action& action = *request.action;
        const long answer = files_.perform(action.fd, file_of(action));
        note(what::file, static_cast<std::uint64_t>(file_of(action).kind),
             static_cast<std::uint64_t>(answer));
        if (note_file_answer(action, answer))
            end(request, action.error);
        else
            start_file(request);
    });
}

void simulated_network::end(simulated_request& request, int error) {
    request.action->error = error;
    request.on = nullptr;
    if (request.task == nullptr) return tell(request, standing_action::event::answered);
    task_block& task = *request.task;
    discard(request);
    (void)complete_io(task);
}

/// A message of it that is on the way finds another serial number: M2.
void simulated_network::tell(simulated_request& request, standing_action::event event) {
    using next = standing_action::next;
    const bool rested = request.on == nullptr && event == standing_action::event::nudged;
    const next then = static_cast<standing_action&>(*request.action).hears(event, *this);
    if (then == next::again) {
        if (rested) ++in_flight_;
        return start(request);
    }
    if (!rested) --in_flight_;
    if (then != next::rest) give_back(request);
}

void simulated_network::changed(stream_end& end) {
    if (end.holder != nullptr) try_waiting(*end.holder);
}

void simulated_network::try_waiting(simulated_socket& at) {
    const int fd = at.fd;
    try_each(at.in, fd);
    if (is_open(fd) && at.is != simulated_socket::connecting) try_each(at.out, fd);
}

/// Step 2.
void simulated_network::try_each(std::deque<simulated_request*>& waiting, int fd) {
    // A watch whose pipe is closed gives the number back when it is told (W4 of io_watch.hpp), and the queue with it.
    while (is_open(fd) && !waiting.empty()) {
        const auto chosen = waiting.begin() + choose(static_cast<std::uint32_t>(waiting.size()));
        simulated_request& request = **chosen;
        if (!attempt(request)) return;
        waiting.erase(chosen);
        end(request, request.action->error);
    }
}

namespace {
/// The first place is enough: a read may always end early. Nothing comes with the bytes.
long receive_bytes(stream_end& from, msghdr& into) {
    const long moved = from.receive(into.msg_iov->iov_base, into.msg_iov->iov_len);
    if (moved >= 0) into.msg_controllen = 0;
    return moved;
}
}

/// False: it has to wait.
bool simulated_network::attempt(simulated_request& request) {
    io_action& action = *request.action;
    if (request.on->datagrams != nullptr) return datagrams_.attempt(*request.on, action);
    if (action.kind == io_kind::readability) return readable_now(action.fd);
    if (action.kind == io_kind::send_message) {
        action.error = EOPNOTSUPP;  // streams only
        return true;
    }
    stream_end* stream = request.on->stream;
    if (stream == nullptr) {
        action.error = ENOTCONN;
        return true;
    }
    const io_kind kind = action.kind;
    if (kind == io_kind::send || kind == io_kind::send_pieces || kind == io_kind::write)
        return attempt_send(request);
    const bool bytes = kind == io_kind::receive || kind == io_kind::read;
    if (!bytes && kind != io_kind::receive_message) return stream->readable();
    const long moved = bytes ? stream->receive(action.data, action.bytes)
                             : receive_bytes(*stream, *static_cast<msghdr*>(action.data));
    if (moved == -EAGAIN) return false;
    if (moved < 0)
        action.error = static_cast<int>(-moved);
    else
        action.advance(static_cast<std::size_t>(moved));
    action.more = stream->has_bytes();
    return true;
}

int simulated_network::accept_at(simulated_socket& listener) {
    if (listener.is != simulated_socket::listening || listener.shut) return -EINVAL;
    if (listener.to_accept.empty()) return -EAGAIN;
    simulated_socket* made = sockets_.open(listener.local);
    if (made == nullptr) return -EMFILE;  // the connection stays in the backlog
    made->is = simulated_socket::connected;
    made->stream = listener.to_accept.front();
    made->stream->holder = made;
    made->local = made->stream->local;
    made->bound = true;
    made->reuse_address = listener.reuse_address;
    made->reuse_port = listener.reuse_port;
    listener.to_accept.pop_front();
    note(what::accepted, static_cast<std::uint64_t>(made->fd), 0);
    return made->fd;
}

namespace {
/// As one write, which may end anywhere.
long send_each(stream_end& to, const msghdr& message) {
    check(message.msg_control == nullptr,
          "simulation: descriptors cannot be passed there: they would be the system's");
    long moved = 0;
    for (const iovec& piece : std::span(message.msg_iov, message.msg_iovlen)) {
        const long part = to.send(piece.iov_base, piece.iov_len);
        if (part < 0) return moved > 0 ? moved : part;
        moved += part;
        if (static_cast<std::size_t>(part) < piece.iov_len) break;
    }
    return moved;
}
}

namespace {
long send_once(stream_end& to, io_action& what) {
    switch (what.kind) {
        case io_kind::send_pieces:
            return send_each(to, static_cast<pieces*>(what.data)->message());
        case io_kind::write:
            return to.write(what.data, what.bytes);
        default:
            return to.send(what.data, what.bytes);
    }
}
}

bool simulated_network::attempt_send(simulated_request& request) {
    io_action& action = *request.action;
    do {
        const long moved = send_once(*request.on->stream, action);
        if (moved == -EAGAIN) return false;
        if (moved < 0)
            action.error = static_cast<int>(-moved);
        else
            action.advance(static_cast<std::size_t>(moved));
    } while (action.error == 0 && action.whole && action.bytes != 0);
    return true;
}

// --- Calls -----------------------------------------------------------------------------------------

namespace {
address from_native(native_address a) noexcept {
    address made;
    made.assign(a.data, a.bytes);
    return made;
}

address unbound(socket_family family) noexcept {
    if (family == socket_family::local) return unnamed_local();
    return family == socket_family::ipv4 ? address::any_ipv4(0) : address::any_ipv6(0);
}
}

int simulated_network::open(socket_kind kind, socket_family family) noexcept {
    check(kind == socket_kind::stream || family != socket_family::local,
          "simulation: Unix datagram sockets are not played there; Unix streams and UDP are");
    simulated_socket* made = sockets_.open(unbound(family));
    if (made == nullptr) return -EMFILE;
    if (kind == socket_kind::datagram) datagrams_.open(*made);
    return made->fd;
}

int simulated_network::set(int fd, socket_option which, int value) noexcept {
    simulated_socket* socket = sockets_.find(fd);
    if (socket == nullptr) return -EBADF;
    if (which == socket_option::reuse_address) socket->reuse_address = value != 0;
    if (which == socket_option::reuse_port) socket->reuse_port = value != 0;
    return socket->datagrams != nullptr ? datagrams_.set(*socket, which, value) : 0;
}

/// What it does not play it does not know.
int simulated_network::get(int fd, socket_option which, int& value) noexcept {
    if (sockets_.find(fd) == nullptr) return -EBADF;
    if (which != socket_option::send_buffer && which != socket_option::receive_buffer) return -ENOPROTOOPT;
    value = static_cast<int>(how().buffer());
    return 0;
}

int simulated_network::bind(int fd, native_address to) noexcept {
    simulated_socket* socket = sockets_.find(fd);
    if (socket == nullptr) return -EBADF;
    return is_local(socket->local) ? bind_local(*socket, to) : sockets_.bind(*socket, from_native(to));
}

int simulated_network::connect_now(int fd, native_address to) noexcept {
    simulated_socket* socket = sockets_.find(fd);
    if (socket == nullptr) return -EBADF;
    return socket->datagrams != nullptr ? datagrams_.connect(*socket, from_native(to)) : -EOPNOTSUPP;
}

int simulated_network::listen(int fd, int backlog) noexcept {
    constexpr int most = 4096;  // net.core.somaxconn
    simulated_socket* socket = sockets_.find(fd);
    if (socket == nullptr) return -EBADF;
    return sockets_.listen(*socket, static_cast<std::size_t>(backlog < 0 ? most : std::min(backlog, most)));
}

int simulated_network::local(int fd, native_address_room& out) noexcept {
    const simulated_socket* socket = sockets_.find(fd);
    return socket != nullptr ? give(out, socket->local) : -EBADF;
}

int simulated_network::peer(int fd, native_address_room& out) noexcept {
    const simulated_socket* socket = sockets_.find(fd);
    if (socket == nullptr) return -EBADF;
    if (socket->datagrams != nullptr)
        return socket->datagrams->peer ? give(out, *socket->datagrams->peer) : -ENOTCONN;
    if (socket->is != simulated_socket::connected) return -ENOTCONN;
    if (socket->stream->dead() && !is_local(socket->local)) return -ENOTCONN;
    return give(out, socket->stream->peer);
}

int simulated_network::shut_down(int fd, int how) noexcept {
    simulated_socket* socket = sockets_.find(fd);
    if (socket == nullptr) return -EBADF;
    if (socket->is == simulated_socket::listening || socket->datagrams != nullptr) {
        if (how == SHUT_WR) return -ENOTCONN;
        socket->shut = true;
        try_waiting(*socket);
        return 0;
    }
    if (socket->is != simulated_socket::connected) return -ENOTCONN;
    if (how != SHUT_WR) socket->stream->stop_reading();
    return how != SHUT_RD ? socket->stream->finish_writing() : 0;
}

int simulated_network::close(int fd) noexcept {
    if (files_.owns(fd)) return files_.close(fd);
    simulated_socket* socket = sockets_.find(fd);
    if (socket == nullptr) return -EBADF;
    assert(socket->in.empty() && socket->out.empty() && "M1");
    refuse_queued(*socket);
    if (socket->datagrams != nullptr) datagrams_.close(*socket);
    if (stream_end* stream = socket->stream; stream != nullptr) {
        stream->holder = nullptr;
        if (socket->is == simulated_socket::connecting) stream->abort(false);
        stream->close();
    }
    if (socket->owns_name) names_.leave(socket->local);
    sockets_.close(*socket);
    return 0;
}

long simulated_network::receive_now(int fd, void* to, std::size_t bytes) noexcept {
    simulated_socket* socket = sockets_.find(fd);
    if (socket == nullptr) return -EBADF;
    return socket->is == simulated_socket::connected ? socket->stream->receive(to, bytes) : -ENOTCONN;
}

int simulated_network::accept_now(int fd) noexcept {
    simulated_socket* socket = sockets_.find(fd);
    return socket != nullptr ? accept_at(*socket) : -EBADF;
}

bool simulated_network::readable_now(int fd) noexcept {
    const simulated_socket* socket = sockets_.find(fd);
    if (socket == nullptr) return true;
    if (socket->is == simulated_socket::listening) return socket->shut || !socket->to_accept.empty();
    if (socket->datagrams != nullptr) return datagrams_.readable(*socket);
    return socket->stream == nullptr || socket->stream->readable();
}

int simulated_network::datagram_now(int fd) noexcept {
    simulated_socket* socket = for_datagrams(fd);
    return socket != nullptr ? datagrams_.look(*socket) : -EBADF;
}

long simulated_network::send_now(int fd, const void* from, std::size_t bytes) noexcept {
    simulated_socket* socket = sockets_.find(fd);
    if (socket == nullptr) return -EBADF;
    return socket->is == simulated_socket::connected ? socket->stream->send(from, bytes) : -EPIPE;
}

simulated_socket* simulated_network::for_datagrams(int fd) const noexcept {
    simulated_socket* socket = sockets_.find(fd);
    return socket != nullptr && socket->datagrams != nullptr ? socket : nullptr;
}

int simulated_network::set_membership(int fd, native_address group, unsigned, bool joined) noexcept {
    simulated_socket* socket = for_datagrams(fd);
    return socket != nullptr ? datagrams_.set_membership(*socket, from_native(group), joined) : -ENOTSOCK;
}

long simulated_network::receive_message_now(int fd, msghdr& into, bool full_length) noexcept {
    simulated_socket* socket = sockets_.find(fd);
    if (socket == nullptr) return -EBADF;
    if (socket->datagrams != nullptr) return datagrams_.receive(*socket, into, full_length);
    return socket->is == simulated_socket::connected ? receive_bytes(*socket->stream, into) : -ENOTCONN;
}

long simulated_network::send_message_now(int fd, const msghdr& message) noexcept {
    simulated_socket* socket = sockets_.find(fd);
    if (socket == nullptr) return -EBADF;
    if (socket->datagrams != nullptr) return datagrams_.send(*socket, message);
    return socket->is == simulated_socket::connected ? send_each(*socket->stream, message) : -EPIPE;
}

long simulated_network::receive_messages_now(int fd, mmsghdr* into, unsigned most) noexcept {
    for (unsigned i = 0; i < most; ++i) {
        const long length = receive_message_now(fd, into[i].msg_hdr, true);
        if (length < 0) return i > 0 ? static_cast<long>(i) : length;
        into[i].msg_len = static_cast<unsigned>(length);
    }
    return most;
}

long simulated_network::send_messages_now(int fd, mmsghdr* messages, unsigned count) noexcept {
    for (unsigned i = 0; i < count; ++i) {
        const long length = send_message_now(fd, messages[i].msg_hdr);
        if (length < 0) return i > 0 ? static_cast<long>(i) : length;
        messages[i].msg_len = static_cast<unsigned>(length);
    }
    return count;
}

/// Its ends have no address: no cut reaches them.
int simulated_network::make_pipe(int (&ends)[2]) noexcept {
    simulated_socket* const reader = sockets_.open(address::any_ipv4(0));
    simulated_socket* const writer = reader != nullptr ? sockets_.open(address::any_ipv4(0)) : nullptr;
    if (writer == nullptr) {
        if (reader != nullptr) sockets_.close(*reader);
        return -EMFILE;
    }
    const address nowhere = reader->local;
    simulated_connection& made = connections_.emplace_back(static_cast<simulated_medium&>(*this),
                                                           static_cast<std::uint32_t>(connections_.size()),
                                                           nowhere, nowhere, nowhere, nowhere, nowhere);
    reader->is = writer->is = simulated_socket::connected;
    reader->stream = &made.near;
    writer->stream = &made.far;
    made.near.holder = reader;
    made.far.holder = writer;
    ends[0] = reader->fd;
    ends[1] = writer->fd;
    return 0;
}

long simulated_network::read_now(int fd, void* to, std::size_t bytes, bool) noexcept {
    return receive_now(fd, to, bytes);
}

long simulated_network::write_now(int fd, const void* from, std::size_t bytes, bool) noexcept {
    simulated_socket* socket = sockets_.find(fd);
    if (socket == nullptr) return -EBADF;
    return socket->stream->write(from, bytes);
}
}

namespace runnel::testing {

namespace {
detail::simulated_files& files_here() {
    detail::simulated_world* world = detail::current_world();
    detail::check(world != nullptr, "testing: the disk is only that of a simulation");
    return static_cast<detail::simulated_network&>(*world).files();  // there is no other world
}
}

void use_disk(const disk& how) { files_here().use(how); }
void crash_disk() { files_here().crash(); }
}
