// The calls; see bad_day.hpp.
#include "bad_day.hpp"

#include <liburing.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <initializer_list>

#include "io/drivers/ring.hpp"

namespace test {

namespace {

std::atomic<std::uint64_t> seed_now{0};  // 0: a good day
std::atomic<std::uint64_t> calls{0};
std::atomic<std::uint64_t> faults_met{0};
std::atomic<std::uint64_t> receives{0};

/// Of the n-th call; 0 on a good day. (splitmix64.)
std::uint64_t lot() noexcept {
    const std::uint64_t seed = seed_now.load();
    if (seed == 0) return 0;
    std::uint64_t x = seed * 0x9e3779b97f4a7c15 + calls.fetch_add(1) * 0xd1342543de82ef95;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return (x ^ x >> 31) | 1;
}

/// One of them, one time in eight; 0: none.
int meets(std::initializer_list<int> errors) noexcept {
    const std::uint64_t drawn = lot();
    if (drawn == 0 || (drawn >> 8) % 8 != 0) return 0;
    faults_met.fetch_add(1);
    return errors.begin()[(drawn >> 16) % errors.size()];
}

/// So many of them, at least one; one time in eight less than all.
std::size_t part_of(std::size_t count) noexcept {
    const std::uint64_t drawn = lot();
    if (count < 2 || drawn == 0 || (drawn >> 8) % 8 != 0) return count;
    faults_met.fetch_add(1);
    return 1 + (drawn >> 16) % (count - 1);
}

long fails(int error) noexcept {
    errno = error;
    return -1;
}

bool is_stream(int fd) noexcept {
    int type = 0;
    socklen_t bytes = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &bytes) == 0 && type == SOCK_STREAM;
}

bool is_pipe(int fd) noexcept {
    struct stat status{};
    return seed_now.load() != 0 && fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode);
}

/// A message of the first piece, and of that perhaps a part. What comes with it goes with the first byte.
class cut_message {
public:
    cut_message(int fd, const msghdr& whole) noexcept : message_(whole) {
        if (seed_now.load() == 0 || whole.msg_iovlen == 0 || !is_stream(fd)) return;
        first_ = whole.msg_iov[0];
        const std::size_t part = part_of(first_.iov_len);
        if (part == first_.iov_len) return;
        first_.iov_len = part;
        message_.msg_iov = &first_;
        message_.msg_iovlen = 1;
    }
    msghdr& get() noexcept { return message_; }

private:
    msghdr message_;
    iovec first_{};
};

/// While it lives, what a ring's kernel sees of it.
class shared_memory {
public:
    shared_memory(unsigned fd, std::size_t bytes, off_t which) noexcept
        : bytes_(bytes),
          at_(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, static_cast<int>(fd), which)) {}
    shared_memory(const shared_memory&) = delete;
    shared_memory& operator=(const shared_memory&) = delete;
    ~shared_memory() {
        if (*this) munmap(at_, bytes_);
    }
    explicit operator bool() const noexcept { return at_ != MAP_FAILED; }
    template <class T>
    T* at(std::size_t offset) const noexcept {
        return reinterpret_cast<T*>(static_cast<char*>(at_) + offset);
    }

private:
    std::size_t bytes_;
    void* at_;
};

/// Where head and tail of the queue are: the same in all rings of a kernel.
const io_sqring_offsets& offsets() noexcept {
    static const io_sqring_offsets known = [] {
        io_uring_params made{};
        const int fd = static_cast<int>(syscall(SYS_io_uring_setup, 1, &made));
        if (fd >= 0) close(fd);
        return made.sq_off;
    }();
    return known;
}

/// What is published and not yet taken reads or sends less than it was to. (Our rings use their places in order.)
void cut_requests(unsigned fd) noexcept {
    const shared_memory ring(fd, 4096, static_cast<off_t>(IORING_OFF_SQ_RING));
    if (!ring) return;
    const unsigned mask = *ring.at<unsigned>(offsets().ring_mask);
    const shared_memory requests(fd, (mask + 1) * sizeof(io_uring_sqe), static_cast<off_t>(IORING_OFF_SQES));
    if (!requests) return;
    const unsigned end = std::atomic_ref<unsigned>(*ring.at<unsigned>(offsets().tail)).load();
    for (unsigned i = std::atomic_ref<unsigned>(*ring.at<unsigned>(offsets().head)).load(); i != end; ++i) {
        io_uring_sqe& request = requests.at<io_uring_sqe>(0)[i & mask];
        const bool cuts = request.opcode == IORING_OP_RECV || request.opcode == IORING_OP_SEND;
        if (cuts && (request.msg_flags & MSG_PEEK) == 0)
            request.len = static_cast<unsigned>(part_of(request.len));
    }
}
}

bad_day::bad_day(std::uint64_t seed) noexcept {
    calls = 0;
    faults_met = 0;
    seed_now = seed + 1;
}

bad_day::~bad_day() { seed_now = 0; }

std::uint64_t bad_day::faults() const noexcept { return faults_met.load(); }

