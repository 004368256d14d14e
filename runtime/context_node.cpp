// The tree of contexts: links, membership and the walk of a cancel. The head of context_node.hpp has
// the algorithm; steps and invariants are named there.
#include "context_node.hpp"

#include <algorithm>
#include <cassert>
#include <initializer_list>

#include "timers.hpp"
#include "worker.hpp"

namespace runnel::detail {

void context_node::ref() noexcept {
    // relaxed: who has a reference may make another; nothing is published by it.
    refs.fetch_add(1, std::memory_order_relaxed);
}

bool context_node::try_ref() noexcept {
    // relaxed: the lock of the list we found it in orders us with its making; see ref().
    std::uint32_t seen = refs.load(std::memory_order_relaxed);
    while (seen != 0)
        if (refs.compare_exchange_weak(seen, seen + 1, std::memory_order_relaxed)) return true;
    return false;
}

static void unlink_child(child_link& link, context_node* owner) noexcept {
    if (owner == nullptr) return;
    owner->lock.lock();
    if (link.of == owner) {  // else a cancel has unlinked it (X2)
        (link.prev != nullptr ? link.prev->next : owner->children) = link.next;
        if (link.next != nullptr) link.next->prev = link.prev;
        link.of = nullptr;
    }
    owner->lock.unlock();
}

static constinit spin_lock timers_lock;
spin_lock& context_timers_lock() noexcept { return timers_lock; }

static void take_timer_out(context_node& node) noexcept {
    // relaxed: written under the node's lock, which the mark has taken: see start_deadline().
    const runtime_core* const timers_of = node.timers_of.load(std::memory_order_relaxed);
    if (timers_of == nullptr) return;
    const worker* here = current_worker();
    const bool they_stay = here != nullptr && &here->core == timers_of;
    if (!they_stay) timers_lock.lock();
    if (node.timer.heap != nullptr) node.timer.heap->remove(node.timer);
    if (!they_stay) timers_lock.unlock();
}

static void leave_parents(context_node& node) noexcept {
    unlink_child(node.links[0], node.parent);
    unlink_child(node.links[1], node.second);
}

/// One reference fewer. If that was the last, `node` comes onto the list of those that end.
static void drop(context_node* node, context_node*& ending) noexcept {
    // acq_rel: what other holders did with the node happens before its end.
    if (node == nullptr || node->refs.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    node->cancel_next = ending;
    ending = node;
}

void context_node::unref() noexcept {
    context_node* ending = nullptr;
    drop(this, ending);
    while (ending != nullptr) {  // a chain, or a tree, of last references ends without recursion
        context_node* const node = ending;
        ending = node->cancel_next;
        assert(node->members == nullptr && "X3: a member's context has ended");
        take_timer_out(*node);
        leave_parents(*node);
        drop(node->parent, ending);
        drop(node->second, ending);
        delete node->value;
        delete node;
    }
}

bool context_node::hold() noexcept {
    return try_ref();  // a node whose last handle goes waits for the heap's lock to take its timer out
}

void context_node::run() noexcept {
    cancel_tree(*this, errc::deadline_exceeded,
                deadline_cause ? deadline_cause : make_error_code(errc::deadline_exceeded));
    unref();
}

static void link_child(child_link& link, context_node& child, context_node& owner) noexcept {
    link.child = &child;
    link.of = &owner;
    link.prev = nullptr;
    link.next = owner.children;
    if (owner.children != nullptr) owner.children->prev = &link;
    owner.children = &link;
}

enum class marked : unsigned char { before, now, now_and_all };

/// Step 1. now_and_all: nothing hangs at the node, and from now on nothing will; so 2 to 4 are done, too.
static marked mark_cancelled(context_node& node, std::error_code err, std::error_code cause) noexcept {
    node.lock.lock();
    // relaxed: written under this lock only.
    const bool first =
        !node.cancelled.load(std::memory_order_relaxed) && node.what != context_node::kind::shield;
    bool bare = false;
    if (first) {
        node.err = err;
        node.cause = cause;
        node.cancelled.store(true);  // seq_cst: pairs with arm(): flag then words here, word then flag there
        bare = node.members == nullptr && node.children == nullptr && node.done.empty() &&
               node.second == nullptr &&
               node.timers_of.load(std::memory_order_relaxed) == nullptr;  // relaxed: under this lock
    }
    node.lock.unlock();
    return !first ? marked::before : bare ? marked::now_and_all : marked::now;
}

/// Links `child` below `owner`, or marks it as its owner is marked (C2).
static void attach(child_link& link, context_node& child, context_node& owner) noexcept {
    owner.lock.lock();
    // relaxed: the flag is set under this lock.
    const bool dead = owner.cancelled.load(std::memory_order_relaxed);
    if (!dead) link_child(link, child, owner);
    owner.lock.unlock();
    if (dead)  // err and cause do not change any more
        mark_cancelled(child, owner.err, owner.cause);
}

context_node* make_child(context_node* parent, std::source_location at, context_node* second) {
    auto* child = new context_node(at);
    child->parent = parent;
    child->second = second;
    for (context_node* owner : {parent, second}) {
        if (owner == nullptr) continue;
        owner->ref();
        child->deadline = std::min(child->deadline, owner->deadline);
    }
    if (parent != nullptr) attach(child->links[0], *child, *parent);
    if (second == nullptr) return child;
    attach(child->links[1], *child, *second);
    // Cancelled by its parent before it stood in the other's list: step 4 has missed that. (acquire: pairs with the
    // store of the flag. The lock in attach() orders the two: a step 4 that comes after it finds the link.)
    if (child->cancelled.load(std::memory_order_acquire)) leave_parents(*child);
    return child;
}

void start_deadline(context_node& node, nanoseconds_t when, const worker& here) {
    node.timer.when = when;
    node.timer.callback = &node;
    current_timers().insert(node.timer);
    node.lock.lock();
    // relaxed, both: under this lock. A cancel that comes after it finds the timer; of one before it we see the flag.
    node.timers_of.store(&here.core, std::memory_order_relaxed);
    const bool dead = node.cancelled.load(std::memory_order_relaxed);
    node.lock.unlock();
    if (dead) take_timer_out(node);
}

bool join_members(context_node& node, task_block& task) noexcept {
    leave_members(task);
    node.lock.lock();
    // relaxed: the flag is set under this lock.
    const bool alive = !node.cancelled.load(std::memory_order_relaxed);
    if (alive) {
        task.member_of = &node;
        task.member_prev = nullptr;
        task.member_next = node.members;
        if (node.members != nullptr) node.members->member_prev = &task;
        node.members = &task;
    }
    node.lock.unlock();
    return alive;
}

/// Under the lock of `node`, by who owns the task (T1).
static void unlink_member(context_node& node, task_block& task) noexcept {
    (task.member_prev != nullptr ? task.member_prev->member_next : node.members) = task.member_next;
    if (task.member_next != nullptr) task.member_next->member_prev = task.member_prev;
    task.member_of = nullptr;
}

void leave_members(task_block& task) noexcept {
    context_node* node = task.member_of;
    if (node == nullptr) return;
    node->lock.lock();
    unlink_member(*node, task);
    node->lock.unlock();
}

/// Step 2 for the members: true when some may be left. Who is claimed leaves the list (until finish() we own
/// it), or every hold of the lock would look at all the earlier ones again.
static bool claim_members(context_node& node, winners& won) noexcept {
    task_block* next = nullptr;
    for (task_block* task = node.members; task != nullptr; task = next) {
        if (won.full()) return true;
        next = task->member_next;
        const std::uint64_t word = task->word.load();  // seq_cst: see mark_cancelled()
        const std::uint64_t state = word & word_bits::state_mask;
        if (state != word_bits::armed && state != word_bits::armed_io) continue;
        // relaxed: written before arming; the claim of the same epoch confirms it (T3).
        if (task->ctx.load(std::memory_order_relaxed) != &node) continue;
        const claimed how = claim(*task, word, wait_code::cancelled);
        if (how == claimed::won || how == claimed::won_held) unlink_member(node, *task);
        won.add(*task, how);
    }
    return false;
}

static bool claim_done_waiters(context_node& node, winners& won) noexcept {
    while (!won.full()) {
        wait_node* waiter = node.done.pop_front();
        if (waiter == nullptr) return false;
        task_block& task = *waiter->task;
        won.add(task, claim(*waiter));
    }
    return true;
}

/// Step 3: the children that live, linked through their links, each with a reference.
static child_link* take_children(context_node& node) noexcept {
    child_link* taken = nullptr;
    for (child_link* link = node.children; link != nullptr;) {
        child_link* next = link->next;
        link->of = nullptr;
        if (link->child->try_ref()) {
            link->next = taken;
            taken = link;
        }
        link = next;
    }
    node.children = nullptr;
    return taken;
}

/// Step 4. `let_go`: by its only parent.
static void leave_tree(context_node& node, bool let_go) noexcept {
    if (!let_go) leave_parents(node);
    take_timer_out(node);
}

static child_link* deliver(context_node& node) noexcept {
    winners won;
    for (bool more = true; more;) {
        node.lock.lock();
        more = claim_members(node, won) || claim_done_waiters(node, won);
        child_link* children = more ? nullptr : take_children(node);
        node.lock.unlock();
        won.finish_all();
        if (!more) return children;
    }
    return nullptr;
}

bool cancel_tree(context_node& top, std::error_code err, std::error_code cause) noexcept {
    if (mark_cancelled(top, err, cause) == marked::before) return false;
    top.ref();
    top.cancel_next = nullptr;
    for (context_node* pending = &top; pending != nullptr;) {
        context_node* node = pending;
        pending = node->cancel_next;
        leave_tree(*node, node != &top && node->second == nullptr);
        for (child_link* link = deliver(*node); link != nullptr;) {
            context_node* child = link->child;
            link = link->next;
            if (mark_cancelled(*child, err, cause) == marked::now) {
                child->cancel_next = pending;
                pending = child;
            } else {
                child->unref();
            }
        }
        node->unref();
    }
    return true;
}
}
