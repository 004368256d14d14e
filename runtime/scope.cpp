// See scope.hpp for what scopes promise; here is how.
//
// The children are only counted: a child that ends tells its failure and gives its frame back (S3). The
// last wakes join(), or, when the scope was left (S4), releases the enclosing task.
//
//   V1  `children` goes up and down without the lock, but from 1 to 0 only under it, and who acts on its
//       being 0 has looked under the lock: so the last child has let go of the state before join() returns;
//   V2  the state belongs to the object; once that has left it, to the last child;
//   V3  it holds the children's context for all of them;
//   V4  a task that waits for a place is counted as a child by who gives it one, before it is woken: so join() waits
//       for the child that it will start. While there is a place nobody waits for one, but those whose wait is over.
#include <runnel/scope.hpp>

#include <algorithm>
#include <cstdio>
#include <initializer_list>

#include "runtime_core.hpp"
#include "scope_state.hpp"
#include "task_life.hpp"

namespace runnel::detail {

static context_node& starters_context() noexcept {
    context_node* ctx = running_task().ctx.load(std::memory_order_relaxed);  // relaxed: our own (T1)
    return *ctx;
}

scope_base::scope_base(bool one_fate, std::source_location at)
    : state_(new scope_state(one_fate, &starters_context(), at)) {}

/// Does the task run under the scope, as a child of it, of a child, …? Then it cannot wait for its end.
static bool runs_in(const scope_state& state, const task_block& task) noexcept {
    const context_node* ctx = task.ctx.load(std::memory_order_relaxed);  // relaxed: our own (T1)
    while (ctx != nullptr && ctx != state.ctx)
        ctx = ctx->second != nullptr ? ctx->second : ctx->parent;  // of with_context() the task's own side
    return ctx != nullptr;
}

/// Who waits for the children of a scope that is left, if anybody can.
static task_block* heir_of(const scope_state& state) noexcept {
    task_block* const running = tls_worker != nullptr ? tls_worker->running : nullptr;
    return running != nullptr && !runs_in(state, *running) ? running : nullptr;
}

/// Those that wait at a scope must be children of it, if it has any: else they refer to what may be gone.
static void check_that_only_children_wait(const scope_state& state) noexcept {
    for (const wait_node* node = state.for_place.front(); node != nullptr; node = node->next)
        check(runs_in(state, *node->task), "scope: ends while a task waits for a place in it", state.at);
    for (const wait_node* node = state.for_result.front(); node != nullptr; node = node->next)
        check(runs_in(state, *node->task), "result_set: ends while a task waits for a result of it",
              state.at);
}

scope_base::~scope_base() {
    scope_state& state = *state_;
    state.lock.lock();
    check_that_only_children_wait(state);
    const kept_results not_wanted = std::move(state.results);  // dies without the lock
    if (state.childless()) {
        // relaxed: see start_child()
        const bool lost = !state.joined.load(std::memory_order_relaxed) && state.first.exception != nullptr;
        state.lock.unlock();
        if (lost) unhandled_in_scope(state.at, std::move(state.first.exception));
        delete state_;
        return;
    }
    task_block* const heir = heir_of(state);
    if (heir != nullptr) {
        heir->left_scopes = true;
        // relaxed: our own hold is still there.
        const auto holds = heir->holds.fetch_add(1, std::memory_order_relaxed);
        check(holds < UINT16_MAX,
              "scope: a task has left 65,534 scopes without join(), and none of them has ended");
    }
    state.left = true;
    state.heir = heir;
    const context ctx = context_access::share(state.ctx);
    const std::source_location at = state.at;
    state.lock.unlock();  // V2: the state may be gone
    std::fprintf(
        stderr, "runnel: the scope at %s:%u was left without join(): its children are cancelled, and %s\n",
        at.file_name(), at.line(), heir != nullptr ? "its task waits for them" : "nobody waits for them");
    cancel_tree(*context_access::node(ctx), errc::cancelled, errc::cancelled);
}

void scope_base::cancel() noexcept { cancel(make_error_code(errc::cancelled)); }

void scope_base::cancel(std::error_code cause) noexcept {
    cancel_tree(*state_->ctx, errc::cancelled, cause ? cause : make_error_code(errc::cancelled));
}

context scope_base::ctx() const noexcept { return context_access::share(state_->ctx); }

std::source_location scope_base::place() const noexcept { return state_->at; }

std::size_t scope_base::size() const noexcept {
    // relaxed: a hint
    return scope_state::count_in(state_->children.load(std::memory_order_relaxed));
}

// --- Children, and their places ----------------------------------------------------------------------

/// L. Counts those that wait for as many places as there are, and claims them.
static void give_places(scope_state& state, claimed_tasks& woken) noexcept {
    while (state.has_place()) {
        const wait_node* const next = state.for_place.pop_front();
        if (next == nullptr) return;
        if (woken.claim_popped(*next)) state.fill_place();
    }
}

/// One child fewer; the last tells who waits.
static void leave_scope(scope_state& state) noexcept {
    std::size_t left = state.children.load(std::memory_order_relaxed);  // relaxed: a guess; the CAS decides
    while (left > 1 && left < scope_state::limited)
        // acq_rel: what a child wrote is seen by who finds none left. relaxed: tried again
        if (state.children.compare_exchange_weak(left, left - 1, std::memory_order_acq_rel,
                                                 std::memory_order_relaxed))
            return;
    claimed_tasks woken;
    state.lock.lock();
    state.children.fetch_sub(1, std::memory_order_acq_rel);  // acq_rel: as above
    give_places(state, woken);                               // before anybody acts on a 0: V4
    const bool last = state.childless();
    const bool left_behind = last && state.left;
    if (last && state.joiner != nullptr) woken.claim_popped(*std::exchange(state.joiner, nullptr));
    if (last) woken.claim_all(state.for_result);
    state.lock.unlock();
    woken.finish_all();
    if (!left_behind) return;
    if (state.first.exception != nullptr)  // nobody will join
        unhandled_in_scope(state.at, std::move(state.first.exception));
    task_block* const heir = state.heir;
    delete &state;  // V2
    if (heir != nullptr) release_hold(*heir);
}

void start_counted(scope_state& in, const start_request& what) {
    // relaxed: read when no children are left, and what this one did is seen then.
    if (in.joined.load(std::memory_order_relaxed)) in.joined.store(false, std::memory_order_relaxed);
    try {
        start_in(current_runtime(), in.ctx, what);
    } catch (...) {
        leave_scope(in);
        throw;
    }
}

void start_child(scope_state& in, const start_request& what) {
    // relaxed: by the object's task or by a child, so nobody acts on a 0 meanwhile.
    in.children.fetch_add(1, std::memory_order_relaxed);
    start_counted(in, what);
}

void scope_base::set_limit(std::size_t most) noexcept {
    claimed_tasks woken;
    state_->lock.lock();
    state_->limit = most;
    // relaxed: who leaves without the lock has done so before this in the order of `children`, so we see it.
    state_->children.fetch_or(scope_state::limited, std::memory_order_relaxed);
    give_places(*state_, woken);
    state_->lock.unlock();
    woken.finish_all();
}

context_node* children_context(scope_state& of) noexcept { return of.ctx; }

std::error_code why_cancelled(scope_state& of) noexcept { return context_access::share(of.ctx).err(); }

std::error_code take_place(scope_state& in) noexcept {
    if (const std::error_code refused = why_cancelled(in)) return refused;
    in.lock.lock();
    const bool free = in.has_place();
    if (free) in.fill_place();
    in.lock.unlock();
    return free ? std::error_code() : make_error_code(errc::not_available);
}

wait_object* place_case::object() noexcept { return in_; }

bool place_case::try_now(late_wake&) noexcept {
    const bool free = in_->has_place();
    if (free) in_->fill_place();
    return free;
}

void place_case::enlist(task_block& task, std::uint64_t ticket) noexcept {
    in_->for_place.enlist(node_, task, ticket);
}

bool place_case::delist() noexcept { return in_->for_place.delist(node_); }

// --- How children fail -------------------------------------------------------------------------------

/// L. Keeps it if there is room. What there is none for is left in `what`: it dies without the lock.
static void keep(other_failures& others, failure& what, bool in_front) noexcept {
    if (others.kept.size() < scope_state::kept_max) {
        try {
            others.kept.insert(in_front ? others.kept.begin() : others.kept.end(), std::move(what));
            return;
        } catch (const std::bad_alloc&) {  // one more that is not kept
        }
    } else if (in_front) {
        std::swap(others.kept.back(), what);
        std::rotate(others.kept.begin(), others.kept.end() - 1, others.kept.end());
    }
    ++others.not_kept;
}

/// L. Notes how a child failed. Returns whether the others are to be cancelled.
static bool note_failure(scope_state& state, failure& what) noexcept {
    const bool first = ++state.failures == 1;
    const bool comes_out = first || (what.exception != nullptr && state.first.exception == nullptr);
    if (comes_out) std::swap(state.first, what);  // what join() would have given came before all others
    if (what) keep(state.others, what, comes_out);
    return first && state.one_fate;
}

bool says_cancelled(std::error_code error) noexcept {
    for (const errc each : {errc::cancelled, errc::deadline_exceeded, errc::timed_out, errc::stopping,
                            errc::producer_cancelled})
        if (error == each) return true;
    return false;
}

static void take_failure(scope_state& state, const task_end_base& end, promise_base& promise) noexcept {
    failure what;
    if (end.failed(promise)) {
        what.exception = end.take_exception(promise);
        if (state.handler != nullptr) {
            state.handler(std::move(what.exception), state.handler_user);
            return;
        }
    } else if (state.one_fate) {
        what.error = end.error(promise);
    }
    if (!what) return;
    const std::error_code error = what.error;
    // acquire: pairs with the store of the flag.
    if (error && state.ctx->cancelled.load(std::memory_order_acquire) && says_cancelled(error)) return;  // S6
    state.lock.lock();
    const bool cancel_others = note_failure(state, what);
    state.lock.unlock();
    if (cancel_others)
        cancel_tree(*state.ctx, errc::cancelled, error ? error : make_error_code(errc::cancelled));
}

void note_end_of_child(task_block& task, const task_end_base& end, promise_base& promise) noexcept {
    take_failure(*static_cast<scope_state*>(task.owner), end, promise);
}

void end_child(task_block& task) noexcept {
    auto& state = *static_cast<scope_state*>(task.owner);
    end_block(task);
    free_ended(task);
    leave_scope(state);
}

void release_hold(task_block& heir) noexcept {
    // acq_rel: what the heirs' children wrote happens before the completion.
    if (heir.holds.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    if (heir.kind == task_kind::fork) return arrive_late(heir);
    if (!heir.frame) return conclude(heir);
    promise_base& promise = promise_of(heir.frame);
    complete(heir, static_cast<const task_end_base&>(*promise.on_done), promise);
}

std::size_t scope_base::failures() const noexcept {
    state_->lock.lock();
    const std::size_t failures = state_->failures;
    state_->lock.unlock();
    return failures;
}

other_failures scope_base::take_other_failures() {
    other_failures taken;
    state_->lock.lock();
    std::swap(taken, state_->others);
    state_->lock.unlock();
    return taken;
}

// --- join() ----------------------------------------------------------------------------------------

wait_object* join_children::object() noexcept { return state_; }

bool join_children::try_now(late_wake&) noexcept { return state_->childless(); }

void join_children::enlist(task_block& task, std::uint64_t ticket) noexcept {
    check(state_->joiner == nullptr, "scope: joined by two tasks at once");
    node_.task = &task;
    node_.ticket = ticket;
    state_->joiner = &node_;
}

bool join_children::delist() noexcept {
    if (state_->joiner == &node_) state_->joiner = nullptr;
    return false;
}

bool join_children::awaiter_type::await_suspend(std::coroutine_handle<> awaiter) noexcept {
    task_block& task = running_task();
    before_ = task.ctx.load(std::memory_order_relaxed);                      // relaxed: our own (T1)
    task.ctx.store(&current_runtime().shield(), std::memory_order_relaxed);  // relaxed: published by arming
    return suspend_one(of_, awaiter);
}

result<> join_children::awaiter_type::await_resume() {
    task_block& task = running_task();
    resume_one(of_);
    task.ctx.store(before_, std::memory_order_relaxed);  // relaxed: published by the next arming
    scope_state& state = *of_.state_;
    state.lock.lock();
    state.joined.store(true, std::memory_order_relaxed);  // relaxed: see start_child()
    std::exception_ptr exception = std::move(state.first.exception);
    const std::error_code error = state.first.error;
    state.lock.unlock();
    if (exception != nullptr) std::rethrow_exception(std::move(exception));
    if (error) return error;
    // relaxed: a look at what is level-triggered.
    if (before_->cancelled.load(std::memory_order_relaxed)) return wait_error(wait_code::cancelled);
    return {};
}
}

namespace runnel {

void task_set::on_failure(void (*handler)(std::exception_ptr, void*), void* user) noexcept {
    detail::scope_state& state = state_of(*this);
    state.handler = handler;
    state.handler_user = user;
}
}
