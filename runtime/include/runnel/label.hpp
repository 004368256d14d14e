// label: what a dump, a report or a trace calls a channel, a lock, an event.
//
//   auto [out, in] = rn::make_channel<job>(64);
//   in.label("jobs");                            // "1 task waiting to receive ('jobs' of server.cpp:31), …"
//   rn::name_task("session");                    // in a task: "task 1025 'session'"
//
// Without one they are told by the place that made them, or started them. Both texts are there as long as the program,
// so that a trace (trace.hpp) can name what has died since.
#pragma once

#include <source_location>

#include "detail/relaxed.hpp"

namespace runnel {

/// A text that is there as long as the program: a string literal. Anything else does not compile.
class literal {
public:
    consteval literal(const char* text) noexcept : text_(text) {}
    constexpr const char* c_str() const noexcept { return text_; }

private:
    const char* text_;
};

/// Names the running task, in dumps, reports and traces. The last name counts.
/// Threads: tasks (check()ed). Cost: some ten instructions.
void name_task(literal text) noexcept;

namespace detail {
/// Where an object was made, and how it is called. Threads: any, while the object is there.
class origin {
public:
    explicit origin(std::source_location made_at) noexcept : made_at_(made_at) {}
    void set_label(literal text) noexcept { label_ = text.c_str(); }
    const char* label() const noexcept { return label_; }  // null: it has none
    const std::source_location& made_at() const noexcept { return made_at_; }

private:
    const std::source_location made_at_;
    relaxed<const char*> label_ = nullptr;
};
}
}
