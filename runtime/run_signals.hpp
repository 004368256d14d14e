// run_signals: what signals do in the thread that waits in run().
//
//   1  SIGINT and SIGTERM (and SIGQUIT, if wanted) are blocked and read from a descriptor: they stop the runtime;
//   2  what somebody receives by itself (detail/taken_signals.hpp) is blocked too, and not read;
//   3  all others have their usual effect; and those of 1 again once let_go() was called: a second SIGTERM ends a
//      program that does not stop.
//
// The mask that the thread came with is put back at the end.
#pragma once

#include <signal.h>

#include <runnel/detail/taken_signals.hpp>

namespace runnel::detail {

class run_signals {
public:
    /// Throws std::system_error.
    explicit run_signals(bool quit_too);
    ~run_signals();
    run_signals(const run_signals&) = delete;
    run_signals& operator=(const run_signals&) = delete;

    /// Readable when take() has one.
    int fd() const noexcept { return fd_; }
    int take() noexcept;
    /// Readable when adapt() is to be called.
    int news_fd() const noexcept { return news_; }
    void adapt() noexcept;
    /// From here on nobody waits for this thread; its mask stays.
    void leave() noexcept;
    /// The same, and step 3.
    void let_go() noexcept;

private:
    friend void take_signals(signal_set) noexcept;
    void join_others() noexcept;
    void apply(signal_set taken) noexcept;

    signal_set wanted_ = 0;
    signal_set blocked_before_ = 0;
    sigset_t before_;
    int fd_ = -1;
    int news_ = -1;
    run_signals* next_ = nullptr;  // of all that wait
    bool listed_ = false;
    bool adapted_ = true;
};
}
