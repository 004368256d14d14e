// How a channel ends: by close() from either side, by its last end, and why; nil ends; moved-from ends.
#include <doctest/doctest.h>
#include <runnel/channel.hpp>
#include <runnel/dump.hpp>
#include <runnel/testing.hpp>

#include <stdexcept>
#include <string>
#include <vector>

#include "support/counted.hpp"
#include "support/dies.hpp"
#include "tasks.hpp"

using namespace support;

namespace {

/// Sends or receives once and notes how it ended.
rn::task<> send_noting(rn::sender<int> out, std::vector<std::error_code>* ends) {
    const auto sent = co_await out.send(1);
    ends->push_back(sent.error());
}
rn::task<> recv_noting(rn::receiver<int> in, std::vector<std::error_code>* ends) {
    const auto got = co_await in.recv();
    ends->push_back(got.error());
}

const std::error_code broken = std::make_error_code(std::errc::broken_pipe);
}

TEST_CASE("close: what was sent before is still received, then comes the cause") {
    auto [out, in] = rn::make_channel<int>(3);
    CHECK(out.try_send(1));
    CHECK(out.try_send(2));
    CHECK(!in.closed());
    CHECK(!in.why());
    CHECK(out.close(broken));
    CHECK(in.closed());
    CHECK(in.why() == broken);
    CHECK(out.try_send(3).error() == broken);
    CHECK(in.try_recv().value() == 1);
    CHECK(in.try_recv().value() == 2);
    CHECK(in.try_recv().error() == broken);
}

TEST_CASE("close: awaited sends and receives give the same answers") {
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(2);
        CHECK(co_await out.send(1));
        out.close();
        CHECK((co_await out.send(2)).error() == rn::errc::closed);
        CHECK((co_await in.recv()).value() == 1);
        CHECK((co_await in.recv()).error() == rn::errc::closed);
    });
}

TEST_CASE("close: only the first call does it, from whichever side, and its cause stays") {
    auto [out, in] = rn::make_channel<int>(1);
    auto second = out.share();
    CHECK(in.close(broken));
    CHECK(!out.close());
    CHECK(!second.close(rn::errc::timed_out));
    CHECK(out.why() == broken);
    CHECK(second.try_send(1).error() == broken);
}

TEST_CASE("close: from the receiving side, senders get the cause at once and receivers still drain") {
    auto [out, in] = rn::make_channel<int>(2);
    CHECK(out.try_send(1));
    CHECK(in.close(broken));
    CHECK(out.try_send(2).error() == broken);
    CHECK(in.try_recv().value() == 1);
    CHECK(in.try_recv().error() == broken);
}

TEST_CASE("close: wakes whoever waits to receive, from either side") {
    for (const bool from_sender : {true, false}) {
        CAPTURE(from_sender);
        std::vector<std::error_code> ends;
        on_workers(
            1,
            [](bool sender_closes, std::vector<std::error_code>* into) -> rn::task<> {
                auto [out, in] = rn::make_channel<int>(4);
                for (int i = 0; i < 200; ++i)
                    rn::go(recv_noting, in.share(), into);  // 64 are woken at a time
                co_await settle();
                CHECK((sender_closes ? out.close(broken) : in.close(broken)));
                co_await settle();
            },
            from_sender, &ends);
        CHECK(ends == std::vector<std::error_code>(200, broken));
    }
}

TEST_CASE("close: wakes whoever waits to send, from either side") {
    for (const bool from_sender : {true, false}) {
        CAPTURE(from_sender);
        std::vector<std::error_code> ends;
        on_workers(
            1,
            [](bool sender_closes, std::vector<std::error_code>* into) -> rn::task<> {
                auto [out, in] = rn::make_channel<int>(1);
                CHECK(out.try_send(0));
                for (int i = 0; i < 200; ++i) rn::go(send_noting, out.share(), into);
                co_await settle();
                CHECK((sender_closes ? out.close(broken) : in.close(broken)));
                co_await settle();
                CHECK(in.try_recv().value() == 0);
                CHECK(in.try_recv().error() == broken);  // what waited to be sent was not sent
            },
            from_sender, &ends);
        CHECK(ends == std::vector<std::error_code>(200, broken));
    }
}

TEST_CASE("close: from a plain thread") {
    rn::runtime runtime(rn::options().workers(1).driver(rn::driver_kind::none));
    auto [out, in] = rn::make_channel<int>(0);
    auto waits = runtime.spawn(
        [](rn::receiver<int> from) -> rn::task<bool> {
            auto got = co_await from.recv();
            co_return got.error() == broken;
        },
        std::move(in));
    CHECK(out.close(broken));
    CHECK(waits.wait().value());
}

