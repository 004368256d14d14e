// signal_dispatcher: the thread that reads signals, and all who want to be told; see detail/signal_subscriber.hpp.
//
//   the list and the set of all that is wanted change under one lock, which the thread holds while it reads and tells:
//   so what is read was wanted, and is told to all who wanted it;
//   the thread blocks all signals, and sleeps in poll() at the signals' descriptor and at one that ends it.
//
//   G1  a signal is blocked everywhere before the descriptor asks for it, and let through only after it does not any
//       more: in between it waits;
//   G2  the thread is joined without the lock: it may be about to tell.
#pragma once

#include <mutex>
#include <thread>

#include <runnel/detail/signal_subscriber.hpp>

namespace runnel::detail {

class signal_dispatcher {
public:
    static signal_dispatcher& here() noexcept;

    void add(signal_subscriber& one);
    void remove(signal_subscriber& one) noexcept;
    /// Tells those of this world; null: of the real one. Says whether there were any.
    bool tell(const void* world, int number, int from) noexcept;

private:
    class reader;
    void read_one(int signals) noexcept;
    bool tell_all(const void* world, int number, int from) noexcept;
    signal_set wanted() const noexcept;
    void adapt();

    std::mutex lock_;
    signal_subscriber* first_ = nullptr;
    reader* reader_ = nullptr;  // while anybody wants a real one
};
}
