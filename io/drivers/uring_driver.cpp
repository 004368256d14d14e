// The steps of a driver; uring_driver.hpp names them and the invariants.
#include "uring_driver.hpp"

#include <poll.h>
#include <sched.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include <runnel/detail/wait.hpp>

#include "absorb.hpp"
#include "kick.hpp"
#include "uring_request.hpp"

namespace runnel::detail {

namespace {

// The user_data of what is no operation. A slot's index is far below.
constexpr std::uint64_t doorbell_data = 0xffff'ffff;
constexpr std::uint64_t cancel_data = 0xffff'fffe;

constexpr unsigned submit_at = 64;  // published requests that are worth a system call of their own
// A send that waits for its batch, and its task for its turn, keeps its bytes, in leased memory mostly; so does what
// the kernel has brought and waits for its turn. Thousands are ready at once, perhaps: with more than so many leases in
// use bytes come and go by plain calls, in one turn.
constexpr int leases_max = 2 * provided_buffers::most;
constexpr nanoseconds_t pause_ns = 1'000'000;
constexpr int looks_after_kick = 400;  // about 20 microseconds; a kick takes effect in 5 to 30

/// The kernel has lost completions, or does not know a call that it knew: no wait could be relied on.
[[noreturn]] void give_up(int error) noexcept {
    std::fprintf(stderr, "runnel: io_uring_enter: %s%s\n", std::strerror(error),
                 error == EBADR ? " (the kernel had no memory to keep completions)" : "");
    std::abort();
}

void pause_processor() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}
}

uring_driver::uring_driver(const ring_options& options) : clock_(options.clock), ring_(options) {
    if (options.provides_buffers) provided_.begin(ring_);
    allow_kicks();
}

uring_driver::~uring_driver() {
    lock_.lock();
    closing_ = true;
    cancel_everything();
    lock_.unlock();
    while (kernel_holds_ > 0) {  // U3
        enter(ring_.submit_and_wait(pause_ns * 100));
        locked_reap();
    }
    while (owed_messages_ > 0 || mail_.has_senders()) {  // U4
        sched_yield();
        locked_take_in();
    }
}

/// Takes back what the kernel has; `closing_` keeps it from being continued. More requests than the ring has
/// room for, perhaps: so it is handed over on the way.
void uring_driver::cancel_everything() noexcept {
    end_standing(false);
    const auto cancel_one = [this](std::uint64_t user_data) {
        while (!publish_cancel(user_data)) enter(ring_.submit_and_collect());
    };
    slots_.for_each([&](const io_slot& slot) {
        if (slot.at == io_slot::phase::in_kernel) cancel_one(slot.user_data());
    });
    if (doorbell_armed_) cancel_one(doorbell_data);
}

// --- Operations ------------------------------------------------------------------------------------

void uring_driver::start(io_request& request) noexcept {
    io_slot& slot = slot_of(request);
    if (is_for_pool(slot)) return run_in_pool(slot);
    {
        const std::lock_guard guard(lock_);
        note_begun();
        if (!delayed_.empty() || slot.taken_back || !publish(slot)) delay(slot);
    }
    // The operation may be over by now (B2): nothing of it is touched.
    if (ring_.unsubmitted() >= submit_at) enter(ring_.submit());
}

bool uring_driver::takes_into_batch() noexcept {
    return (several_ || ring_.unsubmitted() != 0) && buffers().out() < leases_max;
}

void uring_driver::cancel(io_request& request) noexcept { mail_.send(request); }

// --- Driving ---------------------------------------------------------------------------------------

unsigned uring_driver::poll() noexcept {
    lock_.lock();
    const unsigned ended = take_in_as_owner();
    lock_.unlock();
    if (worth_entering()) enter(ring_.submit_and_collect());
    note_processor();
    const std::lock_guard guard(lock_);
    return ended + reap_as_owner();
}

