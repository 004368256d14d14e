// byte_end: a descriptor that bytes come out of or go into, whatever it is: an end of a pipe, a terminal, a file.
//
// A socket can be shut down, which ends what is in flight; a pipe cannot, and the terminal of a program is not ours
// to shut. So close() takes back who waits here, by a message to his driver, as a cancel is (F6 of descriptor.hpp).
//
//   Y1  flags of the open file (O_NONBLOCK) are left as they are: other processes have it, too. That a call does not
//       wait is asked for with each call (io/byte_calls.hpp);
//   Y2  what never makes anybody wait (a file, /dev/null) cannot be waited for either: `at_once`.
//
// Not taken: O_NONBLOCK for as long as we use it (a shell whose terminal stays so fails in strange ways; two
// programs in one pipeline undo each other's); threads that block in read() (they cannot be cancelled).
#pragma once

#include <source_location>
#include <utility>

#include <runnel/detail/counted.hpp>

#include "descriptor.hpp"
#include "io_operation.hpp"

namespace runnel::detail {

class byte_end {
public:
    byte_end() noexcept = default;
    /// Takes over the number, and finds out what it is.
    byte_end(int fd, std::source_location made_at, counted_kind what = counted_kind::pipe) noexcept;
    byte_end(byte_end&& other) noexcept
        : of_(std::move(other.of_)), at_once_(other.at_once_), drained_(other.drained_) {}
    byte_end& operator=(byte_end&& other) noexcept {
        of_ = std::move(other.of_);
        at_once_ = other.at_once_;
        drained_ = other.drained_;
        return *this;
    }

    descriptor& of() noexcept { return of_; }
    int fd() const noexcept { return of_.fd(); }
    bool closed() const noexcept { return of_.closed(); }
    bool at_once() const noexcept { return at_once_; }
    /// The reader's: the last read found the end of what was there, so a plain call would be in vain.
    bool& drained() noexcept { return drained_; }

    /// Threads: any, as long as it lives. Never waits.
    void close() noexcept { of_.close(); }

private:
    descriptor of_;
    bool at_once_ = false;
    bool drained_ = false;
};
}
