// The steps of an operation; runnel/detail/io_operation.hpp names them.
#include <runnel/detail/io_operation.hpp>

#include <cerrno>

#include <runnel/detail/file_action.hpp>
#include <runnel/detail/io_backend.hpp>
#include <runnel/detail/operation.hpp>
#include <runnel/detail/pieces.hpp>
#include <runnel/detail/tracing.hpp>
#include <runnel/detail/wait.hpp>
#include <runnel/result.hpp>

#include "io_figures.hpp"

namespace runnel::detail {

namespace {

/// For dumps.
kernel_wait wait_of(io_kind kind) noexcept {
    switch (kind) {
        case io_kind::connect:
            return kernel_wait::to_connect;
        case io_kind::send:
        case io_kind::send_message:
        case io_kind::send_pieces:
        case io_kind::write:
            return kernel_wait::to_send;
        case io_kind::readability:
            return kernel_wait::until_readable;
        case io_kind::file:
            return kernel_wait::for_file;
        case io_kind::receive:
        case io_kind::receive_message:
        case io_kind::datagram:
        case io_kind::lease:
        case io_kind::read:
            break;
    }
    return kernel_wait::to_receive;
}

/// For traces.
const char* name_of(const io_action& what) noexcept {
    switch (what.kind) {
        case io_kind::connect:
            return "connect";
        case io_kind::send:
        case io_kind::send_message:
        case io_kind::send_pieces:
            return "send";
        case io_kind::readability:
            return "poll";
        case io_kind::file:
            return name_of(file_of(what).kind);
        case io_kind::read:
            return "read";
        case io_kind::write:
            return "write";
        case io_kind::receive:
        case io_kind::receive_message:
        case io_kind::datagram:
        case io_kind::lease:
            break;
    }
    return "receive";
}

bool is_error(int error) noexcept { return error != 0 && error != ECANCELED && error != EAGAIN; }

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
}

void note_figures(const io_action& done, bool counts_itself) noexcept {
    io_totals& totals = tls_worker->moved;
    if (is_error(done.error)) [[unlikely]]
        totals.errors.add();
    switch (done.kind) {
        case io_kind::connect:
            if (done.error == 0 && done.fd >= 0)
                totals.connected.add();
            else if (done.error != EAGAIN)
                totals.not_connected.add();
            return;
        case io_kind::send:
        case io_kind::send_message:
        case io_kind::send_pieces:
        case io_kind::write:
            if (!counts_itself) totals.sent.add(done.moved);
            return;
        case io_kind::receive:
        case io_kind::receive_message:
        case io_kind::lease:
        case io_kind::read:
            if (!counts_itself) totals.received.add(done.moved);
            return;
        case io_kind::datagram:
        case io_kind::readability:
        case io_kind::file:
            return;
    }
}

bool io_operation::suspend(std::coroutine_handle<> awaiter, timer_node* limit) noexcept {
    task_block& task = running_task();
    if (!may_wait(task)) [[unlikely]] {
        progress_ = progress::refused;
        return refuse(task, awaiter);
    }
    entered_ = on_ == nullptr ? entry::in : on_->begin(lane_, alone_);
    if (entered_ != entry::in) [[unlikely]] {
        if (entered_ != entry::watched) return go_on(task, awaiter);  // reason() sees it
        action_.watched_by = on_->timing_if_any();
    }
    if (on_ != nullptr) action_.fd = on_->fd();
    if (action_.error != 0 || nothing_to_move() || (try_first_ && !joins_batch() && try_now()))
        return go_on(task, awaiter);
    return start(task, awaiter, limit);
}

/// A send that others will take to the kernel anyway saves its call, which is more than a suspension costs.
bool io_operation::joins_batch() const noexcept {
    return (action_.kind == io_kind::send || action_.kind == io_kind::send_pieces) &&
           current_io().takes_into_batch();
}

/// The kernel would wait for the first byte even so.
bool io_operation::nothing_to_move() const noexcept {
    switch (action_.kind) {
        case io_kind::file:
            return file_of(action_).moves() && file_of(action_).bytes_left() == 0;
        case io_kind::receive:
        case io_kind::send:
        case io_kind::send_pieces:
        case io_kind::read:
        case io_kind::write:
            return action_.bytes == 0;
        default:
            return false;
    }
}

/// Step 3. False: it would have to wait, for the rest perhaps.
bool io_operation::try_now() noexcept {
    if (action_.kind == io_kind::file) {
        file_action& file = file_of(action_);
        if (file.gives_at_once == nullptr) return false;
        const long moved = current_io().read_file_now(action_.fd, file);
        return moved >= 0 && note_file_answer(action_, moved);
    }
    const long moved = now_ != nullptr ? now_(*this, current_io()) : move_now();
    if ((moved == -EAGAIN || moved == -EINTR) && may_wait_) return false;
    if (moved < 0) {
        action_.error = static_cast<int>(-moved);
        return true;
    }
    if (now_ != nullptr) {
        action_.moved = static_cast<std::size_t>(moved);
        return true;
    }
    action_.advance(static_cast<std::size_t>(moved));
    return !action_.whole || action_.bytes == 0;
}

long io_operation::move_now() noexcept {
    io_action& what = action_;
    switch (what.kind) {
        case io_kind::send:
            return current_io().send_now(what.fd, what.data, what.bytes);
        case io_kind::send_message:
            return current_io().send_message_now(what.fd, *static_cast<const msghdr*>(what.data));
        case io_kind::send_pieces:
            return current_io().send_message_now(what.fd, static_cast<pieces*>(what.data)->message());
        case io_kind::receive_message:
            return current_io().receive_message_now(what.fd, *static_cast<msghdr*>(what.data),
                                                    what.full_length);
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
bool io_operation::start(task_block& task, std::coroutine_handle<> awaiter, timer_node* limit) noexcept {
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
        trace_submit(task, name_of(action_), action_.fd, action_.bytes);
    if (on_ != nullptr) on_->note_waiting(lane_, task, wait);
    if (limit != nullptr) start_limit(*limit, task, wait);  // O2
    backend.start(*request);
    return true;
}

runnel::transfer io_operation::outcome(timer_node* limit) {
    if (limit != nullptr) stop_timer(*limit);
    if (progress_ == progress::armed) {
        take_leased();
        if (on_ != nullptr) on_->note_not_waiting(lane_);
    }
    if (action_.fd >= 0 && traced()) [[unlikely]]
        trace_outcome();
    if (progress_ != progress::refused) note_figures(action_, now_ != nullptr);
    if (entered_ >= entry::in && on_ != nullptr) on_->leave(lane_);
    return {action_.moved, reason()};
}

void io_operation::trace_outcome() const noexcept {
    if (progress_ != progress::made && progress_ != progress::armed) return;  // it has not been tried
    const bool failed = action_.error != 0 && action_.moved == 0;
    trace_complete(name_of(action_), action_.fd,
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
    if (entered_ == entry::closed) return errc::closed;
    if (entered_ == entry::late) return errc::timed_out;
    const bool is_done = action_.moved > 0 || action_.kind == io_kind::file;
    const bool closed = on_ != nullptr && on_->closed();
    if (action_.error == 0 && (is_done || !closed)) return {};
    if (closed) return errc::closed;
    if (action_.error == ECANCELED && progress_ == progress::armed) {
        const unsigned code = io_outcome(running_task());
        if (code != 0) return wait_error(code);
    }
    return {action_.error, std::system_category()};
}
}
