// A time limit around one operation, around a select, inside one, and around another limit.
#include <doctest/doctest.h>
#include <runnel/channel.hpp>
#include <runnel/go.hpp>
#include <runnel/select.hpp>
#include <runnel/sync.hpp>
#include <runnel/time.hpp>

#include "channel/tasks.hpp"
#include "runtime/timers.hpp"
#include "support/level.hpp"
#include "support/virtual_time.hpp"

using namespace std::chrono_literals;
using namespace support;

namespace {
rn::task<> send_later(rn::channel<int> to, int value, std::chrono::nanoseconds time) {
    (void)co_await rn::sleep_for(time);
    (void)co_await to.send(value);
}
}

TEST_CASE("with_timeout: an operation that takes too long fails with timed_out") {
    in_virtual_time([]() -> rn::task<> {
        const auto start = rn::clock::now();
        rn::channel<int> nothing(0);
        const auto got = co_await rn::with_timeout(1s, nothing.recv());
        CHECK(got.error() == rn::errc::timed_out);
        CHECK(rn::clock::now() - start == 1s);
    });
}

TEST_CASE("with_timeout: an operation that happens in time gives its value") {
    in_virtual_time([]() -> rn::task<> {
        rn::channel<int> numbers(0);
        rn::go(send_later, numbers, 7, 999ms);
        const auto got = co_await rn::with_timeout(1s, numbers.recv());
        CHECK(got.value() == 7);
        CHECK(co_await rn::sleep_for(1h));  // the limit has left no trace
    });
}

TEST_CASE("with_timeout: an operation that is ready wins over a limit that has passed") {
    in_virtual_time([]() -> rn::task<> {
        rn::channel<int> numbers(1);
        for (const auto limit : {0s, -1s}) {
            CHECK(numbers.try_send(7));
            CHECK((co_await rn::with_timeout(limit, numbers.recv())).value() == 7);
            CHECK((co_await rn::with_timeout(limit, numbers.recv())).error() == rn::errc::timed_out);
        }
    });
}

TEST_CASE("with_timeout: an operation that is ready does not touch the timers") {
    in_virtual_time([]() -> rn::task<> {
        rn::channel<int> numbers(2), silent(0);
        CHECK(numbers.try_send(1));
        CHECK(numbers.try_send(2));
        auto& timers = rn::detail::current_timers();
        timers.lock.lock();  // whoever wanted it now would wait for ever
        const auto one = co_await rn::with_timeout(1s, numbers.recv());
        const auto two = co_await rn::with_timeout(1s, rn::select(silent.recv(), numbers.recv()));
        timers.lock.unlock();
        CHECK(one.value() == 1);
        CHECK(two.index() == 1);
    });
}

TEST_CASE("with_timeout: limits a sleep, which stands in the same timers") {
    in_virtual_time([]() -> rn::task<> {
        CHECK(co_await rn::with_timeout(2s, rn::sleep_for(1s)));
        CHECK((co_await rn::with_timeout(1s, rn::sleep_for(2s))).error() == rn::errc::timed_out);
    });
}

TEST_CASE(
    "with_timeout: a limit that is too long to count never ends the wait; the longest negative one is over") {
    in_virtual_time([]() -> rn::task<> {
        rn::channel<int> numbers(0);
        rn::go(send_later, numbers, 1, 24h * 365 * 100);
        CHECK((co_await rn::with_timeout(std::chrono::hours::max(), numbers.recv())).value() == 1);
        rn::go(send_later, numbers, 2, 1h);
        CHECK((co_await rn::with_timeout(std::chrono::nanoseconds::max(), numbers.recv())).value() == 2);
        rn::go(send_later, numbers, 3, 1h);
        CHECK((co_await rn::with_timeout(std::chrono::duration<double>(1e300), numbers.recv())).value() == 3);
        const auto start = rn::clock::now();
        CHECK((co_await rn::with_timeout(std::chrono::hours::min(), numbers.recv())).error() ==
              rn::errc::timed_out);
        CHECK(rn::clock::now() == start);
    });
}

