// Operations and calls; see simulated_network.hpp. Connecting, and what is done to the network, is in
// simulated_connecting.cpp.
#include "simulated_network.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cassert>
#include <cerrno>

#include <runnel/detail/wait.hpp>

namespace runnel::detail {

std::unique_ptr<simulated_world> make_simulated_network(const testing::network& how, simulator& by,
                                                        driver& owner) {
    return std::make_unique<simulated_network>(how, by, owner);
}

simulated_network::simulated_network(const testing::network& how, simulator& by, driver& owner)
    : simulated_medium(how, by), owner_(owner), sockets_(how.descriptors()) {}

simulated_network::~simulated_network() = default;

// --- Operations ------------------------------------------------------------------------------------

io_request* simulated_network::prepare(io_action& action, task_block& task) noexcept {
    if (free_.empty()) free_.push_back(&requests_.emplace_back());
    simulated_request& made = *free_.back();
    free_.pop_back();
    made.owner = &owner_;
    made.action = &action;
    made.task = &task;
    ++in_flight_;
    return &made;
}

void simulated_network::discard(io_request& request) noexcept {
    auto& unused = static_cast<simulated_request&>(request);
    ++unused.serial;
    free_.push_back(&unused);
    --in_flight_;
}

/// Step 1.
void simulated_network::start(io_request& request) noexcept {
    auto& started = static_cast<simulated_request&>(request);
    simulated_socket* socket = sockets_.find(started.action->fd);
    if (socket == nullptr) return end(started, EBADF);
    started.on = socket;
    const io_kind kind = started.action->kind;
    if (kind == io_kind::connect) {
        if (const int status = begin_connect(started, *socket); status < 0) return end(started, -status);
    } else if (attempt(started)) {
        return end(started, started.action->error);
    }
    const bool goes_out = kind == io_kind::connect || kind == io_kind::send || kind == io_kind::write;
    (goes_out ? socket->out : socket->in).push_back(&started);
}

/// Step 3.
void simulated_network::cancel(io_request& request) noexcept {
    auto& taken_back = static_cast<simulated_request&>(request);
    at(now(), [this, &taken_back, serial = taken_back.serial] {
        if (taken_back.serial != serial) return;
        std::erase(taken_back.on->in, &taken_back);
        std::erase(taken_back.on->out, &taken_back);
        end(taken_back, ECANCELED);
    });
}

void simulated_network::end(simulated_request& request, int error) {
    task_block& task = *request.task;
    request.action->error = error;
    request.on = nullptr;
    discard(request);
    (void)complete_io(task);
}

void simulated_network::changed(stream_end& end) {
    if (end.holder != nullptr) try_waiting(*end.holder);
}

void simulated_network::try_waiting(simulated_socket& at) {
    try_each(at.in);
    if (at.is != simulated_socket::connecting) try_each(at.out);
}

/// Step 2.
void simulated_network::try_each(std::deque<simulated_request*>& waiting) {
    while (!waiting.empty()) {
        const auto chosen = waiting.begin() + choose(static_cast<std::uint32_t>(waiting.size()));
        simulated_request& request = **chosen;
        if (!attempt(request)) return;
        waiting.erase(chosen);
        end(request, request.action->error);
    }
}

/// False: it has to wait.
bool simulated_network::attempt(simulated_request& request) {
    io_action& action = *request.action;
    if (action.kind == io_kind::accept) return attempt_accept(request);
    stream_end* stream = request.on->stream;
    if (stream == nullptr) {
        action.error = ENOTCONN;
        return true;
    }
    if (action.kind == io_kind::send || action.kind == io_kind::write) return attempt_send(request);
    if (action.kind != io_kind::receive && action.kind != io_kind::read) return stream->readable();
    const long moved = stream->receive(action.data, action.bytes);
    if (moved == -EAGAIN) return false;
    if (moved < 0)
        action.error = static_cast<int>(-moved);
    else
        action.advance(static_cast<std::size_t>(moved));
    action.more = stream->has_bytes();
    return true;
}

bool simulated_network::attempt_accept(simulated_request& request) {
    simulated_socket& listener = *request.on;
    io_action& action = *request.action;
    if (listener.is != simulated_socket::listening || listener.shut) {
        action.error = EINVAL;
        return true;
    }
    if (listener.to_accept.empty()) return false;
    simulated_socket* made = sockets_.open(listener.local);
    if (made == nullptr) {
        action.error = EMFILE;  // the connection stays in the backlog
        return true;
    }
    made->is = simulated_socket::connected;
    made->stream = listener.to_accept.front();
    made->stream->holder = made;
    made->local = made->stream->local;
    made->bound = true;
    made->reuse_address = listener.reuse_address;
    made->reuse_port = listener.reuse_port;
    listener.to_accept.pop_front();
    action.moved = static_cast<std::size_t>(made->fd);
    note(what::accepted, static_cast<std::uint64_t>(made->fd), 0);
    return true;
}

bool simulated_network::attempt_send(simulated_request& request) {
    io_action& action = *request.action;
    do {
        const long moved = action.kind == io_kind::write
                               ? request.on->stream->write(action.data, action.bytes)
                               : request.on->stream->send(action.data, action.bytes);
        if (moved == -EAGAIN) return false;
        if (moved < 0)
            action.error = static_cast<int>(-moved);
        else
            action.advance(static_cast<std::size_t>(moved));
    } while (action.error == 0 && action.whole && action.bytes != 0);
    return true;
}

// --- Calls -----------------------------------------------------------------------------------------

int simulated_network::open_stream(const address& family_of) noexcept {
    const simulated_socket* made = sockets_.open(family_of);
    return made != nullptr ? made->fd : -EMFILE;
}

int simulated_network::set(int fd, socket_option which, bool on) noexcept {
    simulated_socket* socket = sockets_.find(fd);
    if (socket == nullptr) return -EBADF;
    if (which == socket_option::reuse_address) socket->reuse_address = on;
    if (which == socket_option::reuse_port) socket->reuse_port = on;
    return 0;
}

int simulated_network::bind(int fd, const address& to) noexcept {
    simulated_socket* socket = sockets_.find(fd);
    return socket != nullptr ? sockets_.bind(*socket, to) : -EBADF;
}

int simulated_network::listen(int fd, int backlog) noexcept {
    constexpr int most = 4096;  // net.core.somaxconn
    simulated_socket* socket = sockets_.find(fd);
    if (socket == nullptr) return -EBADF;
    return sockets_.listen(*socket, static_cast<std::size_t>(backlog < 0 ? most : std::min(backlog, most)));
}

int simulated_network::local(int fd, address& out) noexcept {
    const simulated_socket* socket = sockets_.find(fd);
    if (socket == nullptr) return -EBADF;
    out = socket->local;
    return 0;
}

int simulated_network::peer(int fd, address& out) noexcept {
    const simulated_socket* socket = sockets_.find(fd);
    if (socket == nullptr) return -EBADF;
    if (socket->is != simulated_socket::connected || socket->stream->dead()) return -ENOTCONN;
    out = socket->stream->peer;
    return 0;
}

int simulated_network::shut_down(int fd, int how) noexcept {
    simulated_socket* socket = sockets_.find(fd);
    if (socket == nullptr) return -EBADF;
    if (socket->is == simulated_socket::listening) {
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
    simulated_socket* socket = sockets_.find(fd);
    if (socket == nullptr) return -EBADF;
    assert(socket->in.empty() && socket->out.empty() && "M1");
    refuse_queued(*socket);
    if (stream_end* stream = socket->stream; stream != nullptr) {
        stream->holder = nullptr;
        if (socket->is == simulated_socket::connecting) stream->abort(false);
        stream->close();
    }
    sockets_.close(*socket);
    return 0;
}

long simulated_network::receive_now(int fd, void* to, std::size_t bytes) noexcept {
    simulated_socket* socket = sockets_.find(fd);
    if (socket == nullptr) return -EBADF;
    return socket->is == simulated_socket::connected ? socket->stream->receive(to, bytes) : -ENOTCONN;
}

long simulated_network::send_now(int fd, const void* from, std::size_t bytes) noexcept {
    simulated_socket* socket = sockets_.find(fd);
    if (socket == nullptr) return -EBADF;
    return socket->is == simulated_socket::connected ? socket->stream->send(from, bytes) : -EPIPE;
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
