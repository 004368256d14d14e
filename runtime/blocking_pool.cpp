// blocking_pool: jobs and the threads that run them. The steps and invariants are in blocking_pool.hpp
// and runnel/blocking.hpp.
#include "blocking_pool.hpp"

#include <pthread.h>
#include <signal.h>

#include <cassert>
#include <chrono>
#include <condition_variable>
#include <list>
#include <mutex>
#include <thread>

#include <runnel/detail/wait.hpp>
#include "monitor.hpp"

namespace runnel::detail {

// --- The job ---------------------------------------------------------------------------------------

void blocking_job::run() noexcept {
    call();
    finish_waiter();
}

void blocking_job::refuse(std::error_code why) noexcept {
    refused_ = why;
    refused(why);
    finish_waiter();
}

void blocking_job::submit() noexcept {
    const task_block& task = running_task();
    task_id_ = task.id;
    spawned_at_ = task.spawned_at;
    current_blocking_pool().submit(*this);
}

void blocking_job::abandon() noexcept {
    const std::lock_guard guard(ending_.lock);
    waiter_ = nullptr;
}

void blocking_job::drop() noexcept {
    // acq_rel: what the other party did with the job happens before its end.
    if (parties_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

void blocking_job::finish_waiter() noexcept {
    late_wake wake;
    ending_.lock.lock();
    ended_ = true;
    if (wait_node* const node = std::exchange(waiter_, nullptr)) claim(*node, wake);
    ending_.lock.unlock();
    finish(wake);
}

// --- The case --------------------------------------------------------------------------------------

wait_object* blocking_case::object() noexcept {
    if (!std::exchange(started_, true)) {
        // relaxed: the other party learns of the job by the pool's mutex.
        job_->parties_.fetch_add(1, std::memory_order_relaxed);
        job_->submit();
    }
    return &job_->ending_;
}

bool blocking_case::try_now(late_wake&) noexcept { return job_->ended_; }

void blocking_case::enlist(task_block& task, std::uint64_t ticket) noexcept {
    node_.task = &task;
    node_.ticket = ticket;
    job_->waiter_ = &node_;
}

bool blocking_case::delist() noexcept {
    if (job_->waiter_ == &node_) job_->waiter_ = nullptr;
    return false;
}

// --- The pool --------------------------------------------------------------------------------------

namespace {

constexpr auto idle_time = std::chrono::seconds(10);

/// B3: while it lives, threads that are started take no asynchronous signals.
class signals_blocked {
public:
    signals_blocked() noexcept {
        sigset_t asynchronous;
        sigfillset(&asynchronous);
        for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGPROF})
            sigdelset(&asynchronous, fault);
        pthread_sigmask(SIG_BLOCK, &asynchronous, &before_);
    }
    signals_blocked(const signals_blocked&) = delete;
    signals_blocked& operator=(const signals_blocked&) = delete;
    ~signals_blocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

private:
    sigset_t before_;
};

struct pool_thread {
    std::thread thread;
    blocking_job* running = nullptr;
    bool ended = false;
};
}

struct blocking_pool::shared {
    explicit shared(unsigned most) noexcept : threads_max(most) {}

    const unsigned threads_max;
    std::mutex mutex;
    std::condition_variable work;     // a call is queued, or the pool stops
    std::condition_variable changed;  // a thread has ended
    std::list<pool_thread> threads;
    blocking_job* first = nullptr;  // the queue
    blocking_job* last = nullptr;
    std::size_t queued = 0;
    std::uint64_t calls = 0;
    unsigned idle = 0;
    unsigned living = 0;
    bool stopping = false;
    monitor* told = nullptr;

    // All called with the mutex held.
    void push(blocking_job& job) noexcept;
    blocking_job* pop() noexcept;
    std::error_code start_thread(const std::shared_ptr<shared>& self);
    bool wait_for_work(std::unique_lock<std::mutex>& lock);
    std::vector<left_call> leave_behind();

