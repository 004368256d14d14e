// The steps of a driver; epoll_driver.hpp names them and the invariants.
#include "epoll_driver.hpp"

#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <mutex>
#include <new>
#include <string>
#include <system_error>
#include <utility>

#include <runnel/detail/wait.hpp>

#include "plain_action.hpp"

namespace runnel::detail {

namespace {

constexpr std::uint64_t doorbell_data = UINT64_MAX;
constexpr std::uint32_t in_events = EPOLLIN | EPOLLRDHUP;
constexpr std::uint32_t out_events = EPOLLOUT;
constexpr std::uint32_t both_events = EPOLLHUP | EPOLLERR;
constexpr nanoseconds_t second = 1'000'000'000;
constexpr nanoseconds_t millisecond = 1'000'000;

/// epoll_pwait2 by its number, the same on every processor but Alpha: glibc has it since 2.35 only.
int wait_finely(int epoll, epoll_event* into, int most, const timespec* timeout) noexcept {
    constexpr long number = 441;
    static_assert(sizeof(timespec) == 2 * sizeof(std::int64_t), "as the kernel wants it");
    return static_cast<int>(syscall(number, epoll, into, most, timeout, nullptr, std::size_t{0}));
}

/// Where the finer call is unknown, or forbidden, a sleep is up to a millisecond too long.
int wait_in(int epoll, epoll_event* into, int most, nanoseconds_t timeout) noexcept {
    static std::atomic<bool> coarse{false};
    // relaxed, here and below: whoever does not know it yet finds it out again.
    if (!coarse.load(std::memory_order_relaxed)) {
        const timespec time{timeout / second, timeout % second};
        const int count = wait_finely(epoll, into, most, timeout == no_deadline ? nullptr : &time);
        if (count >= 0 || (errno != ENOSYS && errno != EPERM)) return count;
        coarse.store(true, std::memory_order_relaxed);  // relaxed: see above
    }
    const nanoseconds_t rounded = timeout / millisecond + (timeout % millisecond != 0 ? 1 : 0);
    const int limit = rounded < INT_MAX ? static_cast<int>(rounded) : INT_MAX;
    return epoll_wait(epoll, into, most, timeout == no_deadline ? -1 : limit);
}

const char* advice_for(int error) noexcept {
    switch (error) {
        case EMFILE:
            return "this process has too many open files: raise RLIMIT_NOFILE (ulimit -n)";
        case ENFILE:
            return "the system has too many open files: raise the sysctl fs.file-max";
        case ENOSPC:
            return "too many watches: raise the sysctl fs.epoll.max_user_watches";
        case ENOMEM:
            return "the system has no memory for it";
        default:
            return "it is forbidden here, by a seccomp profile perhaps";
    }
}

[[noreturn]] void refuse(const char* call, int error) {
    throw std::system_error(error, std::system_category(), std::string(call) + ": " + advice_for(error));
}

/// It worked before, and will not again: no wait could be relied on.
[[noreturn]] void give_up(int error) noexcept {
    std::fprintf(stderr, "runnel: epoll_wait: %s\n", std::strerror(error));
    std::abort();
}

int make_epoll() {
    const int fd = epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0) refuse("epoll_create1", errno);
    return fd;
}
}

epoll_driver::epoll_driver() : epoll_(make_epoll()) {
    epoll_event rings{};
    rings.events = EPOLLIN | EPOLLET;  // each ring once; nobody reads it
    rings.data.u64 = doorbell_data;
    if (epoll_ctl(epoll_, EPOLL_CTL_ADD, mail_.bell_fd(), &rings) < 0) {
        const int error = errno;
        ::close(epoll_);
        refuse("epoll_ctl", error);
    }
}

epoll_driver::~epoll_driver() {
    lock_.lock();
    closing_ = true;
    end_standing(true);
    lock_.unlock();
    while (owed_messages_ > 0 || mail_.has_senders()) {  // X3 of mailbox.hpp
        sched_yield();
        const std::lock_guard guard(lock_);
        take_messages();
    }
    ::close(epoll_);
}

// --- Operations ------------------------------------------------------------------------------------

