// Tasks that run on their own: what they keep alive, what a handle can do, where an exception goes.
#include <doctest/doctest.h>
#include <runnel/scope.hpp>
#include <runnel/sync.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

#include "support/child.hpp"
#include "support/counted.hpp"
#include "support/level.hpp"
#include "support/runtimes.hpp"
#include "support/scarce_memory.hpp"

namespace rn = runnel;
using namespace std::chrono_literals;
using support::aborts_saying;
using support::counted;
using support::run_on;
using support::workers;

namespace {

// --- What a task keeps alive ------------------------------------------------------------------------

rn::task<int> takes_values(counted c, int n) {
    co_await rn::yield();
    co_return c.value() + n;
}
rn::task<int> takes_references(const counted& c, const std::string& text) {
    co_await rn::yield();
    co_return c.value() + static_cast<int>(text.size());
}
rn::task<std::string> takes_a_view(std::string_view text) {
    co_await rn::yield();
    co_return std::string(text);
}

// A function whose parameters last has one frame; another has one around it, which keeps what it refers to.
using rn::detail::keeps_its_arguments;
using of_references = decltype(&takes_references);
static_assert(keeps_its_arguments<decltype(&takes_values), counted, int>);
static_assert(keeps_its_arguments<of_references, rn::borrowed<counted>, rn::borrowed<const std::string>>);
static_assert(!keeps_its_arguments<of_references, rn::borrowed<counted>, std::string>);
static_assert(
    !keeps_its_arguments<of_references, rn::borrowed<counted>, rn::borrowed<const char*>>);  // a temporary
static_assert(
    !keeps_its_arguments<decltype(&takes_values), rn::borrowed<counted>, int>);  // copied when it begins
static_assert(!keeps_its_arguments<decltype(&takes_a_view), rn::borrowed<std::string_view>>);
static_assert(!keeps_its_arguments<rn::task<> (*)(const std::string_view&), rn::borrowed<std::string_view>>);

TEST_CASE("go: arguments live in the task, also those that it takes by reference or as a view") {
    counted::reset();
    run_on(1, []() -> rn::task<> {
        auto values = rn::go(takes_values, counted(1), 2);
        auto references = rn::go(takes_references, counted(1), std::string(100, 'x'));
        auto view = rn::go(takes_a_view, std::string(100, 'y'));
        CHECK((co_await values).value() == 3);
        CHECK((co_await references).value() == 101);
        CHECK((co_await view).value() == std::string(100, 'y'));
    });
    CHECK(counted::live() == 0);
    CHECK(counted::errors() == 0);
}

TEST_CASE("go: what a lambda captured lives as long as its task") {
    counted::reset();
    run_on(1, []() -> rn::task<> {
        rn::join_handle<int> end;
        {
            const counted outer(5);
            auto lambda = [outer]() -> rn::task<int> {
                co_await rn::yield();
                co_return outer.value();
            };
            end = rn::go(std::move(lambda));
        }
        CHECK((co_await end).value() == 5);
    });
    CHECK(counted::live() == 0);
    CHECK(counted::errors() == 0);
}

struct greeter {
    std::string name;
    rn::task<std::string> greet(int times) const {
        co_await rn::yield();
        std::string all;
        for (int i = 0; i < times; ++i) all += name;
        co_return all;
    }
};

TEST_CASE("go: member functions, of an object that is moved in or pointed to") {
    run_on(1, []() -> rn::task<> {
        const greeter here{"hi"};
        auto pointed = rn::go(&greeter::greet, &here, 2);
        greeter there{"ho"};
        auto owned = rn::go(&greeter::greet, std::move(there), 1);
        CHECK((co_await pointed).value() == "hihi");
        CHECK((co_await owned).value() == "ho");
    });
}

rn::task<> adds(int& sum, int n) {
    co_await rn::yield();
    sum += n;
}

TEST_CASE("go: borrow() gives the task a reference to what outlives it") {
    run_on(1, []() -> rn::task<> {
        int sum = 1;
        auto end = rn::go(adds, rn::borrow(sum), 2);
        co_await end;
        CHECK(sum == 3);
    });
}

rn::task<> waits(rn::event& door) { co_await door.wait(); }
rn::task<> holds(rn::event& door, counted) { co_await door.wait(); }

TEST_CASE("go: what a task was given dies when its body has ended, not when it is joined") {
    counted::reset();
    run_on(1, []() -> rn::task<> {
        rn::event door;
        auto end = rn::go(holds, rn::borrow(door), counted(1));
        co_await rn::yield();
        CHECK(counted::live() > 0);
        door.set();
        co_await rn::yield();
        CHECK(counted::live() == 0);  // or a producer would keep its channel open until it is joined
        CHECK(co_await end);
    });
    CHECK(counted::live() == 0);
}

TEST_CASE("go: without memory for the task it throws, and what the task was given dies") {
    if (!support::memory_can_be_scarce()) return;
    counted::reset();
    run_on(1, []() -> rn::task<> {
        rn::event door;
        std::vector<rn::join_handle<>> ends;
        const auto started = [&]() -> rn::join_handle<> {
            try {
                const support::scarce_memory none(0);
                return rn::go(holds, rn::borrow(door), counted(1));
            } catch (const std::bad_alloc&) {
                return {};
            }
        };
        for (auto end = started(); end.joinable(); end = started()) ends.push_back(std::move(end));
        CHECK(counted::live() == static_cast<long>(ends.size()));
        door.set();
        for (auto& end : ends) CHECK(co_await end);
    });
    CHECK(counted::live() == 0);
}

/// Starts a task when it dies; moved from, it does nothing.
class starts_at_its_end {
public:
    explicit starts_at_its_end(std::atomic<int>& sum) noexcept : sum_(&sum) {}
    starts_at_its_end(starts_at_its_end&& other) noexcept : sum_(std::exchange(other.sum_, nullptr)) {}
    ~starts_at_its_end() {
        if (sum_ == nullptr) return;
        CHECK(rn::current_context().value(flavour) != nullptr);
        rn::go([](std::atomic<int>* sum) -> rn::task<> { co_return void(++*sum); }, sum_);
    }
    static inline rn::context_key<int> flavour;

private:
    std::atomic<int>* sum_;
};

TEST_CASE("go: in the destructor of what a task was given, or of what it gave, under the task's context") {
    std::atomic<int> sum{0};
    run_on(1, [&]() -> rn::task<> {
        const auto takes = [](starts_at_its_end) -> rn::task<> { co_await rn::yield(); };
        const auto gives = [&]() -> rn::task<starts_at_its_end> { co_return starts_at_its_end(sum); };
        const auto body = [&]() -> rn::task<> {
            auto joined = rn::go(takes, starts_at_its_end(sum));
            rn::go(takes, starts_at_its_end(sum));
            rn::go(gives);
            rn::scope s;
            s.spawn(takes, starts_at_its_end(sum));
            co_await joined;
            co_await s.join();
        };
        co_await rn::with_context(rn::with_value(rn::background(), starts_at_its_end::flavour, 1), body());
        while (sum != 4) co_await rn::yield();
    });
}

TEST_CASE("go: in the destructor of a value whose handle goes while its task ends") {
    const int rounds = support::scaled(2'000, 200'000);
    std::atomic<int> sum{0};
    {
        rn::runtime background(workers(2));
        struct starts {
            explicit starts(std::atomic<int>& to) noexcept : sum(&to) {}
            starts(starts&& other) noexcept : sum(std::exchange(other.sum, nullptr)) {}
            ~starts() {
                if (sum == nullptr || rn::detail::current_worker() == nullptr) return;
                rn::go([](std::atomic<int>* to) -> rn::task<> { co_return void(++*to); }, sum);
            }
            std::atomic<int>* sum;
        };
        const auto gives = [&]() -> rn::task<starts> { co_return starts(sum); };
        for (int i = 0; i < rounds; ++i) background.spawn(gives);  // dropped before, while or after it ends
    }
    CHECK(sum <= rounds);
}

// --- Handles ------------------------------------------------------------------------------------------

rn::task<int> seven() { co_return 7; }
rn::task<std::unique_ptr<int>> boxed() { co_return std::make_unique<int>(8); }
rn::task<rn::result<int>> refuses() { co_return rn::errc::closed; }

TEST_CASE("join_handle: gives the value, whether the task has ended before or after the join") {
    run_on(1, []() -> rn::task<> {
        auto later = rn::go(seven);
        CHECK((co_await later).value() == 7);
        auto before = rn::go(boxed);
        co_await rn::yield();
        co_await rn::yield();
        const auto box = co_await before;
        CHECK(**box == 8);
        CHECK(!before.joinable());
    });
}

TEST_CASE("join_handle: the error of a task<result<T>> is the error of the join") {
    run_on(1, []() -> rn::task<> {
        auto end = rn::go(refuses);
        const auto got = co_await end;
        CHECK(got.error() == rn::errc::closed);
    });
}

rn::task<std::error_code> gives_an_error() { co_return make_error_code(rn::errc::full); }

TEST_CASE("join_handle: an error code that the task gives is its value") {
    run_on(1, []() -> rn::task<> {
        auto end = rn::go(gives_an_error);
        const rn::result<std::error_code> got = co_await end;
        REQUIRE(got);
        CHECK(*got == rn::errc::full);
    });
    rn::runtime background(workers(1));
    auto end = background.spawn(gives_an_error);
    CHECK(*end.wait() == rn::errc::full);
}

TEST_CASE("join_handle: dropped or detached, its task runs on") {
    run_on(1, []() -> rn::task<> {
        int sum = 0;
        rn::event door;
        const auto body = [&]() -> rn::task<> {
            co_await door.wait();
            ++sum;
        };
        rn::go(body);
        auto end = rn::go(body);
        end.detach();
        CHECK(!end.joinable());
        co_await rn::yield();
        door.set();
        while (sum < 2) co_await rn::yield();
    });
}

TEST_CASE("join_handle: a cancelled join ends the wait, not the task; it can be joined again") {
    run_on(1, []() -> rn::task<> {
        rn::event door;
        auto end = rn::go(waits, rn::borrow(door));
        const auto late = co_await rn::with_timeout(1ms, end.join());
        CHECK(late.error() == rn::errc::timed_out);
        CHECK(end.joinable());
        door.set();
        CHECK(co_await end);
    });
}

TEST_CASE("join_handle: wait() on a plain thread") {
    rn::runtime background(workers(2));
    auto end = background.spawn(takes_values, counted(2), 3);
    CHECK(end.id() != 0);
    CHECK(end.wait().value() == 5);
}

TEST_CASE("join_handle: outlives its runtime") {
    rn::join_handle<int> end;
    {
        rn::runtime gone(workers(1));
        end = gone.spawn(seven);
    }
    CHECK(end.wait().value() == 7);
}

TEST_CASE(
    "join_handle: a thread that waits has the value also when the task ends after the cancel of the root") {
    rn::runtime background(workers(2).grace(0s));
    const auto slow = []() -> rn::task<std::string> {
        co_await rn::shielded(rn::sleep_for(50ms));
        co_return std::string(100, 'z');
    };
    auto end = background.spawn(slow);
    std::thread stopper([&] { background.stop().value(); });
    CHECK(end.wait().value() == std::string(100, 'z'));
    stopper.join();
}

// --- Exceptions -----------------------------------------------------------------------------------------

rn::task<int> fails() {
    co_await rn::yield();
    throw std::runtime_error("kaboom");
}

TEST_CASE("join_handle: an exception goes to who joins") {
    run_on(1, []() -> rn::task<> {
        auto end = rn::go(fails);
        CHECK_THROWS_WITH((void)co_await end, "kaboom");
    });
    rn::runtime background(workers(1));
    auto end = background.spawn(fails);
    CHECK_THROWS_WITH((void)end.wait(), "kaboom");
}

TEST_CASE("child: a task without a handle throws" * doctest::skip()) {
    run_on(1, []() -> rn::task<> {
        rn::go(fails);
        co_await rn::sleep_for(10s);
    });
}
TEST_CASE("child: a task that threw loses its handle" * doctest::skip()) {
    run_on(1, []() -> rn::task<> {
        auto end = rn::go(fails);
        co_await rn::sleep_for(5ms);
    });
}
TEST_CASE("child: a task throws no std::exception" * doctest::skip()) {
    run_on(1, []() -> rn::task<> {
        const auto body = []() -> rn::task<> {
            throw 5;
            co_return;
        };
        rn::go(body);
        co_await rn::sleep_for(10s);
    });
}

TEST_CASE("go: an exception that nobody can receive ends the program, and says which task and what") {
    for (const char* test :
         {"child: a task without a handle throws", "child: a task that threw loses its handle"}) {
        support::child program(test);
        const support::child_end& end = program.wait();
        CHECK(end.killed_by(SIGABRT));
        CHECK(end.said("go_test.cpp:"));
        CHECK(end.said("ended by an exception that nobody can receive: kaboom"));
    }
    CHECK(aborts_saying("child: a task throws no std::exception", "an exception that is no std::exception"));
}

TEST_CASE("child: a handle is dropped in the moment in which its task throws" * doctest::skip()) {
    rn::runtime background(workers(2));
    const auto body = []() -> rn::task<> {
        throw std::runtime_error("kaboom");
        co_return;
    };
    // Dropped before, while or after it ends: each time somebody has to report it, so the first ends all.
    for (int i = 0; i < 100'000; ++i) background.spawn(body);
}

TEST_CASE("go: dropping the handle in the moment of the throw loses no report") {
    CHECK(aborts_saying("child: a handle is dropped in the moment in which its task throws", "kaboom"));
}

TEST_CASE("child: a handle is joined twice" * doctest::skip()) {
    run_on(1, []() -> rn::task<> {
        auto end = rn::go(seven);
        (void)co_await end;
        (void)co_await end;
    });
}
rn::task<> joins(rn::join_handle<>* end) { co_await *end; }
TEST_CASE("child: a handle goes that a task waits for" * doctest::skip()) {
    run_on(1, []() -> rn::task<> {
        rn::event door;
        auto end = std::make_unique<rn::join_handle<>>(rn::go(waits, rn::borrow(door)));
        rn::go(joins, end.get());
        co_await rn::yield();
        end.reset();
    });
}
TEST_CASE("child: a handle moves that a task waits for" * doctest::skip()) {
    run_on(1, []() -> rn::task<> {
        rn::event door;
        auto end = rn::go(waits, rn::borrow(door));
        rn::go(joins, &end);
        co_await rn::yield();
        const auto moved = std::move(end);
        door.set();
        co_await rn::sleep_for(10s);
    });
}
/// A coroutine that somebody else has taken already.
rn::task<int> taken_already() {
    auto all_of_it = seven();
    const auto taken = std::move(all_of_it);
    return all_of_it;
}
TEST_CASE("child: nothing is started" * doctest::skip()) {
    run_on(1, []() -> rn::task<> {
        rn::go(taken_already);
        co_return;
    });
}
TEST_CASE("child: nothing becomes a child" * doctest::skip()) {
    run_on(1, []() -> rn::task<> {
        rn::scope s;
        s.spawn(taken_already);
        co_return;
    });
}
TEST_CASE("child: nothing is spawned" * doctest::skip()) { rn::runtime(workers(1)).spawn(taken_already); }
TEST_CASE("child: go() outside a runtime" * doctest::skip()) { rn::go(seven); }
TEST_CASE("child: a worker waits like a thread" * doctest::skip()) {
    run_on(1, []() -> rn::task<> {
        rn::event door;
        auto end = rn::go(waits, rn::borrow(door));
        (void)end.wait();
        co_return;
    });
}

TEST_CASE("go: misuse is said aloud") {
    CHECK(aborts_saying("child: a handle is joined twice", "joined twice"));
    CHECK(aborts_saying("child: a handle goes that a task waits for", "dropped while a task waits for it"));
    CHECK(aborts_saying("child: a handle moves that a task waits for", "moved while a task waited for it"));
    for (const char* test :
         {"child: nothing is started", "child: nothing becomes a child", "child: nothing is spawned"})
        CHECK(aborts_saying(test, "started after it was moved from"));
    CHECK(aborts_saying("child: go() outside a runtime", "outside a runtime"));
    CHECK(aborts_saying("child: a worker waits like a thread", "co_await it instead"));
}

// --- While the runtime stops --------------------------------------------------------------------------

TEST_CASE("go: refused while the runtime stops; its arguments die, the join says so") {
    counted::reset();
    rn::runtime background(workers(1));
    auto last = background.spawn([]() -> rn::task<bool> {
        co_await rn::shielded(rn::stopping());
        auto refused = rn::go(takes_values, counted(1), 2);
        CHECK(refused.joinable());
        CHECK(refused.id() == 0);
        const auto end = co_await rn::shielded(refused.join());
        co_return end.error() == rn::errc::stopping;
    });
    background.stop().value();
    CHECK(last.wait().value());
    CHECK(counted::live() == 0);
}

TEST_CASE("go: a million tasks, each joined, one after the other and all at once") {
    const int count = support::scaled(20'000, 1'000'000);
    const auto sum = run_on(2, [count]() -> rn::task<long> {
        long got = 0;
        for (int i = 0; i < count; ++i) {
            auto end = rn::go(seven);
            got += (co_await end).value();
        }
        std::vector<rn::join_handle<int>> ends;
        for (int i = 0; i < count; ++i) ends.push_back(rn::go(seven));
        for (auto& end : ends) got += (co_await end).value();
        co_return got;
    });
    CHECK(*sum == 14L * count);
}
}
