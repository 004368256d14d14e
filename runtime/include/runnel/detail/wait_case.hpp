// wait_case: what one operation must be able to do so that a task can wait for it.
//
// recv, send, sleep, join, lock, event and ctx.done() differ in what they wait for and agree in how.
// A *wait* is one or more cases of which exactly one happens. Each case stands at one *wait object*
// (a channel, a timer heap, a lock, …) with one *node*, which lives in the waiting coroutine's frame.
// The algorithm is in detail/wait.hpp; this file is its light half, which public headers include.
//
//   N1  a node is linked, unlinked and looked at only under the lock of its case's object;
//   N2  a waker pops the node under the lock under which it claims the wait, whether it wins or loses;
//   N3  nothing in the frame is touched after the claim has been made known (finish()), so a node
//       never outlives its frame: the woken task unlinks its other nodes itself before it goes on.
//
// Not taken: an operation as a child task per case (TooManyCooks, Cobalt): it costs a frame per case
// and its losers have to be cancelled and awaited; nor polling in a loop (PhotonLibOS).
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>

#include "published.hpp"

namespace runnel::detail {

struct task_block;
struct wait_object;

/// How a wait ended: the index of the case that happened, or one of these.
namespace wait_code {
inline constexpr unsigned last_index = 0x7fef;
inline constexpr unsigned timed_out = 0x7ffd;  // the with_timeout() around this operation
inline constexpr unsigned stopping = 0x7ffe;   // the runtime: for what takes in the new
inline constexpr unsigned cancelled = 0x7fff;  // the task's context; ask it for err()
}

/// One registration of one wait with one object: a place in its queue.
struct wait_node {
    wait_node* next = nullptr;
    wait_node* prev = nullptr;  // itself while the node is not linked
    task_block* task = nullptr;
    std::uint64_t ticket = 0;  // which wait of that task, and which case of it
    void* slot = nullptr;      // where the waker puts the value, or takes it from

    wait_node() noexcept : prev(this) {}
    // An operation may be moved before it is awaited, never while it is linked.
    wait_node(wait_node&&) noexcept : prev(this) {}
    wait_node& operator=(wait_node&&) = delete;
    bool linked() const noexcept { return prev != this; }
};

/// FIFO of nodes. Guarded by the lock of the object that has it; whether it is empty may be looked at without.
class wait_list {
public:
    bool empty() const noexcept { return head_ == nullptr; }
    wait_node* front() const noexcept { return head_; }
    std::size_t length() const noexcept {
        std::size_t count = 0;
        for (const wait_node* node = front(); node != nullptr; node = node->next) ++count;
        return count;
    }
    /// Without the lock: at this moment.
    bool looks_empty() const noexcept { return head_.look() == nullptr; }

    void push_back(wait_node& node) noexcept {
        node.next = nullptr;
        node.prev = tail_;
        if (tail_ != nullptr)
            tail_->next = &node;
        else
            head_ = &node;
        tail_ = &node;
    }

    void remove(wait_node& node) noexcept {
        if (node.prev != nullptr)
            node.prev->next = node.next;
        else
            head_ = node.next;
        (node.next != nullptr ? node.next->prev : tail_) = node.prev;
        node.prev = &node;
    }

    wait_node* pop_front() noexcept {
        wait_node* node = head_;
        if (node != nullptr) remove(*node);
        return node;
    }

