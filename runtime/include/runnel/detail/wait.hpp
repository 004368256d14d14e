// wait: the protocol by which a task parks, is claimed by exactly one waker, and goes on.
//
// A *task block* stands for one thread of control: a spawned task, a branch of when_all, a plain
// thread that waits. Blocks come from a slab that is reused but never unmapped, so a late waker may
// always look at `word`; the epoch in it tells that the wait it meant is over.
//
//   word = epoch:44 | code:15 | take_back:1 | done:1 | held:1 | state:2
//
// Parking
//   1  the context is cancelled: the wait is refused;
//   2  lock every object of the wait, in the order of their addresses;
//   3  a case is ready: take it, unlock, go on without suspending;
//   4  link all nodes, note the coroutine to resume;
//   5  arm: word = {++epoch, armed}. A task of the root context by a plain store, for the
//      root's canceller scans again and again; any other by an exchange, and then
//   6  it looks at its context's flag once more (the canceller sets the flag, then reads the word:
//      one of the two sees the other). Cancelled: claim the wait itself; won: undo 4, go on.
//   7  unlock. From 5 on the task may already run elsewhere, but it cannot pass step 8 before we
//      have unlocked, so its frame outlives 7. Nothing else is touched.
// Resumed
//   8  the code in `word` says who won. Lock every object but the winning channel's, unlink what is
//      linked. A case that won was popped by its waker; a timer, a cancel and a dump hold no lock
//      of ours, so after those all objects are locked.
// Waking
//   claim(): CAS {epoch, armed} -> {epoch, taken, code}; one waker wins. It fills the slot of the
//   node while it holds the object's lock, unlocks, and then makes it known: finish() puts the task
//   into a run queue. A task that a dump holds is put there by whoever lets go last: the waker
//   leaves `done`, the holder sees it when it takes `held` away.
// Operations in the kernel
//   {armed_io}: cancel and timeout do not claim. They set take_back with their code and send the
//   operation's own link to the driver that has it. The operation's last completion claims, always.
//
// Invariants
//   T1  while `taken` or running, only the owner writes word, ctx, waits_at and leaf;
//   T2  one claim per epoch succeeds, and one finish() follows it: a task is in at most one queue;
//   T3  ctx, waits_at and leaf are written only before arming, so who claims sees them.
//
// Checked by a model over all interleavings (sequentially consistent, and TSO store buffers): one
// schedule per wait, no lost cancel, no frame used after its end.
// Not taken: a claim word in the frame (a timer or a canceller would need the frame to be alive, and
// so a lock on the wake path); a lock of the context per wait (75 ns once two threads share it).
#pragma once

#include <atomic>
#include <cassert>
#include <coroutine>
#include <cstdint>
#include <source_location>
#include <utility>

#include "claimed_tasks.hpp"
#include "driver.hpp"
#include "relaxed.hpp"
#include "wait_case.hpp"
#include "wait_object.hpp"
#include "worker_local.hpp"

namespace runnel {
enum class errc;
}