// --- Counted ends ------------------------------------------------------------------------------------

TEST_CASE("ends: the last sender that goes closes the channel") {
    auto [out, in] = rn::make_channel<int>(1);
    auto second = out.share();
    out.reset();
    CHECK(!in.closed());
    CHECK(second.try_send(1));
    second = rn::sender<int>();
    CHECK(in.why() == rn::errc::closed);
    CHECK(in.try_recv().value() == 1);
    CHECK(in.try_recv().error() == rn::errc::closed);
}

TEST_CASE("ends: the last sender that goes wakes receivers") {
    std::vector<std::error_code> ends;
    on_workers(
        1,
        [](std::vector<std::error_code>* into) -> rn::task<> {
            auto [out, in] = rn::make_channel<int>(0);
            rn::go(recv_noting, std::move(in), into);
            co_await settle();
            out.reset();
            co_await settle();
        },
        &ends);
    CHECK(ends == std::vector<std::error_code>{rn::errc::closed});
}

TEST_CASE("ends: the last receiver that goes closes it for the senders, those that wait too") {
    std::vector<std::error_code> ends;
    on_workers(
        1,
        [](std::vector<std::error_code>* into) -> rn::task<> {
            auto [out, in] = rn::make_channel<int>(0);
            auto second = in.share();
            rn::go(send_noting, out.share(), into);
            co_await settle();
            in.reset();
            co_await settle();
            CHECK(into->empty());
            second.reset();
            co_await settle();
            CHECK((co_await out.send(2)).error() == rn::errc::closed);
        },
        &ends);
    CHECK(ends == std::vector<std::error_code>{rn::errc::closed});
}

TEST_CASE("ends: what nobody received dies with the last receiver, outside the lock") {
    struct asks_back {
        asks_back(rn::sender<asks_back>* channel, std::size_t* len) : channel_(channel), len_(len) {}
        asks_back(asks_back&& other) noexcept
            : channel_(std::exchange(other.channel_, nullptr)), len_(other.len_) {}
        ~asks_back() {
            if (channel_ != nullptr) *len_ = channel_->len();  // takes the lock: would hang under it
        }
        rn::sender<asks_back>* channel_;
        std::size_t* len_;
    };
    std::size_t len = 99;
    auto [out, in] = rn::make_channel<asks_back>(2);
    rn::sender<asks_back> end = std::move(out);
    CHECK(end.try_send(asks_back(&end, &len)));
    in.reset();
    CHECK(len == 0);
}

TEST_CASE("ends: a sender destroyed by an exception says so") {
    auto [out, in] = rn::make_channel<int>(1);
    try {
        const rn::sender<int> dies = std::move(out);
        throw std::runtime_error("no more");
    } catch (const std::runtime_error&) {}
    CHECK(in.why() == rn::errc::producer_failed);
    CHECK(in.try_recv().error() == rn::errc::producer_failed);
}

namespace {
rn::task<> fails(rn::sender<int> out) {
    CHECK(co_await out.send(1));
    throw std::runtime_error("no more");
}
rn::task<> waits_for_ever(rn::sender<int> out) {
    CHECK(co_await out.send(1));
    (void)co_await rn::channel<int>().recv();
}
}

TEST_CASE("ends: a sender that is the parameter of a task that throws says so, awaited or spawned") {
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(1);
        bool thrown = false;
        try {
            co_await fails(std::move(out));
        } catch (const std::runtime_error&) {
            thrown = true;
        }
        CHECK(thrown);
        CHECK(in.why() == rn::errc::producer_failed);
    });
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(1);
        rn::task_set producers;
        producers.spawn(fails, std::move(out));
        CHECK((co_await in.recv()).value() == 1);
        CHECK((co_await in.recv()).error() == rn::errc::producer_failed);
        bool thrown = false;
        try {
            (void)co_await producers.join();
        } catch (const std::runtime_error&) {
            thrown = true;
        }
        CHECK(thrown);
    });
}

TEST_CASE("ends: the sender of a task that was cancelled says so") {
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(1);
        rn::scope producers;
        producers.spawn(waits_for_ever, std::move(out));
        CHECK((co_await in.recv()).value() == 1);
        co_await settle();
        producers.cancel();
        CHECK((co_await in.recv()).error() == rn::errc::producer_cancelled);
        (void)co_await producers.join();
    });
}

TEST_CASE("ends: a task that has ended gives its ends up, also while somebody holds its join_handle") {
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(0);
        auto producer = rn::go(
            [](rn::sender<int> to) -> rn::task<int> {
                (void)co_await to.send(1);
                co_return 5;
            },
            std::move(out));
        int sum = 0;
        while (auto n = co_await in.recv()) sum += *n;  // would wait for ever if the frame kept the sender
        CHECK(sum == 1);
        CHECK((co_await producer).value() == 5);
    });
}

