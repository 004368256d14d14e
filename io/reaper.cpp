// See reaper.hpp.
#include "reaper.hpp"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace runnel::detail {

int take_status(int pidfd, int& code, int& signal) noexcept {
    siginfo_t info{};
    int status = 0;
    do status = waitid(P_PIDFD, static_cast<id_t>(pidfd), &info, WEXITED | WNOHANG);
    while (status < 0 && errno == EINTR);
    if (status < 0) return -errno;
    if (info.si_pid == 0) return -EAGAIN;
    const bool exited = info.si_code == CLD_EXITED;
    code = exited ? info.si_status : 0;
    signal = exited ? 0 : info.si_status;
    return 0;
}

namespace {

class reaper {
public:
    static reaper& here() noexcept {
        static reaper& one = *new reaper;  // never destroyed: its thread may outlive main()
        return one;
    }

    void add(int pidfd) noexcept {
        const std::lock_guard hold(lock_);
        try {
            fresh_.push_back(pidfd);
            if (news_ < 0) start();
            const std::uint64_t one = 1;
            (void)!::write(news_, &one, sizeof one);
        } catch (const std::exception&) {
            // No memory or thread for it: its status is taken by whoever becomes its parent when we end.
            if (!fresh_.empty() && fresh_.back() == pidfd) fresh_.pop_back();
            ::close(pidfd);
        }
    }

private:
    /// Under the lock.
    void start() {
        const int made = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (made < 0) throw std::system_error(errno, std::system_category());
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        try {
            std::thread([this, made] { run(made); }).detach();
        } catch (...) {
            pthread_sigmask(SIG_SETMASK, &before, nullptr);
            ::close(made);
            throw;
        }
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
        news_ = made;
    }

    /// False: there is none left, and the thread is to end.
    bool take_fresh(std::vector<pollfd>& those, int news) noexcept {
        const std::lock_guard hold(lock_);
        for (const int each : fresh_) those.push_back({each, POLLIN, 0});
        fresh_.clear();
        if (those.size() > 1) return true;
        ::close(news);
        news_ = -1;
        return false;
    }

    void run(int news) noexcept {
        pthread_setname_np(pthread_self(), "runnel/reaper");
        std::vector<pollfd> those{{news, POLLIN, 0}};
        while (take_fresh(those, news)) {
            while (::poll(those.data(), those.size(), -1) < 0 && errno == EINTR) {}
            std::uint64_t told = 0;
            if (those[0].revents != 0) (void)!::read(news, &told, sizeof told);
            for (std::size_t i = those.size() - 1; i > 0; --i) {
                if (those[i].revents == 0) continue;
                int code = 0, signal = 0;
                if (take_status(those[i].fd, code, signal) == -EAGAIN) continue;
                ::close(those[i].fd);  // A1
                those.erase(those.begin() + static_cast<std::ptrdiff_t>(i));
            }
        }
    }

    std::mutex lock_;
    std::vector<int> fresh_;
    int news_ = -1;  // while there is a thread
};
}

void reap_later(int pidfd) noexcept {
    int code = 0, signal = 0;
    if (take_status(pidfd, code, signal) == -EAGAIN)
        reaper::here().add(pidfd);
    else
        ::close(pidfd);
}
}
