// signals: the signals of the process, as something to wait for.
//
//   rn::signals hup({SIGHUP, SIGUSR1});
//   while (auto got = co_await hup.recv())          // a select case; ends when the runtime begins to stop
//       if (got->number == SIGHUP) reload();
//
//   const auto asked = rn::with_signals(rn::current_context(), {SIGINT, SIGTERM});
//   auto end = co_await rn::with_context(asked.ctx(), serve());          // asked.ctx().cause() says which
//
// There is no signal handler: what is received is blocked, and read by a thread of ours (detail/signal_subscriber.hpp).
//
//   S1  each receiver of a signal gets it, with how often it came since it was last taken;
//   S2  while anybody receives a signal it has no other effect: SIGTERM does not stop run(), SIGCHLD and SIGUSR1 do
//       nothing by themselves. When the last receiver is gone it has its usual effect again, at once: what came and
//       was taken by nobody is gone with the receiver, what comes then may end the program;
//   S3  under run() all that is to be blocked is. In another program its own threads would be hit by the signal's usual
//       effect, so such a program calls block_signals() first, before it starts a thread;
//   S4  children have no signal blocked (process.hpp).
//
// Not taken: handlers (a library has no right to them, and little may be done in one); a descriptor per receiver
// (each signal is read once, by one of them).
#pragma once

#include <csignal>
#include <cstdint>
#include <initializer_list>
#include <source_location>
#include <system_error>

#include <runnel/context.hpp>
#include <runnel/detail/counted.hpp>
#include <runnel/detail/operation.hpp>
#include <runnel/detail/wait_queue.hpp>
#include <runnel/label.hpp>
#include <runnel/result.hpp>
#include <runnel/stopping.hpp>

#include "detail/signal_subscriber.hpp"

namespace runnel {

struct received_signal {
    int number = 0;
    int from = 0;  // the process that sent it last; 0: the kernel, or one that we cannot see
    std::uint32_t times =
        0;  // how often it came since it was last taken; the kernel may have merged some before
};

namespace detail {

/// The one case; the queue is that of the receiver.
class [[nodiscard]] signal_case final : public single_case<signal_case, result<received_signal>, queue_case> {
public:
    explicit signal_case(wait_queue& of) noexcept : single_case(of) {}
    signal_case(signal_case&&) noexcept = default;

    bool try_now(late_wake&) noexcept override;
    void enlist(task_block& task, std::uint64_t ticket) noexcept override;
    wait_subject subject() const noexcept override { return {"for a signal", &at_->made}; }
    result_type complete(unsigned) noexcept { return got_; }

private:
    received_signal got_;
};

/// It ends with the runtime: the first case is that it begins to stop.
class [[nodiscard]] signal_operation final {
public:
    using result_type = result<received_signal>;
    static constexpr std::size_t case_count = 2;
    static constexpr choice order = choice::in_order;

    explicit signal_operation(wait_queue& of) noexcept : signal_(of) {}
    signal_operation(signal_operation&&) noexcept = default;

    await_many<signal_operation> awaiter() noexcept { return await_many<signal_operation>(*this); }
    void gather(wait_case** out) noexcept {
        out[0] = &stopping_;
        out[1] = &signal_;
    }
    result_type complete(unsigned index) noexcept {
        return index == 0 ? fail(errc::stopping) : signal_.complete(0);
    }
    result_type fail(std::error_code error) noexcept { return error; }

private:
    stopping_operation stopping_;
    signal_case signal_;
};
}

/// Receives some signals from its beginning to its end. It stays where it was made, and does not end while somebody
/// waits for it: check().
/// Threads  made and destroyed by any; recv() by any number of tasks.
class signals : detail::wait_queue, detail::signal_subscriber {
public:
    /// From when this has returned none of them is missed. check(): those that nobody can receive (SIGKILL, SIGSTOP),
    /// and those of a fault of one thread (SIGSEGV, SIGABRT and the like, SIGPROF).
    /// Throws   std::system_error when there is no descriptor or thread to receive them.
    /// Cost     the first receiver of all starts a thread; each waits some microseconds for run() (S3).
    explicit signals(std::initializer_list<int> numbers,
                     std::source_location at = std::source_location::current());
    ~signals();

    /// Receives the next one: that which came first, with all of the same number that came since. A select case.
    /// Returns       which, and how often; errc::stopping once the runtime begins to stop.
    /// Cancellation  a cancel point on every call; a signal that was not received stays.
    /// Order         one signal ends one wait of this receiver: the oldest.
    /// Cost          one short lock; no allocation.
    detail::signal_operation recv() noexcept { return detail::signal_operation(*this); }

    /// Its name in dumps and traces. Threads: any.
    void label(literal text) noexcept { made.set_label(text); }

private:
    friend class detail::signal_case;
    void raised(int number, int from) noexcept override;
    void put(const received_signal& one) noexcept;
    bool take(received_signal& out) noexcept;

    // Under the lock: those that nobody has taken, each number once, in the order in which they came.
    received_signal pending_[64];
    unsigned pending_count_ = 0;
    const detail::counted counts_;
};

/// What with_signals() gives: a context that the first of some signals cancels, for as long as this object lives.
class signal_context : detail::signal_subscriber {
public:
    signal_context(const context& parent, std::initializer_list<int> numbers, std::source_location at);
    /// The context lives on by its handles, and no signal reaches it any more (S2).
    ~signal_context();

    const context& ctx() const noexcept { return made_.ctx; }
    /// Cancels the context without a signal.
    const cancel_function& cancel() const noexcept { return made_.cancel; }

private:
    void raised(int number, int from) noexcept override;
    cancellable made_;
};

/// A child of `parent` that one of these signals cancels: Go's signal.NotifyContext. Its cause() is signal_error() of
/// the one that came, err() is errc::cancelled. Further ones do nothing (S2).
/// Throws   as signals(); std::bad_alloc.
/// Threads  any.
inline signal_context with_signals(const context& parent, std::initializer_list<int> numbers,
                                   std::source_location at = std::source_location::current()) {
    return signal_context(parent, numbers, at);
}

/// A signal as the cause of an end; its message() is the name, "SIGTERM".
std::error_code signal_error(int number) noexcept;

/// Blocks these in the calling thread, and so in those that it starts later: for programs that are not under run().
/// The first thing that main() does (S3).
void block_signals(std::initializer_list<int> numbers) noexcept;
}
