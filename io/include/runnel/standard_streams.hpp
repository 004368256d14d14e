// standard_streams: what this program was given to read and to write.
//
//   auto in = rn::standard_input();
//   if (!in) co_return;
//   rn::buffered_reader lines(*in);
//   while (auto line = co_await lines.read_line()) answer(*line);
//
// They work alike for a terminal, a pipe and a file, and each wait can be cancelled.
//
//   I1  the open file is shared with whoever has started us, so its flags are not touched (Y1 of detail/byte_end.hpp).
//       A terminal is opened anew, for ourselves, so that reading it never blocks a worker; where that is forbidden it
//       is used as it is;
//   I2  each call gives a new descriptor: closing it leaves the program's own open. Two tasks that write by two of them
//       mix their lines as two programs would, and so does a task that also uses <iostream>;
//   I3  what two readers of standard input get is divided between them.
#pragma once

#include "pipe.hpp"

namespace runnel {

/// Returns  bad_file_descriptor when the program was started without; too_many_files_open and the like.
/// Threads  any. check(): not in a simulation, which has none: give your task a stream, and in a test make_pipe().
result<pipe_reader> standard_input(std::source_location at = std::source_location::current()) noexcept;
result<pipe_writer> standard_output(std::source_location at = std::source_location::current()) noexcept;
result<pipe_writer> standard_error(std::source_location at = std::source_location::current()) noexcept;
}
