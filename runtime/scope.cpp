// See scope.hpp for what scopes promise; here is how.
//
// The children are only counted: a child that ends tells its failure and gives its frame back (S3). The
// last wakes join(), or, when the scope was left (S4), releases the enclosing task.
//
//   V1  `children` goes up and down without the lock, but from 1 to 0 only under it, and who acts on its
//       being 0 has looked under the lock: so the last child has let go of the state before join() returns;
//   V2  the state belongs to the object; once that has left it, to the last child;
//   V3  it holds the children's context for all of them.
#include <runnel/scope.hpp>

#include <cstdio>
#include <initializer_list>

#include "runtime_core.hpp"
#include "task_life.hpp"

namespace runnel::detail {

struct scope_state : wait_object {
    static constexpr std::size_t kept_max = 16;

    scope_state(bool fate, context_node* parent, std::source_location place)
        : one_fate(fate), ctx(make_child(parent)), at(place) {}

    std::atomic<std::size_t> children{0};
    std::atomic<bool> joined{false};  // since the last child was started
    const bool one_fate;
    std::size_t failures = 0;  // this and all below: under the lock
    std::exception_ptr first_exception;
    std::error_code first_error;
    std::vector<std::exception_ptr> others;
    wait_node* joiner = nullptr;
    bool left = false;           // S4: the object is gone
    task_block* heir = nullptr;  // who waits then; null: nobody can
    context_node* const ctx;     // referenced
    void (*handler)(std::exception_ptr, void*) = nullptr;
    void* handler_user = nullptr;
    const std::source_location at;

    scope_state(const scope_state&) = delete;
    scope_state& operator=(const scope_state&) = delete;
    ~scope_state() { ctx->unref(); }
    bool childless() const noexcept {
        return children.load(std::memory_order_acquire) == 0;  // acquire: pairs with leave_scope()
    }
};

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

scope_base::~scope_base() {
    scope_state& state = *state_;
    state.lock.lock();
    if (state.childless()) {
        // relaxed: see start_child()
        const bool lost = !state.joined.load(std::memory_order_relaxed) && state.first_exception != nullptr;
        state.lock.unlock();
        if (lost) unhandled_in_scope(state.at, std::move(state.first_exception));
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
    return state_->children.load(std::memory_order_relaxed);  // relaxed: a hint
}

/// One child fewer; the last tells who waits.
static void leave_scope(scope_state& state) noexcept {
    std::size_t left = state.children.load(std::memory_order_relaxed);  // relaxed: a guess; the CAS decides
    while (left > 1)  // acq_rel: what a child wrote is seen by who finds none left. relaxed: tried again
        if (state.children.compare_exchange_weak(left, left - 1, std::memory_order_acq_rel,
                                                 std::memory_order_relaxed))
            return;
    state.lock.lock();
    const bool last = state.children.fetch_sub(1, std::memory_order_acq_rel) == 1;  // acq_rel: as above
    const bool left_behind = last && state.left;
    wait_node* const joiner = last ? std::exchange(state.joiner, nullptr) : nullptr;
    task_block* const waiter = joiner != nullptr ? joiner->task : nullptr;
    const claimed how = joiner != nullptr ? claim(*joiner) : claimed::lost;
    state.lock.unlock();
    if (waiter != nullptr) finish(*waiter, how);
    if (!left_behind) return;
    if (state.first_exception != nullptr)  // nobody will join
        unhandled_in_scope(state.at, std::move(state.first_exception));
    task_block* const heir = state.heir;
    delete &state;  // V2
    if (heir != nullptr) release_hold(*heir);
}

void scope_base::start_child(std::coroutine_handle<> frame, promise_base& promise, task_end_base& end,
                             std::source_location at) {
    promise.on_done = &end;
    // relaxed: read when no children are left, and what this one did is seen then.
    if (state_->joined.load(std::memory_order_relaxed))
        state_->joined.store(false, std::memory_order_relaxed);
    // relaxed: by the object's task or by a child, so nobody acts on a 0 meanwhile.
    state_->children.fetch_add(1, std::memory_order_relaxed);
    try {
        start_in(current_runtime(), state_->ctx,
                 {frame, &promise, &end, task_kind::child, state_, at, false});
    } catch (...) {
        leave_scope(*state_);
        throw;
    }
}

/// Notes how a child failed. Returns whether the others are to be cancelled.
static bool note_failure(scope_state& state, std::exception_ptr exception, std::error_code error) {
    ++state.failures;
    const bool first = state.failures == 1;
    if (first) {
        state.first_exception = std::move(exception);
        state.first_error = error;
    } else if (exception != nullptr) {
        if (state.first_exception == nullptr)
            state.first_exception = std::move(exception);
        else if (state.others.size() < scope_state::kept_max)
            state.others.push_back(std::move(exception));
    }
    return first && state.one_fate;
}

/// After a cancel, such a child fails nobody: it only says that it was cancelled, or that another one was.
static bool says_cancelled(std::error_code error) noexcept {
    for (const errc each : {errc::cancelled, errc::deadline_exceeded, errc::timed_out, errc::stopping,
                            errc::producer_cancelled})
        if (error == each) return true;
    return false;
}

static void take_failure(scope_state& state, const task_end_base& end, promise_base& promise) noexcept {
    std::exception_ptr exception;
    std::error_code error;
    if (end.failed(promise)) {
        exception = end.take_exception(promise);
        if (state.handler != nullptr) {
            state.handler(std::move(exception), state.handler_user);
            return;
        }
    } else if (state.one_fate) {
        error = end.error(promise);
    }
    if (exception == nullptr && !error) return;
    // acquire: pairs with the store of the flag.
    if (error && state.ctx->cancelled.load(std::memory_order_acquire) && says_cancelled(error)) return;
    state.lock.lock();
    const bool cancel_others = note_failure(state, std::move(exception), error);
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
    std::exception_ptr exception = std::move(state.first_exception);
    const std::error_code error = state.first_error;
    state.lock.unlock();
    if (exception != nullptr) std::rethrow_exception(std::move(exception));
    if (error) return error;
    // relaxed: a look at what is level-triggered.
    if (before_->cancelled.load(std::memory_order_relaxed)) return wait_error(wait_code::cancelled);
    return {};
}
}

namespace runnel {

std::vector<std::exception_ptr> scope::take_other_exceptions() {
    state_->lock.lock();
    std::vector<std::exception_ptr> others = std::move(state_->others);
    state_->lock.unlock();
    return others;
}

std::size_t scope::failures() const noexcept {
    state_->lock.lock();
    const std::size_t failures = state_->failures;
    state_->lock.unlock();
    return failures;
}

void task_set::on_failure(void (*handler)(std::exception_ptr, void*), void* user) noexcept {
    state_->handler = handler;
    state_->handler_user = user;
}
}
