// dump: what all tasks of a runtime do just now, for people.
//
//   std::fputs(rn::dump_tasks().c_str(), stderr);              // in a task, or runtime::dump_tasks()
//   rn::run(rn::options().dump_on_quit(true), serve);          // kill -QUIT, or Ctrl-\, prints it
//
//   10000 tasks waiting for 3.2 s to 41 ms
//       session.cpp:31  in read_request
//       session.cpp:58  in session
//     started at server.cpp:22
//     numbers 1025, 2049, 3073, …
//
// From a core file, or in a process that is attached to, gdb shows the same: `runnel tasks`, once
// share/runnel/gdb/runnel.py of the installation has been sourced.
//
// Tasks that are alike are shown as one group, those that wait longest first. Times are those of the worker's
// last tick, a few milliseconds old at most. What runs goes on running: nobody is stopped (task_dump.hpp).
#pragma once

#include <string>

namespace runnel {

/// The tasks of the runtime that runs this. Threads: workers; for others there is runtime::dump_tasks().
/// Cost: proportional to the tasks there are, some 2 us each; the caller pays it, nobody waits for it.
std::string dump_tasks();
}
