// signal_subscriber: who is told of signals. A member, or base, of signals and signal_context.
//
// There is one dispatcher for the whole process, as a signal comes once for the process. The first subscriber starts
// its thread, the last one ends it:
//   1  all that anybody wants is blocked where we may (detail/taken_signals.hpp), and readable from one descriptor;
//   2  the thread reads, and tells each subscriber that wants it, one after the other.
// In a simulation there is no thread: testing::raise_signal() tells those of the same simulation.
//
//   D1  raised() is called under the dispatcher's lock: after unsubscribe() has returned it never is;
//   D2  it runs no code of the user's, and waits for nothing.
#pragma once

#include <cstdint>
#include <initializer_list>

#include <runnel/detail/taken_signals.hpp>

namespace runnel::detail {

class signal_subscriber {
public:
    signal_subscriber(const signal_subscriber&) = delete;
    signal_subscriber& operator=(const signal_subscriber&) = delete;

protected:
    /// check()s that each can be received.
    explicit signal_subscriber(std::initializer_list<int> numbers) noexcept;
    ~signal_subscriber() = default;

    /// Throws std::system_error when there is no thread or descriptor for it. Threads: any.
    void subscribe();
    /// D1. Waits for a raised() that runs, and for the dispatcher's thread if this was the last subscriber.
    void unsubscribe() noexcept;

private:
    friend class signal_dispatcher;
    virtual void raised(int number, int from) noexcept = 0;

    signal_set wanted_ = 0;
    const void* world_ = nullptr;  // the simulation that it belongs to
    signal_subscriber* next_ = nullptr;
};
}