    /// What most cases do in enlist() and delist().
    void enlist(wait_node& node, task_block& task, std::uint64_t ticket) noexcept {
        node.task = &task;
        node.ticket = ticket;
        push_back(node);
    }
    bool delist(wait_node& node) noexcept {
        if (node.linked()) remove(node);
        return false;
    }

private:
    published<wait_node*> head_ = nullptr;
    wait_node* tail_ = nullptr;
};

/// A waiter that a case woke by happening: claimed under the object's lock, and put into its run queue
/// by the caller of try_now() once the locks are released. One operation wakes at most one.
struct late_wake {
    task_block* task = nullptr;
    bool held = false;  // claimed::won_held rather than claimed::won
};

class origin;

/// Of an object that is not told when its last handle but those of its waiters goes: how many there are, and how to
/// know one: the address of the object, and next to it two bytes that are `mark` (runtime/orphans.hpp).
struct handles_of {
    const void* object = nullptr;
    std::uint32_t count = 0;
    std::uint16_t mark = 0;
};

/// What a task waits for, as a dump shows it.
struct wait_subject {
    const char* what = "something";  // "to receive", "for a lock", …
    const origin* of = nullptr;      // which one, where that is known; there while the task is held
    std::uint64_t task = 0;          // whose doing would end the wait, if that is known
    std::int64_t due = INT64_MAX;    // when it ends by itself, on the driver's clock
    handles_of handles = {};
    const char* partners = nullptr;  // "sender": of those that could end it there are
    std::uint32_t partner_count = 0;
};

/// One case of a wait. The functions are called by the task's own thread, those marked L with the lock of
/// object() held, and must neither throw nor suspend nor call user code (except the nothrow move of a value).
class wait_case {
public:
    /// What to lock; nullptr = never ready (a nil channel). Asked when the wait begins, and again when it
    /// has ended: the answer is the same as long as the node is enlisted, on whatever worker.
    virtual wait_object* object() noexcept = 0;
    /// L. Does it now if it can be done without waiting: takes the value, the lock, … Says whether it did.
    virtual bool try_now(late_wake& wake) noexcept = 0;
    /// L. Queues the node; the waker claims {task, ticket} and, if it wins, completes the case.
    virtual void enlist(task_block& task, std::uint64_t ticket) noexcept = 0;
    /// L. Unlinks the node if it is still linked. True: it stood in the way of others, so pass_on() must follow.
    /// (Not when the wait was refused in the moment in which it queued up: then nobody stands behind it yet.)
    virtual bool delist() noexcept = 0;
    /// Lets those go on for whom there is enough now that this one has left. Without a lock.
    virtual void pass_on() noexcept {}
    /// Threads: any, while the task that waits is held by a dump. Reads only what stands still meanwhile.
    virtual wait_subject subject() const noexcept { return {}; }
    /// What a trace calls it when try_now() has just said true: "send". Null: not worth an event. The task's own
    /// thread asks, after the locks are released.
    virtual const char* done(const late_wake&) const noexcept { return nullptr; }

protected:
    ~wait_case() = default;  // never deleted through the base: cases live in frames
};

/// Waits for one case: try it, else park. Returns false when the task need not suspend.
/// Called from await_suspend, last; the case must not be touched after true.
bool suspend_one(wait_case& only, std::coroutine_handle<> awaiter) noexcept;
/// Called from await_resume: unlinks what is left, says how the wait ended: 0 or a wait_code.
/// Throws cancellation_ignored (see context.hpp) at the 256th refused wait in a row.
unsigned resume_one(wait_case& only);

enum class choice : unsigned char { fair, in_order };

/// The cases of a wait of several, for who looks at it while it waits. Lives in the frame.
struct wait_cases {
    /// Writes the first of them, at most `room`; says how many there are.
    std::size_t (*list)(wait_cases& of, wait_case** out, std::size_t room) noexcept;
};

/// Several cases, and room to work in beside them, which whoever waits provides: each has `count` places.
struct several_cases {
    wait_case** cases;
    wait_object** objects;
    std::uint16_t* turns;
    std::size_t count;
    choice order;
};

/// The same for several cases of which exactly one happens: the index of the one, or a wait_code.
/// `of` is used during the call only. Cost: O(n log n) for the locks' order; all are held for O(n). No allocation.
bool suspend_many(const several_cases& of, wait_cases& lists, std::coroutine_handle<> awaiter) noexcept;
unsigned resume_many(wait_case* const* cases, std::size_t count);

/// The same when the last case is a time limit, which is never ready at once: tries the others first, so that what is
/// ready takes no lock of the timers. With resume_many().
bool suspend_limited(const several_cases& of, wait_cases& lists, std::coroutine_handle<> awaiter) noexcept;

/// Tries the cases without waiting: index, or -1 when none was ready. Never refused by a cancelled
/// context. Threads: any, also outside a runtime.
int try_many(const several_cases& of) noexcept;
/// The same for one. Says whether it happened.
bool try_one(wait_case& only) noexcept;
}
