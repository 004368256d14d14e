// See signal_dispatcher.hpp.
#include "signal_dispatcher.hpp"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

#include <runnel/detail/check.hpp>
#include <runnel/detail/simulated_world.hpp>
#include <runnel/testing_signals.hpp>

namespace runnel::detail {

namespace {

sigset_t system_set(signal_set from) noexcept {
    sigset_t made;
    sigemptyset(&made);
    for (int number = 1; number <= 64; ++number)
        if ((from & signal_bit(number)) != 0) sigaddset(&made, number);
    return made;
}

[[noreturn]] void refuse(const char* call) {
    throw std::system_error(errno, std::system_category(), std::string("runnel: ") + call + " for signals");
}

/// While it lives, threads that are started block everything.
class all_blocked {
public:
    all_blocked() noexcept {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~all_blocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    all_blocked(const all_blocked&) = delete;
    all_blocked& operator=(const all_blocked&) = delete;

private:
    sigset_t before_;
};
}

class signal_dispatcher::reader {
public:
    explicit reader(signal_set those) {
        const sigset_t set = system_set(those);
        signals_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        if (signals_ < 0) refuse("signalfd");
        try {
            end_ = eventfd(0, EFD_CLOEXEC);
            if (end_ < 0) refuse("eventfd");
            const all_blocked meanwhile;
            thread_ = std::thread([this] { run(); });
        } catch (...) {
            close_all();
            throw;
        }
    }
    ~reader() {
        const std::uint64_t one = 1;
        (void)!::write(end_, &one, sizeof one);
        thread_.join();
        close_all();
    }
    reader(const reader&) = delete;
    reader& operator=(const reader&) = delete;

    void read_these(signal_set those) noexcept {
        const sigset_t set = system_set(those);
        (void)signalfd(signals_, &set, 0);
    }

private:
    void close_all() noexcept {
        if (end_ >= 0) ::close(end_);
        ::close(signals_);
    }
    void run() noexcept {
        pthread_setname_np(pthread_self(), "runnel/signals");
        pollfd both[] = {{end_, POLLIN, 0}, {signals_, POLLIN, 0}};
        for (;;) {
            while (::poll(both, 2, -1) < 0 && errno == EINTR) {}
            if (both[0].revents != 0) return;
            here().read_one(signals_);
        }
    }

    int signals_ = -1;
    int end_ = -1;
    std::thread thread_;
};

signal_dispatcher& signal_dispatcher::here() noexcept {
    static signal_dispatcher& all =
        *new signal_dispatcher;  // never destroyed: who receives may outlive main()
    return all;
}

signal_set signal_dispatcher::wanted() const noexcept {
    signal_set all = 0;
    for (const signal_subscriber* each = first_; each != nullptr; each = each->next_)
        if (each->world_ == nullptr) all |= each->wanted_;
    return all;
}

/// G1.
void signal_dispatcher::adapt() {
    const signal_set all = wanted();
    take_signals(all);
    if (reader_ != nullptr)
        reader_->read_these(all);
    else if (all != 0)
        reader_ = new reader(all);
}

void signal_dispatcher::add(signal_subscriber& one) {
    const std::lock_guard hold(lock_);
    one.next_ = first_;
    first_ = &one;
    if (one.world_ != nullptr) return;
    try {
        adapt();
    } catch (...) {
        first_ = one.next_;
        take_signals(wanted());
        throw;
    }
}

void signal_dispatcher::remove(signal_subscriber& one) noexcept {
    reader* idle = nullptr;
    {
        const std::lock_guard hold(lock_);
        signal_subscriber** at = &first_;
        while (*at != &one) at = &(*at)->next_;
        *at = one.next_;
        if (one.world_ != nullptr) return;
        const signal_set all = wanted();
        if (reader_ != nullptr) reader_->read_these(all);
        take_signals(all);
        if (all == 0) idle = std::exchange(reader_, nullptr);
    }
    delete idle;  // G2
}

void signal_dispatcher::read_one(int signals) noexcept {
    const std::lock_guard hold(lock_);
    signalfd_siginfo info{};
    if (::read(signals, &info, sizeof info) == sizeof info)
        tell_all(nullptr, static_cast<int>(info.ssi_signo), static_cast<int>(info.ssi_pid));
}

bool signal_dispatcher::tell(const void* world, int number, int from) noexcept {
    const std::lock_guard hold(lock_);
    return tell_all(world, number, from);
}

bool signal_dispatcher::tell_all(const void* world, int number, int from) noexcept {
    bool any = false;
    for (signal_subscriber* each = first_; each != nullptr; each = each->next_) {
        if (each->world_ != world || (each->wanted_ & signal_bit(number)) == 0) continue;
        any = true;
        each->raised(number, from);
    }
    return any;
}

// --- Subscribers -----------------------------------------------------------------------------------

signal_subscriber::signal_subscriber(std::initializer_list<int> numbers) noexcept {
    for (const int number : numbers) {
        wanted_ |= signal_bit(number);
        check(signal_bit(number) != 0 && number != SIGKILL && number != SIGSTOP,
              "signals: that is no signal that can be received");
        for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGPROF})
            check(number != fault,
                  "signals: of a fault, or SIGPROF: it is for the thread in which it happens");
    }
}

void signal_subscriber::subscribe() {
    world_ = current_world();
    signal_dispatcher::here().add(*this);
}

void signal_subscriber::unsubscribe() noexcept { signal_dispatcher::here().remove(*this); }
}

namespace runnel::testing {

bool raise_signal(int number) {
    const detail::simulated_world* const world = detail::current_world();
    detail::check(world != nullptr, "testing::raise_signal: only in a simulation; elsewhere there is kill()");
    return detail::signal_dispatcher::here().tell(world, number, 0);
}
}
