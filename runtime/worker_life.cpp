// Where a worker's thread and driver come from: a thread of its own, a simulation, or somebody else's loop; see
// worker.hpp.
#include "worker.hpp"

#include <pthread.h>
#include <signal.h>

#include <iterator>
#include <string>
#include <utility>

#include "frames.hpp"
#include "runtime_core.hpp"

namespace runnel::detail {

void worker::attach_borrowed() {
    driver_ = core.drivers->make(index);
    timers.set_owner(driver_.get());
    tick_time = driver_->now();
}

void worker::attach() {
    sigset_t blocked;
    sigfillset(&blocked);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGPROF})
        sigdelset(&blocked, fault);
    pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
    const std::string name = core.settings.name().substr(0, 10) + "/" + std::to_string(index);
    pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
    attach_borrowed();
    tls_worker = this;
}

void worker::detach() noexcept {
    if (driver_ != nullptr) last_io_counts_ = driver_->counts();
    driver_.reset();
    drain_frames(*this);
    drain_blocks(blocks);
    tls_worker = nullptr;
}

// --- Driven from outside ---------------------------------------------------------------------------

void worker::attach_driven(steering& by) {
    steering_ = &by;
    turn_budget_ = 1;
    attach_borrowed();
}

void worker::collect(std::vector<task_block*>& out) {
    take_messages();
    while (fork_branch* branch = forks.steal()) out.push_back(start_fork(*branch, *this));
    while (task_block* task = ready.pop()) out.push_back(task);
    if (task_block* task = take_next(); task != nullptr) out.push_back(task);
    task_block* taken[128];
    while (const std::uint32_t count = core.queue.pop(taken, std::size(taken)))
        out.insert(out.end(), taken, taken + count);
}

// --- In somebody else's loop -----------------------------------------------------------------------

bool worker::doze() noexcept {
    core.idle.sleep(index, std::exchange(searching_, false));
    dozing_ = true;
    if (!anything_to_do() && announce_sleep() && driver_->begin_sleep()) return true;
    end_doze();
    return false;
}

void worker::end_doze() noexcept {
    if (!std::exchange(dozing_, false)) return;
    driver_->end_sleep();
    state_.exchange(awake);  // seq_cst, an exchange: as in sleep()
    come_back(false);
    tick_time = driver_->now();
}
}
