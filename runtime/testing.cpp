// testing: what a test may call while it is simulated. The contracts are in testing.hpp and testing_clock.hpp.
#include <runnel/testing.hpp>

#include <string>

#include <runnel/detail/timer_node.hpp>
#include <runnel/testing_clock.hpp>
#include "steering.hpp"
#include "task_dump.hpp"

namespace runnel::detail {

namespace {
/// The wait for everybody else's.
class all_wait_operation final : public single_case<all_wait_operation, result<>> {
public:
    explicit all_wait_operation(steering& by) noexcept : by_(by) {}

    wait_object* object() noexcept override { return &by_.all_wait(); }
    bool try_now(late_wake&) noexcept override { return false; }
    void enlist(task_block& task, std::uint64_t ticket) noexcept override {
        by_.all_waiters().enlist(node_, task, ticket);
    }
    wait_subject subject() const noexcept override { return {"for all others to wait"}; }
    bool delist() noexcept override { return by_.all_waiters().delist(node_); }

private:
    steering& by_;
    wait_node node_;
};

task<> wait_for_all_others(steering& by) { (void)co_await all_wait_operation(by); }
}

/// Of the simulation that this is called in, or misuse.
static steering& the_steering(const char* misuse) {
    steering* by = current_steering();
    check(by != nullptr, misuse);
    return *by;
}
}

namespace runnel::testing {

void expect(bool ok, const char* what, std::source_location where) {
    if (ok) return;
    if (detail::steering* by = detail::current_steering(); by != nullptr)
        by->fail(failure::expectation, std::string(what) + " (" + detail::place(where) + ")");
    else
        detail::check_failed(what, where);
}

std::uint32_t choose(std::uint32_t ways) {
    return detail::the_steering("testing::choose: only in a simulation").choose(ways);
}

task<> wait_until_all_tasks_wait() {
    return detail::wait_for_all_others(
        detail::the_steering("wait_until_all_tasks_wait: only in a simulation"));
}

void spend(std::chrono::nanoseconds time) {
    detail::the_steering("testing::spend: only in a simulation").spend(time.count());
}

virtual_clock::virtual_clock() {
    detail::steering& by = detail::the_steering("virtual_clock: only in a simulation");
    detail::check(!by.holds_time(), "virtual_clock: there is one already");
    by.hold_time(by.now());
}

virtual_clock::~virtual_clock() {
    // After the run a clock that outlives it has nothing to hold.
    if (detail::steering* by = detail::current_steering(); by != nullptr) by->hold_time(detail::no_deadline);
}

task<> virtual_clock::advance(std::chrono::nanoseconds time) {
    detail::steering& by = detail::the_steering("virtual_clock::advance: only in a simulation");
    const auto until = now() + time;
    by.hold_time(until.time_since_epoch().count());
    auto slept = co_await sleep_until(until);
    if (slept) co_await wait_until_all_tasks_wait();
    by.hold_time(by.now());
}
}
