// scripted_io: a back end that completes operations when and how a test says, in virtual time.
//
//     run_scripted([]() -> rn::task<> {
//         script().refuse_accepts = EMFILE;
//         …
//     });
//
// One worker, and no io_uring. A connect is answered at once by the plain call, and an accept is refused if the test
// says so. A watch is told what the socket says. Everything else waits in the back end until the test ends it by
// complete_all(), or somebody takes it back. The sockets are real, so what a plain call finds in them is what the test
// has put there.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <deque>
#include <functional>
#include <memory>

#include <runnel/detail/io_backend.hpp>
#include <runnel/detail/wait.hpp>

#include "loopback.hpp"
#include "support/virtual_time.hpp"

namespace test {

class scripted_driver final : public rn::detail::driver, public rn::detail::io_backend {
public:
    using nanoseconds_t = rn::detail::nanoseconds_t;

    explicit scripted_driver(std::atomic<nanoseconds_t>& clock) : time_(clock) {}
    ~scripted_driver() override {
        for (request& each : requests_)
            if (each.task == nullptr && (each.waits || each.rests)) tell(each, event::driver_ends);
    }

    // --- The script ---

    int refuse_accepts = 0;            // an errno, as if a connection were there
    int refusals = 1'000'000;          // so many times
    int accepts = 0;                   // how often it was asked for a connection
    std::function<void()> on_prepare;  // done once, when the next operation is prepared
    std::deque<int> answers;  // errnos, 0: the system's own, of the next plain calls that send messages
    int next_owner = -1;      // what gets the next number that is closed, at that very moment

    /// Ends what waits, without a result: there is something to read, or this error.
    void complete_all(int error = 0) {
        for (request& each : requests_)
            if (each.waits && each.task != nullptr) complete(each, 0, error);
    }

    // --- The driver ---

    unsigned poll() noexcept override {
        for (request& each : requests_) {
            if (each.waits && each.taken_back)
                complete(each, 0, ECANCELED);
            else if (each.waits && each.task == nullptr && readable_now(each.action->fd))
                complete(each, 0, 0);
            else if (each.rests && std::exchange(each.taken_back, false))
                tell(each, event::nudged);
        }
        return time_.poll();
    }
    unsigned wait(nanoseconds_t deadline) noexcept override { return time_.wait(deadline); }
    void wake() noexcept override { time_.wake(); }
    void cancel(rn::detail::io_request& taken_back) noexcept override {
        static_cast<request&>(taken_back).taken_back = true;
        wake();
    }
    std::size_t in_flight() const noexcept override { return 0; }
    bool stranded() const noexcept override { return false; }
    unsigned help() noexcept override { return 0; }
    nanoseconds_t now() const noexcept override { return time_.now(); }
    rn::detail::driver_counts counts() const noexcept override { return {}; }
    io_backend* io() noexcept override { return this; }

    // --- The back end ---

    rn::detail::io_request* prepare(rn::detail::io_action& action,
                                    rn::detail::task_block& task) noexcept override {
        if (on_prepare) std::exchange(on_prepare, nullptr)();
        request& made = requests_.emplace_back();  // kept to the end: a canceller may look at it
        made.owner = this;
        made.action = &action;
        made.task = &task;
        return &made;
    }
    rn::detail::io_request* prepare(rn::detail::standing_action& action) noexcept override {
        if (on_prepare) std::exchange(on_prepare, nullptr)();
        request& made = requests_.emplace_back();
        made.owner = this;
        made.action = &action;
        return &made;
    }
    void discard(rn::detail::io_request&) noexcept override {}
    void start(rn::detail::io_request& what) noexcept override {
        auto& started = static_cast<request&>(what);
        const rn::detail::io_action& action = *started.action;
        if (action.kind == rn::detail::io_kind::connect) {
            const auto* to = static_cast<const sockaddr*>(action.data);
            const int status = connect(action.fd, to, static_cast<socklen_t>(action.bytes));
            complete(started, 0, status < 0 ? errno : 0);
        } else {
            started.waits = true;
        }
    }

    bool readable_now(int fd) noexcept override {
        return (refuse_accepts != 0 && refusals > 0) || io_backend::readable_now(fd);
    }
    int accept_now(int fd) noexcept override {
        ++accepts;
        if (refuse_accepts != 0 && refusals-- > 0) return -refuse_accepts;
        return io_backend::accept_now(fd);
    }
    long send_message_now(int fd, const msghdr& what) noexcept override {
        const int answer = next_answer();
        return answer != 0 ? -answer : io_backend::send_message_now(fd, what);
    }
    long send_messages_now(int fd, mmsghdr* what, unsigned count) noexcept override {
        const int answer = next_answer();
        return answer != 0 ? -answer : io_backend::send_messages_now(fd, what, count);
    }

    int close(int fd) noexcept override {
        const int heir = std::exchange(next_owner, -1);
        return heir < 0 ? io_backend::close(fd) : dup2(heir, fd);
    }

private:
    int next_answer() noexcept {
        if (answers.empty()) return 0;
        const int answer = answers.front();
        answers.pop_front();
        return answer;
    }

    struct request : rn::detail::io_request {
        rn::detail::io_action* action = nullptr;
        rn::detail::task_block* task = nullptr;
        bool waits = false;
        bool rests = false;
        bool taken_back = false;
    };
    using event = rn::detail::standing_action::event;
    using next = rn::detail::standing_action::next;

    void complete(request& ended, std::size_t moved, int error) noexcept {
        ended.waits = false;
        ended.action->moved = moved;
        ended.action->error = error;
        if (ended.task == nullptr)
            tell(ended, event::answered);
        else
            (void)rn::detail::complete_io(*ended.task);
    }
    void tell(request& of, event what) noexcept {
        const next then = static_cast<rn::detail::standing_action&>(*of.action).hears(what, *this);
        of.waits = then == next::again;
        of.rests = then == next::rest;
    }

    support::virtual_driver time_;
    std::deque<request> requests_;
};

class scripted_drivers final : public rn::detail::driver_factory {
public:
    std::unique_ptr<rn::detail::driver> make(unsigned) override {
        return std::make_unique<scripted_driver>(clock_);
    }
    rn::detail::nanoseconds_t now() const noexcept override { return clock_; }
    const char* name() const noexcept override { return "scripted"; }

    static std::unique_ptr<rn::detail::driver_factory> all() { return std::make_unique<scripted_drivers>(); }

private:
    std::atomic<rn::detail::nanoseconds_t> clock_{1'000'000'000};
};

/// The back end under the running task.
inline scripted_driver& script() { return static_cast<scripted_driver&>(rn::detail::current_driver()); }

/// Runs f(args…) as a task on it. An exception fails the test.
template <class F, class... Args>
auto run_scripted(F f, Args... args) {
    rn::runtime runtime(rn::options().workers(1).drivers_from(scripted_drivers::all));
    return runtime.spawn(f, std::move(args)...).wait();
}
}
