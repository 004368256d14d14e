// trace: which task ran when on which worker, and who woke whom, as a picture.
//
//   rn::trace::start();                       // in a task
//   …
//   rn::trace::stop();
//   auto written = rn::trace::write("run.json");   // open it in ui.perfetto.dev or chrome://tracing
//
// Each worker writes into a ring of its own, the oldest events are overwritten. A span is one turn of a task,
// from its resumption to its next wait; an arrow leads from the wake-up to the turn that it caused.
//
// Cost: off, one predictable branch per turn and per wake; on, a read of the clock each and 32 bytes.
#pragma once

#include <cstddef>
#include <string>

#include "result.hpp"

namespace runnel::trace {

/// Begins anew: what was there is forgotten. For the runtime that runs this. Threads: workers (check()ed).
/// Throws  std::bad_alloc: 32 bytes per event and worker.
void start(std::size_t events_per_worker = 65'536);
/// What was written stays until the next start().
void stop() noexcept;

/// All events in the format of Chrome's trace viewer (JSON), also while it goes on.
std::string to_json();
/// The same into a file. Blocks the worker while it writes. Returns what the system says.
result<> write(const std::string& path);
}