TEST_CASE("with_timeout: a value that was sent is never lost to the limit") {
    const int rounds = scaled(300, 20'000);
    on_workers(2, [rounds]() -> rn::task<> {
        rn::channel<int> numbers(0);
        const auto sender = [rounds](rn::channel<int> to) -> rn::task<> {
            for (int i = 0; i < rounds; ++i)
                while (!co_await rn::with_timeout(50us, to.send(i))) {}
            to.close();
        };
        rn::go(sender, numbers);
        int expected = 0;
        for (;;) {
            const auto got = co_await rn::with_timeout(50us, numbers.recv());
            if (!got && got.error() == rn::errc::timed_out) continue;
            if (!got) break;
            REQUIRE(*got == expected++);
        }
        CHECK(expected == rounds);
    });
}

TEST_CASE("with_timeout: limits one case of a select") {
    in_virtual_time([]() -> rn::task<> {
        rn::channel<int> a(0), b(0);
        const auto won = co_await rn::select(a.recv(), rn::with_timeout(1s, b.recv()), rn::sleep_for(2s));
        REQUIRE(won.index() == 1);
        CHECK(won.get<1>().error() == rn::errc::timed_out);
    });
}

TEST_CASE("with_timeout: limits a whole select, which then is false") {
    in_virtual_time([]() -> rn::task<> {
        rn::channel<int> a(0), b(0);
        const auto none = co_await rn::with_timeout(1s, rn::select(a.recv(), b.recv()));
        CHECK_FALSE(none);
        CHECK(none.error() == rn::errc::timed_out);
        rn::go(send_later, b, 5, 1ms);
        const auto won = co_await rn::with_timeout(1s, rn::select(a.recv(), b.recv()));
        REQUIRE(won.index() == 1);
        CHECK(won.get<1>().value() == 5);
    });
}

TEST_CASE("with_timeout: of two limits the shorter one counts") {
    in_virtual_time([]() -> rn::task<> {
        rn::channel<int> nothing(0);
        const auto start = rn::clock::now();
        CHECK((co_await rn::with_timeout(2s, rn::with_timeout(1s, nothing.recv()))).error() ==
              rn::errc::timed_out);
        CHECK(rn::clock::now() - start == 1s);
        CHECK((co_await rn::with_timeout(1s, rn::with_timeout(2s, nothing.recv()))).error() ==
              rn::errc::timed_out);
        CHECK(rn::clock::now() - start == 2s);
    });
}

TEST_CASE("with_timeout: the context's end is told apart from the limit") {
    in_virtual_time([]() -> rn::task<> {
        rn::channel<int> nothing(0);
        auto [ctx, cancel] = rn::with_timeout(rn::current_context(), 1s);
        const auto limited = [&nothing]() -> rn::task<rn::result<int>> {
            co_return co_await rn::with_timeout(2s, nothing.recv());
        };
        const auto got = co_await rn::with_context(ctx, limited());
        CHECK(got.error() == rn::errc::deadline_exceeded);
    });
}

TEST_CASE("with_timeout: limits a lock, an event and a join") {
    in_virtual_time([]() -> rn::task<> {
        rn::mutex mutex;
        const auto held = co_await mutex.lock();
        CHECK((co_await rn::with_timeout(1ms, mutex.lock())).error() == rn::errc::timed_out);
        rn::event event;
        CHECK((co_await rn::with_timeout(1ms, event.wait())).error() == rn::errc::timed_out);
        rn::channel<int> nothing(0);
        const auto receive = [](rn::channel<int> from) -> rn::task<> { (void)co_await from.recv(); };
        auto receiver = rn::go(receive, nothing);
        CHECK((co_await rn::with_timeout(1ms, receiver.join())).error() == rn::errc::timed_out);
        nothing.close();
        CHECK(co_await rn::with_timeout(1ms, receiver.join()));
    });
}

TEST_CASE("with_timeout, with_context and shielded take a handle and an event by their names") {
    in_virtual_time([]() -> rn::task<> {
        rn::event door;
        const auto through = [](rn::event& of) -> rn::task<int> {
            co_await of;
            co_return 7;
        };
        auto end = rn::go(through, rn::borrow(door));
        CHECK((co_await rn::with_timeout(1ms, door)).error() == rn::errc::timed_out);
        CHECK((co_await rn::with_timeout(1ms, end)).error() == rn::errc::timed_out);
        auto [ctx, cancel] = rn::with_cancel(rn::background());
        cancel();
        CHECK((co_await rn::with_context(ctx, door)).error() == rn::errc::cancelled);
        CHECK((co_await rn::with_context(ctx, end)).error() == rn::errc::cancelled);
        door.set();
        CHECK(co_await rn::shielded(door));
        CHECK((co_await rn::with_timeout(1ms, end)).value() == 7);
    });
}

TEST_CASE("with_timeout: an operation of the kernel that takes a limit is given it") {
    struct kernel_operation {
        std::int64_t limit = 0;
        kernel_operation with_limit(std::int64_t nanoseconds) && { return {nanoseconds}; }
    };
    CHECK(rn::with_timeout(3ms, kernel_operation()).limit == 3'000'000);
    CHECK(rn::with_timeout(-3ms, kernel_operation()).limit == 0);
}

TEST_CASE("with_deadline: several operations share one point in time") {
    in_virtual_time([]() -> rn::task<> {
        const auto until = rn::clock::now() + 2s;
        rn::channel<int> numbers(0);
        rn::go(send_later, numbers, 7, 1s);
        CHECK((co_await rn::with_deadline(until, numbers.recv())).value() == 7);
        CHECK((co_await rn::with_deadline(until, numbers.recv())).error() == rn::errc::timed_out);
        CHECK(rn::clock::now() == until);
        CHECK((co_await rn::with_deadline(until, numbers.recv())).error() ==
              rn::errc::timed_out);  // it has passed
        CHECK(rn::clock::now() == until);
    });
}

TEST_CASE("with_deadline: of a task, and of a case in a select") {
    in_virtual_time([]() -> rn::task<> {
        const auto until = rn::clock::now() + 2s;
        const auto nap = [](std::chrono::seconds time) -> rn::task<rn::result<>> {
            co_return co_await rn::sleep_for(time);
        };
        CHECK(co_await rn::with_deadline(until, nap(1s)));
        CHECK((co_await rn::with_deadline(until, nap(5s))).error() == rn::errc::timed_out);
        CHECK(rn::clock::now() == until);
        rn::channel<int> nothing(0);
        const auto won =
            co_await rn::select(rn::with_deadline(until + 1s, nothing.recv()), rn::sleep_for(1h));
        CHECK(won.index() == 0);
        CHECK(rn::clock::now() == until + 1s);
    });
}
