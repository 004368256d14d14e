// The steps of a watch; runnel/detail/io_watch.hpp names them and the invariants.
#include <runnel/detail/io_watch.hpp>

#include <atomic>
#include <chrono>
#include <mutex>
#include <new>
#include <utility>

#include <runnel/detail/io_backend.hpp>
#include <runnel/detail/spawning.hpp>
#include <runnel/detail/wait.hpp>
#include <runnel/stopping.hpp>
#include <runnel/task.hpp>
#include <runnel/time.hpp>

namespace runnel::detail {

// --- From the side of those that wait -----------------------------------------------------------------

bool io_watch::begin(int number) noexcept {
    {
        const std::lock_guard guard(lock);
        if (phase_ != phase::none || ended_) return true;
        phase_ = phase::beginning;
        ref();  // the driver's
    }
    io_backend& backend = current_io();
    action_.fd = number;
    action_.error = 0;
    io_request* const request = backend.prepare(action_);
    lock.lock();
    const bool goes = request != nullptr && !ended_;
    phase_ = goes ? phase::moving : phase::none;
    request_ = goes ? request : nullptr;
    const int left_to_us = std::exchange(inherited_, -1);
    claimed_tasks others;  // who have relied on us
    if (request == nullptr) others.claim_all(waiting);
    lock.unlock();
    others.finish_all();
    if (goes) {
        request->what = kernel_wait::until_readable;
        request->fd = number;
        backend.start(*request);
        return true;
    }
    if (request != nullptr) backend.discard(*request);
    if (left_to_us >= 0) backend.close(left_to_us);
    unref();
    return request != nullptr;
}

void io_watch::waited_for() noexcept {
    if (phase_ == phase::resting && !pauses_now()) send_message();
}

/// W3: the mailbox takes it without a lock.
void io_watch::send_message() noexcept {
    phase_ = phase::moving;
    message_ = true;
    request_->owner->cancel(*request_);
}

bool io_watch::end(int number) noexcept {
    claimed_tasks woken;
    bool kept = false;
    {
        const std::lock_guard guard(lock);
        ended_ = true;
        woken.claim_all(waiting);
        kept = phase_ != phase::none;
        if (kept) inherited_ = number;
        if (request_ != nullptr && !message_) send_message();
    }
    woken.finish_all();
    return kept;
}

void io_watch::interrupt() noexcept {
    claimed_tasks woken;
    {
        const std::lock_guard guard(lock);
        woken.claim_all(waiting);
    }
    woken.finish_all();
}

void io_watch::ref() noexcept {
    // relaxed: who makes a reference has one.
    std::atomic_ref<unsigned>(refs_).fetch_add(1, std::memory_order_relaxed);
}

void io_watch::unref() noexcept {
    // acq_rel: what each of them did is done before the last one deletes it.
    if (std::atomic_ref<unsigned>(refs_).fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

// --- From the driver's side, under its lock ------------------------------------------------------------

io_watch::next io_watch::hears(event what, socket_calls& calls) noexcept {
    lock.lock();
    if (what == event::nudged) message_ = false;
    if (ended_ || what == event::driver_ends) return let_go(!ended_, calls);
    claimed_tasks woken;
    const next then = go_on(what, calls, woken);
    if (then == next::rest && pauses_now()) rest_or_go_on();
    lock.unlock();
    woken.finish_all();
    return then;
}

/// Step 3.
io_watch::next io_watch::go_on(event what, socket_calls& calls, claimed_tasks& woken) noexcept {
    const int failed = std::exchange(action_.error, 0);
    const bool again = what == event::nudged || serve(action_.fd, failed, calls, woken);
    if (again && failed == 0) return next::again;
    phase_ = phase::resting;
    if (waiting.empty()) pause_for_ = 0;
    return next::rest;
}

/// L. Where the first in the queue runs; null when there is nobody.
runtime_core* io_watch::first_runtime() const noexcept {
    const wait_node* const first = waiting.front();
    // relaxed: as long as its node is linked it is there.
    return first != nullptr ? first->task->runtime.load(std::memory_order_relaxed) : nullptr;
}

/// For tasks of ours: W5. It is an argument of theirs, which lives as long as they, also if they never begin.
class io_watch::reference {
public:
    explicit reference(io_watch& to) noexcept : to_(&to) { to.ref(); }
    reference(reference&& other) noexcept : to_(std::exchange(other.to_, nullptr)) {}
    reference& operator=(reference&&) = delete;
    ~reference() {
        if (to_ != nullptr) to_->unref();
    }
    io_watch& operator*() const noexcept { return *to_; }

private:
    io_watch* to_;
};

namespace {
/// `make()` gives the task. False: that runtime stops, or there is no memory for it.
template <class Make>
bool start_in_runtime(runtime_core& core, Make make) noexcept {
    try {
        task<> what = make();
        const auto frame = task_access::frame_of(what);
        const start_request request =
            request_for<void>(frame, task_kind::spawned, nullptr, std::source_location::current(), false);
        if (start_in(core, nullptr, request) == nullptr) return false;
        (void)task_access::release(std::move(what));
        return true;
    } catch (const std::bad_alloc&) {
        return false;
    }
}
}

task<> io_watch::pause(reference to) {
    io_watch& watch = *to;
    watch.begins_pause();
    const auto limited = co_await with_timeout(std::chrono::nanoseconds(watch.pause_for_), stopping());
    (void)limited;  // it is over, or the runtime stops
    const std::lock_guard guard(watch.lock);
    watch.pause_for_ = 0;
    if (!watch.waiting.empty()) watch.waited_for();
}

/// L. Where no task can be started there is no pause.
void io_watch::rest_or_go_on() noexcept {
    runtime_core* const theirs = first_runtime();
    const auto make = [this] { return pause(reference(*this)); };
    if (theirs != nullptr && start_in_runtime(*theirs, make)) return;
    pause_for_ = 0;
    if (!waiting.empty()) waited_for();
}

/// W6.
task<> io_watch::begin_elsewhere(reference to, int number) {
    io_watch& watch = *to;
    watch.lock.lock();
    const bool wanted = !watch.ended_ && !watch.waiting.empty();
    watch.lock.unlock();
    if (wanted) (void)watch.begin(number);
    co_return;
}

bool io_watch::stays_begun(int number) noexcept {
    if (phase_ != phase::none) return true;
    return start_in_runtime(current_runtime(), [&] { return begin_elsewhere(reference(*this), number); });
}

/// L. W6: begins it in the runtime of one who waits. Those whose runtime begins nothing any more wait in vain.
void io_watch::find_another(int number, claimed_tasks& in_vain) noexcept {
    const auto make = [&] { return begin_elsewhere(reference(*this), number); };
    while (runtime_core* const theirs = first_runtime()) {
        if (start_in_runtime(*theirs, make)) return;
        late_wake wake;
        if (claim_first(waiting, wake) == nullptr) return;
        in_vain.add(wake);
    }
}

/// The lock is held, and released. `forsaken`: by a driver that ends.
io_watch::next io_watch::let_go(bool forsaken, socket_calls& calls) noexcept {
    phase_ = phase::none;
    request_ = nullptr;
    const bool owed = std::exchange(message_, false);
    const int to_close = std::exchange(inherited_, -1);
    claimed_tasks in_vain;
    if (forsaken) find_another(action_.fd, in_vain);
    lock.unlock();
    in_vain.finish_all();
    if (to_close >= 0) calls.close(to_close);
    unref();
    return owed ? next::end_owed : next::end;
}
}
