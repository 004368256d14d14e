// simulation: one run of a program by one schedule. testing.hpp has the steps and invariants.
//
// It is the driver, the thread and the chance of a runtime with one worker (worker.hpp, "driven from
// outside"): the clock stands where it puts it, and no task runs but by its turn().
//
//   Z1  tls_worker is set only during a turn, so what runs between is outside of the runtime;
//   Z2  every event goes into the hash, in one order; into the log only when one is wanted, because its text
//       costs ten times what the event does.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "deciders.hpp"
#include "runtime_core.hpp"
#include "steering.hpp"

namespace runnel::detail {

class simulation final : public steering {
public:
    simulation(const testing::options& how, decider& by, bool keep_log);
    ~simulation();
    simulation(const simulation&) = delete;
    simulation& operator=(const simulation&) = delete;

    testing::report run(main_maker& main);
    /// Up to the failure, if there was one.
    const course& what_happened() const noexcept { return course_; }

    // simulator
    std::uint32_t choose(std::uint32_t bound) noexcept override;
    nanoseconds_t now() const noexcept override { return now_; }
    void happened(std::uint64_t what, std::uint64_t amount) noexcept override;
    bool keeps_log() const noexcept override { return keep_log_; }
    void log_event(const std::string& line) noexcept override { log_line("      " + line); }

    // steering
    void fail(testing::failure kind, std::string what) noexcept override;
    void rest(nanoseconds_t deadline) noexcept override;
    std::uint64_t seed() const noexcept override { return how_.seed(); }
    wait_object& all_wait() noexcept override { return all_wait_; }
    wait_list& all_waiters() noexcept override { return all_waiters_; }
    void hold_time(nanoseconds_t until) noexcept override { time_limit_ = until; }
    bool holds_time() const noexcept override { return time_limit_ != no_deadline; }
    void spend(nanoseconds_t time) noexcept override;
    simulated_world& world() override;

    /// Null while no task has asked for one: a program without sockets does not pay for a network.
    simulated_world* world_if_any() const noexcept { return world_.get(); }

private:
    enum class event : std::uint64_t { turn = 1, call, time, chosen, world };

    bool point() noexcept;
    void take_turn(std::size_t index) noexcept;
    void run_call() noexcept;
    void let_world_happen() noexcept;
    std::size_t alternatives() const noexcept;
    bool world_is_due() const noexcept;
    nanoseconds_t next_time() const noexcept;
    std::size_t pick() noexcept;
    void collect() noexcept;
    bool find_current() noexcept;
    bool wake_who_waits_for_all() noexcept;
    bool let_time_pass(nanoseconds_t at_most) noexcept;
    void move_time(nanoseconds_t to, const char* how) noexcept;
    void be_slow() noexcept;
    void note(event what, std::uint64_t a, std::uint64_t b) noexcept;
    void turn_begins(std::uint64_t number) noexcept;
    void log_turn(const task_block& task);
    void log_line(std::string line);
    void add_to_log(std::string line);
    void log_last_turn();
    std::string whole_log() const;
    void say_who_waits() noexcept;
    void look_for_orphans() noexcept;
    void look_for_leaks() noexcept;
    void after_main() noexcept;
    testing::report make_report() const;

    const testing::options how_;
    decider& by_;
    const bool keep_log_;
    std::uint64_t points_max_;
    std::unique_ptr<simulated_world> world_;  // outlives the tasks
    std::unique_ptr<runtime_core> core_;
    worker* here_ = nullptr;

    std::vector<task_block*> ready_;
    std::vector<candidate> candidates_;
    std::vector<blocking_job*> calls_;
    const task_block* current_ = nullptr;  // who had the last turn
    std::uint64_t current_id_ = 0;
    std::uint64_t busy_points_ = 0;  // since somebody waited for time
    bool main_ended_ = false;
    std::error_code main_error_;
    wait_object all_wait_;
    wait_list all_waiters_;

    nanoseconds_t now_ = start_time;
    nanoseconds_t time_limit_ = no_deadline;  // of a virtual_clock
    std::uint64_t points_ = 0;
    std::uint64_t hash_ = 0;
    course course_;
    std::string log_;                   // its first lines,
    std::deque<std::string> log_tail_;  // its last ones,
    std::size_t log_left_out_ = 0;      // and so many between them
    std::size_t log_lines_ = 0;
    std::string last_turn_;  // which is not in the log yet
    std::uint64_t last_turn_point_ = 0;
    std::size_t last_turn_times_ = 0;
    testing::failure kind_ = testing::failure::none;
    std::uint64_t failed_at_ = 0;  // the point
    std::string what_;

    static constexpr nanoseconds_t start_time = 1'000'000'000;
};
}
