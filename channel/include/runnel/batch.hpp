// batch: many values at once, to and from a channel.
//
//   auto sent = co_await rn::send_all(out, lines);           // moves from each line that is sent
//   lines.erase(lines.begin(), lines.begin() + sent.count);  // if it was cut, the rest is still ours
//
//   std::vector<job> some;
//   while (auto n = co_await rn::recv_many(in, some, 100)) … // waits for one, takes up to 100 that are there
//
// What is a batch is waited for once, not value by value. Both are tasks, so a select takes them by go() and a handle.
#pragma once

#include <runnel/task.hpp>
#include "channel.hpp"

namespace runnel {

/// How many were sent, and why not all.
struct [[nodiscard]] sent_values {
    std::size_t count = 0;
    std::error_code error;
    /// Were all sent?
    explicit operator bool() const noexcept { return !error; }
};

/// Sends every value of `values` in its order, waiting while there is no room; moves from those that are sent.
/// Returns       how many were sent, with the cause of the close or of the cancellation if that are not all. The
///               others are untouched.
/// Cancellation  a cancel point at every value.
/// Threads       a task's; `out` and `values` must outlive it. Other senders may come in between.
/// Cost          that of try_send() for each value for which there is room.
template <class End, class Range>
task<sent_values> send_all(const End& out, Range& values) {
    sent_values so_far;
    for (auto& value : values) {
        auto sent = co_await out.send(from(value));
        if (!sent) {
            so_far.error = sent.error();
            break;
        }
        ++so_far.count;
    }
    co_return so_far;
}

/// Waits for a value, and appends it and what else is there, at most `most` values, to `into` by push_back().
/// Returns       how many; else, and then nothing is appended, why there is none: as recv().
/// Throws        what push_back() throws: the value that it was given is lost then, so reserve() before.
/// Cancellation  a cancel point on every call; nothing that was received is lost.
/// Threads       a task's; `in` and `into` must outlive it.
/// Cost          one recv(), and a try_recv() for each value more.
/// Of a broadcast, which tells beside each value what was missed before it, that is to be asked of in.missed().
template <class End, class Container>
task<result<std::size_t>> recv_many(const End& in, Container& into, std::size_t most) {
    detail::check(most != 0, "recv_many: of no values");
    auto first = co_await in.recv();
    if (!first) co_return first.error();
    into.push_back(*std::move(first));
    std::size_t count = 1;
    while (count < most) {
        auto next = in.try_recv();
        if (!next) break;
        into.push_back(*std::move(next));
        ++count;
    }
    co_return count;
}
}
