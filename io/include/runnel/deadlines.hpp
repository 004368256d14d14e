// deadlines: until when a stream may take for what it does, and how long it may be idle.
//
//   peer.set_read_deadline(rn::clock::now() + 5s);      // for a whole request, however many reads that takes
//   auto head = co_await lines.read_line();             // errc::timed_out when they are over
//   peer.set_read_deadline(std::nullopt);               // no deadline any more; the stream is as good as before
//
//   peer.set_idle_timeout(30s);                         // ends what has not moved a byte for so long
//
// As in Go: a deadline is a point in time, of a direction, and stays until it is set anew. It concerns the operation
// that waits just now as well as all to come. with_timeout() limits one operation; a deadline many, by one timer, which
// costs the operations nothing.
//
//   L1  a deadline that has passed ends the waiting operation with errc::timed_out, and each later one at once, before
//       it is tried; bytes that were moved are reported, as ever;
//   L2  set again, to a later time or to none, the stream goes on: nothing of it was lost;
//   L3  an idle timeout ends both directions, as if their deadlines had passed, and no deadline brings them back: only
//       another idle timeout does. It counts while an operation waits for the peer: who computes, or asks
//       somebody else, before it answers is not idle.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include <runnel/time.hpp>

#include "detail/descriptor.hpp"

namespace runnel {

namespace detail {
void set_deadline(descriptor& on, lane which, std::int64_t when);
void set_idle_timeout(descriptor& on, std::int64_t limit, std::uint64_t least_bytes);
bool idle_ended(const descriptor& on) noexcept;

inline std::int64_t deadline_of(std::optional<clock::time_point> when) noexcept {
    return when ? when->time_since_epoch().count() : never;
}
}

/// What streams have of it: `Stream` derives from this, and has a descriptor `socket_`.
/// Threads  any task, as long as the stream lives and is not moved; not a plain thread's: check().
/// Throws   std::bad_alloc. Cost: the first one allocates; then a short lock. One that is put off moves no timer.
template <class Stream>
class stream_deadlines {
public:
    /// Of what reads: until when; nullopt: no deadline. A time that has passed interrupts at once.
    void set_read_deadline(std::optional<clock::time_point> when) {
        detail::set_deadline(socket(), detail::lane::in, detail::deadline_of(when));
    }
    /// Of what writes.
    void set_write_deadline(std::optional<clock::time_point> when) {
        detail::set_deadline(socket(), detail::lane::out, detail::deadline_of(when));
    }
    void set_deadline(std::optional<clock::time_point> when) {
        set_read_deadline(when);
        set_write_deadline(when);
    }

    /// Ends the stream (L3) when an operation waits, and fewer than `least_bytes` have been moved for `limit`, in both
    /// directions together. More than one byte is for who would be kept by a byte now and then: each `least_bytes` may
    /// then take no longer than `limit`. Counts what is moved by operations that begin after this.
    /// Order    between `limit` and twice that when there was no operation meanwhile.
    template <class Rep, class Period>
    void set_idle_timeout(std::chrono::duration<Rep, Period> limit, std::uint64_t least_bytes = 1) {
        detail::set_idle_timeout(socket(), detail::saturated_nanoseconds(limit), least_bytes);
    }
    void set_idle_timeout(std::nullopt_t) { detail::set_idle_timeout(socket(), detail::never, 1); }
    /// Has that ended it?
    bool idle_timed_out() const noexcept {
        return detail::idle_ended(const_cast<stream_deadlines*>(this)->socket());
    }

protected:
    stream_deadlines() = default;
    ~stream_deadlines() = default;
    stream_deadlines(stream_deadlines&&) = default;
    stream_deadlines& operator=(stream_deadlines&&) = default;

private:
    detail::descriptor& socket() noexcept { return static_cast<Stream*>(this)->socket_; }
};
}