unsigned uring_driver::wait(nanoseconds_t deadline) noexcept {
    lock_.lock();
    buffers().set_out(static_cast<int>(provided_.count()));  // all tasks that were ready have run
    const unsigned ended = take_in_as_owner();
    const nanoseconds_t timeout = deadline == no_deadline ? no_deadline : deadline - now();
    sleeping_ = ended == 0 && timeout > 0 && fall_asleep();
    lock_.unlock();
    if (sleeping_ && mail_.empty())  // U2
        sleep_in_kernel(timeout);
    else if (worth_entering())
        enter(ring_.submit_and_collect());
    come_back();
    const std::lock_guard guard(lock_);
    sleeping_ = false;
    return ended + reap_as_owner();
}

bool uring_driver::begin_sleep() noexcept {
    lock_.lock();
    const unsigned ended = take_in_as_owner();
    sleeping_ = ended == 0 && fall_asleep();
    lock_.unlock();
    if (!sleeping_ || !mail_.empty()) return false;  // U2
    if (worth_entering()) enter(ring_.submit_and_collect());
    return ring_.unsubmitted() == 0 && !ring_.has_completions();
}

void uring_driver::end_sleep() noexcept {
    come_back();
    const std::lock_guard guard(lock_);
    sleeping_ = false;
}

void uring_driver::come_back() noexcept {
    mail_.come_back();
    note_processor();
}

/// Not while something is left that nobody would wake us for; nor deaf.
bool uring_driver::fall_asleep() noexcept { return !some_left() && doorbell_armed_ && mail_.fall_asleep(); }

void uring_driver::sleep_in_kernel(nanoseconds_t timeout) noexcept {
    count(counters_.sleeps);
    const int status = enter(ring_.submit_and_wait(timeout));
    // It takes no requests now, so it did not sleep either. Those stay published; do not spin meanwhile.
    if (status == -EAGAIN || status == -EBUSY) enter(ring_.wait(timeout < pause_ns ? timeout : pause_ns));
}

void uring_driver::wake() noexcept { mail_.wake(); }

bool uring_driver::stranded() const noexcept {
    return ring_.unsubmitted() != 0 || ring_.has_completions() || ring_.has_task_work() ||
           ring_.overflowed() || !mail_.looks_empty() ||
           has_left_.load(std::memory_order_relaxed);  // relaxed: a hint
}

unsigned uring_driver::help() noexcept {
    if (!lock_.try_lock()) return 0;  // the owner is there, or another helper
    if (sleeping_) {                  // it is back; what it finds when it enters the kernel ends its sleep
        lock_.unlock();
        return 0;
    }
    unsigned ended = take_in();
    lock_.unlock();
    if (worth_entering()) enter(ring_.submit_and_collect());
    if (ring_.has_task_work()) fetch_put_off();
    {
        const std::lock_guard guard(lock_);
        if (!sleeping_) ended += reap();  // U5
    }
    count(counters_.helped, ended);
    return ended;
}

/// Makes completions appear that wait for the thread which submitted the requests: mostly the owner, but
/// help() submits too.
void uring_driver::fetch_put_off() noexcept {
    const int processor = processor_.load(std::memory_order_relaxed);  // relaxed: a guess
    if (processor >= 0) kick_processor(processor);
    for (int look = 0; look < 2 * looks_after_kick && !ring_.has_completions(); ++look) {
        if (look == looks_after_kick) kick_process();
        pause_processor();
    }
}

bool uring_driver::worth_entering() noexcept {
    const bool overflowed = ring_.overflowed();
    if (overflowed) count(counters_.overflows);
    return overflowed || ring_.unsubmitted() != 0 || ring_.has_task_work();
}

int uring_driver::enter(int status) noexcept {
    count(counters_.enters);
    if (status > 0) count(counters_.submitted, static_cast<std::uint64_t>(status));
    switch (status) {
        case -EBADR:
        case -EBADF:
        case -EFAULT:
        case -EINVAL:
        case -ENXIO:
        case -EBADFD:
        case -EOPNOTSUPP:
            give_up(-status);
        default:
            return status;  // R3 of ring.hpp: what was not taken now is taken later
    }
}