    // The body of a thread.
    void work_off(std::list<pool_thread>::iterator self);
};

void blocking_pool::shared::push(blocking_job& job) noexcept {
    job.next_ = nullptr;
    (last != nullptr ? last->next_ : first) = &job;
    last = &job;
    ++queued;
}

blocking_job* blocking_pool::shared::pop() noexcept {
    blocking_job* const job = first;
    if (job == nullptr) return nullptr;
    first = job->next_;
    if (first == nullptr) last = nullptr;
    --queued;
    return job;
}

std::error_code blocking_pool::shared::start_thread(const std::shared_ptr<shared>& self) {
    const signals_blocked for_the_new_thread;
    threads.emplace_back();
    const auto place = std::prev(threads.end());
    try {
        place->thread = std::thread([self, place] { self->work_off(place); });
    } catch (const std::system_error& error) {
        threads.pop_back();
        return error.code();
    }
    ++living;
    return {};
}

/// False: the thread ends, because the pool stops or there was nothing to do for long.
bool blocking_pool::shared::wait_for_work(std::unique_lock<std::mutex>& lock) {
    const auto enough = [this] { return first != nullptr || stopping; };
    if (!enough()) {
        ++idle;
        if (told != nullptr) told->look_again();  // the last call, perhaps, and it woke nobody
        work.wait_for(lock, idle_time, enough);
        --idle;
    }
    return first != nullptr;
}

void blocking_pool::shared::work_off(std::list<pool_thread>::iterator self) {
    pthread_setname_np(pthread_self(), "runnel/blocking");
    std::unique_lock lock(mutex);
    while (wait_for_work(lock)) {
        blocking_job* const job = pop();
        self->running = job;
        ++calls;
        lock.unlock();
        job->run();  // B1
        lock.lock();
        self->running = nullptr;
        lock.unlock();
        job->drop();  // B1; and not before nobody can find it here any more
        lock.lock();
    }
    --living;
    self->ended = true;
    if (!stopping) {  // nobody will join it
        self->thread.detach();
        threads.erase(self);
    }
    changed.notify_all();
}

/// Joins the threads that have ended, and lets go of the others.
std::vector<left_call> blocking_pool::shared::leave_behind() {
    std::vector<left_call> left;
    for (pool_thread& each : threads) {
        if (!each.thread.joinable()) continue;
        if (each.ended) {
            each.thread.join();
            continue;
        }
        each.thread.detach();
        if (each.running == nullptr) continue;
        each.running->abandon();
        left.push_back({each.running->task_id_, each.running->spawned_at_});
    }
    return left;
}

namespace {

void turn_away(blocking_job& job, std::error_code why) noexcept {
    job.refuse(why);
    job.drop();
}
}

blocking_pool::blocking_pool(unsigned threads_max) : shared_(std::make_shared<shared>(threads_max)) {}

blocking_pool::~blocking_pool() { stop(0); }

void blocking_pool::tell(monitor& of) noexcept { shared_->told = &of; }

void blocking_pool::submit(blocking_job& job) noexcept {
    shared& pool = *shared_;
    std::error_code refused;
    {
        const std::lock_guard guard(pool.mutex);
        if (pool.stopping) {
            refused = errc::stopping;
        } else {
            if (pool.queued >= pool.idle && pool.living < pool.threads_max)
                refused = pool.start_thread(shared_);
            if (pool.living > 0) refused.clear();  // then one of those gets to it
            if (!refused) pool.push(job);
        }
    }
    if (refused)
        turn_away(job, refused);
    else
        pool.work.notify_one();
}

blocking_job* blocking_pool::take() noexcept {
    const std::lock_guard guard(shared_->mutex);
    blocking_job* const job = shared_->pop();
    if (job != nullptr) ++shared_->calls;
    return job;
}

std::vector<left_call> blocking_pool::stop(nanoseconds_t grace) {
    shared& pool = *shared_;
    std::vector<left_call> left;
    blocking_job* unbegun = nullptr;
    {
        std::unique_lock lock(pool.mutex);
        pool.stopping = true;
        pool.told = nullptr;
        unbegun = std::exchange(pool.first, nullptr);
        pool.last = nullptr;
        pool.queued = 0;
        pool.work.notify_all();
        constexpr nanoseconds_t a_year = 31'536'000'000'000'000;  // wait_for() adds it to a clock
        pool.changed.wait_for(lock, std::chrono::nanoseconds(grace < a_year ? grace : a_year),
                              [&] { return pool.living == 0; });
        left = pool.leave_behind();
    }
    while (unbegun != nullptr) turn_away(*std::exchange(unbegun, unbegun->next_), errc::stopping);
    return left;
}

blocking_counts blocking_pool::counts() const noexcept {
    const std::lock_guard guard(shared_->mutex);
    return {shared_->calls, shared_->living, shared_->idle, shared_->queued};
}
}
