// brake: what becomes of a task that goes on waiting after its context was cancelled.
//
// A refused wait returns at once, so a loop that ignores the error would turn for ever, take a worker
// and never end. The n-th refused wait in a row
//
//   from the 16th on   gives way to the other tasks first;
//   from the 64th on   sleeps 1 to 100 ms, and is reported once with its place;
//   at the 256th       throws cancellation_ignored out of the co_await.
//
// A wait that succeeds, or one under shielded(), sets the count back.
#pragma once

#include <runnel/detail/wait.hpp>

namespace runnel::detail {

inline constexpr std::uint16_t brake_yields_at = 16;
inline constexpr std::uint16_t brake_sleeps_at = 64;
inline constexpr std::uint16_t brake_throws_at = 256;

/// Counts a refused wait of the running task. True: suspended, and resumed later by itself.
bool brake(task_block& task, std::coroutine_handle<> awaiter) noexcept;
}
