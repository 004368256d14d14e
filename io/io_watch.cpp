// The steps of a watch; runnel/detail/io_watch.hpp names them and the invariants.
#include <runnel/detail/io_watch.hpp>

#include <mutex>

#include <runnel/detail/io_backend.hpp>
#include <runnel/detail/spawning.hpp>
#include <runnel/detail/wait.hpp>
#include <runnel/task.hpp>

namespace runnel::detail {

// --- From the side of those that wait -----------------------------------------------------------------

bool io_watch::begin(int number) noexcept {
    {
        const std::lock_guard guard(lock);
        if (phase_ != phase::none || ended_) return true;
        phase_ = phase::beginning;
        ++refs_;  // the driver's
    }
    io_backend& backend = current_io();
    fd = number;
    error = 0;
    io_request* const request = backend.prepare(*this);
    lock.lock();
    const bool goes = request != nullptr && !ended_;
    phase_ = goes ? phase::moving : phase::none;
    request_ = goes ? request : nullptr;
    const int left_to_us = std::exchange(inherited_, -1);
    lock.unlock();
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
    if (phase_ == phase::resting) send_message();
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

void io_watch::ref() noexcept {
    const std::lock_guard guard(lock);
    ++refs_;
}

void io_watch::unref() noexcept {
    lock.lock();
    const bool last = --refs_ == 0;
    lock.unlock();
    if (last) delete this;
}

// --- From the driver's side, under its lock ------------------------------------------------------------

standing_action::next io_watch::hears(event what, socket_calls& calls) noexcept {
    lock.lock();
    if (what == event::nudged) message_ = false;
    if (ended_ || what == event::driver_ends) return let_go(!ended_, calls);
    claimed_tasks woken;
    const next then = go_on(what, calls, woken);
    lock.unlock();
    woken.finish_all();
    return then;
}

/// Step 3.
standing_action::next io_watch::go_on(event what, socket_calls& calls, claimed_tasks& woken) noexcept {
    const int failed = std::exchange(error, 0);
    const bool again = what == event::nudged || serve(fd, failed, calls, woken);
    if (again && failed == 0) return next::again;
    phase_ = phase::resting;
    return next::rest;
}

namespace {
task<> begin_again(io_watch& watch, int number) {
    watch.lock.lock();
    const bool wanted = !watch.has_ended() && !watch.waiting.empty();
    watch.lock.unlock();
    if (wanted) (void)watch.begin(number);
    watch.unref();
    co_return;
}

/// False: that runtime stops.
bool start_in_runtime(runtime_core& core, task<> what) {
    const auto frame = task_access::frame_of(what);
    const start_request request = request_for<void>(frame, task_kind::spawned, nullptr,
                                                    std::source_location::current(), false);
    if (start_in(core, nullptr, request) == nullptr) return false;
    (void)task_access::release(std::move(what));
    return true;
}
}

/// The lock is held, and released. `forsaken`: by a driver that ends.
standing_action::next io_watch::let_go(bool forsaken, socket_calls& calls) noexcept {
    phase_ = phase::none;
    request_ = nullptr;
    const bool owed = std::exchange(message_, false);
    const int to_close = std::exchange(inherited_, -1);
    const wait_node* const left = forsaken ? waiting.front() : nullptr;
    // relaxed: it waits here, so it is there.
    runtime_core* const theirs = left != nullptr ? left->task->runtime.load(std::memory_order_relaxed) : nullptr;
    if (theirs != nullptr) ++refs_;
    const int number = fd;
    lock.unlock();
    if (to_close >= 0) calls.close(to_close);
    if (theirs != nullptr && !start_in_runtime(*theirs, begin_again(*this, number))) unref();  // W6
    unref();
    return owed ? next::end_owed : next::end;
}
}