void uring_driver::note_processor() noexcept {
    processor_.store(sched_getcpu(), std::memory_order_relaxed);  // relaxed: a hint
}

// --- 1: what goes in -------------------------------------------------------------------------------

unsigned uring_driver::locked_take_in() noexcept {
    const std::lock_guard guard(lock_);
    return take_in();
}

unsigned uring_driver::take_in_as_owner() noexcept {
    provided_.refill(buffers(), leases_max);
    return take_in();
}

unsigned uring_driver::take_in() noexcept {
    take_messages();
    const unsigned ended = publish_delayed();
    if (!doorbell_armed_) doorbell_armed_ = arm_doorbell();
    note_what_is_left();
    return ended;
}

bool uring_driver::some_left() const noexcept { return messages_ != nullptr || !delayed_.empty(); }

void uring_driver::note_what_is_left() noexcept {
    // relaxed: the lock orders the changes; to others it is a hint.
    has_left_.store(some_left(), std::memory_order_relaxed);
}

void uring_driver::take_messages() noexcept {
    // Whoever sends later wakes the owner, or is seen by its second look.
    if (messages_ == nullptr) messages_ = mail_.take();
    while (messages_ != nullptr) {
        io_request* following = messages_->inbox_next;  // the slot may be reused once its message is taken
        if (!take_message(slot_of(*messages_))) return;
        messages_ = following;
    }
}

/// False: there is no room in the ring, try again.
bool uring_driver::take_message(io_slot& slot) noexcept {
    if (take_late(slot) || take_nudge(slot)) return true;
    if (slot.at == io_slot::phase::in_kernel && !publish_cancel(slot.user_data())) return false;
    slot.taken_back = true;
    return true;
}

unsigned uring_driver::publish_delayed() noexcept {
    unsigned ended = 0;
    while (!delayed_.empty() && !closing_) {
        io_slot& slot = *delayed_.front();
        if (!slot.taken_back && !publish(slot)) break;
        delayed_.pop();
        if (slot.taken_back) {
            slot.action->error = ECANCELED;
            ended += finish(slot);
        }
    }
    return ended;
}

void uring_driver::delay(io_slot& slot) noexcept {
    slot.at = io_slot::phase::delayed;
    delayed_.push(slot);
    note_what_is_left();
}

void uring_driver::begin_again(io_slot& slot) noexcept { delay(slot); }

bool uring_driver::publish(io_slot& slot) noexcept {
    io_uring_sqe* request = ring_.next();
    if (request == nullptr) return false;
    fill_request(*request, *slot.action, provided_.begun());
    request->user_data = slot.user_data();
    slot.at = io_slot::phase::in_kernel;
    ++kernel_holds_;
    ring_.publish();
    return true;
}

bool uring_driver::publish_cancel(std::uint64_t user_data) noexcept {
    io_uring_sqe* request = ring_.next();
    if (request == nullptr) return false;
    io_uring_prep_cancel64(request, user_data, 0);
    request->user_data = cancel_data;
    // Its own completion says nothing: the operation's does.
    if (ring_.has_feature(IORING_FEAT_CQE_SKIP)) request->flags |= IOSQE_CQE_SKIP_SUCCESS;
    ring_.publish();
    return true;
}

bool uring_driver::arm_doorbell() noexcept {
    io_uring_sqe* request = ring_.next();
    if (request == nullptr || closing_) return false;
    io_uring_prep_poll_multishot(request, mail_.bell_fd(), POLLIN);
    request->user_data = doorbell_data;
    ++kernel_holds_;
    ring_.publish();
    return true;
}

// --- 3: what comes out -----------------------------------------------------------------------------

unsigned uring_driver::locked_reap() noexcept {
    const std::lock_guard guard(lock_);
    return reap();
}

