// trace_json: the events of all workers in the "Trace Event Format" of the Chromium project.
//
//   1  all events in one order, that of time; of one worker that in which they were noted;
//   2  metadata: the process is the runtime, its threads are the workers;
//   3  per worker the spans ("X"): turns; and between two turns, around what came out of the driver and the timers,
//      one that is called so, for an arrow must begin in a span. A turn of which one end is not there, because the
//      ring has lost it or nobody was tracing, has it at the edge of what is there. Then, in the order of time, what
//      happened: arrows ("s", "f") and instants ("i");
//   4  per task ("b", "e") its time in the trace, and in that its waits, and how long it was ready before it went on.
//
//   J1  a span comes before what happens in it, and spans of one worker do not overlap;
//   J2  an arrow has both ends or is not there, and its two ends have a number that no other has;
//   J3  numbers in the file are given in the order of step 1, so that runs of one simulation give one text,
//       but for objects of one place: whether two of them, one after the other, have lain at one address.
//
// Times are in microseconds, with three digits behind the point.
#pragma once

#include <string>
#include <vector>

#include "trace_ring.hpp"

namespace runnel::detail {

std::string trace_as_json(const std::string& runtime,
                          const std::vector<std::vector<trace_event>>& of_workers);
}