TEST_CASE("ends: moving one is not giving it up; assigning over one is") {
    auto [out, in] = rn::make_channel<int>(1);
    rn::sender<int> moved = std::move(out);
    CHECK(!in.closed());
    CHECK(moved);
    auto [other, other_in] = rn::make_channel<int>(1);
    moved = std::move(other);
    CHECK(in.closed());
    CHECK(!other_in.closed());
    out = moved.share();  // a moved-from end can be assigned to
    moved.reset();
    CHECK(out.try_send(4));
    CHECK(other_in.try_recv().value() == 4);
}

// --- Nil -----------------------------------------------------------------------------------------------

TEST_CASE("nil: a default-made end is never ready") {
    const rn::sender<int> out;
    const rn::receiver<int> in;
    const rn::channel<int> both;
    CHECK(!out);
    CHECK(!in);
    CHECK(!both);
    CHECK(out.try_send(1).error() == rn::errc::no_receiver);
    CHECK(in.try_recv().error() == rn::errc::empty);
    CHECK(both.try_send(1).error() == rn::errc::no_receiver);
    CHECK(both.try_recv().error() == rn::errc::empty);
    CHECK(!out.close());
    CHECK(!in.why());
    CHECK(in.len() == 0);
    CHECK(in.capacity() == 0);
    CHECK(!in.share());
}

TEST_CASE("nil: waiting for it ends by cancellation only, and a dump says so without a place") {
    std::vector<std::error_code> ends;
    on_workers(
        1,
        [](std::vector<std::error_code>* into) -> rn::task<> {
            rn::scope waiters;
            waiters.spawn(send_noting, rn::sender<int>(), into);
            waiters.spawn(recv_noting, rn::receiver<int>(), into);
            co_await settle();
            CHECK(into->empty());
            const std::string dump = rn::dump_tasks();
            CAPTURE(dump);
            CHECK(dump.find("task waiting to send, for") != std::string::npos);
            CHECK(dump.find("task waiting to receive, for") != std::string::npos);
            waiters.cancel();
            (void)co_await waiters.join();
        },
        &ends);
    CHECK(ends == std::vector<std::error_code>{rn::errc::cancelled, rn::errc::cancelled});
}

// --- Misuse --------------------------------------------------------------------------------------------

TEST_CASE("misuse: an end that was moved from is check()ed, and the report names the line") {
    auto [out, in] = rn::make_channel<int>(1);
    const rn::sender<int> moved = std::move(out);
    CHECK(dies([&end = out] { (void)end.try_send(1); }, "close_test.cpp"));
    CHECK(dies([&end = out] { (void)end.send(1); }, "used after it was moved from"));
    CHECK(dies([&end = out] { (void)end.emplace(1); }, "used after it was moved from"));
    CHECK(dies([&end = out] { (void)end.share(); }, "used after it was moved from"));
    CHECK(dies([&end = out] { (void)end.why(); }, "used after it was moved from"));
    const rn::receiver<int> taken = std::move(in);
    CHECK(dies([&end = in] { (void)end.recv(); }, "used after it was moved from"));
}

namespace {
template <class End>
rn::task<> send_to(const End& to) {
    auto sent = co_await to.send(1);
    sent.ignore();
}
template <class End>
rn::task<> receive_from(const End& from) {
    (void)co_await from.recv();
}
rn::task<> wait_for_close(const rn::sender<int>& of) { (void)co_await of.on_closed(); }

/// In a simulation: a task waits at an end that another then gives up.
template <class End>
void give_up_while_waited_for(End& end, rn::task<> (*wait)(const End&)) {
    (void)rn::testing::simulate(rn::testing::options(), [&end, wait]() -> rn::task<> {
        rn::task_set tasks;
        tasks.spawn(wait, rn::borrow(std::as_const(end)));
        co_await rn::testing::wait_until_all_tasks_wait();
        end.reset();
        (void)co_await tasks.join();
    });
}
}

TEST_CASE(
    "misuse: the last end of its kind is given up while it is waited for, and the report names the channel") {
    auto [out, in] = rn::make_channel<int>(0);
    rn::channel<int> both(0);
    const char* const report = "channel: an end is given up while it is waited for (";
    CHECK(dies([&end = in] { give_up_while_waited_for(end, receive_from); }, report));
    CHECK(dies([&end = out] { give_up_while_waited_for(end, send_to); }, "close_test.cpp"));
    CHECK(dies([&end = out] { give_up_while_waited_for(end, wait_for_close); }, report));
    CHECK(dies([&both] { give_up_while_waited_for(both, receive_from); }, report));
}
