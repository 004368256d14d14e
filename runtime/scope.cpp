// See scope.hpp for what scopes promise; here is how.
//
// The object and each child hold a reference on the state. The children are only counted: a child that
// ends tells its failure and gives its frame back (S3). Who brings the count to zero wakes join(), or,
// when the scope was left (S4), releases the enclosing task.
#include <runnel/scope.hpp>

#include <cstdio>

#include "runtime_core.hpp"
#include "task_life.hpp"

namespace runnel::detail {

struct scope_state : wait_object {
    static constexpr std::size_t kept_max = 16;

    std::atomic<std::uint32_t> refs{1};
    std::size_t children = 0;  // this and all below: under the lock
    std::size_t failures = 0;
    bool one_fate;
    bool joined = false;
    std::exception_ptr first_exception;
    std::error_code first_error;
    std::vector<std::exception_ptr> others;
    wait_node* joiner = nullptr;
    task_block* heir = nullptr;
    context_node* ctx = nullptr;  // referenced
    void (*handler)(std::exception_ptr, void*) = nullptr;
    void* handler_user = nullptr;
    std::source_location at;

    void unref() noexcept {
        // acq_rel: what others did with the state happens before its end.
        if (refs.fetch_sub(1, std::memory_order_acq_rel) == 1) {
            ctx->unref();
            delete this;
        }
    }
};

static context_node& starters_context() noexcept {
    context_node* ctx = running_task().ctx.load(std::memory_order_relaxed);  // relaxed: our own (T1)
    return *ctx;
}

scope_base::scope_base(bool one_fate, std::source_location at) : state_(new scope_state) {
    state_->one_fate = one_fate;
    state_->at = at;
    state_->ctx = make_child(&starters_context());
}

/// S4: the enclosing task inherits what is left.
scope_base::~scope_base() {
    scope_state& state = *state_;
    state.lock.lock();
    const bool left = state.children != 0;
    if (left) {
        task_block& heir = running_task();
        heir.left_scopes = true;
        heir.holds.fetch_add(1, std::memory_order_relaxed);  // relaxed: our own hold is still there
        state.heir = &heir;
    }
    const bool lost = !left && !state.joined && state.first_exception != nullptr;
    state.lock.unlock();
    if (left) {
        std::fprintf(stderr,
                     "runnel: the scope at %s:%u was left without join(): its children are cancelled, and "
                     "its task waits for them\n",
                     state.at.file_name(), state.at.line());
        cancel();
    }
    if (lost) unhandled(running_task(), std::move(state.first_exception));
    state.unref();
}

void scope_base::cancel() noexcept { cancel(make_error_code(errc::cancelled)); }

void scope_base::cancel(std::error_code cause) noexcept { cancel_tree(*state_->ctx, errc::cancelled, cause); }

context scope_base::ctx() const noexcept { return context_access::share(state_->ctx); }

std::size_t scope_base::size() const noexcept {
    state_->lock.lock();
    const std::size_t children = state_->children;
    state_->lock.unlock();
    return children;
}

void scope_base::start_child(std::coroutine_handle<> frame, promise_base& promise, task_end_base& end,
                             std::source_location at) {
    promise.on_done = &end;
    state_->lock.lock();
    state_->joined = false;
    ++state_->children;
    state_->lock.unlock();
    state_->refs.fetch_add(1, std::memory_order_relaxed);  // relaxed: we have a reference
    start_in(current_runtime(), state_->ctx, {frame, &promise, &end, task_kind::child, state_, at, false});
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
    // acquire: pairs with the store of the flag. Children that only say "I was cancelled" fail nobody.
    const bool by_cancel = error && state.ctx->cancelled.load(std::memory_order_acquire);
    if ((exception == nullptr && !error) || by_cancel) return;
    state.lock.lock();
    const bool cancel_others = note_failure(state, std::move(exception), error);
    state.lock.unlock();
    if (cancel_others)
        cancel_tree(*state.ctx, errc::cancelled, error ? error : make_error_code(errc::cancelled));
}

/// One child fewer; the last tells who waits.
static void leave_scope(scope_state& state) noexcept {
    task_block* waiter = nullptr;
    claimed how = claimed::lost;
    task_block* heir = nullptr;
    std::exception_ptr lost;
    state.lock.lock();
    if (--state.children == 0) {
        heir = std::exchange(state.heir, nullptr);
        if (heir != nullptr) lost = std::move(state.first_exception);  // S4: nobody will join
        if (state.joiner != nullptr) {
            waiter = state.joiner->task;
            how = claim(*std::exchange(state.joiner, nullptr));
        }
    }
    state.lock.unlock();
    if (waiter != nullptr) finish(*waiter, how);
    if (lost != nullptr) unhandled(*heir, std::move(lost));
    if (heir != nullptr) release_hold(*heir);
    state.unref();
}

void end_child(task_block& task, const task_end_base& end, promise_base& promise) noexcept {
    auto& state = *static_cast<scope_state*>(task.owner);
    const bool failed = end.failed(promise);
    take_failure(state, end, promise);
    destroy_frame(task, failed);  // what the child was given dies before join() returns
    end_block(task);
    free_ended(task);
    leave_scope(state);
}

void release_hold(task_block& heir) noexcept {
    // acq_rel: what the heirs' children wrote happens before the completion.
    if (heir.holds.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    promise_base& promise = std::coroutine_handle<promise_base>::from_address(heir.frame.address()).promise();
    if (heir.kind == task_kind::fork)
        arrive_late(heir);
    else
        complete(heir, static_cast<const task_end_base&>(*promise.on_done), promise);
}

// --- join() ----------------------------------------------------------------------------------------

wait_object* join_children::object() noexcept { return state_; }

bool join_children::try_now(late_wake&) noexcept { return state_->children == 0; }

void join_children::enlist(task_block& task, std::uint64_t ticket) noexcept {
    check(state_->joiner == nullptr, "scope: joined by two tasks at once");
    node_.task = &task;
    node_.ticket = ticket;
    state_->joiner = &node_;
}

void join_children::delist() noexcept {
    if (state_->joiner == &node_) state_->joiner = nullptr;
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
    state.joined = true;
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
