// trace: which task ran when on which worker, who woke whom, and what the others waited for, as a picture.
//
//   rn::trace::start();                       // in a task
//   …
//   rn::trace::stop();
//   auto written = rn::trace::write("run.json");   // open it in ui.perfetto.dev or chrome://tracing,
//                                                  // or draw a part of it: runtime/trace_svg.py run.json -o run.svg
//
// Each worker writes into a ring of its own, the oldest events are overwritten. What they tell:
//
//   turns      a span from a task's resumption to its next wait, with what it waits for then. Wake-ups by a timer or
//              by the kernel stand in spans "driver and timers" between turns;
//   wake-ups   an arrow from each to the turn that it caused. None leads to a task that has only given way, has just
//              been started, or was woken by a thread that is no worker;
//   waits      a line per task: what it waits for, and from when to when it was ready but did not run. A select is one
//              wait, of which the first eight cases are told;
//   channels   "send", "receive", "hand over" (to a receiver that waited, with its number), "close", "find closed".
//              What a task that waits for a channel gets or gives in the end is told once, by the other side;
//   sockets    "submit …" and "complete …" of an operation in the kernel, as its task asks for it and learns of it,
//              or just "send" when it was done at once; with descriptor, bytes, error.
//
// Tasks, channels, locks and events are told by their name_task() or label(), else by number and place (label.hpp),
// also when they are there no more. Of channels made at one place, one may have the number of another: when it lies
// where that one lay before. Where things lie is nothing that a simulation repeats; all else in its traces is.
//
// Cost: off, one predictable branch per turn, wake, wait and operation; on, a read of the clock and 64 bytes each.
//
// Not taken: a trace that is always on (a read of the clock is a sixth of a wake-up); events of the user's own, which
// need names that may go; an event for each call of a coroutine (the frames of a task that waits are in a dump).
#pragma once

#include <cstddef>
#include <string>

#include "result.hpp"

namespace runnel::trace {

/// Begins anew: what was there is forgotten. For the runtime that runs this: the turn that calls it is the first,
/// other workers join in at once, between two turns of theirs. Of a full ring one event fewer is read: that which might
/// be overwritten just then. So `events_per_worker` is 2 at least (check()ed).
/// Threads  workers (check()ed).
/// Throws   std::bad_alloc: 64 bytes per event and worker.
void start(std::size_t events_per_worker = 65'536);
/// What was written stays until the next start(). Threads: as start().
void stop() noexcept;

/// All events in the format of Chrome's trace viewer (JSON, some 120 bytes for each), also while it goes on: then turns
/// and waits that have not ended end with the last event. Threads: as start().
std::string to_json();
/// The same into a file. Blocks the worker while it writes. Returns what the system says.
result<> write(const std::string& path);
}
