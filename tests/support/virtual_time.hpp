// virtual_time: a runtime whose clock stands still while tasks run, and jumps when all of them wait.
//
//     in_virtual_time([]() -> rn::task<> {
//         const auto start = rn::clock::now();
//         (void)co_await rn::sleep_for(24h);                   // takes no time at all
//         CHECK(rn::clock::now() - start == 24h);              // and is exact
//     });
//
// One worker, so nothing is left to chance. The driver instead of sleeping until the next deadline makes it
// the present; without a deadline it really sleeps, until a thread from outside wakes it.
#pragma once

#include <runnel/detail/driver.hpp>
#include <runnel/runtime.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <utility>

namespace support {

class virtual_driver final : public runnel::detail::driver {
public:
    using nanoseconds_t = runnel::detail::nanoseconds_t;

    explicit virtual_driver(std::atomic<nanoseconds_t>& clock)
        : clock_(clock), sleeping_(runnel::detail::make_futex_drivers()->make(0)) {}

    unsigned poll() noexcept override { return 0; }
    unsigned wait(nanoseconds_t deadline) noexcept override {
        if (woken_.exchange(false)) return 0;
        if (deadline == runnel::detail::no_deadline) {
            sleeping_->wait(deadline);
            woken_ = false;
        } else if (clock_ < deadline) {
            clock_ = deadline;
        }
        return 0;
    }
    void wake() noexcept override {
        woken_ = true;
        sleeping_->wake();
    }
    void cancel(runnel::detail::io_request&) noexcept override {}
    std::size_t in_flight() const noexcept override { return 0; }
    bool stranded() const noexcept override { return false; }
    unsigned help() noexcept override { return 0; }
    nanoseconds_t now() const noexcept override { return clock_; }
    runnel::detail::driver_counts counts() const noexcept override { return {}; }

private:
    std::atomic<nanoseconds_t>& clock_;
    std::atomic<bool> woken_{false};
    std::unique_ptr<runnel::detail::driver> sleeping_;
};

class virtual_drivers final : public runnel::detail::driver_factory {
public:
    std::unique_ptr<runnel::detail::driver> make(unsigned) override {
        return std::make_unique<virtual_driver>(clock_);
    }
    runnel::detail::nanoseconds_t now() const noexcept override { return clock_; }
    const char* name() const noexcept override { return "virtual time"; }

    static std::unique_ptr<runnel::detail::driver_factory> all() {
        return std::make_unique<virtual_drivers>();
    }

private:
    std::atomic<runnel::detail::nanoseconds_t> clock_{1'000'000'000};
};

/// Runs f(args…) as a task in virtual time; gives its value, throws what it threw.
template <class F, class... Args>
auto in_virtual_time(F&& f, Args&&... args) {
    runnel::runtime runtime(runnel::options().workers(1).drivers_from(virtual_drivers::all));
    auto end = runtime.spawn(std::forward<F>(f), std::forward<Args>(args)...).wait();
    REQUIRE(end);
    if constexpr (!std::is_void_v<typename decltype(end)::value_type>) return *std::move(end);
}
}
