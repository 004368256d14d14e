// What would io_uring save, used in other ways than ours? Bare loops that echo, without anything of this library.
//
// The clients are another process; `cpu` is the processor time of the server's one thread per echo of 64 bytes, with so
// many connections that all ask at once. Each name says how bytes come in, how they go out, and how the ring is set up:
//
//   poll       a request that waits until there is something, then recv(): what recv() of our streams does
//   recv       a request that receives into a buffer of the connection: what read_some() does
//   multishot  one request for ever, into buffers that the kernel takes from a ring of them
//   call       a plain send(): what we do
//   request    a request that sends
//   coop       completions when the thread enters the kernel (COOP_TASKRUN): what we do, for others can help
//   defer      only when the one thread asks for them (SINGLE_ISSUER, DEFER_TASKRUN): nobody could help
//
// push sends pieces of so many bytes one way, as SEND and as SEND_ZC: per MiB.
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "measure.hpp"

namespace {

constexpr std::size_t message_bytes = 64;
constexpr unsigned coop = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL;
constexpr unsigned defer = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL;

int checked(int status, const char* what) {
    if (status < 0) throw std::system_error(errno, std::system_category(), what);
    return status;
}

/// A child process that does this, and is ended.
class peer {
public:
    template <class Do>
    explicit peer(Do what) : pid_(checked(fork(), "fork")) {
        if (pid_ != 0) return;
        what();
        _exit(0);
    }
    peer(const peer&) = delete;
    peer& operator=(const peer&) = delete;
    ~peer() {
        kill(pid_, SIGKILL);
        waitpid(pid_, nullptr, 0);
    }

private:
    pid_t pid_;
};

/// `count` connections, whose other ends are the peer's.
class listening {
public:
    listening() : fd_(checked(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket")) {
        where_.sin_family = AF_INET;
        where_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t bytes = sizeof where_;
        checked(bind(fd_, reinterpret_cast<sockaddr*>(&where_), bytes), "bind");
        checked(getsockname(fd_, reinterpret_cast<sockaddr*>(&where_), &bytes), "getsockname");
        checked(listen(fd_, 4096), "listen");
    }
    listening(const listening&) = delete;
    listening& operator=(const listening&) = delete;
    ~listening() { close(fd_); }

    std::vector<int> accepted(int count) const {
        std::vector<int> all;
        for (int i = 0; i < count; ++i) all.push_back(checked(accept(fd_, nullptr, nullptr), "accept"));
        for (const int each : all) no_delay(each);
        return all;
    }
    std::vector<int> connected(int count) const {
        std::vector<int> all;
        for (int i = 0; i < count; ++i) {
            all.push_back(checked(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
            checked(connect(all.back(), reinterpret_cast<const sockaddr*>(&where_), sizeof where_),
                    "connect");
            no_delay(all.back());
        }
        return all;
    }

private:
    static void no_delay(int fd) {
        const int on = 1;
        checked(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "TCP_NODELAY");
    }
    int fd_;
    sockaddr_in where_{};
};

/// The client: each connection asks, then each is heard.
void ask(const listening& whom, int connections, std::int64_t rounds) {
    const std::vector<int> all = whom.connected(connections);
    char bytes[message_bytes] = {};
    for (std::int64_t i = 0; i < rounds; ++i) {
        for (const int each : all) checked(static_cast<int>(send(each, bytes, sizeof bytes, 0)), "send");
        for (const int each : all)
            checked(static_cast<int>(recv(each, bytes, sizeof bytes, MSG_WAITALL)), "recv");
    }
    for (const int each : all) close(each);
}

enum class incoming { poll, recv, multishot };
enum class outgoing { call, request };

/// One thread, one ring.
class server {
public:
    server(incoming in, outgoing out, unsigned flags, std::vector<int> connections)
        : in_(in), out_(out), all_(std::move(connections)), rooms_(all_.size()), open_(all_.size()) {
        errno = -io_uring_queue_init(512, &ring_, flags);
        checked(errno == 0 ? 0 : -1, "io_uring_setup");
        if (in_ == incoming::multishot) provide_buffers();
        for (std::size_t i = 0; i < all_.size(); ++i) receive(i);
    }
    server(const server&) = delete;
    server& operator=(const server&) = delete;
    ~server() {
        io_uring_queue_exit(&ring_);
        for (const int each : all_) close(each);
    }

    void run() {
        while (open_ > 0) {
            io_uring_submit_and_wait(&ring_, 1);
            io_uring_cqe* each = nullptr;
            unsigned head = 0, seen = 0;
            io_uring_for_each_cqe(&ring_, head, each) {
                ++seen;
                take(*each);
            }
            io_uring_cq_advance(&ring_, seen);
        }
    }

private:
    static constexpr unsigned buffers = 1024, buffer_bytes = 256;
    static constexpr std::uint64_t is_send = std::uint64_t{1} << 32;
    using room = std::array<char, buffer_bytes>;

    io_uring_sqe& next() {
        io_uring_sqe* request = io_uring_get_sqe(&ring_);
        while (request == nullptr) {
            io_uring_submit(&ring_);
            request = io_uring_get_sqe(&ring_);
        }
        return *request;
    }

    void provide_buffers() {
        memory_.resize(buffers);
        const std::size_t bytes = buffers * sizeof(io_uring_buf);
        void* at = std::aligned_alloc(4096, bytes);
        if (at == nullptr) throw std::bad_alloc();
        provided_ = static_cast<io_uring_buf_ring*>(at);
        io_uring_buf_reg what{};
        what.ring_addr = reinterpret_cast<std::uint64_t>(at);
        what.ring_entries = buffers;
        errno = -io_uring_register_buf_ring(&ring_, &what, 0);
        checked(errno == 0 ? 0 : -1, "io_uring_register_buf_ring");
        io_uring_buf_ring_init(provided_);
        for (unsigned i = 0; i < buffers; ++i) give(i);
    }
    void give(unsigned buffer) {
        io_uring_buf_ring_add(provided_, memory_[buffer].data(), buffer_bytes,
                              static_cast<unsigned short>(buffer), io_uring_buf_ring_mask(buffers), 0);
        io_uring_buf_ring_advance(provided_, 1);
    }

    void receive(std::size_t i) {
        io_uring_sqe& request = next();
        if (in_ == incoming::poll) {
            io_uring_prep_poll_add(&request, all_[i], POLLIN | POLLRDHUP);
        } else if (in_ == incoming::recv) {
            io_uring_prep_recv(&request, all_[i], rooms_[i].data(), buffer_bytes, 0);
            request.ioprio |= IORING_RECVSEND_POLL_FIRST;
        } else {
            io_uring_prep_recv_multishot(&request, all_[i], nullptr, 0, 0);
            request.flags |= IOSQE_BUFFER_SELECT;
            request.buf_group = 0;
        }
        request.user_data = i;
    }

    void send_back(std::size_t i, const char* bytes, std::size_t count) {
        if (out_ == outgoing::call) {
            checked(static_cast<int>(send(all_[i], bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT)), "send");
            return;
        }
        io_uring_sqe& request = next();
        io_uring_prep_send(&request, all_[i], bytes, count, MSG_NOSIGNAL | MSG_WAITALL);
        request.user_data = i | is_send;
    }

    void take(const io_uring_cqe& what) {
        const auto i = static_cast<std::uint32_t>(what.user_data);
        if ((what.user_data & is_send) != 0) {
            // The one connection's next message does not come before this one has gone.
            if (in_ == incoming::multishot) give(sent_from_[i]);
            return;
        }
        long count = what.res;
        if (in_ == incoming::poll) count = recv(all_[i], rooms_[i].data(), buffer_bytes, MSG_DONTWAIT);
        if (in_ == incoming::multishot && count == -ENOBUFS) return receive(i);
        if (count <= 0) {
            --open_;
            return;
        }
        if (in_ == incoming::multishot) {
            const unsigned buffer = what.flags >> IORING_CQE_BUFFER_SHIFT;
            send_back(i, memory_[buffer].data(), static_cast<std::size_t>(count));
            if (out_ == outgoing::call)
                give(buffer);
            else
                sent_from_[i] = buffer;
            if ((what.flags & IORING_CQE_F_MORE) == 0) receive(i);
            return;
        }
        send_back(i, rooms_[i].data(), static_cast<std::size_t>(count));
        receive(i);
    }

    io_uring ring_;
    incoming in_;
    outgoing out_;
    std::vector<int> all_;
    std::vector<room> rooms_;   // one for each connection
    std::vector<room> memory_;  // of the provided ones
    std::array<unsigned, 4096> sent_from_{};
    io_uring_buf_ring* provided_ = nullptr;
    std::size_t open_;
};

double thread_seconds() {
    timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
}

/// Reports what run() took of this thread.
template <class Run>
void timed_here(benchmark::State& state, std::int64_t operations, Run run) {
    const double cpu = thread_seconds();
    const measure::stopwatch watch;
    run();
    measure::elapsed took = watch.read();
    took.cpu = thread_seconds() - cpu;
    measure::report(state, took, operations);
}

void echo(benchmark::State& state, incoming in, outgoing out, unsigned flags) {
    const auto connections = static_cast<int>(state.range(0));
    std::int64_t rounds = 100'000 / connections;
    if (measure::fixed_count != 0) rounds = std::max<std::int64_t>(measure::fixed_count / connections, 1);
    for (auto _ : state) {
        const listening here;
        const peer client([&] { ask(here, connections, rounds); });
        try {
            server one(in, out, flags, here.accepted(connections));
            timed_here(state, rounds * connections, [&] { one.run(); });
        } catch (const std::system_error& refused) {
            state.SkipWithError(refused.what());
            return;
        }
    }
}

/// One way, in pieces of this size, of which the kernel has one at a time.
void push(benchmark::State& state, bool zero_copy) {
    constexpr std::int64_t mebi = 1 << 20;
    const auto piece = static_cast<std::size_t>(state.range(0));
    const std::int64_t total = (measure::fixed_count != 0 ? measure::fixed_count : 512) * mebi;
    const std::vector<char> bytes(piece);
    for (auto _ : state) {
        const listening here;
        const peer sink([&] {
            const int from = here.connected(1).front();
            std::vector<char> room(1 << 18);
            while (recv(from, room.data(), room.size(), 0) > 0) {}
        });
        const int to = here.accepted(1).front();
        io_uring ring;
        errno = -io_uring_queue_init(8, &ring, coop);
        checked(errno == 0 ? 0 : -1, "io_uring_setup");
        timed_here(state, total / mebi, [&] {
            for (std::int64_t left = total; left > 0;) {
                io_uring_sqe* request = io_uring_get_sqe(&ring);
                if (zero_copy)
                    io_uring_prep_send_zc(request, to, bytes.data(), piece, MSG_WAITALL, 0);
                else
                    io_uring_prep_send(request, to, bytes.data(), piece, MSG_WAITALL);
                unsigned flags = IORING_CQE_F_MORE;
                while ((flags & IORING_CQE_F_MORE) != 0) {  // of zero copy: until the bytes are ours again
                    io_uring_submit_and_wait(&ring, 1);
                    io_uring_cqe* done = nullptr;
                    io_uring_peek_cqe(&ring, &done);
                    if (done == nullptr) continue;
                    if ((done->flags & IORING_CQE_F_NOTIF) == 0) left -= std::max(done->res, 1);
                    flags = done->flags;
                    io_uring_cqe_seen(&ring, done);
                }
            }
        });
        io_uring_queue_exit(&ring);
        close(to);
    }
}

void with_connections(benchmark::internal::Benchmark* of) {
    of->ArgName("connections")->Arg(1)->Arg(50)->Arg(200);
    of->UseManualTime()->Iterations(1)->Unit(benchmark::kMillisecond);
}
void with_pieces(benchmark::internal::Benchmark* of) {
    of->ArgName("bytes")->Arg(4'096)->Arg(65'536)->Arg(1 << 20);
    of->UseManualTime()->Iterations(1)->Unit(benchmark::kMillisecond);
}

using in = incoming;
using out = outgoing;
BENCHMARK_CAPTURE(echo, poll_call_coop, in::poll, out::call, coop)->Apply(with_connections);
BENCHMARK_CAPTURE(echo, poll_call_defer, in::poll, out::call, defer)->Apply(with_connections);
BENCHMARK_CAPTURE(echo, recv_call_coop, in::recv, out::call, coop)->Apply(with_connections);
BENCHMARK_CAPTURE(echo, recv_call_defer, in::recv, out::call, defer)->Apply(with_connections);
BENCHMARK_CAPTURE(echo, recv_request_coop, in::recv, out::request, coop)->Apply(with_connections);
BENCHMARK_CAPTURE(echo, recv_request_defer, in::recv, out::request, defer)->Apply(with_connections);
BENCHMARK_CAPTURE(echo, multishot_call_coop, in::multishot, out::call, coop)->Apply(with_connections);
BENCHMARK_CAPTURE(echo, multishot_call_defer, in::multishot, out::call, defer)->Apply(with_connections);
BENCHMARK_CAPTURE(echo, multishot_request_coop, in::multishot, out::request, coop)->Apply(with_connections);
BENCHMARK_CAPTURE(echo, multishot_request_defer, in::multishot, out::request, defer)->Apply(with_connections);
BENCHMARK_CAPTURE(push, copied, false)->Apply(with_pieces);
BENCHMARK_CAPTURE(push, zero_copy, true)->Apply(with_pieces);
}

RUNNEL_BENCHMARK_MAIN()