std::uint64_t receive_calls() noexcept { return receives.load(); }

int enter_on_a_bad_day(unsigned fd, unsigned to_submit, unsigned min_complete, unsigned flags, void* argument,
                       std::size_t argument_bytes) noexcept {
    if (const int error = meets({EINTR, EAGAIN, EBUSY})) return -error;
    if (to_submit > 0 && seed_now.load() != 0) cut_requests(fd);
    const auto taken = static_cast<unsigned>(part_of(to_submit));
    // What is left over is nothing that the kernel would sleep for.
    const bool late = taken < to_submit;
    return runnel::detail::system_enter(fd, taken, late ? 0 : min_complete, flags, argument, argument_bytes);
}
}

// --- In the place of the system's -------------------------------------------------------------------------

using namespace test;

extern "C" {

// What is there to be read is there: no EAGAIN of those. Room to send, or a connection, may have gone again.
ssize_t recv(int fd, void* to, std::size_t bytes, int flags) {
    receives.fetch_add(1);
    if (const int error = meets({EINTR})) return fails(error);
    const std::size_t asked =
        (flags & MSG_PEEK) != 0 || seed_now.load() == 0 || !is_stream(fd) ? bytes : part_of(bytes);
    return syscall(SYS_recvfrom, fd, to, asked, flags, nullptr, nullptr);
}

ssize_t send(int fd, const void* from, std::size_t bytes, int flags) {
    if (const int error = meets({EINTR, EAGAIN})) return fails(error);
    const std::size_t given = seed_now.load() == 0 || !is_stream(fd) ? bytes : part_of(bytes);
    return syscall(SYS_sendto, fd, from, given, flags, nullptr, 0);
}

ssize_t recvmsg(int fd, msghdr* into, int flags) {
    if (const int error = meets({EINTR})) return fails(error);
    cut_message cut(fd, *into);
    const ssize_t status = syscall(SYS_recvmsg, fd, &cut.get(), flags);
    into->msg_namelen = cut.get().msg_namelen;
    into->msg_controllen = cut.get().msg_controllen;
    into->msg_flags = cut.get().msg_flags;
    return status;
}

ssize_t sendmsg(int fd, const msghdr* what, int flags) {
    if (const int error = meets({EINTR, EAGAIN})) return fails(error);
    cut_message cut(fd, *what);
    return syscall(SYS_sendmsg, fd, &cut.get(), flags);
}

int recvmmsg(int fd, mmsghdr* into, unsigned count, int flags, timespec* limit) {
    if (const int error = meets({EINTR})) return static_cast<int>(fails(error));
    return static_cast<int>(syscall(SYS_recvmmsg, fd, into, part_of(count), flags, limit));
}

int sendmmsg(int fd, mmsghdr* what, unsigned count, int flags) {
    if (const int error = meets({EINTR, EAGAIN})) return static_cast<int>(fails(error));
    return static_cast<int>(syscall(SYS_sendmmsg, fd, what, part_of(count), flags));
}

int accept4(int fd, sockaddr* from, socklen_t* bytes, int flags) {
    // (Without descriptors a listener pauses for some milliseconds: not too often.)
    if (const int error = meets({EINTR, EAGAIN, ECONNABORTED, EAGAIN, EPROTO, EAGAIN, EMFILE}))
        return static_cast<int>(fails(error));
    return static_cast<int>(syscall(SYS_accept4, fd, from, bytes, flags));
}

int poll(pollfd* all, nfds_t count, int milliseconds) {
    constexpr int too_early = -1;
    if (milliseconds == 0)
        if (const int met = meets({EINTR, too_early}))
            return met == too_early ? 0 : static_cast<int>(fails(met));
    return static_cast<int>(syscall(SYS_poll, all, count, milliseconds));
}

ssize_t read(int fd, void* to, std::size_t bytes) {
    return syscall(SYS_read, fd, to, is_pipe(fd) ? part_of(bytes) : bytes);
}

ssize_t write(int fd, const void* from, std::size_t bytes) {
    return syscall(SYS_write, fd, from, is_pipe(fd) ? part_of(bytes) : bytes);
}

ssize_t preadv2(int fd, const iovec* into, int count, off_t at, int flags) {
    iovec first = into[0];
    if (count == 1 && is_pipe(fd)) {
        if (const int error = meets({EINTR})) return fails(error);
        first.iov_len = part_of(first.iov_len);
        into = &first;
    }
    return syscall(SYS_preadv2, fd, into, count, at, at < 0 ? -1L : 0L, flags);
}

ssize_t pwritev2(int fd, const iovec* from, int count, off_t at, int flags) {
    iovec first = from[0];
    if (count == 1 && is_pipe(fd)) {
        if (const int error = meets({EINTR, EAGAIN})) return fails(error);
        first.iov_len = part_of(first.iov_len);
        from = &first;
    }
    return syscall(SYS_pwritev2, fd, from, count, at, at < 0 ? -1L : 0L, flags);
}
}
