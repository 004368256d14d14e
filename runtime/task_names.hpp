// task_names: the texts given to name_task(), in 12 bits.
//
// A task block has no room for a pointer more, but its number leaves 12 bits of its word. So the texts, string
// literals, stand in a table for the whole process, each at a place found from its address: looking it up is a
// load, adding one a few compare-exchanges.
//
//   N1  a place, once taken, keeps its text: whoever has an index may read it at any time, without a lock;
//   N2  0 is no name. A text that finds no place near where it belongs stays without one, too.
//
// Not taken: names of tasks in the promise of their frames (eight bytes in every frame), or in a map by number (a
// lock at the end of every task, and in the dump).
#pragma once

#include <cstdint>
#include <string>

namespace runnel::detail {

struct task_block;

/// Threads: any.
std::uint16_t index_of_name(const char* text) noexcept;
/// Null for 0. Threads: any.
const char* name_at(std::uint16_t index) noexcept;
/// "task 1025", or "task 1025 'session'".
std::string title_of(const task_block& task);
/// "task 1025 'session', started at src/server.cpp:31", or "task 1024, main": the head of a report.
std::string introduce(const task_block& task);
}
