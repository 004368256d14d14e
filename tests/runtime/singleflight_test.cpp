// singleflight: fetched once, for all who ask at the same time.
#include "runnel/singleflight.hpp"

#include <doctest/doctest.h>
#include <runnel/go.hpp>
#include <runnel/select.hpp>
#include <runnel/sync.hpp>
#include <runnel/testing.hpp>
#include <runnel/time.hpp>

#include <algorithm>
#include <list>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "channel/tasks.hpp"
#include "support/dies.hpp"
#include "support/level.hpp"
#include "support/virtual_time.hpp"

namespace testing = runnel::testing;
using namespace std::chrono_literals;
using namespace support;

namespace {

using page_flights = rn::singleflight<std::string, int>;

/// Takes a millisecond, and counts how often it is called.
rn::task<int> fetch(int& calls) {
    ++calls;
    (void)co_await rn::sleep_for(1ms);
    co_return calls;
}

TEST_CASE("singleflight: who asks while it is fetched gets the same, who asks later starts anew") {
    in_virtual_time([]() -> rn::task<> {
        page_flights pages;
        int calls = 0;
        rn::task_set all;
        for (int i = 0; i < 3; ++i)
            all.spawn([&]() -> rn::task<> {
                const auto got = co_await pages.run("a", fetch, rn::borrow(calls));
                CHECK(got.value() == 1);
            });
        (void)co_await all.join();
        CHECK(pages.size() == 0);
        const auto again = co_await pages.run("a", fetch, rn::borrow(calls));
        CHECK(again.value() == 2);
    });
}

TEST_CASE(
    "singleflight: who asks once it has landed starts anew, also when those that waited have not run since") {
    in_virtual_time([]() -> rn::task<> {
        page_flights pages;
        int calls = 0;
        rn::event landing;
        const auto tell = [](int& count, rn::event& when) -> rn::task<int> {
            const int now = ++count;
            (void)co_await rn::sleep_for(1ms);
            when.set();
            co_return now;
        };
        const auto ask = [&](bool late) -> rn::task<int> {
            if (late) CHECK(co_await landing);
            const auto got = co_await pages.run("a", tell, rn::borrow(calls), rn::borrow(landing));
            co_return got.value();
        };
        auto first = rn::go(ask, false);
        auto second = rn::go(ask, false);
        auto late = rn::go(ask, true);
        CHECK((co_await first).value() == 1);
        CHECK((co_await second).value() == 1);
        CHECK((co_await late).value() == 2);
    });
}

TEST_CASE("singleflight: different keys fly side by side") {
    in_virtual_time([]() -> rn::task<> {
        page_flights pages;
        int calls = 0;
        const auto began = rn::clock::now();
        rn::task_set all;
        for (const char* key : {"a", "b", "c"})
            all.spawn(
                [&](std::string name) -> rn::task<> {
                    CHECK(co_await pages.run(name, fetch, rn::borrow(calls)));
                },
                std::string(key));
        (void)co_await all.join();
        CHECK(calls == 3);
        CHECK(rn::clock::now() - began == 1ms);
    });
}

TEST_CASE("singleflight: all get the error, and all get the exception") {
    in_virtual_time([]() -> rn::task<> {
        page_flights pages;
        const auto fails = []() -> rn::task<rn::result<int>> {
            (void)co_await rn::sleep_for(1ms);
            co_return rn::errc::end_of_stream;
        };
        const auto throws = []() -> rn::task<int> {
            (void)co_await rn::sleep_for(1ms);
            throw std::runtime_error("thrown");
        };
        int errors = 0;
        int exceptions = 0;
        rn::task_set all;
        for (int i = 0; i < 2; ++i) {
            all.spawn([&]() -> rn::task<> {
                const auto got = co_await pages.run("error", fails);
                errors += got.error() == rn::errc::end_of_stream;
            });
            all.spawn([&]() -> rn::task<> {
                try {
                    (void)co_await pages.run("exception", throws);
                } catch (const std::runtime_error&) {
                    ++exceptions;
                }
            });
        }
        (void)co_await all.join();
        CHECK(errors == 2);
        CHECK(exceptions == 2);
    });
}

/// Has no move of its own; the copy that makes the countdown zero throws.
struct fragile {
    fragile() = default;
    fragile(const fragile&) {
        if (--copies_left == 0) throw std::runtime_error("copied");
    }
    fragile& operator=(const fragile&) = default;
    static inline int copies_left = 0;
};

TEST_CASE(
    "singleflight: a value that throws when it is copied throws in those that asked, wherever that happens") {
    for (int copies = 1; copies <= 16; ++copies)
        in_virtual_time(
            [](int left) -> rn::task<> {
                CAPTURE(left);
                rn::singleflight<int, fragile> flights;
                const auto make = [&]() -> rn::task<fragile> {
                    (void)co_await rn::sleep_for(1ms);
                    fragile::copies_left = left;
                    co_return fragile();
                };
                int told = 0;
                const auto ask = [&]() -> rn::task<> {
                    try {
                        const auto got = co_await flights.run(1, make);
                        told += got.has_value();
                    } catch (const std::runtime_error&) {
                        ++told;
                    }
                };
                rn::task_set all;
                for (int i = 0; i < 3; ++i) all.spawn(ask);
                (void)co_await all.join();
                CHECK(told == 3);
                CHECK(flights.size() == 0);
            },
            copies);
}

TEST_CASE("singleflight: one that gives up leaves the flight to the others, the last one ends it") {
    in_virtual_time([]() -> rn::task<> {
        page_flights pages;
        bool cancelled = false;
        const auto endless = [](bool& told) -> rn::task<rn::result<int>> {
            const auto slept = co_await rn::sleep_for(24h);
            told = !slept;
            co_return slept.error();
        };
        const auto began = rn::clock::now();
        const auto ask = [&](rn::clock::duration patience) -> rn::task<rn::result<int>> {
            co_return co_await rn::with_timeout(patience, pages.run("a", endless, rn::borrow(cancelled)));
        };
        auto first = rn::go(ask, rn::clock::duration(1ms));
        auto second = rn::go(ask, rn::clock::duration(2ms));
        CHECK((co_await first).error() == rn::errc::timed_out);
        co_await settle();
        CHECK_FALSE(cancelled);
        CHECK(pages.size() == 1);
        CHECK((co_await second).error() == rn::errc::timed_out);
        co_await settle();
        CHECK(cancelled);
        CHECK(pages.size() == 0);
        CHECK(rn::clock::now() - began == 2ms);
    });
}

TEST_CASE("singleflight: after forget the next one starts another flight, and those that wait get theirs") {
    in_virtual_time([]() -> rn::task<> {
        page_flights pages;
        int calls = 0;
        auto first = rn::go([&]() -> rn::task<rn::result<int>> {
            co_return co_await pages.run("a", fetch, rn::borrow(calls));
        });
        co_await settle();
        pages.forget("a");
        pages.forget("no such key");
        const auto second = co_await pages.run("a", fetch, rn::borrow(calls));
        CHECK(second);
        CHECK(co_await first);
        CHECK(calls == 2);
        CHECK(pages.size() == 0);
    });
}

inline constexpr rn::context_key<std::string> user;

TEST_CASE("singleflight: the flight sees the values of who asked first, and not its cancellation") {
    in_virtual_time([]() -> rn::task<> {
        rn::singleflight<int, std::string> names;
        const auto name = []() -> rn::task<std::string> {
            (void)co_await rn::sleep_for(1ms);
            co_return *rn::current_context().value(user);
        };
        auto [ctx, cancel] = rn::with_cancel(rn::with_value(rn::current_context(), user, "ada"));
        const auto ask = [&]() -> rn::task<rn::result<std::string>> {
            co_return co_await names.run(1, name);
        };
        const auto ask_in = [&](rn::context under) -> rn::task<rn::result<std::string>> {
            co_return co_await rn::with_context(under, ask());
        };
        auto first = rn::go(ask_in, ctx);
        co_await settle();
        auto second = rn::go(ask);
        co_await settle();
        cancel();
        CHECK((co_await first).error() == rn::errc::cancelled);
        const auto got = co_await second;
        CHECK(got.value() == "ada");
    });
}

TEST_CASE("singleflight: a flight ends with its runtime and may outlive the singleflight") {
    rn::runtime here(rn::options().workers(1).driver(rn::driver_kind::none));
    auto end = here.spawn([]() -> rn::task<rn::result<>> {
        rn::singleflight<int, void> flights;
        const auto endless = []() -> rn::task<> { (void)co_await rn::sleep_for(24h); };
        co_return co_await flights.run(1, endless);
    });
    CHECK(here.stop());
    CHECK_FALSE(end.wait());
}

TEST_CASE(
    "singleflight: under any schedule at most one flight of a key is in the air and nobody is forgotten") {
    const auto how = testing::options().slow_turns(8, 5us);
    const auto all = testing::explore(how, scaled(2'000U, 50'000U), []() -> rn::task<> {
        rn::singleflight<int, int> flights;
        // A flight that nobody waits for may begin after our end; several of that kind may be in the air.
        const auto in_the_air = std::make_shared<std::list<rn::context>>();
        const auto fly = [](std::shared_ptr<std::list<rn::context>> flying) -> rn::task<rn::result<int>> {
            const auto mine = flying->insert(flying->end(), rn::current_context());
            const auto wanted = std::count_if(flying->begin(), flying->end(),
                                              [](const rn::context& under) { return !under.err(); });
            testing::expect(wanted <= 1, "several");
            auto slept = co_await rn::sleep_for(2us);
            flying->erase(mine);
            if (!slept) co_return slept.error();
            co_return 5;
        };
        rn::task_set tasks;
        for (int i = 0; i < 4; ++i)
            tasks.spawn(
                [&](int number) -> rn::task<> {
                    auto slept = co_await rn::sleep_for(std::chrono::microseconds(number % 2));
                    testing::expect(slept.has_value());
                    auto ask = flights.run(1, fly, in_the_air);
                    auto got = co_await rn::with_timeout(std::chrono::microseconds(number < 3 ? 2 : 100),
                                                         std::move(ask));
                    testing::expect(got ? *got == 5 : got.error() == rn::errc::timed_out);
                    testing::expect(number != 3 || got.has_value(), "forgotten");
                },
                i);
        auto end = co_await tasks.join();
        testing::expect(end.has_value());
        testing::expect(flights.size() == 0);
        while (!in_the_air->empty()) {
            auto slept = co_await rn::sleep_for(1us);
            testing::expect(slept.has_value());
        }
    });
    CHECK_MESSAGE(all.ok(), all.what());
}

TEST_CASE("singleflight: on several workers") {
    const int rounds = scaled(100, 10'000);
    on_workers(3, [rounds]() -> rn::task<> {
        rn::singleflight<int, std::string> flights;
        const auto fly = []() -> rn::task<std::string> {
            (void)co_await rn::yield();
            co_return std::string(100, 'x');
        };
        rn::task_set tasks;
        for (int i = 0; i < 6; ++i)
            tasks.spawn([&, rounds]() -> rn::task<> {
                for (int n = 0; n < rounds; ++n) {
                    auto ask = flights.run(n % 3, fly);
                    const auto got =
                        co_await rn::with_timeout(n % 5 == 0 ? 1us : 1'000'000us, std::move(ask));
                    if (got) CHECK(got->size() == 100);
                }
            });
        (void)co_await tasks.join();
        CHECK(flights.size() == 0);
    });
}
}
