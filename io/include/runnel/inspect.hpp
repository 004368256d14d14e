// inspect: questions to a running program, asked at a Unix socket.
//
//   rn::go([] { return rn::inspect_at("/run/app.inspect"); });
//
//   $ echo tasks | nc -N -U /run/app.inspect             # who waits for what, and where (dump.hpp)
//   $ echo metrics | nc -N -U /run/app.inspect           # Prometheus' text (metrics.hpp)
//
// One line asks one question, is answered, and the connection ends; `help` says what can be asked.
//
//   J1  it is a service as any other: it needs a worker that is not held up. Where all are, SIGQUIT
//       (options().dump_on_quit) still answers;
//   J2  it waits for connections, as a server does, so a program that has it is never all asleep: no deadlock report
//       comes, and the question is there to be asked;
//   J3  who may ask is who may write to the file: its owner, unless it is said otherwise. What waits where may be
//       nobody else's business. At most 4 ask at once; who says nothing for 10 seconds is cut off.
//
// Not taken: more than questions (a cancel, a new limit): a program that wants them has a protocol of its own.
#pragma once

#include <source_location>
#include <string>

#include <runnel/result.hpp>
#include <runnel/task.hpp>

namespace runnel {

/// Answers at `where`, a path or an abstract name as unix_address::parse() takes it, in the runtime that runs this,
/// until that begins to stop. A socket file that a program has left behind there is replaced; it is removed at the end.
/// `mode`: the permissions of the file.
/// Returns       success at the end; what unix_listener::bind() says, or why nothing could be accepted any more.
/// Cancellation  ends it, with the context's error; answers that are under way have a second to end.
/// Cost          nothing until somebody asks; then some 2 us for each task there is, on one worker.
task<result<>> inspect_at(std::string where, unsigned mode = 0600,
                          std::source_location at = std::source_location::current());
}