namespace runnel::detail {

class runtime_core;
class timer_heap;
class blocking_pool;
struct context_node;

namespace word_bits {
inline constexpr std::uint64_t state_mask = 3;
inline constexpr std::uint64_t idle = 0, armed = 1, taken = 2, armed_io = 3;
inline constexpr std::uint64_t held = 1 << 2;
inline constexpr std::uint64_t done = 1 << 3;
inline constexpr std::uint64_t take_back = 1 << 4;
inline constexpr unsigned code_shift = 5;
inline constexpr std::uint64_t code_mask = std::uint64_t{0x7fff} << code_shift;
inline constexpr unsigned epoch_shift = 20;
inline constexpr std::uint64_t epoch_step = std::uint64_t{1} << epoch_shift;
inline constexpr std::uint64_t epoch_mask = ~(epoch_step - 1);

constexpr unsigned code_of(std::uint64_t word) noexcept {
    return static_cast<unsigned>((word & code_mask) >> code_shift);
}
constexpr std::uint64_t with_code(unsigned code) noexcept { return std::uint64_t{code} << code_shift; }
}

/// A time of the last half year in four bytes, to 4 ms: for people.
class coarse_time {
public:
    coarse_time() noexcept = default;
    explicit coarse_time(nanoseconds_t time) noexcept : steps_(static_cast<std::uint32_t>(time >> shift)) {}
    nanoseconds_t before(nanoseconds_t now) const noexcept {
        const std::uint32_t ago = static_cast<std::uint32_t>(now >> shift) - steps_;
        return ago == 0 ? now : ((now >> shift) - ago) << shift;
    }

private:
    static constexpr unsigned shift = 22;
    std::uint32_t steps_ = 0;
};

/// The number of a task, and the index of its name (task_names.hpp), in one word: who looks sees both of one time.
/// Numbers begin anew after 2^52, which takes a worker months.
class task_number {
public:
    task_number() noexcept = default;
    task_number(const task_number& other) noexcept : word_(other.word_.get()) {}
    /// A new number has no name.
    task_number& operator=(std::uint64_t number) noexcept {
        word_ = number & mask;
        return *this;
    }
    std::uint64_t get() const noexcept { return word_ & mask; }
    operator std::uint64_t() const noexcept { return get(); }
    std::uint16_t name() const noexcept { return static_cast<std::uint16_t>(word_ >> bits); }
    /// The task's own.
    void set_name(std::uint16_t index) noexcept { word_ = get() | std::uint64_t{index} << bits; }

private:
    static constexpr unsigned bits = 52;
    static constexpr std::uint64_t mask = (std::uint64_t{1} << bits) - 1;
    relaxed<std::uint64_t> word_ = 0;
};

/// One thread of control. 128 bytes; see the head of this file.
struct alignas(64) task_block {
    // What wakers and cancellers touch:
    std::atomic<std::uint64_t> word{0};
    std::atomic<context_node*> ctx{nullptr};
    std::atomic<const void*> waits_at{nullptr};  // see waits_of(); in the kernel: its io_request
    std::coroutine_handle<> leaf;                // what to resume
    task_block* queue_next = nullptr;            // in the injector, an inbox or the slab
    std::atomic<runtime_core*> runtime{nullptr};
    context_node* member_of = nullptr;  // whose member list has us
    wait_object ending;                 // guards ended, handle_lives and joiner
    relaxed<task_kind> kind = task_kind::free;
    relaxed<bool> ended = false;
    bool handle_lives = false;
    bool left_scopes : 1 = false;   // owner's: scopes left without join keep it from completing
    bool routed : 1 = false;        // owner's: not for just any worker: pinned to one, or a plain thread
    relaxed<bool> counted = false;  // J4 of census.hpp
    std::uint16_t refused = 0;      // waits refused in a row, for the brake

