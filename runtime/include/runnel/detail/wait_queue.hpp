// wait_queue: a wait object with one queue, first come first served, and the case that stands in it.
//
// A lock, an event, a semaphore and their like differ in when a waiter may go on, and agree in how it queues up.
// They derive from wait_queue; their operations are single_case<Self, result_type, queue_case> and add
//
//   try_now()     may it go on without waiting?
//   complete()    what it then gives
//   subject()     how a dump calls it
//
// and, where a waiter that gives up may have stood in the way of those behind it, delist() and pass_on().
#pragma once

#include <source_location>

#include <runnel/label.hpp>

#include "wait_case.hpp"
#include "wait_object.hpp"

namespace runnel::detail {

struct wait_queue : wait_object {
    explicit wait_queue(std::source_location made_at) noexcept : made(made_at) {}
    wait_queue(const wait_queue&) = delete;
    wait_queue& operator=(const wait_queue&) = delete;

    wait_list waiting;
    origin made;

protected:
    ~wait_queue() = default;
};

class queue_case : public wait_case {
public:
    wait_object* object() noexcept final;
    void enlist(task_block& task, std::uint64_t ticket) noexcept override;
    bool delist() noexcept override;

protected:
    explicit queue_case(wait_queue& at) noexcept : at_(&at) {}
    queue_case(queue_case&&) noexcept = default;
    ~queue_case() = default;

    /// L. delist() of a case that may stand in the way: says whether it stood before all others, and there are some.
    bool leave_front() noexcept;

    wait_queue* at_;
    wait_node node_;
};
}
