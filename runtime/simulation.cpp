// See simulation.hpp and testing.hpp; their steps and invariants are named here.
#include "simulation.hpp"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "orphans.hpp"
#include "task_dump.hpp"
#include "task_life.hpp"

namespace runnel::detail {

namespace {
using testing::failure;

constexpr std::uint64_t busy_points_max = 10'000;  // step 2 of testing.hpp
constexpr std::uint64_t points_to_stop = 100'000;
constexpr std::size_t log_head_lines = 100, log_tail_lines = 300;

/// In the largest unit in which it is a whole number.
std::string exact(nanoseconds_t time) {
    const char* unit = " ns";
    for (const auto& [size, name] : {std::pair(1000, " us"), std::pair(1000, " ms"), std::pair(1000, " s"),
                                     std::pair(60, " min"), std::pair(60, " h")}) {
        if (time % size != 0) break;
        time /= size;
        unit = name;
    }
    return std::to_string(time) + unit;
}

/// Z1, while it lives.
class as_worker {
public:
    explicit as_worker(worker& here) noexcept { tls_worker = &here; }
    ~as_worker() { tls_worker = nullptr; }
    as_worker(const as_worker&) = delete;
    as_worker& operator=(const as_worker&) = delete;
};

/// A driver whose clock is the simulation's, and whose kernel is its world.
class simulated_driver final : public driver {
public:
    explicit simulated_driver(simulation& of) noexcept : of_(of) {}
    unsigned poll() noexcept override { return 0; }
    unsigned wait(nanoseconds_t) noexcept override { return 0; }
    void wake() noexcept override {}
    void cancel(io_request& request) noexcept override { of_.world().cancel(request); }
    std::size_t in_flight() const noexcept override {
        const simulated_world* world = of_.world_if_any();
        return world != nullptr ? world->in_flight() : 0;
    }
    bool stranded() const noexcept override { return false; }
    unsigned help() noexcept override { return 0; }
    nanoseconds_t now() const noexcept override { return of_.now(); }
    driver_counts counts() const noexcept override { return {}; }
    io_backend* io() noexcept override { return &of_.world().io(); }

private:
    simulation& of_;
};

class simulated_drivers final : public driver_factory {
public:
    explicit simulated_drivers(simulation& of) noexcept : of_(of) {}
    std::unique_ptr<driver> make(unsigned) override { return std::make_unique<simulated_driver>(of_); }
    nanoseconds_t now() const noexcept override { return of_.now(); }
    const char* name() const noexcept override { return "simulated"; }

private:
    simulation& of_;
};

task<> watch_main(task<std::error_code> main, bool& ended, std::error_code& error) {
    error = co_await std::move(main);
    ended = true;
}
}

simulation::simulation(const testing::options& how, decider& by, bool keep_log)
    : how_(how), by_(by), keep_log_(keep_log), points_max_(how.points()) {
    const options settings = options()
                                 .name("simulation")
                                 .grace(how.grace())
                                 .cancel_grace(std::chrono::hours(24))
                                 .leak_report(true);
    core_ = std::make_unique<runtime_core>(settings, *this, std::make_unique<simulated_drivers>(*this));
    here_ = core_->workers[0].get();
}

simulation::~simulation() = default;

// --- The run ---------------------------------------------------------------------------------------

testing::report simulation::run(main_maker& main) {
    check(tls_worker == nullptr, "simulate: called by a task; a simulation is a program of its own");
    {
        const as_worker here(*here_);
        auto frame = task_access::release(watch_main(main.make(), main_ended_, main_error_));
        start_in(
            *core_, nullptr,
            request_for<void>(frame, task_kind::spawned, nullptr, std::source_location::current(), false));
    }
    while (kind_ == failure::none && !main_ended_ && point()) {}
    after_main();
    log_last_turn();
    return make_report();
}

/// One point, or one step of time. False: nothing can happen any more.
bool simulation::point() noexcept {
    collect();
    if (alternatives() == 0) {
        busy_points_ = 0;
        if (wake_who_waits_for_all() || let_time_pass(no_deadline)) return true;
        if (!main_ended_) say_who_waits();
        return false;
    }
    if (++points_ > points_max_) {
        fail(failure::endless,
             "the program has not ended after " + std::to_string(how_.points()) + " points");
        return false;
    }
    if (++busy_points_ > busy_points_max) {
        busy_points_ = 0;
        if (world_is_due())
            let_world_happen();
        else
            let_time_pass(no_deadline);
    }
    if (how_.slow_turns() != 0) be_slow();
    const std::size_t chosen = pick();
    if (chosen < ready_.size())
        take_turn(chosen);
    else if (chosen < ready_.size() + calls_.size())
        run_call();
    else
        let_world_happen();
    if (kind_ == failure::none && !how_.holds()) fail(failure::invariant, "the invariant does not hold");
    return true;
}

void simulation::collect() noexcept {
    const as_worker here(*here_);
    if (here_->timers.earliest() <= now_) here_->timers.fire_due(now_);
    here_->collect(ready_);
    while (blocking_job* call = core_->blocking.take()) calls_.push_back(call);
}

std::size_t simulation::alternatives() const noexcept {
    return ready_.size() + calls_.size() + (world_is_due() ? 1 : 0);
}

/// Who had the last turn, if it could go on, comes first: 0 is no interruption.
bool simulation::find_current() noexcept {
    const auto at = std::find(ready_.begin(), ready_.end(), current_);
    if (at == ready_.end() || (*at)->id != current_id_) return false;
    std::rotate(ready_.begin(), at, at + 1);
    return true;
}

std::size_t simulation::pick() noexcept {
    const bool goes_on = find_current();
    const std::size_t count = alternatives();
    if (count == 1) return 0;
    candidates_.clear();
    for (const task_block* task : ready_) candidates_.push_back({task->id});
    candidates_.resize(count, {0});
    const std::uint32_t chosen = by_.pick(candidates_, goes_on);
    if (!goes_on || chosen == 0) return chosen;
    if (kind_ == failure::none) ++course_.interruptions;
    if (keep_log_) log_line("      task " + std::to_string(current_id_) + " is interrupted");
    return chosen;
}

void simulation::take_turn(std::size_t index) noexcept {
    task_block& task = *ready_[index];
    ready_.erase(ready_.begin() + static_cast<std::ptrdiff_t>(index));
    current_ = &task;
    current_id_ = task.id;
    note(event::turn, task.id, ready_.size());
    if (keep_log_) log_turn(task);
    turn_begins(task.id);
    const as_worker here(*here_);
    here_->turn(task);
}

void simulation::turn_begins(std::uint64_t number) noexcept {
    by_.begins(number);
    if (kind_ != failure::none) return;
    if (course_.turns.empty() || course_.turns.back().who != number) course_.turns.push_back({number, 0});
    ++course_.turns.back().turns;
}

void simulation::run_call() noexcept {
    blocking_job* call = calls_.front();
    calls_.erase(calls_.begin());
    note(event::call, calls_.size(), 0);
    if (keep_log_) log_line("      a blocking() call runs");
    turn_begins(0);
    call->run();
    call->drop();
}

void simulation::let_world_happen() noexcept {
    turn_begins(0);
    const as_worker here(*here_);
    world_->happen();
}

bool simulation::wake_who_waits_for_all() noexcept {
    const as_worker here(*here_);
    all_wait_.lock.lock();
    wait_node* node = all_waiters_.pop_front();
    task_block* task = node != nullptr ? node->task : nullptr;
    const claimed how = node != nullptr ? claim(*node) : claimed::lost;
    all_wait_.lock.unlock();
    if (task != nullptr) finish(*task, how);
    return task != nullptr;
}

nanoseconds_t simulation::next_time() const noexcept {
    const nanoseconds_t timer = here_->timers.earliest();
    return world_ != nullptr ? std::min(timer, world_->next_event()) : timer;
}

bool simulation::world_is_due() const noexcept { return world_ != nullptr && world_->next_event() <= now_; }

bool simulation::let_time_pass(nanoseconds_t at_most) noexcept {
    const nanoseconds_t next = std::min(next_time(), at_most);
    if (next == no_deadline || (next > time_limit_ && !main_ended_)) return false;
    move_time(std::max(next, now_), " pass");
    return true;
}

void simulation::move_time(nanoseconds_t to, const char* how) noexcept {
    if (to > now_) {
        note(event::time, static_cast<std::uint64_t>(to - now_), 0);
        if (keep_log_) log_line("      " + exact(to - now_) + how);
        now_ = to;
    }
    here_->note_time(now_);
}

void simulation::spend(nanoseconds_t time) noexcept {
    move_time(saturated_sum(now_, time), " are spent");
    if (time_limit_ < now_) time_limit_ = now_;
}

/// What is due next comes while tasks are still at what they did before: options::slow_turns().
void simulation::be_slow() noexcept {
    const nanoseconds_t next = next_time();
    if (next <= now_ || next - now_ > how_.slow_turns_most().count()) return;
    if (choose(how_.slow_turns()) == 1 && let_time_pass(next)) collect();
}

void simulation::rest(nanoseconds_t deadline) noexcept {
    collect();
    if (ready_.empty() && calls_.empty() && all_waiters_.empty() && next_time() > deadline)
        let_time_pass(deadline);
    else if (!point())
        now_ = deadline;  // endless, or nothing can happen: whoever rests gives up
}

void simulation::look_for_orphans() noexcept {
    const auto orphans = find_orphans(*core_);
    if (orphans && !orphans->empty()) fail(failure::orphans, describe_orphans(*core_, *orphans, now_));
}

void simulation::look_for_leaks() noexcept {
    const left_objects left = find_left(*core_);
    if (!left.empty() && how_.leak_report())
        fail(failure::leak, "the run has ended, and of what its tasks made is left:\n" + left.text("    "));
}

/// Step 4.
void simulation::after_main() noexcept {
    if (kind_ == failure::none && how_.orphan_report()) look_for_orphans();
    points_max_ = points_ + points_to_stop;
    const bool stopped = core_->stop(how_.grace()) == 0;
    for (blocking_job* call : calls_) {
        call->refuse(errc::stopping);
        call->drop();
    }
    calls_.clear();
    if (!stopped) {
        fail(failure::not_stopped,
             "tasks did not stop after main's end and the cancel\n" + describe(dump(*core_).groups, now_));
        (void)core_.release();  // as an embedded runtime does
    }
    if (kind_ == failure::none && main_error_)
        fail(failure::error, "main ended with: " + main_error_.message());
    if (stopped) look_for_leaks();
}

// --- Decisions and events --------------------------------------------------------------------------

std::uint32_t simulation::choose(std::uint32_t bound) noexcept {
    if (bound < 2) return 0;
    const std::uint32_t chosen = by_.choose(bound);
    if (kind_ == failure::none)
        course_.choices.emplace_back(course_.turns.empty() ? 0 : course_.turns.back().who, chosen);
    note(event::chosen, bound, chosen);
    return chosen;
}

void simulation::happened(std::uint64_t what, std::uint64_t amount) noexcept {
    note(event::world, what, amount);
}

void simulation::note(event what, std::uint64_t a, std::uint64_t b) noexcept {
    for (const std::uint64_t part : {static_cast<std::uint64_t>(what), a, b}) {
        hash_ = (hash_ ^ part) * 0x9e3779b97f4a7c15U;
        hash_ ^= hash_ >> 29;
    }
}

/// What comes after a failure is the end of the tasks, and no part of how it came to it.
void simulation::log_line(std::string line) {
    if (kind_ != failure::none) return;
    log_last_turn();
    add_to_log(std::move(line));
}

void simulation::add_to_log(std::string line) {
    if (++log_lines_ <= log_head_lines) {
        log_ += line + '\n';
        return;
    }
    log_tail_.push_back(std::move(line));
    if (log_tail_.size() <= log_tail_lines) return;
    log_tail_.pop_front();
    ++log_left_out_;
}

/// What went wrong stands at its end, what that began with at its beginning.
std::string simulation::whole_log() const {
    std::string all = log_;
    if (log_left_out_ != 0) all += "      … " + std::to_string(log_left_out_) + " lines\n";
    for (const std::string& line : log_tail_) all += line + '\n';
    return all;
}

/// Turns of one task at one place are one line: so a turn is written when the next one is another.
void simulation::log_turn(const task_block& task) {
    const promise_base& leaf = promise_of(task.leaf);
    if (is_ours(leaf.await_at) || kind_ != failure::none) return;
    std::string turn = "task " + std::to_string(task.id.get()) + " goes on at " + place(leaf.await_at);
    if (turn != last_turn_) {
        log_last_turn();
        last_turn_ = std::move(turn);
        last_turn_point_ = points_;
    }
    ++last_turn_times_;
}

void simulation::log_last_turn() {
    if (last_turn_.empty()) return;
    char head[32];
    std::snprintf(head, sizeof head, "%5llu ", static_cast<unsigned long long>(last_turn_point_));
    const std::string times = " (" + std::to_string(last_turn_times_) + " times)";
    add_to_log(head + last_turn_ + (last_turn_times_ > 1 ? times : ""));
    last_turn_.clear();
    last_turn_times_ = 0;
}

void simulation::fail(failure kind, std::string what) noexcept {
    if (kind_ != failure::none) return;
    if (keep_log_) log_line("      " + what.substr(0, what.find('\n')));
    kind_ = kind;
    failed_at_ = points_;
    what_ = std::move(what);
}

/// Step 3.
void simulation::say_who_waits() noexcept {
    const bool held = next_time() != no_deadline;
    fail(failure::deadlock,
         (held ? "a virtual_clock stands still while all wait: advance() lets time pass\n" : "") +
             describe_deadlock(*core_, now_));
}

testing::report simulation::make_report() const {
    std::string text = what_, log = whole_log();
    if (kind_ != failure::none) {
        text += "\n  seed " + std::to_string(how_.seed()) + " (RUNNEL_SEED=" + std::to_string(how_.seed()) +
                " repeats it), point " + std::to_string(failed_at_);
        if (keep_log_) text += "\n" + log;
    }
    return testing::report({kind_, std::move(text), std::move(log), how_.seed(), hash_, points_,
                            std::chrono::nanoseconds(now_ - start_time)});
}

// --- For the rest of the library ---------------------------------------------------------------------

simulated_world& simulation::world() {
    if (world_ == nullptr) world_ = make_simulated_network(how_.network(), *this, here_->io());
    return *world_;
}

simulated_world* current_world() noexcept {
    steering* by = current_steering();
    return by != nullptr ? &by->world() : nullptr;
}
}
