// taken_signals: the signals that this program receives by itself, and the threads in run() that leave them alone.
//
// A signal for the process goes to any thread that does not block it, and only when all do does it wait for who asks
// for it. Our workers block all of them. The thread that waits in run() is lent to us for that time, and has each
// signal's usual effect for the program: SIGHUP ends it, as its author may want, unless somebody receives SIGHUP.
// So it blocks what is taken, for as long as that is:
//
//   1  take_signals() notes the set, and tells each thread that waits in run();
//   2  that one changes its mask and what it reads itself (SIGINT and SIGTERM are not run()'s while they are taken);
//   3  take_signals() returns when all have.
//
// Threads of the program itself are not touched: see block_signals() in signals.hpp.
#pragma once

#include <cstdint>

namespace runnel::detail {

/// A bit for each signal: 1 << (number - 1).
using signal_set = std::uint64_t;
constexpr signal_set signal_bit(int number) noexcept {
    return number >= 1 && number <= 64 ? signal_set{1} << (number - 1) : 0;
}

/// From now on these and no others. Threads: any but one that waits in run(). Waits for those: some microseconds.
void take_signals(signal_set those) noexcept;
}