unsigned uring_driver::reap_as_owner() noexcept {
    const unsigned ended = reap();
    several_ = ended > 1;
    return ended;
}

unsigned uring_driver::reap() noexcept {
    unsigned ended = 0;
    while (const io_uring_cqe* completion = ring_.front()) {
        const std::uint64_t user_data = completion->user_data;
        const int status = completion->res;
        const unsigned flags = completion->flags;
        ring_.pop();
        ended += complete(user_data, status, flags);
    }
    return ended;
}

unsigned uring_driver::complete(std::uint64_t user_data, int status, unsigned flags) noexcept {
    if (user_data == cancel_data) return 0;
    if (user_data == doorbell_data) {
        if ((flags & IORING_CQE_F_MORE) == 0) {
            --kernel_holds_;
            doorbell_armed_ = false;
        }
        return 0;
    }
    io_slot* slot = slots_.find(user_data);
    if (slot == nullptr) {
        count(counters_.strays);
        return 0;
    }
    --kernel_holds_;
    count(counters_.completed);
    return settle(*slot, status, flags);
}

/// A buffer of ours becomes that of the action, if there are bytes in it. None was left: it is as if we provided none.
void uring_driver::lend_provided(io_action& to, int status, unsigned flags) noexcept {
    if ((flags & IORING_CQE_F_BUFFER) == 0) return;
    if (status > 0 && !closing_)
        to.lend(provided_.take(flags), buffer_pool::buffer_bytes);
    else
        provided_.keep(flags);
}

namespace {
/// Does a task read by itself when this is over? A watch looks for itself.
bool waits_to_read(const io_slot& slot) noexcept {
    const io_action& action = *slot.action;
    return slot.task != nullptr &&
           (action.kind == io_kind::readability || (action.kind == io_kind::lease && action.data == nullptr));
}
}

unsigned uring_driver::settle(io_slot& slot, int status, unsigned flags) noexcept {
    io_action& action = *slot.action;
    lend_provided(action, status, flags);
    if (closing_) return finish(slot);
    const bool without_buffer = status == -ENOBUFS && action.kind == io_kind::lease;
    if (without_buffer) provided_.ran_out();
    if ((without_buffer || status >= 0) && waits_to_read(slot)) {
        // A poll of the ring's tells of an event, without another look: its bytes may have been read in the meantime.
        if (readable_now(action.fd)) return finish(slot);
        if (!slot.taken_back) {
            delay(slot);
            return 0;
        }
        status = -ECANCELED;
    }
    // ECANCELED unasked: the thread that submitted it, a helper perhaps, has ended.
    const bool disturbed =
        status == -ECANCELED || status == -EINTR || (status < 0 && absorb(action, -status));
    const bool over = status >= 0 ? note_success(action, status, flags) : !disturbed;
    if (!over && !slot.taken_back) {
        delay(slot);
        return 0;
    }
    if (status < 0)
        action.error = disturbed ? ECANCELED : -status;
    else if (!over)
        action.error = ECANCELED;
    return finish(slot);
}

// --- What others want to know ----------------------------------------------------------------------

nanoseconds_t uring_driver::now() const noexcept { return clock_(); }

std::uint64_t uring_driver::strays() const noexcept {
    return counters_.strays.load(std::memory_order_relaxed);  // relaxed: a figure for people
}

namespace {
class uring_drivers final : public driver_factory {
public:
    explicit uring_drivers(const ring_options& options) noexcept : options_(options) {}
    std::unique_ptr<driver> make(unsigned) override { return std::make_unique<uring_driver>(options_); }
    nanoseconds_t now() const noexcept override { return options_.clock(); }
    const char* name() const noexcept override { return "io_uring"; }

private:
    const ring_options options_;
};
}

std::unique_ptr<driver_factory> make_uring_drivers(const ring_options& options) {
    return std::make_unique<uring_drivers>(options);
}

std::unique_ptr<driver_factory> make_uring_drivers() { return make_uring_drivers(usual_ring_options()); }
}
