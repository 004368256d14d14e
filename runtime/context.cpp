// The public face of contexts; the tree is in context_node.cpp.
#include <runnel/context.hpp>

#include <memory>
#include <unordered_set>
#include <vector>

#include "context_node.hpp"
#include "runtime_core.hpp"
#include "task_life.hpp"
#include "timers.hpp"

namespace runnel {

using detail::context_access;
using detail::context_node;

context::context(const context& other) noexcept : node_(other.node_) {
    if (node_ != nullptr) node_->ref();
}

context::~context() {
    if (node_ != nullptr) node_->unref();
}

bool context::cancelled() const noexcept {
    // acquire: pairs with the store of the flag; err and cause were written before it.
    return node_ != nullptr && node_->cancelled.load(std::memory_order_acquire);
}

std::error_code context::err() const noexcept { return cancelled() ? node_->err : std::error_code(); }

std::error_code context::cause() const noexcept { return cancelled() ? node_->cause : std::error_code(); }

std::optional<clock::time_point> context::deadline() const noexcept {
    if (node_ == nullptr || node_->deadline == detail::no_deadline) return std::nullopt;
    return clock::time_point(clock::duration(node_->deadline));
}

/// The way up by the first parents has not found it: now by all, that of the first parent of each context before that
/// of its second. A list instead of recursion, for such may stand in a long row; and above a fork that has been looked
/// at nothing new can be found, though many ways lead there.
static const void* find_aside(const context_node* from, const void* key) {
    std::vector<const context_node*> ways{from};
    std::unordered_set<const context_node*> forks;
    while (!ways.empty()) {
        const context_node* node = ways.back();
        ways.pop_back();
        for (; node != nullptr; node = node->parent) {
            if (node->key == key) return node->value->get();
            if (node->second == nullptr) continue;
            if (!forks.insert(node).second) break;
            ways.push_back(node->second);
        }
    }
    return nullptr;
}

static const void* find_value(const context_node* from, const void* key) {
    bool forks = false;
    for (const context_node* node = from; node != nullptr; node = node->parent) {
        if (node->key == key) return node->value->get();
        forks |= node->second != nullptr;
    }
    return forks ? find_aside(from, key) : nullptr;
}

const void* context::find(const void* key) const { return find_value(node_, key); }

bool cancel_function::operator()(std::error_code cause) const noexcept {
    context_node* node = context_access::node(of_);
    return detail::cancel_tree(*node, errc::cancelled, cause ? cause : make_error_code(errc::cancelled));
}

context background() noexcept { return context(); }

context current_context() noexcept {
    const detail::worker_local* here = detail::tls_worker;
    if (here == nullptr || here->running == nullptr) return background();
    // relaxed: our own (T1).
    return context_access::share(here->running->ctx.load(std::memory_order_relaxed));
}

namespace detail {
context root_context() noexcept { return context_access::share(&current_runtime().root()); }

/// From now; saturated, so that a duration too long to count never ends.
static clock::time_point deadline_in(clock::duration in) noexcept {
    const nanoseconds_t now = clock_now();
    return clock::time_point(
        clock::duration(in.count() > no_deadline - now ? no_deadline : now + in.count()));
}
}

static cancellable make_cancellable(context_node* node) {
    context made = context_access::adopt(node);
    cancel_function cancel = context_access::cancel(made);
    return cancellable(std::move(made), std::move(cancel));
}

cancellable with_cancel(const context& parent, std::source_location at) {
    return make_cancellable(detail::make_child(context_access::node(parent), at));
}

namespace {
/// Gives `node` a deadline of its own, unless an ancestor's is earlier: then that one is enough.
void set_deadline(context_node& node, detail::nanoseconds_t when, std::error_code cause) {
    if (when >= node.deadline) return;
    node.deadline = when;
    node.deadline_cause = cause;
    if (when <= detail::clock_now()) {
        detail::cancel_tree(node, errc::deadline_exceeded,
                            cause ? cause : make_error_code(errc::deadline_exceeded));
        return;
    }
    const detail::worker* here = detail::current_worker();
    detail::check(
        here != nullptr,
        "with_deadline, with_timeout: made outside a runtime, whose timers it needs: make it in a task");
    detail::start_deadline(node, when, *here);
}
}

cancellable with_deadline(const context& parent, clock::time_point when, std::error_code cause,
                          std::source_location at) {
    cancellable made = with_cancel(parent, at);
    set_deadline(*context_access::node(made.ctx), when.time_since_epoch().count(), cause);
    return made;
}

cancellable detail::with_timeout_of(const context& parent, clock::duration in, std::error_code cause,
                                    std::source_location at) {
    return with_deadline(parent, deadline_in(in), cause, at);
}

/// A node that is in nobody's tree, but looks up values along `parent`.
static context_node* make_detached(context_node* parent, std::source_location at) {
    context_node* node = detail::make_child(nullptr, at);
    if (parent != nullptr) {
        parent->ref();
        node->parent = parent;
    }
    return node;
}

cancellable merged(const context& a, const context& b, std::source_location at) {
    return make_cancellable(
        detail::make_child(context_access::node(a), at, a == b ? nullptr : context_access::node(b)));
}

context without_cancel(const context& parent, std::source_location at) {
    return context_access::adopt(make_detached(context_access::node(parent), at));
}

const char* cancellation_ignored::what() const noexcept {
    return "runnel: a task went on waiting although its context is cancelled";
}

namespace detail {

context make_value_context(const context& parent, const void* key, context_value* value,
                           std::source_location at) {
    std::unique_ptr<context_value> owned(value);  // until the node is there
    context_node* node = make_child(context_access::node(parent), at);
    node->key = key;
    node->value = owned.release();
    return context_access::adopt(node);
}

static context make_swapped(swap_kind kind, const context& with, clock::duration in, context_node* here,
                            std::source_location at) {
    if (kind == swap_kind::add)
        return context_access::adopt(make_child(context_access::node(with), at, here));
    context_node* const node = kind == swap_kind::shield ? make_detached(here, at) : make_child(here, at);
    node->statement = true;
    context made = context_access::adopt(node);
    if (kind == swap_kind::deadline) set_deadline(*node, deadline_in(in).time_since_epoch().count(), {});
    return made;
}

void context_swap::enter(std::coroutine_handle<> awaiter) {
    task_block& task = running_task();
    before_ = task.ctx.load(std::memory_order_relaxed);  // relaxed: our own (T1)
    to_ = make_swapped(kind_, to_, in_, before_, promise_of(awaiter).await_at);
    task.ctx.store(context_access::node(to_), std::memory_order_relaxed);  // relaxed: published by arming
}

void context_swap::leave() noexcept {
    task_block& task = running_task();
    if (task.member_of == context_access::node(to_))
        leave_members(task);                             // X3: it may end with this statement
    task.ctx.store(before_, std::memory_order_relaxed);  // relaxed: published by the next arming
}

bool context_swap::timed_out(std::error_code error) const noexcept {
    if (kind_ != swap_kind::deadline || to_.err() != errc::deadline_exceeded) return false;
    const context_node& node = *context_access::node(to_);
    const bool earlier_than_all_around = node.deadline != node.parent->deadline;
    return earlier_than_all_around && (error == errc::deadline_exceeded || error == errc::cancelled);
}
}

// --- ctx.done() ------------------------------------------------------------------------------------

detail::wait_object* done_operation::object() noexcept { return of_; }

bool done_operation::try_now(detail::late_wake&) noexcept {
    return of_->cancelled.load(std::memory_order_relaxed);  // relaxed: written under the lock that we hold
}

void done_operation::enlist(detail::task_block& task, std::uint64_t ticket) noexcept {
    of_->done.enlist(node_, task, ticket);
}

bool done_operation::delist() noexcept { return of_->done.delist(node_); }
}
