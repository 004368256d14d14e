// Whose is a value that was not sent? What send, from() and emplace do with their arguments when it goes
// well, when the channel is closed, when the wait is cancelled, and when a constructor throws.
#include <doctest/doctest.h>
#include <runnel/channel.hpp>

#include <memory>
#include <stdexcept>
#include <string>

#include "support/counted.hpp"
#include "tasks.hpp"

using namespace support;

namespace {
using text = std::string;

const text long_text(64, 'x');  // not stored in the string itself, so a move leaves its source empty
}

TEST_CASE("ownership: send(from(x)) moves from x when it is sent, and leaves it alone when it is not") {
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_channel<text>(1);
        text first = long_text;
        text second = long_text;
        CHECK(co_await out.send(rn::from(first)));
        CHECK(first.empty());
        CHECK(out.try_send(rn::from(second)).error() == rn::errc::full);
        CHECK(second == long_text);
        in.close();
        CHECK((co_await out.send(rn::from(second))).error() == rn::errc::closed);
        CHECK(second == long_text);
    });
}

TEST_CASE("ownership: send(std::move(x)) too takes x only when it is sent") {
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_channel<text>(1);
        text value = long_text;
        in.close();
        CHECK(!co_await out.send(std::move(value)));
        CHECK(!out.try_send(std::move(value)));
        CHECK(value == long_text);
    });
}

TEST_CASE("ownership: a cancelled send has sent nothing, and x is still there") {
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_channel<std::unique_ptr<int>>(0);
        auto kept = std::make_shared<std::unique_ptr<int>>(std::make_unique<int>(5));
        rn::scope senders;
        senders.spawn(
            [](rn::sender<std::unique_ptr<int>> to, std::shared_ptr<std::unique_ptr<int>> value)
                -> rn::task<> { CHECK((co_await to.send(rn::from(*value))).error() == rn::errc::cancelled); },
            out.share(), kept);
        co_await settle();
        senders.cancel();
        (void)co_await senders.join();
        REQUIRE(*kept);
        CHECK(**kept == 5);
        CHECK(in.try_recv().error() == rn::errc::empty);
    });
}

TEST_CASE("ownership: a parked send whose channel is closed keeps x") {
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_channel<text>(0);
        auto kept = std::make_shared<text>(long_text);
        rn::go(
            [](rn::sender<text> to, std::shared_ptr<text> value) -> rn::task<> {
                CHECK((co_await to.send(rn::from(*value))).error() == rn::errc::closed);
            },
            std::move(out), kept);
        co_await settle();
        in.reset();
        co_await settle();
        CHECK(*kept == long_text);
    });
}

TEST_CASE("ownership: a timed-out send keeps x") {
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_channel<text>(0);
        text value = long_text;
        CHECK((co_await rn::with_timeout(std::chrono::milliseconds(1), out.send(rn::from(value)))).error() ==
              rn::errc::timed_out);
        CHECK(value == long_text);
        CHECK(in.try_recv().error() == rn::errc::empty);
    });
}

TEST_CASE("ownership: a recv that has its value keeps it, though it is cancelled before it runs on") {
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(0);
        auto got = std::make_shared<int>(0);
        rn::scope receivers;
        receivers.spawn(
            [](rn::receiver<int> from, std::shared_ptr<int> into) -> rn::task<> {
                *into = (co_await from.recv()).value();
            },
            std::move(in), got);
        co_await settle();
        CHECK(out.try_send(7));  // handed over: the receiver is ready, but has not run
        receivers.cancel();
        (void)co_await receivers.join();
        CHECK(*got == 7);
    });
}

TEST_CASE("ownership: a cancelled context refuses recv and send, and leaves try_recv and try_send alone") {
    on_workers(1, []() -> rn::task<> {
        rn::channel<int> c(2);
        CHECK(c.try_send(1));
        rn::scope cancelled;
        cancelled.cancel();
        cancelled.spawn(
            [](rn::channel<int> in) -> rn::task<> {
                CHECK((co_await in.recv()).error() == rn::errc::cancelled);
                CHECK((co_await in.send(2)).error() == rn::errc::cancelled);
                CHECK(in.try_recv().value() == 1);
                CHECK(in.try_send(3));
            },
            c);
        (void)co_await cancelled.join();
        CHECK(c.try_recv().value() == 3);
    });
}

TEST_CASE("ownership: send(const T&) copies once, at the call") {
    counted::reset();
    on_workers(1, []() -> rn::task<> {
        rn::channel<counted> c(1);
        const counted value(3);
        CHECK(co_await c.send(value));
        CHECK(counted::copies() == 1);
        CHECK(value.value() == 3);
        CHECK((co_await c.recv())->value() == 3);
    });
    CHECK(counted::live() == 0);
    CHECK(counted::errors() == 0);
}

TEST_CASE("ownership: send(T()) moves the temporary") {
    counted::reset();
    on_workers(1, []() -> rn::task<> {
        rn::channel<counted> c(1);
        CHECK(co_await c.send(counted(4)));
        CHECK(counted::copies() == 0);
        CHECK((co_await c.recv())->value() == 4);
    });
    CHECK(counted::errors() == 0);
}

// --- emplace -----------------------------------------------------------------------------------------

namespace {
struct picky {
    picky(int value, text name) : value_(value), name_(std::move(name)) {
        if (value < 0) throw std::invalid_argument("negative");
        ++built;
    }
    picky(picky&&) noexcept = default;
    int value_;
    text name_;
    static inline int built = 0;
};
struct pair_of {
    int a;
    text b;
};
}

TEST_CASE("emplace: builds the value from its arguments, aggregates too") {
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_channel<picky>(1);
        CHECK(co_await out.emplace(3, "three"));
        auto got = co_await in.recv();
        CHECK(got->value_ == 3);
        CHECK(got->name_ == "three");

        rn::channel<pair_of> pairs(1);
        CHECK(co_await pairs.emplace(1, "one"));
        CHECK((co_await pairs.recv())->b == "one");
    });
}

TEST_CASE("emplace: builds nothing for a channel that is closed, and leaves its arguments alone") {
    picky::built = 0;
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_channel<picky>(1);
        text name = long_text;
        in.close();
        CHECK((co_await out.emplace(3, std::move(name))).error() == rn::errc::closed);
        CHECK(name == long_text);
        CHECK((co_await out.emplace(-1, name)).error() == rn::errc::closed);  // not even tried
    });
    CHECK(picky::built == 0);
}

TEST_CASE("emplace: a constructor that throws throws at the co_await, and nothing was sent") {
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_channel<picky>(1);
        bool thrown = false;
        try {
            (void)co_await out.emplace(-1, "bad");
        } catch (const std::invalid_argument&) {
            thrown = true;
        }
        CHECK(thrown);
        CHECK(in.try_recv().error() == rn::errc::empty);
        CHECK(out.try_send(picky(1, "good")));
    });
}

TEST_CASE("emplace: what was built and not sent dies once") {
    counted::reset();
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_channel<counted>(0);
        rn::go([](rn::sender<counted> to) -> rn::task<> { CHECK(!co_await to.emplace(1)); }, out.share());
        co_await settle();
        CHECK(counted::live() == 1);
        in.close();
        co_await settle();
    });
    CHECK(counted::live() == 0);
    CHECK(counted::errors() == 0);
}