void epoll_driver::start(io_request& request) noexcept {
    io_slot& slot = slot_of(request);
    if (is_for_pool(slot)) return run_in_pool(slot);
    const std::lock_guard guard(lock_);
    note_begun();
    count(counters_.submitted);
    const bool waits = !slot.taken_back && !begin_action(*slot.action) && stand_in_line(slot);
    if (slot.taken_back) slot.action->error = ECANCELED;
    if (!waits) finish(slot);  // B2
}

void epoll_driver::begin_again(io_slot& slot) noexcept {
    if (!stand_in_line(slot)) finish(slot);
}

/// False: it cannot wait, and is over.
bool epoll_driver::stand_in_line(io_slot& slot) noexcept {
    io_action& action = *slot.action;
    interest* const at = interest_of(action.fd);
    if (at == nullptr) {
        action.error = ENOMEM;
        return false;
    }
    if (at->in.empty() && at->out.empty()) at->armed = 0;  // E3: it may be another since
    slot.at = io_slot::phase::in_kernel;
    io_slot_queue& line = goes_out(action.kind) ? at->out : at->in;
    line.push(slot);
    action.error = arm(action.fd, *at);
    if (action.error == 0) return true;
    line.remove(slot);
    return false;
}

epoll_driver::interest* epoll_driver::interest_of(int fd) noexcept {
    const auto index = static_cast<std::size_t>(fd);
    try {
        if (index >= interests_.size()) interests_.resize(index + 1);
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
    return &interests_[index];
}

/// E2. Returns 0, or an errno.
int epoll_driver::arm(int fd, interest& at) noexcept {
    const std::uint32_t wanted = (at.in.empty() ? 0U : in_events) | (at.out.empty() ? 0U : out_events);
    if ((wanted & ~at.armed) == 0) return 0;
    int error = ENOENT;
    if (at.registered) error = control(EPOLL_CTL_MOD, fd, at, wanted);
    if (error == ENOENT) {  // it is new, or the one that was registered has been closed
        ++at.generation;
        error = control(EPOLL_CTL_ADD, fd, at, wanted);
    }
    at.registered = error == 0;
    at.armed = static_cast<std::uint16_t>(error == 0 ? wanted : 0);
    return error;
}

int epoll_driver::control(int operation, int fd, const interest& at, std::uint32_t for_events) noexcept {
    count(counters_.enters);
    epoll_event event{};
    event.events = for_events | EPOLLONESHOT;
    event.data.u64 = std::uint64_t{at.generation} << 32 | static_cast<std::uint32_t>(fd);
    return epoll_ctl(epoll_, operation, fd, &event) == 0 ? 0 : errno;
}

// --- Driving ---------------------------------------------------------------------------------------

unsigned epoll_driver::poll() noexcept {
    const std::lock_guard guard(lock_);
    return take_in();
}

unsigned epoll_driver::wait(nanoseconds_t deadline) noexcept {
    lock_.lock();
    const unsigned ended = mail_.looks_empty() ? 0 : take_in();
    sleeping_ = ended == 0 && deadline > now() && mail_.fall_asleep();
    lock_.unlock();
    events those;
    if (sleeping_ && mail_.empty())  // X1 of mailbox.hpp
        sleep_until(deadline, those);
    else
        look(those, 0);
    mail_.come_back();
    const std::lock_guard guard(lock_);
    sleeping_ = false;
    return ended + handle(those);
}

bool epoll_driver::begin_sleep() noexcept {
    const std::lock_guard guard(lock_);
    const unsigned ended = mail_.looks_empty() ? 0 : take_in();
    sleeping_ = ended == 0 && mail_.fall_asleep();
    return sleeping_ && mail_.empty();  // X1
}

void epoll_driver::end_sleep() noexcept {
    mail_.come_back();
    const std::lock_guard guard(lock_);
    sleeping_ = false;
    bell_may_ring_ = true;
}

/// A system call is less than a helper woken in vain.
bool epoll_driver::stranded() const noexcept {
    if (!mail_.looks_empty()) return true;
    pollfd come{epoll_, POLLIN, 0};
    return in_flight() != 0 && ::poll(&come, 1, 0) > 0;
}

unsigned epoll_driver::help() noexcept {
    if (!lock_.try_lock()) return 0;  // the owner is there, or another helper
    unsigned ended = 0;
    if (!sleeping_) ended = take_in();  // E4
    lock_.unlock();
    count(counters_.helped, ended);
    return ended;
}

/// On through interruptions, which mean nothing to us.
void epoll_driver::sleep_until(nanoseconds_t deadline, events& into) noexcept {
    count(counters_.sleeps);
    for (bool interrupted = true; interrupted;) {
        const nanoseconds_t left = deadline == no_deadline ? no_deadline : deadline - now();
        interrupted = !look(into, left > 0 ? left : 0);
    }
}

/// False: a signal has interrupted it.
bool epoll_driver::look(events& into, nanoseconds_t timeout) noexcept {
    count(counters_.enters);
    const int found = wait_in(epoll_, into.each, events::most, timeout);
    if (found < 0 && errno != EINTR) give_up(errno);
    into.count = found > 0 ? found : 0;
    return found >= 0;
}

// --- Messages and events, under the lock --------------------------------------------------------------

/// E6.
unsigned epoll_driver::take_in() noexcept {
    const unsigned ended = collect();
    return ended + take_messages();
}

unsigned epoll_driver::take_messages() noexcept {
    unsigned ended = 0;
    for (io_request* next = mail_.take(); next != nullptr;) {
        io_slot& slot = slot_of(*next);
        next = next->inbox_next;  // the slot may be reused once its message is taken
        ended += take_message(slot);
    }
    return ended;
}

unsigned epoll_driver::take_message(io_slot& slot) noexcept {
    if (take_late(slot)) return 0;
    if (take_nudge(slot)) return 1;
    slot.taken_back = true;
    if (slot.at != io_slot::phase::in_kernel) return 0;  // not started yet
    interest& at = interests_[static_cast<std::size_t>(slot.action->fd)];
    (goes_out(slot.action->kind) ? at.out : at.in).remove(slot);
    slot.action->error = ECANCELED;
    return finish(slot);
}

unsigned epoll_driver::collect() noexcept {
    if (in_flight() == 0 && !std::exchange(bell_may_ring_, false)) return 0;
    events those;
    look(those, 0);
    return handle(those);
}

unsigned epoll_driver::handle(const events& those) noexcept {
    unsigned ended = 0;
    for (int i = 0; i < those.count; ++i)
        if (those.each[i].data.u64 != doorbell_data) ended += handle(those.each[i]);
    return ended;
}

unsigned epoll_driver::handle(const epoll_event& event) noexcept {
    const auto fd = static_cast<std::uint32_t>(event.data.u64);
    interest& at = interests_[fd];
    if (at.generation != event.data.u64 >> 32) return 0;  // E3
    at.armed = 0;
    unsigned ended = 0;
    if ((event.events & (in_events | both_events)) != 0) ended += serve(at.in);
    if ((event.events & (out_events | both_events)) != 0) ended += serve(at.out);
    if (const int error = arm(static_cast<int>(fd), at); error != 0)
        ended += fail_all(at.in, error) + fail_all(at.out, error);
    return ended;
}

/// A standing action may be in the line again when it has been told; once in a turn is enough.
unsigned epoll_driver::serve(io_slot_queue& line) noexcept {
    unsigned ended = 0;
    const io_slot* const last = line.last();
    for (bool more = last != nullptr; more && go_on_with(*line.front()->action);) {
        io_slot& slot = *line.front();
        more = &slot != last;
        line.pop();
        ended += finish(slot);
    }
    return ended;
}

unsigned epoll_driver::fail_all(io_slot_queue& line, int error) noexcept {
    unsigned ended = 0;
    const io_slot* const last = line.last();
    for (bool more = last != nullptr; more;) {
        io_slot& slot = *line.front();
        more = &slot != last;
        line.pop();
        slot.action->error = error;
        ended += finish(slot);
    }
    return ended;
}

unsigned epoll_driver::finish(io_slot& slot) noexcept {
    count(counters_.completed);
    return slot_driver::finish(slot);
}

namespace {
class epoll_drivers final : public driver_factory {
public:
    std::unique_ptr<driver> make(unsigned) override { return std::make_unique<epoll_driver>(); }
    nanoseconds_t now() const noexcept override { return monotonic_now(); }
    const char* name() const noexcept override { return "epoll"; }
};
}

std::unique_ptr<driver_factory> make_epoll_drivers() { return std::make_unique<epoll_drivers>(); }
}
