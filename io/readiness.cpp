// Readable, and then read; see runnel/detail/readiness.hpp.
#include <runnel/detail/readiness.hpp>

#include <new>

#include <runnel/byte_stream.hpp>
#include <runnel/detail/check.hpp>
#include <runnel/detail/tracing.hpp>
#include <runnel/detail/wait.hpp>
#include <runnel/detail/worker_local.hpp>

#include "io_figures.hpp"

namespace runnel::detail {

namespace {

/// Wakes one at a time: Y1. Of many, the next one soon after: what is there stays.
class readable_watch final : public io_watch {
public:
    readable_watch() noexcept : io_watch(std::source_location::current()) {}

private:
    bool serve(int number, int failed, socket_calls& calls, claimed_tasks& woken) noexcept override {
        if (failed != 0) return fail_all(failed, calls, number, woken);
        if (waiting.empty()) return false;
        // The readiness that was reported may be that of bytes which have been read by now, without a select.
        if (!case_at(*waiting.front()).goes_on(0, calls, number)) return true;
        late_wake wake;
        if (claim_first(waiting, wake) != nullptr) woken.add(wake);
        return !waiting.empty();
    }

    bool fail_all(int error, socket_calls& calls, int number, claimed_tasks& woken) noexcept {
        while (wait_node* const first = waiting.front()) {
            if (!still_waits(*first)) {
                waiting.remove(*first);
                continue;
            }
            (void)case_at(*first).goes_on(error, calls, number);
            late_wake wake;
            if (claim_first(waiting, wake) != nullptr) woken.add(wake);
        }
        return false;
    }

    static readiness_case& case_at(const wait_node& node) noexcept {
        return *static_cast<readiness_case*>(node.slot);
    }
};

}

wait_queue& no_queue() noexcept {
    struct place final : wait_queue {
        place() noexcept : wait_queue(std::source_location::current()) {}
    };
    static place only;
    return only;
}

readiness_case::readiness_case(descriptor& on, bool by_many) noexcept
    : queue_case(no_queue()), on_(&on), by_many_(by_many) {}

bool readiness_case::is_there(socket_calls& calls, int fd) noexcept { return calls.readable_now(fd); }

bool readiness_case::goes_on(int failed, socket_calls& calls, int number) noexcept {
    error_ = failed;
    return failed != 0 || is_there(calls, number);
}

void readiness_case::prime() noexcept {
    if (std::exchange(primed_, true)) return;
    at_ = &no_queue();
    watch_ = nullptr;
    ready_ = true;
    waited_ = false;
    error_ = 0;
    if (!on_->enter(lane::call, false)) return;  // closed
    number_ = on_->fd();
    if (!is_there(current_sockets(), number_)) {
        ready_ = false;
        if (tls_worker != nullptr) stand_at_watch();
    }
    on_->leave(lane::call);
}

void readiness_case::stand_at_watch() noexcept {
    watch_ = on_->watch();
    if (watch_ == nullptr) {
        io_watch* const made = new (std::nothrow) readable_watch;
        if (made != nullptr) watch_ = on_->adopt(made);
    }
    if (watch_ != nullptr && watch_->begin(number_)) {
        at_ = watch_;
    } else {
        ready_ = true;
        error_ = ENOMEM;
    }
}

bool readiness_case::try_now(late_wake&) noexcept {
    if (ready_ || (watch_ != nullptr && watch_->has_ended()) || on_->late(lane::in)) return true;
    if (watch_ == nullptr || tls_worker == nullptr || watch_->stays_begun(number_)) return false;
    error_ = ENOMEM;
    return true;
}

void readiness_case::enlist(task_block& task, std::uint64_t ticket) noexcept {
    check(watch_ != nullptr,
          "socket: a task waits for it, in a runtime; a plain thread can only try_select()");
    const wait_node* const first = watch_->waiting.front();
    check(by_many_ || first == nullptr || first->task == &task,
          "socket: two tasks wait to read it at the same time");
    waited_ = true;
    node_.slot = this;
    queue_case::enlist(task, ticket);
    watch_->waited_for();
}

std::error_code why_not_read(long status) noexcept {
    if (status == -EBADF) return errc::closed;
    if (status == -ETIME) return errc::timed_out;  // of its deadline: begin() of the descriptor says so
    return {static_cast<int>(-status), std::system_category()};
}

void readiness_case::note(long moved, bool counted) const noexcept {
    if (moved > 0 && !counted) note_received(static_cast<std::size_t>(moved));
    if (traced()) [[unlikely]]
        trace_complete("receive", on_->fd(), moved, waited_);
}
}

namespace runnel {

result<std::size_t> read_case::complete(unsigned) noexcept {
    if (to_.empty()) return std::size_t{0};
    const long moved =
        make([this](auto& calls, int fd) { return calls.receive_now(fd, to_.data(), to_.size()); });
    if (moved < 0) return detail::why_not_read(moved);
    drained_ = static_cast<std::size_t>(moved) < to_.size();
    if (moved == 0) return errc::end_of_stream;
    return static_cast<std::size_t>(moved);
}

result<> readable_case::complete(unsigned) noexcept {
    const long status = make([](auto&, int) { return 0; });
    if (status < 0) return detail::why_not_read(status);
    return {};
}

result<chunk> receive_case::complete(unsigned) noexcept {
    const auto read = [](auto& calls, int fd, std::byte* to, std::size_t room) {
        return calls.receive_now(fd, to, room);
    };
    return lease_and(read, drained_);
}
}
