// context_node: one context in the tree, and how a cancel walks down from it.
//
// A node counts its handles, its children and its tasks in `refs`. Its lock guards everything that a
// cancel has to find: member tasks (those that have parked under it), waiters for done(), children.
//
// Cancelling
//   1  mark: under the node's lock set err, cause and then the flag; only the first does it;
//   2  deliver: claim the waits of the members that are armed under this very context, pop and claim
//      the done-waiters: at most 64 per hold of the lock, then finish them without it;
//   3  unlink the children, with a reference on each that still lives; release the lock; mark each
//      and put those that were not yet cancelled, and at which anything hangs, on the list; go on with 2 for the next;
//   4  before 2, what is cancelled leaves the lists of its parents, and the heap of its timer, unless a parent
//      has just let go of it in step 3. So a parent knows those children only that it still could cancel.
// Iterative, and so is the end of a chain of last handles: 100,000 contexts in a row cost no stack.
//
//   X1  never two context locks at once: no order between them is needed;
//   X2  a link is touched only under the lock of the node whose list it is in, or, once that node has
//       unlinked it, by the cancel that did;
//   X3  a task is in the member list of at most one node, which outlives its membership;
//   X4  the root and a shield have no members: their tasks arm by a plain store. The root is
//       cancelled by scanning the slab again and again until no task is left; a shield never is.
//   X5  a context may outlive the runtime whose timers have its deadline. A thread that is no worker of that
//       runtime takes it out under the lock that is held while the timers go (context_timers_lock()).
#pragma once

#include <system_error>

#include <source_location>

#include <runnel/context.hpp>
#include <runnel/detail/counted.hpp>
#include <runnel/detail/timer_node.hpp>
#include <runnel/detail/wait.hpp>

namespace runnel::detail {

class worker;

struct child_link {
    child_link* prev = nullptr;
    child_link* next = nullptr;
    context_node* of = nullptr;  // whose list it is in; null once that one is cancelled
    context_node* child = nullptr;
};

struct context_node final : wait_object, timer_callback {
    enum class kind : unsigned char { ordinary, root, shield };

    explicit context_node(kind of) noexcept : what(of) {}
    explicit context_node(std::source_location made_at) noexcept
        : what(kind::ordinary), counts(counted_kind::context, made_at) {}

    void ref() noexcept;
    bool try_ref() noexcept;  // false: the last handle is just going
    void unref() noexcept;

    bool scanned() const noexcept { return what != kind::ordinary; }  // X4

    // timer_callback: the deadline has passed
    bool hold() noexcept override;
    void run() noexcept override;

    std::atomic<bool> cancelled{false};
    const kind what;
    std::atomic<std::uint32_t> refs{1};
    std::error_code err;  // written before the flag, under the lock; read after it
    std::error_code cause;
    std::error_code deadline_cause;

    task_block* members = nullptr;
    wait_list done;
    child_link* children = nullptr;
    context_node* cancel_next = nullptr;  // the list of step 3; that of unref()

    context_node* parent = nullptr;  // referenced: for values, and so that links[0] has its list
    context_node* second = nullptr;  // referenced: of with_context() the task's, of merged() the other one
    child_link links[2];             // in the parent's list, and in that of the second

    nanoseconds_t deadline = no_deadline;
    timer_node timer;
    std::atomic<const runtime_core*> timers_of{nullptr};  // the runtime whose timers have it: X5
    bool statement = false;  // of one statement: with_timeout(d, task), shielded(task); go() looks past it
    const void* key = nullptr;
    context_value* value = nullptr;
    const counted counts;
};

/// Cancels `node` and all below it. Returns whether this call did it. Threads: any.
bool cancel_tree(context_node& node, std::error_code err, std::error_code cause) noexcept;

/// X5. Taken before a timer heap's own.
spin_lock& context_timers_lock() noexcept;

/// A child in the tree of `parent` (null: of nobody), and also cancelled when `second` is. Born cancelled under a
/// cancelled parent.
context_node* make_child(context_node* parent, std::source_location at, context_node* second = nullptr);

/// Puts the node's own deadline into the timers of this worker.
void start_deadline(context_node& node, nanoseconds_t when, const worker& here);

/// Membership: see X3. join_members is step 1 of a wait; false = the context is cancelled.
bool join_members(context_node& node, task_block& task) noexcept;
void leave_members(task_block& task) noexcept;

struct context_access {
    static context_node* node(const context& of) noexcept { return of.node_; }
    static cancel_function cancel(context of) noexcept { return cancel_function(std::move(of)); }
    static context adopt(context_node* node) noexcept { return context(node); }
    static context share(context_node* node) noexcept {
        if (node != nullptr) node->ref();
        return context(node);
    }
};
}
