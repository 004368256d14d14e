// accepting: what a listener gives: connections, to as many tasks as wait for one, each of which may be in a select.
//
//   1  the listener is not blocking, and has a watch (io_watch.hpp) with the queue of those that wait;
//   2  who comes looks without a lock whether there is a connection; if so it takes one with the queue locked, and so
//      only when nothing else of its select has happened. Else it queues up;
//   3  "readable": the driver accepts for the first in the queue, and so on until there are no more of the one or the
//      other. It takes none unless somebody waits at that moment;
//   4  what is transient is no error. A connection that was gone before we took it is skipped. When descriptors or
//      memory run out nobody tries for 5 to 100 ms, longer each time; that is counted, and said once on stderr;
//   5  once the runtime begins to stop who waits in it goes on with errc::stopping: the second case.
//
//   Q1  a connection is taken for somebody. If something else has ended his wait in this very moment, it is kept, and
//       he gets it all the same; one whose select has taken another case leaves it to the next;
//   Q2  first come, first served; who finds others in the queue stands behind them;
//   Q3  no call is made that may wait with a lock of ours held.
//
// Not taken: accept as a request to the kernel (what it brings when nobody waits any more, in a runtime that stops, is
// lost when the listener ends: the peer has been told that it is connected); multishot accept, for the same reason. The
// call that the kernel would save is the smaller part of what a connection costs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string>

#include <runnel/detail/operation.hpp>
#include <runnel/detail/wait_queue.hpp>
#include <runnel/result.hpp>
#include <runnel/stopping.hpp>

#include "descriptor.hpp"
#include "io_watch.hpp"

namespace runnel::detail {

class accept_watch final : public io_watch {
public:
    /// `name`: where it listens, for people.
    accept_watch(std::string name, std::source_location made_at);

    /// L. A connection now, if there is one and it is this task's turn: its number; or -errno, which is not transient;
    /// or none_now.
    int take(int number, bool seems_there, socket_calls& calls) noexcept;
    static constexpr int none_now = -4096;  // no errno
    /// Without the lock. -1: there is none.
    int take_kept() noexcept;

    /// How often step 4 has paused. Threads: any.
    std::size_t pauses() const noexcept;

private:
    ~accept_watch() override;

    bool serve(int number, int failed, socket_calls& calls, claimed_tasks& woken) noexcept override;
    void begins_pause() noexcept override;
    int accept_one(int number, socket_calls& calls) noexcept;

    const std::string name_;
    std::int64_t pause_ = 0;  // nanoseconds; 0: the last try found what it needs
    int trouble_ = 0;         // why it pauses
    int kept_ = -1;           // Q1
    std::size_t pauses_ = 0;  // atomic in the .cpp
};

/// The first case of an accept.
class accept_case final : public queue_case {
public:
    explicit accept_case(descriptor& listener) noexcept;
    accept_case(accept_case&&) noexcept = default;

    /// Without a lock. `takes_none`: the runtime stops.
    void prime(bool takes_none) noexcept;
    void renew() noexcept { primed_ = false; }
    bool try_now(late_wake&) noexcept override;
    void enlist(task_block& task, std::uint64_t ticket) noexcept override;
    wait_subject subject() const noexcept override { return {"to accept", &at_->made}; }

    /// When it has won: a number, or -errno.
    int answer() const noexcept { return answer_; }
    /// When something else has: is one kept (Q1)? Then that is the answer.
    bool take_kept() noexcept;
    /// It is closed before it is shut down, and that before its watch ends: so who has found it shut down sees this.
    bool is_closed() const noexcept { return listener_->closed(); }
    void trace() const noexcept;

private:
    descriptor* listener_;
    accept_watch* watch_;  // null: of a listener that has been moved away
    bool primed_ = false;
    bool seems_there_ = false;
    bool waits_ = false;  // if it finds none
    bool waited_ = false;
    int number_ = -1;  // the listener's, as long as the watch has not ended
    int answer_ = accept_watch::none_now;
};

/// Both cases. Who derives from it gives the number its class.
class accept_cases {
public:
    static constexpr std::size_t case_count = 2;
    static constexpr choice order = choice::in_order;

    void gather(wait_case** out) noexcept;
    void renew() noexcept { accept_.renew(); }

protected:
    accept_cases(descriptor& listener, std::source_location at) noexcept : accept_(listener), at_(at) {}
    accept_cases(accept_cases&&) noexcept = default;
    ~accept_cases() = default;

    result<descriptor> accepted(unsigned index) noexcept;
    result<descriptor> not_accepted(std::error_code why) noexcept;

private:
    result<descriptor> answered() noexcept;

    accept_case accept_;
    stopping_operation stopping_;
    std::source_location at_;
};

/// Makes the watch of a socket that listens, before it is used. Throws std::bad_alloc.
void watch_listener(descriptor& listener, std::source_location made_at);
void label_listener(descriptor& listener, literal text) noexcept;
/// Of such a one.
std::size_t accept_pauses_of(const descriptor& listener) noexcept;
}