    // What its beginning and end touch:
    task_block* member_prev = nullptr;  // under the lock of member_of
    task_block* member_next = nullptr;
    std::coroutine_handle<> frame;  // the outermost coroutine; lives until nobody needs its result
    wait_node* joiner = nullptr;    // who waits for the end
    void* owner = nullptr;          // child: its scope; fork: its branch; thread: where it sleeps
    task_number id;
    relaxed<std::source_location> spawned_at;
    coarse_time waits_since;              // the tick in which it was armed
    std::atomic<std::uint16_t> holds{1};  // itself, and each scope that it left unjoined
    std::uint16_t pinned = anywhere;      // the worker it must run on; for tests
    static constexpr std::uint16_t anywhere = UINT16_MAX;
};
static_assert(sizeof(task_block) == 128);

/// The cases that a task waits at, not in the kernel: the first of them, at most `room`. Returns how many there are.
/// Threads: any, while it holds the task.
std::size_t waits_of(const task_block& task, wait_case** out, std::size_t room) noexcept;

/// The thread of control that runs here. Aborts with a report outside a runtime.
task_block& running_task() noexcept;

enum class claimed : unsigned char {
    lost,         // that wait is over
    won,          // finish() it
    won_held,     // finish() it; a dump looks at it just now
    asked_driver  // an operation in the kernel: it will complete by itself, nothing to finish
};

/// Ends the wait `ticket` of `task` with `code` if it has not ended yet. Threads: any.
inline claimed claim(task_block& task, std::uint64_t ticket, unsigned code) noexcept;
claimed claim_io(task_block& task, std::uint64_t word, unsigned code) noexcept;

/// Makes a claim known: the task goes into a run queue. Nothing of its frame may be touched after.
inline void finish(task_block& task, claimed how) noexcept;
/// The same for one of several that were claimed together: they go on in the order of these calls, after
/// what waits already. finish() puts a task before it, so that the last of several would be the first.
inline void finish_in_turn(task_block& task, claimed how) noexcept;

/// Puts a task that nobody else can claim into a run queue: of the current worker (as the next to
/// run) when it belongs to the same runtime, else of the runtime. Threads: any.
void schedule(task_block& task) noexcept;
/// The same at the back of the queue.
void schedule_back(task_block& task) noexcept;
/// The running task, which waits for nothing, lets others run first and goes on at `awaiter`: maybe elsewhere and
/// at once, so nothing of its frame may be touched after.
void give_way(task_block& task, std::coroutine_handle<> awaiter) noexcept;

/// The ticket of the wait that the running task arms next, for case 0; add the index of the case.
inline std::uint64_t next_ticket(const task_block& task) noexcept {
    // relaxed: nobody but the owner writes a word that is not armed (T1).
    return (task.word.load(std::memory_order_relaxed) & word_bits::epoch_mask) + word_bits::epoch_step;
}
constexpr std::uint64_t ticket_for(std::uint64_t ticket, std::size_t index) noexcept {
    return ticket | word_bits::with_code(static_cast<unsigned>(index));
}

inline void note(late_wake& wake, task_block& task, claimed how) noexcept {
    wake.task = &task;
    wake.held = how == claimed::won_held;
}
inline void finish(const late_wake& wake) noexcept {
    if (wake.task != nullptr) finish(*wake.task, wake.held ? claimed::won_held : claimed::won);
}

/// Has nobody ended its wait yet? The answer true may be old at once.
inline bool still_waits(const wait_node& node) noexcept {
    // relaxed: a claim that matters will come, or has come, by a CAS.
    const std::uint64_t word = node.task->word.load(std::memory_order_relaxed);
    return (word & word_bits::epoch_mask) == (node.ticket & word_bits::epoch_mask) &&
           (word & word_bits::state_mask) == word_bits::armed;
}

/// A waker's whole act for a popped node: claim it with the index that its ticket carries.
inline claimed claim(const wait_node& node) noexcept {
    return claim(*node.task, node.ticket, word_bits::code_of(node.ticket));
}

/// The same, noted in `wake` for when the locks are released. Says whether it won.
inline bool claim(const wait_node& node, late_wake& wake) noexcept {
    const claimed how = claim(node);
    assert(how != claimed::asked_driver && "a wait in the kernel stands in no queue of ours");
    if (how == claimed::lost) return false;
    note(wake, *node.task, how);
    return true;
}

/// The first of the queue whose wait is not over yet, popped and claimed; null when there is none. The caller fills its
/// slot under the lock, and leaves the rest to `wake`. Claimed first, and then popped: so at no moment the queue looks
/// empty while somebody waits there whom nobody has claimed.
inline wait_node* claim_first(wait_list& waiting, late_wake& wake) noexcept {
    while (wait_node* const node = waiting.front()) {
        const bool won = claim(*node, wake);
        waiting.remove(*node);
        if (won) return node;
    }
    return nullptr;
}

/// Winners to be made known once the lock is released, oldest first. Fixed room; the caller empties
/// it with finish_all() whenever it is full.
class winners {
public:
    static constexpr std::size_t room = 64;
    bool full() const noexcept { return count_ == room; }
    bool empty() const noexcept { return count_ == 0; }
    void add(task_block& task, claimed how) noexcept {
        if (how == claimed::won || how == claimed::won_held) entries_[count_++] = {&task, how};
    }
    void finish_all() noexcept {
        for (std::size_t i = 0; i < count_; ++i) finish_in_turn(*entries_[i].task, entries_[i].how);
        count_ = 0;
    }

private:
    struct entry {
        task_block* task;
        claimed how;
    };
    entry entries_[room];
    std::size_t count_ = 0;
};

/// Step 1 and the membership in the context; false = refused. Called before any lock is taken.
bool may_wait(task_block& task) noexcept;
/// Steps 5 and 6. False: cancelled in this moment and claimed by itself; undo the nodes and do not
/// suspend, unless `finisher` (a dump held us): then suspend all the same.
enum class arming : unsigned char { parked, cancelled, cancelled_held };
arming arm(task_block& task, std::uint64_t ticket, std::coroutine_handle<> awaiter) noexcept;

// --- Operations in the kernel: used by io ------------------------------------------------------

/// What an await_suspend returns for a wait that step 1 refused: false, or true once the brake has
/// suspended the task (it goes on by itself).
bool refuse(task_block& task, std::coroutine_handle<> awaiter) noexcept;

/// Arms the running task for an operation in the kernel; the request must be filled, and is handed to
/// the kernel only after this. False: the context is cancelled, do not start it: return refuse(…).
bool arm_io(task_block& task, io_request& request, std::coroutine_handle<> awaiter) noexcept;
/// The operation's last completion. Returns whether somebody has asked to take it back (then its
/// message is on the way to the driver, and the request must stay until it has arrived).
/// The task may run at once: touch nothing of its frame after this.
bool complete_io(task_block& task) noexcept;
/// After resumption, and after refuse(): the code of who asked to take the operation back, or 0 when nobody did.
/// Throws cancellation_ignored at the 256th refused wait in a row.
unsigned io_outcome(task_block& task);

/// What the worker that runs this owns. Threads: workers only.
driver& current_driver() noexcept;
timer_heap& current_timers() noexcept;
blocking_pool& current_blocking_pool() noexcept;

/// The driver's clock; on a plain thread the monotonic clock. Cost: a read of the clock.
nanoseconds_t clock_now() noexcept;
/// The same as of the worker's last tick: for ages and "since when". Cost: a load.
nanoseconds_t tick_time() noexcept;
/// How the code that asks is being left: by an exception (also the one that ended the task whose arguments
/// are just destroyed), because its task is cancelled, or neither. Threads: any.
leaving how_left() noexcept;
/// The same as the reason for which a channel closes or a promise is broken. Asked by who gives up the last handle.
errc how_the_producer_ended() noexcept;
/// The runtime that the running task belongs to.
runtime_core& current_runtime() noexcept;

// -------------------------------------------------------------------------------------------------

/// The word of a task that is not in a wait, or of one that ended without parking. The owner's. What it is put into a
/// queue for after this is no wake-up: a trace shows none.
inline void end_unparked(task_block& task, unsigned code = 0) noexcept {
    using namespace word_bits;
    const std::uint64_t epoch = task.word.load(std::memory_order_relaxed) & epoch_mask;  // relaxed: T1
    // release: a canceller may read it; it only matters that it is not armed.
    task.word.store(epoch | idle | with_code(code), std::memory_order_release);
}

inline claimed claim(task_block& task, std::uint64_t ticket, unsigned code) noexcept {
    using namespace word_bits;
    // relaxed: a guess; the CAS decides.
    std::uint64_t word = task.word.load(std::memory_order_relaxed);
    for (;;) {
        if ((word & epoch_mask) != (ticket & epoch_mask)) return claimed::lost;
        if ((word & state_mask) == armed_io) return claim_io(task, word, code);
        if ((word & state_mask) != armed) return claimed::lost;
        const std::uint64_t won = (word & (epoch_mask | held)) | taken | with_code(code);
        // acq_rel: acquire pairs with the arming in arm(), so that the nodes and the leaf are seen;
        // release pairs with the resumed task's load of the code. relaxed on failure: tried again.
        if (task.word.compare_exchange_weak(word, won, std::memory_order_acq_rel, std::memory_order_relaxed))
            return (won & held) != 0 ? claimed::won_held : claimed::won;
    }
}

inline void finish(task_block& task, claimed how) noexcept {
    if (how == claimed::won_held) {
        // acq_rel: pairs with the holder's fetch_and; the second of the two schedules.
        const std::uint64_t word = task.word.fetch_or(word_bits::done, std::memory_order_acq_rel);
        if ((word & word_bits::held) != 0) return;
    } else if (how != claimed::won) {
        return;
    }
    schedule(task);
}

inline void finish_in_turn(task_block& task, claimed how) noexcept {
    if (how == claimed::won)
        schedule_back(task);
    else
        finish(task, how);  // held by a dump, which keeps no order
}

inline void claimed_tasks::add(const late_wake& wake) noexcept {
    task_block*& last = wake.held ? last_held_ : last_;
    task_block*& first = wake.held ? first_held_ : first_;
    wake.task->queue_next = nullptr;
    (last != nullptr ? last->queue_next : first) = wake.task;
    last = wake.task;
}
inline bool claimed_tasks::claim_popped(const wait_node& node) noexcept {
    late_wake wake;
    if (!claim(node, wake)) return false;
    add(wake);
    return true;
}
inline void claimed_tasks::claim_all(wait_list& waiting) noexcept {
    while (const wait_node* node = waiting.pop_front()) claim_popped(*node);
}
inline void claimed_tasks::finish_chain(task_block* task, bool held) noexcept {
    const claimed how = held ? claimed::won_held : claimed::won;
    while (task != nullptr) finish_in_turn(*std::exchange(task, task->queue_next), how);
}
inline void claimed_tasks::finish_all() noexcept {
    task_block* const first = std::exchange(first_, nullptr);
    task_block* const held = std::exchange(first_held_, nullptr);
    if (first != nullptr && first == last_)
        finish(*first, claimed::won);  // alone: next to run
    else
        finish_chain(first, false);
    finish_chain(held, true);
    last_ = last_held_ = nullptr;
}
}
