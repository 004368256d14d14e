// check: what the caller must not do, said aloud.
//
// Misuse of the library (joining twice, use after move, awaiting outside a runtime) is not an error
// that a program could handle: it is a bug. check() is on in every build, prints what was wrong and
// where the caller stands, and aborts. Our own mistakes are assert() with the name of an invariant.
#pragma once

#include <source_location>

namespace runnel::detail {

/// Prints `what` and `where` to stderr and aborts. Threads: any. Takes no lock.
[[noreturn]] void check_failed(const char* what, std::source_location where) noexcept;

/// Aborts with a report when `ok` is false.
inline void check(bool ok, const char* what,
                  std::source_location where = std::source_location::current()) noexcept {
    if (!ok) [[unlikely]]
        check_failed(what, where);
}
}
