// The steps of a wait; detail/wait.hpp has the protocol and names them.
#include <runnel/detail/wait.hpp>

#include <cassert>
#include <cstdlib>
#include <new>

#include <runnel/detail/check.hpp>
#include <runnel/detail/operation.hpp>
#include <runnel/detail/suspend.hpp>
#include <runnel/detail/tracing.hpp>
#include <runnel/result.hpp>
#include "brake.hpp"
#include "context_node.hpp"
#include "wait_many.hpp"
#include "worker.hpp"

namespace runnel::detail {

using namespace word_bits;

namespace {
bool parked(const task_block& task) noexcept {
    // acquire: pairs with the winner's CAS, which follows what it wrote into our slot.
    return (task.word.load(std::memory_order_acquire) & state_mask) == taken;
}

/// Apart, so that the waits that end well do not pay for the registers that this needs.
[[gnu::noinline, gnu::cold]] unsigned cancelled_outcome(const task_block& task) {
    if (worker* here = current_worker(); here != nullptr) here->counts.cancelled.add();
    if (task.refused >= brake_throws_at) throw cancellation_ignored();
    return wait_code::cancelled;
}

unsigned outcome_of(task_block& task) {
    const unsigned code = code_of(task.word.load(std::memory_order_relaxed));  // relaxed: parked() acquired
    if (code == wait_code::cancelled) [[unlikely]]
        return cancelled_outcome(task);
    task.refused = 0;
    return code;
}
}

bool refuse(task_block& task, std::coroutine_handle<> awaiter) noexcept {
    end_unparked(task, wait_code::cancelled);
    return brake(task, awaiter);
}

bool may_wait(task_block& task) noexcept {
    context_node* ctx = task.ctx.load(std::memory_order_relaxed);  // relaxed: our own (T1)
    // relaxed: a cancel that is missed here is seen by arm(), or by the root's next scan.
    if (ctx->cancelled.load(std::memory_order_relaxed)) [[unlikely]]
        return false;
    return ctx->scanned() || task.member_of == ctx || join_members(*ctx, task);
}

arming arm(task_block& task, std::uint64_t ticket, std::coroutine_handle<> awaiter) noexcept {
    task.leaf = awaiter;
    const context_node* ctx = task.ctx.load(std::memory_order_relaxed);  // relaxed: our own (T1)
    const std::uint64_t word = (ticket & epoch_mask) | armed;
    if (ctx->scanned()) {
        // release: pairs with the acquire of the CAS in claim().
        task.word.store(word, std::memory_order_release);
        return arming::parked;
    }
    task.word.exchange(word);  // seq_cst, with the next load: see mark_cancelled() for the other side
    if (!ctx->cancelled.load()) [[likely]]
        return arming::parked;
    const claimed how = claim(task, ticket, wait_code::cancelled);
    if (how == claimed::lost) return arming::parked;
    if (how == claimed::won_held) {
        // acq_rel: as in finish(); the holder schedules us if it still holds.
        if ((task.word.fetch_or(done, std::memory_order_acq_rel) & held) != 0) return arming::cancelled_held;
    }
    end_unparked(task, wait_code::cancelled);
    return arming::cancelled;
}

bool suspend_one(wait_case& only, std::coroutine_handle<> awaiter) noexcept {
    return suspend_at(only, awaiter);
}

void no_task_runs() noexcept {
    running_task();  // says what is wrong
    std::abort();
}

/// Of a wait that did not end by its case.
[[gnu::noinline]] static unsigned resume_refused(wait_case& only, task_block& task) {
    wait_object* const object = parked(task) ? only.object() : nullptr;
    if (object != nullptr) leave(only, *object);
    return outcome_of(task);
}

unsigned resume_one(wait_case& only) {
    task_block& task = *this_worker().running;
    // acquire: as in parked(). A winner has popped the node; and who did not park has none that is linked.
    if (code_of(task.word.load(std::memory_order_acquire)) != 0) [[unlikely]]
        return resume_refused(only, task);
    task.refused = 0;
    return 0;
}

namespace {
/// Steps 4 to 6.
arming park(const worker_local& here, const several_cases& of, bool locked, wait_cases& lists,
            std::coroutine_handle<> awaiter) noexcept {
    task_block& task = *here.running;
    const std::uint64_t ticket = next_ticket(task);
    enlist_all(of, task, ticket);
    begin_wait(here, task, tagged(lists));
    const arming how = arm(task, ticket, awaiter);
    // Without a lock of ours nothing keeps a task that a dump held from going on: and nothing was enlisted.
    if (how != arming::parked && locked) [[unlikely]]
        for (std::size_t i = 0; i < of.count; ++i) of.cases[i]->delist();
    return how;
}
}

bool suspend_many(const several_cases& of, wait_cases& lists, std::coroutine_handle<> awaiter) noexcept {
    worker_local& here = this_worker();
    task_block& task = *here.running;
    if (!may_wait(task)) [[unlikely]]
        return refuse(task, awaiter);
    locked_objects objects(of);
    late_wake wake;
    const int ready = try_cases(of, wake);
    if (ready >= 0) {
        objects.unlock();
        note_done(here, *of.cases[ready], wake);
        finish(wake);
        return go_on(here, static_cast<unsigned>(ready), awaiter, of.count);
    }
    const arming how = park(here, of, !objects.empty(), lists, awaiter);
    objects.unlock();
    return how != arming::cancelled;
}

/// The same for one case and a limit. The lock of the timers comes out of the order of addresses, so it is taken
/// only if that needs no waiting.
static bool suspend_one_limited(worker_local& here, several_cases of, wait_object& object, wait_cases& lists,
                                std::coroutine_handle<> awaiter) noexcept {
    of.order = choice::in_order;  // nothing to choose, and nothing drawn
    object.lock.lock();
    late_wake wake;
    if (of.cases[0]->try_now(wake)) {
        object.lock.unlock();
        note_done(here, *of.cases[0], wake);
        finish(wake);
        return go_on(here, 0, awaiter);
    }
    wait_object& timers = *of.cases[1]->object();
    if (!timers.lock.try_lock()) {
        object.lock.unlock();
        return suspend_many(of, lists, awaiter);
    }
    const arming how = park(here, of, true, lists, awaiter);
    timers.lock.unlock();
    object.lock.unlock();
    return how != arming::cancelled;
}

bool suspend_limited(const several_cases& of, wait_cases& lists, std::coroutine_handle<> awaiter) noexcept {
    worker_local& here = this_worker();
    task_block& task = *here.running;
    if (!may_wait(task)) [[unlikely]]
        return refuse(task, awaiter);
    if (of.count == 2) {
        wait_object* object = of.cases[0]->object();
        if (object != nullptr) return suspend_one_limited(here, of, *object, lists, awaiter);
    } else {
        several_cases but_the_limit = of;
        --but_the_limit.count;
        const int ready = try_many(but_the_limit);
        if (ready >= 0) return go_on(here, static_cast<unsigned>(ready), awaiter, of.count);
    }
    return suspend_many(of, lists, awaiter);
}

unsigned resume_many(wait_case* const* cases, std::size_t count) {
    task_block& task = *this_worker().running;
    if (parked(task)) {
        // relaxed: parked() acquired.
        leave_all_but(code_of(task.word.load(std::memory_order_relaxed)), cases, count);
    }
    return outcome_of(task);
}

int try_many(const several_cases& of) noexcept {
    late_wake wake;
    locked_objects objects(of);
    const int ready = try_cases(of, wake);
    objects.unlock();
    if (ready >= 0 && traced()) [[unlikely]]
        trace_done(*of.cases[ready], wake);
    finish(wake);
    return ready;
}

bool try_one(wait_case& only) noexcept {
    wait_object* const object = only.object();
    if (object == nullptr) return false;
    late_wake wake;
    object->lock.lock();
    const bool happened = only.try_now(wake);
    object->lock.unlock();
    if (happened && traced()) [[unlikely]]
        trace_done(only, wake);
    finish(wake);
    return happened;
}

several_cases case_block::make(std::size_t count, choice order) {
    check(count <= wait_code::last_index + 1U, "select: more than 32,752 cases");
    constexpr std::size_t bytes_of_one = sizeof(wait_case*) + sizeof(wait_object*) + sizeof(std::uint16_t);
    block_ = ::operator new(count * bytes_of_one);
    const auto objects = reinterpret_cast<wait_object**>(cases() + count);
    return {cases(), objects, reinterpret_cast<std::uint16_t*>(objects + count), count, order};
}

case_block::~case_block() { ::operator delete(block_); }

void give_way(task_block& task, std::coroutine_handle<> awaiter) noexcept {
    end_unparked(task);
    task.leaf = awaiter;
    schedule_back(task);
}

std::size_t waits_of(const task_block& task, wait_case** out, std::size_t room) noexcept {
    // relaxed: whoever holds the task has acquired it.
    const auto at = reinterpret_cast<std::uintptr_t>(task.waits_at.load(std::memory_order_relaxed));
    if (at == 0) return 0;
    if ((at & 1) == 0) return out[0] = reinterpret_cast<wait_case*>(at), 1;
    auto& several = *reinterpret_cast<wait_cases*>(at - 1);
    return several.list(several, out, room);
}

// --- Operations in the kernel ----------------------------------------------------------------------

claimed claim_io(task_block& task, std::uint64_t word, unsigned code) noexcept {
    const std::uint64_t epoch = word & epoch_mask;
    for (;;) {
        if ((word & epoch_mask) != epoch || (word & state_mask) != armed_io || (word & take_back) != 0)
            return claimed::lost;
        // relaxed: written before arming; valid if the CAS finds the same epoch still armed (T3).
        auto* request = const_cast<io_request*>(
            static_cast<const io_request*>(task.waits_at.load(std::memory_order_relaxed)));
        // acq_rel: acquire pairs with arm_io(); release with complete_io(), which sees take_back.
        if (task.word.compare_exchange_weak(word, word | take_back | with_code(code),
                                            std::memory_order_acq_rel, std::memory_order_relaxed)) {
            request->owner->cancel(*request);
            return claimed::asked_driver;
        }
    }
}

bool arm_io(task_block& task, io_request& request, std::coroutine_handle<> awaiter) noexcept {
    if (!may_wait(task)) [[unlikely]]
        return false;
    task.refused = 0;
    note_wait(*tls_worker, task, &request);
    task.leaf = awaiter;
    const std::uint64_t word = next_ticket(task) | armed_io;
    const context_node* ctx = task.ctx.load(std::memory_order_relaxed);  // relaxed: our own (T1)
    if (ctx->scanned()) {
        task.word.store(word, std::memory_order_release);  // release: pairs with the CAS in claim_io()
        return true;
    }
    task.word.exchange(word);  // seq_cst, with the next load: see mark_cancelled()
    if (!ctx->cancelled.load()) [[likely]]
        return true;
    // Nobody has started it: disarm. A canceller that came first has sent a message that stays valid, so
    // then the operation has to run its course, at once taken back; and so when a dump holds us just now.
    std::uint64_t seen = word;
    const std::uint64_t off = (word & epoch_mask) | idle | with_code(wait_code::cancelled);
    // acq_rel: pairs with claim_io(). acquire on failure: a dump or a canceller has changed the word.
    while (
        !task.word.compare_exchange_weak(seen, off, std::memory_order_acq_rel, std::memory_order_acquire)) {
        if ((seen & (take_back | held)) == 0) continue;
        claim_io(task, seen, wait_code::cancelled);
        return true;
    }
    return false;
}

bool complete_io(task_block& task) noexcept {
    // relaxed: a guess; the CAS decides.
    std::uint64_t word = task.word.load(std::memory_order_relaxed);
    for (;;) {
        assert((word & state_mask) == armed_io && "D3: completed twice");
        const std::uint64_t over = (word & ~state_mask) | taken;
        // acq_rel: release publishes the result to the task; acquire pairs with claim_io().
        if (task.word.compare_exchange_weak(word, over, std::memory_order_acq_rel, std::memory_order_relaxed))
            break;
    }
    const bool message_under_way = (word & take_back) != 0;
    finish(task, (word & held) != 0 ? claimed::won_held : claimed::won);
    return message_under_way;
}

unsigned io_outcome(task_block& task) {
    // acquire: pairs with the CAS of complete_io().
    const std::uint64_t word = task.word.load(std::memory_order_acquire);
    return (word & (take_back | code_mask)) != 0 ? outcome_of(task) : 0;
}

std::error_code wait_error(unsigned code) noexcept {
    if (code == wait_code::timed_out) return errc::timed_out;
    if (code == wait_code::stopping) return errc::stopping;
    const context_node* ctx = running_task().ctx.load(std::memory_order_relaxed);  // relaxed: our own (T1)
    // acquire: pairs with the store of the flag; err was written before it.
    if (ctx->cancelled.load(std::memory_order_acquire) && ctx->err) return ctx->err;
    return errc::cancelled;
}
}
