// The start and the end of a task: detail/spawning.hpp has the steps.
#include <runnel/go.hpp>

#include <cassert>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <utility>

#include "runtime_core.hpp"
#include "steering.hpp"
#include "task_dump.hpp"
#include "task_life.hpp"
#include "task_names.hpp"

namespace runnel::detail {

namespace {
/// A task that is started inside with_timeout(d, task) or shielded(task) belongs to the context of the
/// task around it, not to that of the one statement.
context_node& context_for_children(const task_block& of) noexcept {
    context_node* ctx = of.ctx.load(std::memory_order_relaxed);  // relaxed: our own (T1)
    while (ctx->statement) ctx = ctx->parent;
    return *ctx;
}

std::uint64_t next_id(worker* here) noexcept {
    // Numbers are unique, not dense: each worker counts in its own 1024ths, plain threads in the first.
    static std::atomic<std::uint64_t> outside{0};
    if (here == nullptr)
        return (outside.fetch_add(1, std::memory_order_relaxed) + 1) << 10;  // relaxed: only unique
    if (here->steered_by() != nullptr) return ++here->last_id;               // there is no other worker
    return (++here->last_id << 10) + here->index + 1;
}

/// While it lives, this thread acts for `task`, although no coroutine of it runs.
class running_now {
public:
    explicit running_now(task_block& task) noexcept : before_(std::exchange(tls_worker->running, &task)) {}
    running_now(const running_now&) = delete;
    running_now& operator=(const running_now&) = delete;
    ~running_now() { tls_worker->running = before_; }

private:
    task_block* const before_;
};
}

/// `core`: null for a plain thread.
[[gnu::always_inline]] static inline task_block& fresh_block(worker* here, runtime_core* core,
                                                             context_node& under, task_kind kind) {
    task_block& task = allocate_block(here != nullptr ? &here->blocks : nullptr);
    // relaxed: the queue that the task goes into publishes it.
    task.ctx.store(&under, std::memory_order_relaxed);
    task.runtime.store(core, std::memory_order_relaxed);
    end_unparked(task);  // the block's last task may have been woken
    task.kind = kind;
    task.ended = false;
    task.left_scopes = false;
    task.routed = false;
    task.counted = core != nullptr && core->counts != nullptr;
    task.refused = 0;
    task.pinned = task_block::anywhere;
    task.joiner = nullptr;
    task.holds.store(1, std::memory_order_relaxed);  // relaxed: see ctx above
    task.id = next_id(here);
    return task;
}

task_block& begin_block(runtime_core& core, context_node& under, task_kind kind) {
    worker* here = current_worker();
    const bool ours = here != nullptr && &here->core == &core;
    task_block& task = fresh_block(here, &core, under, kind);
    if (!under.scanned() && kind != task_kind::child) under.ref();  // a child: V3 of scope.cpp
    if (ours)
        here->counts.started.add();
    else
        core.outside_started.fetch_add(1,
                                       std::memory_order_relaxed);  // relaxed: exact once all is quiet (U1)
    return task;
}

task_block& begin_thread_block(context_node& under) {
    task_block& task = fresh_block(nullptr, nullptr, under, task_kind::thread);
    task.routed = true;
    return task;
}

void attach_thread_block(runtime_core& core, task_block& task) noexcept {
    task.runtime.store(&core, std::memory_order_relaxed);  // relaxed: published by the arming
    task.counted = core.counts != nullptr;
    core.outside_started.fetch_add(1, std::memory_order_relaxed);  // relaxed: exact once all is quiet (U1)
}

/// Destroys the frame of a task that has ended, and with it what the task was given: while it still runs here
/// and belongs to its context (G1), and so that destructors can tell how it ended.
static void destroy_frame(task_block& task, bool failed) noexcept {
    // relaxed: our own (T1); the flag is a hint here.
    const bool cancelled =
        task.ctx.load(std::memory_order_relaxed)->cancelled.load(std::memory_order_relaxed);
    const leaving before = std::exchange(tls_worker->task_left, failed      ? leaving::by_exception
                                                                : cancelled ? leaving::cancelled
                                                                            : leaving::normally);
    const std::coroutine_handle<> frame = std::exchange(task.frame, {});
    const running_now here(task);  // G1: destructors may start tasks, and leave scopes
    frame.destroy();
    tls_worker->task_left = before;
}

leaving how_left() noexcept {
    if (std::uncaught_exceptions() > 0) return leaving::by_exception;
    const worker_local* here = tls_worker;
    if (here == nullptr || here->running == nullptr) return leaving::normally;
    if (!here->running->frame) return here->task_left;
    // relaxed: our own (T1); the flag is a hint here.
    const context_node* ctx = here->running->ctx.load(std::memory_order_relaxed);
    return ctx->cancelled.load(std::memory_order_relaxed) ? leaving::cancelled : leaving::normally;
}

errc how_the_producer_ended() noexcept {
    switch (how_left()) {
        case leaving::by_exception:
            return errc::producer_failed;
        case leaving::cancelled:
            return errc::producer_cancelled;
        case leaving::normally:
            break;
    }
    return errc::closed;
}

void leave_context(task_block& task) noexcept {
    leave_members(task);
    context_node* ctx = task.ctx.load(std::memory_order_relaxed);  // relaxed: our own (T1)
    if (ctx->scanned()) return;
    // relaxed: our own; for what is destroyed after this.
    task.ctx.store(&task.runtime.load(std::memory_order_relaxed)->root(), std::memory_order_relaxed);
    if (task.kind != task_kind::child) ctx->unref();
}

void count_end(const task_block& task) noexcept {
    runtime_core& core = *task.runtime.load(std::memory_order_relaxed);  // relaxed: our own
    worker* here = current_worker();
    const bool ours = here != nullptr && &here->core == &core;
    if (ours)
        here->counts.ended.add();
    else
        core.outside_started.fetch_sub(1, std::memory_order_release);  // release: pairs with live()
}

void end_block(task_block& task) noexcept {
    leave_context(task);
    count_end(task);
}

void free_ended(task_block& task) noexcept {
    worker* here = current_worker();
    // relaxed: a runtime that may be gone; while it counts it is the worker's own, or not looked at.
    if (task.counted && here != nullptr && &here->core == task.runtime.load(std::memory_order_relaxed))
        here->counts.freed.add();
    task.kind = task_kind::free;
    task.runtime.store(nullptr, std::memory_order_relaxed);  // relaxed: scans look at it as a hint
    free_block(here != nullptr ? &here->blocks : nullptr, task);
}

static task_block* start(runtime_core& core, context_node* under, const start_request& what) {
    if (core.stopping() && what.kind != task_kind::child) return nullptr;
    task_block& task = begin_block(core, under != nullptr ? *under : core.root(), what.kind);
    task.frame = task.leaf = what.frame;
    task.owner = what.owner;
    task.handle_lives = what.handle;
    task.spawned_at = what.at;
    schedule(task);
    return &task;
}

task_block* start_in(runtime_core& core, context_node* under, const start_request& what) {
    if (const worker* here = current_worker(); here != nullptr && &here->core == &core)
        return start(core, under, what);
    const runtime_core::visit here(core);  // U2
    return start(core, under, what);
}

task_block* start_here(const start_request& what) {
    task_block& starter = running_task();
    return start_in(current_runtime(), &context_for_children(starter), what);
}

namespace {
std::string text_of(const std::exception_ptr& what) {
    try {
        std::rethrow_exception(what);
    } catch (const std::exception& error) {
        return error.what();
    } catch (...) {
        return "an exception that is no std::exception";
    }
}
}

void unhandled(const task_block& of, std::exception_ptr what) noexcept {
    if (steering* by = current_steering(); by != nullptr) {
        std::string text = title_of(of);
        text.append(is_ours(of.spawned_at) ? ", main" : ", started at " + place(of.spawned_at));
        return by->fail(testing::failure::exception,
                        text.append(", ended by an exception: ").append(text_of(what)));
    }
    std::fprintf(stderr, "runnel: %s, ended by an exception that nobody can receive: %s\n",
                 introduce(of).c_str(), text_of(what).c_str());
    std::abort();
}

void unhandled_in_scope(std::source_location scope, std::exception_ptr what) noexcept {
    if (steering* by = current_steering(); by != nullptr) {
        std::string text = "a child of the scope at ";
        text.append(place(scope)).append(" ended by an exception: ").append(text_of(what));
        return by->fail(testing::failure::exception, std::move(text));
    }
    std::fprintf(stderr,
                 "runnel: a child of the scope at %s:%u ended by an exception that nobody can receive: %s\n",
                 scope.file_name(), scope.line(), text_of(what).c_str());
    std::abort();
}

// --- The end -----------------------------------------------------------------------------------------

static bool has_handle(task_block& task) noexcept {
    task.ending.lock.lock();
    const bool lives = task.handle_lives;
    task.ending.lock.unlock();
    return lives;
}

/// A task of go(): its outcome is kept for the handle, if there is one.
static void keep_outcome(task_block& task, const task_end_base& end, promise_base& promise) noexcept {
    const bool wanted = has_handle(task);
    task.owner = wanted ? end.keep(promise) : nullptr;
    if (!wanted && end.failed(promise)) unhandled(task, end.take_exception(promise));
}

/// The last handle went while the task was ending.
static void discard_outcome(task_block& task) noexcept {
    const running_now here(task);
    kept_base& kept = outcome_kept_by(task);
    kept.end.discard(kept, task);
}

/// A task of go() without a frame: tells who joins.
static void end_spawned(task_block& task) noexcept {
    if (task.owner == nullptr) {  // nobody can
        end_block(task);
        return free_ended(task);
    }
    leave_context(task);
    task.ending.lock.lock();
    task.ended = true;
    count_end(task);  // under the lock: who sees that it has not ended knows that the runtime is there
    const bool handle_lives = task.handle_lives;
    wait_node* joiner = std::exchange(task.joiner, nullptr);
    task_block* waiter = nullptr;
    claimed how = claimed::lost;
    if (joiner != nullptr) {
        waiter = joiner->task;
        joiner->prev = joiner;
        how = claim(*joiner);
    }
    task.ending.lock.unlock();
    if (waiter != nullptr) finish(*waiter, how);
    if (handle_lives) return;  // it frees block and outcome, and may have done so
    discard_outcome(task);
    free_ended(task);
}

void conclude(task_block& task) noexcept {
    if (task.kind == task_kind::spawned)
        end_spawned(task);
    else
        end_child(task);
}

void complete(task_block& task, const task_end_base& end, promise_base& promise) noexcept {
    const bool failed = end.failed(promise);
    if (task.kind == task_kind::spawned)
        keep_outcome(task, end, promise);
    else
        note_end_of_child(task, end, promise);
    if (task.left_scopes) task.holds.store(1, std::memory_order_relaxed);  // relaxed: the last hold was ours
    task.left_scopes = false;
    destroy_frame(task, failed);  // what it was given is gone when somebody learns that it has ended
    if (drop_own_hold(task)) conclude(task);
}

std::coroutine_handle<> task_end_base::done(std::coroutine_handle<>, promise_base& promise) noexcept {
    task_block& task = *tls_worker->running;
    tls_worker->running = nullptr;
    if (drop_own_hold(task)) complete(task, *this, promise);  // else S4: the last of the heirs completes it
    return std::noop_coroutine();
}

// --- Joining ---------------------------------------------------------------------------------------

wait_object* join_case::object() noexcept {
    if (spent_) return nullptr;
    return of_ != nullptr ? &of_->ending : &refused_object();
}

bool join_case::try_now(late_wake&) noexcept { return of_ == nullptr || of_->ended; }

void join_case::enlist(task_block& task, std::uint64_t ticket) noexcept {
    check(of_->joiner == nullptr, "join_handle: two waits for the same task at once");
    node_.task = &task;
    node_.ticket = ticket;
    node_.prev = nullptr;  // linked
    of_->joiner = &node_;
}

bool join_case::delist() noexcept {
    if (of_ != nullptr && of_->joiner == &node_) {
        of_->joiner = nullptr;
        node_.prev = &node_;
    }
    return false;
}

wait_subject join_case::subject() const noexcept {
    return {"for the end of a task", nullptr, of_ != nullptr ? of_->id.get() : 0};
}

std::uint64_t block_id(const task_block& of) noexcept { return of.id; }
kept_base& outcome_kept_by(const task_block& of) noexcept { return *static_cast<kept_base*>(of.owner); }

void drop_handle(task_block& of) noexcept {
    of.ending.lock.lock();
    of.handle_lives = false;
    const bool ended = of.ended;
    const bool waited_for = of.joiner != nullptr;
    of.ending.lock.unlock();
    check(!waited_for, "join_handle: dropped while a task waits for it");
    if (!ended) return;
    kept_base& kept = outcome_kept_by(of);
    kept.end.discard(kept, of);
    free_ended(of);
}

bool join_on_thread(join_case& end, task_block& of) {
    wait_case* only = &end;
    wait_object* object = nullptr;
    std::uint16_t turn = 0;
    // relaxed: set when it was started. The runtime may be gone, or none be told any more, if the task has ended.
    runtime_core* const core = of.runtime.load(std::memory_order_relaxed);
    return wait_on_thread({&only, &object, &turn, 1, choice::in_order}, nullptr, core) == 0;
}

wait_object& refused_object() noexcept {
    static wait_object always;
    return always;
}
}
