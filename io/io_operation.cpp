// The steps of an operation; runnel/detail/io_operation.hpp names them.
#include <runnel/detail/io_operation.hpp>

#include <cerrno>

#include <runnel/detail/io_backend.hpp>
#include <runnel/detail/operation.hpp>
#include <runnel/detail/tracing.hpp>
#include <runnel/detail/wait.hpp>
#include <runnel/result.hpp>
#include <runnel/stopping.hpp>

namespace runnel::detail {

namespace {

/// For dumps.
kernel_wait wait_of(io_kind kind) noexcept {
    switch (kind) {
        case io_kind::accept:
            return kernel_wait::to_accept;
        case io_kind::connect:
            return kernel_wait::to_connect;
        case io_kind::send:
        case io_kind::write:
            return kernel_wait::to_send;
        case io_kind::readability:
            return kernel_wait::until_readable;
        case io_kind::receive:
        case io_kind::lease:
        case io_kind::read:
            break;
    }
    return kernel_wait::to_receive;
}

/// For traces.
const char* name_of(io_kind kind) noexcept {
    switch (kind) {
        case io_kind::accept:
            return "accept";
        case io_kind::connect:
            return "connect";
        case io_kind::send:
            return "send";
        case io_kind::readability:
            return "poll";
        case io_kind::read:
            return "read";
        case io_kind::write:
            return "write";
        case io_kind::receive:
        case io_kind::lease:
            break;
    }
    return "receive";
}

nanoseconds_t from_now(nanoseconds_t limit) noexcept {
    const nanoseconds_t now = clock_now();
    return limit < no_deadline - now ? now + limit : no_deadline;
}

void start_limit(timer_node& limit, task_block& task, std::uint64_t wait) noexcept {
    limit.task = &task;
    limit.ticket = ticket_for(wait, wait_code::timed_out);
    limit.when = from_now(limit.when);
    start_timer(limit);
}

bool has_begun(stopping_operation& stopping) noexcept {
    late_wake nobody;
    return stopping.try_now(nobody);
}

/// Y1 of byte_end.hpp.
void watch(close_alarm& closing, const descriptor& on, task_block& task, std::uint64_t wait) noexcept {
    const std::uint64_t ticket = ticket_for(wait, wait_code::cancelled);
    closing.bell->lock.lock();
    closing.bell->waiting.enlist(closing.node, task, ticket);
    closing.bell->lock.unlock();
    if (on.closed()) claim(task, ticket, wait_code::cancelled);
}

void watch(stopping_operation& stopping, task_block& task, std::uint64_t wait) noexcept {
    const std::uint64_t ticket = ticket_for(wait, wait_code::stopping);
    wait_object& object = *stopping.object();
    object.lock.lock();
    stopping.enlist(task, ticket);
    object.lock.unlock();
    // Since step 2? Then whoever began it may have looked for us already.
    if (has_begun(stopping)) claim(task, ticket, wait_code::stopping);
}

void unwatch(close_alarm& closing) noexcept {
    closing.bell->lock.lock();
    closing.bell->waiting.delist(closing.node);
    closing.bell->lock.unlock();
}

void unwatch(stopping_operation& stopping) noexcept {
    wait_object& object = *stopping.object();
    object.lock.lock();
    stopping.delist();
    object.lock.unlock();
}
}

void close_bell::ring() noexcept {
    for (;;) {
        lock.lock();
        const wait_node* const first = waiting.pop_front();
        task_block* const task = first != nullptr ? first->task : nullptr;
        const std::uint64_t ticket = first != nullptr ? first->ticket : 0;
        lock.unlock();
        if (task == nullptr) return;
        claim(*task, ticket, wait_code::cancelled);  // its descriptor is closed: reason() sees that first
    }
}

bool io_operation::suspend(std::coroutine_handle<> awaiter, io_alarms alarms) noexcept {
    task_block& task = running_task();
    if (!may_wait(task)) [[unlikely]] {
        progress_ = progress::refused;
        return refuse(task, awaiter);
    }
    entered_ = on_->enter(lane_, alone_);
    if (!entered_) return go_on(task, awaiter);  // closed; reason() sees it
    if (alarms.stopping != nullptr && has_begun(*alarms.stopping)) {
        progress_ = progress::stopped;
        return go_on(task, awaiter);
    }
    action_.fd = on_->fd();
    if (nothing_to_move() || (try_first_ && try_now())) return go_on(task, awaiter);
    return start(task, awaiter, alarms);
}

/// The kernel would wait for the first byte even so.
bool io_operation::nothing_to_move() const noexcept {
    switch (action_.kind) {
        case io_kind::receive:
        case io_kind::send:
        case io_kind::read:
        case io_kind::write:
            return action_.bytes == 0;
        default:
            return false;
    }
}

/// Step 3. False: it would have to wait, for the rest perhaps.
bool io_operation::try_now() noexcept {
    const long moved = move_now();
    if (moved == -EAGAIN || moved == -EINTR) return false;
    if (moved < 0) {
        action_.error = static_cast<int>(-moved);
        return true;
    }
    action_.advance(static_cast<std::size_t>(moved));
    return !action_.whole || action_.bytes == 0;
}

long io_operation::move_now() noexcept {
    const io_action& what = action_;
    switch (what.kind) {
        case io_kind::send:
            return current_io().send_now(what.fd, what.data, what.bytes);
        case io_kind::read:
            return current_io().read_now(what.fd, what.data, what.bytes, what.at_once);
        case io_kind::write:
            return current_io().write_now(what.fd, what.data, what.bytes, what.at_once);
        default:
            return receive_now();
    }
}

long io_operation::receive_now() noexcept {
    io_backend& backend = current_io();
    if (action_.kind == io_kind::receive) return backend.receive_now(action_.fd, action_.data, action_.bytes);
    std::byte* buffer = backend.buffers().take();
    if (buffer == nullptr) return -ENOMEM;
    const long moved = backend.receive_now(action_.fd, buffer, buffer_pool::buffer_bytes);
    if (moved > 0)
        action_.lend(buffer, buffer_pool::buffer_bytes);
    else
        backend.buffers().give(buffer);
    return moved;
}

/// Nothing to wait for: goes on, unless the budget of this resumption is used up.
bool io_operation::go_on(task_block& task, std::coroutine_handle<> awaiter) noexcept {
    task.refused = 0;
    if (--tls_worker->budget > 0) [[likely]]
        return false;
    give_way(task, awaiter);  // may run elsewhere at once: `this` is gone
    return true;
}

/// Step 4.
bool io_operation::start(task_block& task, std::coroutine_handle<> awaiter, io_alarms alarms) noexcept {
    io_backend& backend = current_io();
    io_request* request = backend.prepare(action_, task);
    if (request == nullptr) {
        action_.error = ENOMEM;
        return go_on(task, awaiter);
    }
    request->what = wait_of(action_.kind);
    request->fd = action_.fd;
    const std::uint64_t wait = next_ticket(task);
    progress_ = progress::armed;
    if (!arm_io(task, *request, awaiter)) [[unlikely]] {
        progress_ = progress::refused;
        backend.discard(*request);
        return refuse(task, awaiter);
    }
    if (traced()) [[unlikely]]
        trace_submit(task, name_of(action_.kind), action_.fd, action_.bytes);
    if (alarms.limit != nullptr) start_limit(*alarms.limit, task, wait);  // O2
    if (alarms.stopping != nullptr) watch(*alarms.stopping, task, wait);
    if (alarms.closing != nullptr) watch(*alarms.closing, *on_, task, wait);
    backend.start(*request);
    return true;
}

runnel::transfer io_operation::outcome(io_alarms alarms) {
    if (alarms.limit != nullptr) stop_timer(*alarms.limit);
    if (alarms.stopping != nullptr) unwatch(*alarms.stopping);
    if (alarms.closing != nullptr) unwatch(*alarms.closing);
    if (progress_ == progress::armed) take_leased();
    if (action_.fd >= 0 && traced()) [[unlikely]]
        trace_outcome();
    if (entered_) on_->leave(lane_);
    return {action_.moved, reason()};
}

void io_operation::trace_outcome() const noexcept {
    if (progress_ != progress::made && progress_ != progress::armed) return;  // it has not been tried
    const bool failed = action_.error != 0 && action_.moved == 0;
    trace_complete(name_of(action_.kind), action_.fd,
                   failed ? -action_.error : static_cast<std::int64_t>(action_.moved),
                   progress_ == progress::armed);
}

/// A lease whose wait is over takes its bytes before it leaves the lane: a close() in between would give the
/// descriptor back, and the next connection's bytes would be ours (F1 of descriptor.hpp).
void io_operation::take_leased() noexcept {
    if (action_.kind != io_kind::lease || action_.data != nullptr || action_.error != 0) return;
    // It does not wait: one task reads a stream, so what was there is still there.
    const long moved = receive_now();
    if (moved < 0)
        action_.error = static_cast<int>(-moved);
    else if (moved > 0)
        action_.advance(static_cast<std::size_t>(moved));
}

std::error_code io_operation::reason() {
    if (progress_ == progress::refused) return wait_error(io_outcome(running_task()));
    if (!entered_) return errc::closed;
    if (progress_ == progress::stopped) return errc::stopping;
    const bool has_moved = action_.moved > 0 || action_.kind == io_kind::accept;
    if (action_.error == 0 && (has_moved || !on_->closed())) return {};
    if (on_->closed()) return errc::closed;
    if (action_.error == ECANCELED && progress_ == progress::armed) {
        const unsigned code = io_outcome(running_task());
        if (code != 0) return wait_error(code);
    }
    return {action_.error, std::system_category()};
}
}
