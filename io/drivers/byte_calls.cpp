// See byte_calls.hpp, whose steps are named here.
#include "byte_calls.hpp"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include <runnel/detail/io_action.hpp>

#include "uninterrupted.hpp"

namespace runnel::detail {

std::atomic<bool> kernel_knows_no_signal{true};

namespace {
constexpr std::size_t most_at_once = std::size_t{1} << 20;
constexpr int no_signal = 0x100;  // RWF_NOSIGNAL

bool unknown(long answer) noexcept { return answer == -EOPNOTSUPP || answer == -ENOSYS || answer == -EPERM; }

bool ready(int fd, short events) noexcept {
    pollfd one{fd, events, 0};
    return ::poll(&one, 1, 0) != 0;  // an error too: the call itself will tell
}

/// Has somebody set O_NONBLOCK?
bool says_eagain(int fd) noexcept {
    const int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & O_NONBLOCK) != 0;
}

/// Step 5, while it lives.
class sigpipe_taken {
public:
    sigpipe_taken() noexcept {
        sigemptyset(&only_);
        sigaddset(&only_, SIGPIPE);
        pthread_sigmask(SIG_BLOCK, &only_, &before_);
        // One that is pending is not ours; where it was not blocked, none can be.
        if (was_blocked()) {
            sigset_t pending;
            sigpending(&pending);
            was_pending_ = sigismember(&pending, SIGPIPE) == 1;
        }
    }
    sigpipe_taken(const sigpipe_taken&) = delete;
    sigpipe_taken& operator=(const sigpipe_taken&) = delete;
    ~sigpipe_taken() {
        if (!was_blocked()) pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }
    void take() const noexcept {
        const timespec now{};
        while (!was_pending_ && sigtimedwait(&only_, nullptr, &now) < 0 && errno == EINTR) {}
    }

private:
    bool was_blocked() const noexcept { return sigismember(&before_, SIGPIPE) == 1; }
    sigset_t only_, before_;
    bool was_pending_ = false;
};

template <class Call>
long without_signal(Call call) noexcept {
    const sigpipe_taken meanwhile;
    const long answer = answer_of(call);
    if (answer == -EPIPE) meanwhile.take();
    return answer;
}

/// Steps 1, 4 and 5; -EOPNOTSUPP where there is no step 1.
long write_nowait(int fd, const iovec& from) noexcept {
    // relaxed, here and below: whoever does not know it yet finds it out again.
    if (kernel_knows_no_signal.load(std::memory_order_relaxed)) {
        const long answer = answer_of([&] { return pwritev2(fd, &from, 1, -1, RWF_NOWAIT | no_signal); });
        if (!unknown(answer)) return answer;
    }
    const long answer = without_signal([&] { return pwritev2(fd, &from, 1, -1, RWF_NOWAIT); });
    if (unknown(answer)) return -EOPNOTSUPP;
    kernel_knows_no_signal.store(false, std::memory_order_relaxed);  // relaxed: see above
    return answer;
}

bool moved(io_action& what, long answer) noexcept {
    if (answer > 0) what.advance(static_cast<std::size_t>(answer));
    if (answer < 0) what.error = static_cast<int>(-answer);
    return true;
}
}

long read_bytes_now(int fd, void* to, std::size_t bytes, bool at_once) noexcept {
    const iovec into{to, std::min(bytes, most_at_once)};
    if (!at_once) {
        const long answer = answer_of([&] { return preadv2(fd, &into, 1, -1, RWF_NOWAIT); });
        if (!unknown(answer)) return answer;
        if (!says_eagain(fd) && !ready(fd, POLLIN)) return -EAGAIN;
    }
    return answer_of([&] { return ::read(fd, into.iov_base, into.iov_len); });
}

long write_bytes_now(int fd, const void* from, std::size_t bytes, bool at_once) noexcept {
    iovec out{const_cast<void*>(from), std::min(bytes, most_at_once)};
    if (!at_once) {
        const long answer = write_nowait(fd, out);
        if (answer != -EOPNOTSUPP) return answer;
        if (!says_eagain(fd)) {
            if (!ready(fd, POLLOUT)) return -EAGAIN;
            out.iov_len = std::min<std::size_t>(out.iov_len, PIPE_BUF);
        }
    }
    return without_signal([&] { return ::write(fd, out.iov_base, out.iov_len); });
}

bool go_on_reading(io_action& what) noexcept {
    const long answer = read_bytes_now(what.fd, what.data, what.bytes, what.at_once);
    return answer != -EAGAIN && moved(what, answer);
}

bool go_on_writing(io_action& what) noexcept {
    do {
        const long answer = write_bytes_now(what.fd, what.data, what.bytes, what.at_once);
        if (answer == -EAGAIN) return false;
        moved(what, answer);
        if (answer <= 0) return true;
    } while (what.at_once && what.whole && what.bytes != 0);
    return !what.whole || what.bytes == 0;
}

bool never_waits(int fd) noexcept {
    struct stat status{};
    if (fstat(fd, &status) < 0 || S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode)) return false;
    if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode) || S_ISBLK(status.st_mode)) return true;
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) return false;
    epoll_event any{};
    const bool refused = epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &any) < 0 && errno == EPERM;
    ::close(epoll);
    return refused;
}
}
