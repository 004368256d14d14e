// Permits: places that are held for values to come.
#include <doctest/doctest.h>
#include <runnel/channel.hpp>
#include <runnel/context.hpp>
#include <runnel/go.hpp>
#include <runnel/select.hpp>
#include <runnel/select_any.hpp>
#include <runnel/testing.hpp>
#include <runnel/time.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/counted.hpp"
#include "support/dies.hpp"
#include "support/level.hpp"
#include "support/scarce_memory.hpp"
#include "support/virtual_time.hpp"
#include "tasks.hpp"

namespace testing = runnel::testing;
using namespace std::chrono_literals;
using namespace support;

namespace {

rn::task<rn::result<rn::send_permit<int>>> reserve_from(rn::sender<int> out) {
    co_return co_await out.reserve();
}
rn::task<rn::result<int>> receive_one(rn::receiver<int> in) { co_return co_await in.recv(); }
rn::task<rn::result<>> send_one(rn::sender<int> out, int value) { co_return co_await out.send(value); }

// --- What a permit is ------------------------------------------------------------------------------

TEST_CASE("permit: a place that is held is nobody else's and its send cannot fail for want of room") {
    in_virtual_time([]() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(2);
        auto place = co_await out.reserve();
        REQUIRE(place);
        CHECK(out.stats().reserved == 1);
        CHECK(out.try_send(1));
        CHECK(out.try_send(2).error() == rn::errc::full);
        CHECK(out.try_reserve().error() == rn::errc::full);
        CHECK(place->send(3));
        CHECK_FALSE(*place);
        CHECK(out.stats().reserved == 0);
        CHECK(out.len() == 2);
        CHECK(*in.try_recv() == 1);
        CHECK(*in.try_recv() == 3);
    });
}

TEST_CASE("permit: a value goes straight to a receiver that waits and the place to who waits for one") {
    in_virtual_time([]() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(1);
        auto place = co_await out.reserve();
        auto receiver = rn::go(receive_one, in.share());
        auto reserver = rn::go(reserve_from, out.share());
        co_await settle();
        CHECK(out.stats().waiting_receivers == 1);
        CHECK(out.stats().waiting_senders == 1);
        CHECK(place->send(5));
        CHECK(*co_await receiver == 5);
        auto second = co_await reserver;
        REQUIRE(second);
        CHECK(out.stats().reserved == 1);
    });
}

TEST_CASE("permit: reservers and senders are served in the order in which they came") {
    in_virtual_time([]() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(1);
        CHECK(out.try_send(0));
        auto first = rn::go(reserve_from, out.share());
        (void)co_await rn::yield();
        auto second = rn::go(send_one, out.share(), 2);
        (void)co_await rn::yield();
        auto third = rn::go(reserve_from, out.share());
        co_await settle();
        CHECK(*in.try_recv() == 0);
        auto place = co_await first;
        REQUIRE(place);
        CHECK(out.stats().waiting_senders == 2);
        CHECK(place->send(1));
        CHECK(*in.try_recv() == 1);
        CHECK(co_await second);
        CHECK(out.stats().waiting_senders == 1);
        CHECK(*in.try_recv() == 2);
        CHECK(co_await third);
    });
}

TEST_CASE("permit: when all places are held a receiver and a sender meet all the same") {
    in_virtual_time([]() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(1);
        auto held = co_await out.reserve();
        auto reserver = rn::go(reserve_from, out.share());
        co_await settle();
        auto sender = rn::go(send_one, out.share(), 7);
        co_await settle();
        CHECK((co_await in.recv()).value() == 7);  // the sender waited, behind a reserver
        CHECK(co_await sender);
        auto receiver = rn::go(receive_one, in.share());
        co_await settle();
        CHECK(out.try_send(8));  // a receiver waits: no place is needed
        CHECK(*co_await receiver == 8);
        held->reset();
        auto place = co_await reserver;
        CHECK(place);
    });
}

TEST_CASE("permit: dropped unused it gives its place to the next that waits") {
    in_virtual_time([]() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(1);
        auto sender = [&] {
            auto held = out.try_reserve();
            REQUIRE(held);
            return rn::go(send_one, out.share(), 1);
        };
        auto waiting = sender();  // the permit is gone before the sender runs
        CHECK(co_await waiting);
        CHECK(*in.try_recv() == 1);
        auto held = co_await out.reserve();
        auto behind = rn::go(send_one, out.share(), 2);
        co_await settle();
        CHECK(out.stats().waiting_senders == 1);
        held = rn::result<rn::send_permit<int>>(rn::errc::empty);
        CHECK(co_await behind);
        CHECK(*in.try_recv() == 2);
    });
}

TEST_CASE("permit: a reserve that is cancelled or too late holds nothing") {
    in_virtual_time([]() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(1);
        CHECK(out.try_send(0));
        auto late = co_await rn::with_timeout(1s, out.reserve());
        CHECK(late.error() == rn::errc::timed_out);
        auto [ctx, cancel] = rn::with_cancel(rn::current_context());
        auto waits = rn::go(
            [](rn::context under, rn::sender<int> to) -> rn::task<bool> {
                auto got = co_await rn::with_context(under, to.reserve());
                co_return got.has_value();
            },
            ctx, out.share());
        co_await settle();
        cancel();
        CHECK_FALSE(*co_await waits);
        CHECK(out.stats().waiting_senders == 0);
        CHECK(*in.try_recv() == 0);
        CHECK(out.stats().reserved == 0);
        CHECK(out.try_send(1));
    });
}

TEST_CASE("permit: a select reserves first and then takes the value that it passes on") {
    in_virtual_time([]() -> rn::task<> {
        auto [from, numbers] = rn::make_channel<int>(4);
        auto [to, results] = rn::make_channel<int>(1);
        for (int i = 0; i < 4; ++i) CHECK(from.try_send(i));
        CHECK(to.try_send(99));
        auto won = co_await rn::select(to.reserve(), rn::after(1s));
        CHECK(won.index() == 1);
        CHECK(*results.try_recv() == 99);
        auto place = co_await rn::select(to.reserve(), rn::after(1s));
        REQUIRE(place.index() == 0);
        auto held = place.take<0>();
        REQUIRE(held);
        CHECK(held->send(*numbers.try_recv()));
        CHECK(*results.try_recv() == 0);
    });
}

TEST_CASE("permit: what throws while the value is made leaves the place held") {
    struct fragile {
        explicit fragile(int value) {
            if (value < 0) throw std::runtime_error("negative");
        }
        fragile(const fragile&) { throw std::runtime_error("no copies"); }
        fragile(fragile&&) noexcept {}
    };
    auto [out, in] = rn::make_channel<fragile>(1);
    auto place = out.try_reserve();
    CHECK_THROWS((void)place->emplace(-1));
    const fragile one(1);
    CHECK_THROWS((void)place->send(one));
    CHECK(*place);
    CHECK(place->emplace(1));
    CHECK(in.len() == 1);
}

// --- Closing ---------------------------------------------------------------------------------------

TEST_CASE("permit: what is sent by one after the close is received and only then the close") {
    in_virtual_time([]() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(3);
        auto one = co_await out.reserve();
        auto two = co_await out.reserve();
        CHECK(out.try_send(0));
        CHECK(out.close());
        CHECK(in.closed());
        CHECK(out.try_reserve().error() == rn::errc::closed);
        CHECK(*in.try_recv() == 0);
        CHECK(in.try_recv().error() == rn::errc::empty);  // not closed yet: places are held
        auto first = rn::go(receive_one, in.share());
        co_await settle();
        auto second = rn::go(receive_one, in.share());
        co_await settle();
        CHECK(in.stats().waiting_receivers == 2);
        CHECK(one->send(1));
        CHECK(*co_await first == 1);
        co_await settle();
        CHECK(in.stats().waiting_receivers == 1);
        two->reset();
        auto ended = co_await second;
        CHECK(ended.error() == rn::errc::closed);
        CHECK(in.try_recv().error() == rn::errc::closed);
    });
}

TEST_CASE("permit: the last one that is used after the close wakes all receivers") {
    in_virtual_time([]() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(1);
        auto place = co_await out.reserve();
        std::vector<rn::join_handle<rn::result<int>>> waiting;
        for (int i = 0; i < 100; ++i) waiting.push_back(rn::go(receive_one, in.share()));
        co_await settle();
        out.close(make_error_code(rn::errc::too_slow));
        co_await settle();
        CHECK(in.stats().waiting_receivers == 100);
        CHECK(place->send(1));
        int values = 0;
        for (auto& each : waiting) {
            auto got = co_await each;
            if (got)
                ++values;
            else
                CHECK(got.error() == rn::errc::too_slow);
        }
        CHECK(values == 1);
    });
}

TEST_CASE("permit: it outlives its sender and keeps nothing open") {
    in_virtual_time([]() -> rn::task<> {
        auto [out, in] = rn::make_channel<std::string>(1);
        auto place = co_await out.reserve();
        out.reset();
        CHECK(in.closed());
        CHECK(place->emplace(100U, 'x'));
        CHECK((co_await in.recv()).value() == std::string(100, 'x'));
        CHECK((co_await in.recv()).error() == rn::errc::closed);
    });
    auto [out, in] = rn::make_channel<std::string>(1);
    auto place = out.try_reserve();
    out.reset();
    in.reset();  // only the permit has the channel now
    CHECK(place->send("nobody").error() == rn::errc::closed);
}

TEST_CASE("permit: with nobody left to receive the value stays the caller's") {
    std::vector<int> dropped;
    auto [out, in] =
        rn::make_channel<std::unique_ptr<int>>(rn::channel_options<std::unique_ptr<int>>(2).on_drop(
            [&](std::unique_ptr<int>&& value, rn::dropped) { dropped.push_back(*value); }));
    auto early = out.try_reserve();
    auto late = out.try_reserve();
    CHECK(early->send(std::make_unique<int>(1)));
    in.reset();
    CHECK(dropped == std::vector<int>{1});  // sent before, and undelivered
    auto value = std::make_unique<int>(2);
    CHECK(late->send(rn::from(value)).error() == rn::errc::closed);
    REQUIRE(value);
    CHECK(*value == 2);
    CHECK_FALSE(*late);
    CHECK(dropped.size() == 1);
}

TEST_CASE("permit: who waits to reserve is woken by the close") {
    in_virtual_time([]() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(1);
        CHECK(out.try_send(0));
        auto waits = rn::go(reserve_from, out.share());
        co_await settle();
        in.reset();
        auto how = co_await waits;
        CHECK(how.error() == rn::errc::closed);
    });
}

TEST_CASE("permit: of a Go channel which is closed by hand and whose values die with it") {
    counted::reset();
    {
        rn::channel<counted> ch(2);
        auto place = ch.try_reserve();
        ch.close();
        CHECK(place->emplace(1));
        CHECK(ch.len() == 1);
        auto left = rn::channel<counted>(1).try_reserve();  // the channel lives in the permit
        CHECK(left->emplace(2));
    }
    CHECK(counted::live() == 0);
    CHECK(counted::errors() == 0);
}

// --- Room ------------------------------------------------------------------------------------------

TEST_CASE("permit: a channel without room has none and says so") {
    in_virtual_time([]() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(0);
        CHECK((co_await out.reserve()).error() == rn::errc::no_places);
        CHECK(out.try_reserve().error() == rn::errc::no_places);
        auto receiver = rn::go(receive_one, in.share());
        co_await settle();
        CHECK(out.try_reserve().error() == rn::errc::no_places);  // a receiver that waits is none
        CHECK(out.try_send(1));
        CHECK(*co_await receiver == 1);
        CHECK(rn::sender<int>().try_reserve().error() == rn::errc::no_receiver);
    });
}

TEST_CASE("permit: a reserve that found no places can be waited for again and finds one when there is room") {
    in_virtual_time([]() -> rn::task<> {
        auto [out, in] = rn::make_channel<std::string>(0);
        std::vector<decltype(out.reserve())> all;
        all.push_back(out.reserve());
        auto none = co_await rn::select_any(all);
        CHECK(none.get().error() == rn::errc::no_places);
        out.set_capacity(1);
        auto won = co_await rn::select_any(all);
        auto place = won.take();
        REQUIRE(place);
        CHECK(out.len() == 0);
        CHECK(place->send("for whom there was no place"));
        CHECK(*in.try_recv() == "for whom there was no place");
        all[0] = out.reserve();
        all.erase(all.begin());
    });
}

TEST_CASE(
    "permit: another capacity leaves places held, serves who waits, and turns away when none are left") {
    in_virtual_time([]() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(2);
        auto one = co_await out.reserve();
        auto two = co_await out.reserve();
        auto waits = rn::go(reserve_from, out.share());
        co_await settle();
        out.set_capacity(3);
        auto three = co_await waits;
        REQUIRE(three);
        CHECK(out.stats().reserved == 3);
        auto refused = rn::go(reserve_from, out.share());
        co_await settle();
        auto sender = rn::go(send_one, out.share(), 4);
        co_await settle();
        out.set_capacity(0);
        auto how = co_await refused;
        CHECK(how.error() == rn::errc::no_places);
        CHECK(out.stats().waiting_senders == 1);
        CHECK(one->send(1));  // its place is still its own
        CHECK(two->send(2));
        three->reset();
        CHECK(out.stats().waiting_senders == 1);
        out.set_capacity(3);
        CHECK(co_await sender);
        for (int want : {1, 2, 4}) CHECK(*in.try_recv() == want);
    });
}

TEST_CASE("permit: an unbounded channel always has a place with memory for it") {
    auto [out, in] = rn::make_channel<std::string>(rn::unbounded);
    std::vector<rn::send_permit<std::string>> places;
    for (int i = 0; i < 1000; ++i) places.push_back(*out.try_reserve());
    CHECK(out.stats().reserved == 1000);
    for (int i = 0; i < 20; ++i) CHECK(out.try_send("between"));
    for (int i = 0; i < 20; ++i) CHECK(*in.try_recv() == "between");  // empty: but the memory is still wanted
    bool all_sent = true;
    {
        const scarce_memory none(0);
        for (std::size_t i = 0; i < 500; ++i) all_sent = places[i].send(std::string()) && all_sent;
    }
    CHECK(all_sent);
    places.clear();
    CHECK(out.stats().reserved == 0);
    CHECK(in.len() == 500);
}

TEST_CASE("permit: where nobody waits a reserve without room says so and held places are not taken") {
    using rn::overflow;
    for (overflow how : {overflow::fail, overflow::drop_newest, overflow::drop_oldest, overflow::close}) {
        auto [out, in] = rn::make_channel<int>(rn::channel_options<int>(2).overflow(how));
        CHECK(out.try_send(0));
        auto place = out.try_reserve();
        REQUIRE(place);
        CHECK(out.try_reserve().error() == rn::errc::full);
        CHECK_FALSE(out.closed());
        CHECK(out.stats().dropped == 0);
        (void)out.try_send(1);  // no room: by the overflow
        CHECK(place->send(2));
        CHECK(*in.try_recv() == (how == overflow::drop_oldest ? 1 : 0));
        CHECK(*in.try_recv() == 2);
    }
    in_virtual_time([]() -> rn::task<> {
        for (overflow how : {overflow::fail, overflow::drop_newest, overflow::drop_oldest, overflow::close}) {
            auto [out, in] = rn::make_channel<int>(rn::channel_options<int>(1).overflow(how));
            CHECK(out.try_send(0));
            CHECK((co_await out.reserve()).error() == rn::errc::full);
        }
    });
    auto [out, in] = rn::make_channel<int>(rn::channel_options<int>(1).overflow(overflow::keep_latest));
    auto place = out.try_reserve();
    CHECK(out.try_send(1));  // there is no oldest in its favour: dropped itself
    CHECK(out.stats().dropped == 1);
    CHECK(place->send(2));
    CHECK(*in.try_recv() == 2);
}

TEST_CASE("permit: a send by one reaches the soft limit too") {
    std::vector<std::size_t> told;
    auto [out, in] = rn::make_channel<int>(
        rn::channel_options<int>(4).soft_limit(2, [&](std::size_t n) { told.push_back(n); }));
    auto one = out.try_reserve();
    auto two = out.try_reserve();
    CHECK(told.empty());
    CHECK(one->send(1));
    CHECK(two->send(2));
    CHECK(told == std::vector<std::size_t>{2});
}

TEST_CASE("permit: values for which places are given back and those for which there is more room reach the "
          "soft limit") {
    in_virtual_time([]() -> rn::task<> {
        std::vector<std::size_t> told;
        auto [out, in] = rn::make_channel<int>(
            rn::channel_options<int>(2).soft_limit(2, [&](std::size_t n) { told.push_back(n); }));
        auto one = out.try_reserve();
        auto two = out.try_reserve();
        std::vector<rn::join_handle<rn::result<>>> senders;
        for (int i = 0; i < 4; ++i) senders.push_back(rn::go(send_one, out.share(), i));
        co_await settle();
        one->reset();
        CHECK(told.empty());
        two->reset();
        CHECK(told == std::vector<std::size_t>{2});
        while (in.try_recv()) {}
        for (auto& each : senders) CHECK(co_await each);
    });
    in_virtual_time([]() -> rn::task<> {
        std::vector<std::size_t> told;
        auto [out, in] = rn::make_channel<int>(
            rn::channel_options<int>(0).soft_limit(2, [&](std::size_t n) { told.push_back(n); }));
        auto one = rn::go(send_one, out.share(), 1);
        auto two = rn::go(send_one, out.share(), 2);
        co_await settle();
        out.set_capacity(5);
        CHECK(told == std::vector<std::size_t>{2});
        CHECK(co_await one);
        CHECK(co_await two);
    });
}

TEST_CASE("permit: its misuse is found out") {
    CHECK(dies(
        [] {
            auto [out, in] = rn::make_channel<int>(2);
            auto place = out.try_reserve();
            (void)place->send(1);
            (void)place->send(2);
        },
        "it holds no place"));
    CHECK(dies(
        [] {
            auto [out, in] = rn::make_channel<int>(2);
            auto place = out.try_reserve();
            auto other = std::move(*place);
            (void)place->send(2);
        },
        "it holds no place"));
}

// --- On real threads -------------------------------------------------------------------------------

struct shares {
    std::atomic<long> sent{0};
    std::atomic<long> sum{0};
    std::atomic<bool> over{false};
};

rn::task<> reserve_and_use(rn::sender<long> out, int rounds, shares& all) {
    for (int i = 1; i <= rounds; ++i) {
        auto place = co_await rn::with_timeout(i % 5 == 0 ? 1us : 1s, out.reserve());
        if (!place) {
            CHECK(place.error() == rn::errc::timed_out);
            continue;
        }
        if (i % 7 == 0) continue;  // given back
        if (i % 3 == 0) (void)co_await rn::yield();
        CHECK(place->send(i));
        all.sent += i;
    }
}
rn::task<> send_many(rn::sender<long> out, int rounds, shares& all) {
    for (int i = 1; i <= rounds; ++i) {
        const long value = i;
        auto sent = co_await out.send(value);
        CHECK(sent);
        all.sent += i;
    }
}
rn::task<> receive_all(rn::receiver<long> in, shares& all) {
    for (auto n = co_await in.recv(); n; n = co_await in.recv()) all.sum += *n;
}
rn::task<> change_capacity(rn::weak_sender<long> of, shares& all) {
    for (std::size_t i = 0; !all.over; ++i) {
        of.set_capacity(1 + i % 3);
        (void)co_await rn::sleep_for(20us);
    }
}

TEST_CASE("permit: on real threads nothing is lost and every place comes back") {
    const int rounds = scaled(2'000, 100'000);
    shares all;
    on_workers(3, [&]() -> rn::task<> {
        auto [out, in] = rn::make_channel<long>(2);
        auto changes = rn::go(change_capacity, rn::weak_sender<long>(out), rn::borrow(all));
        rn::task_set receivers;
        rn::task_set senders;
        for (int i = 0; i < 2; ++i) {
            receivers.spawn(receive_all, in.share(), rn::borrow(all));
            senders.spawn(reserve_and_use, out.share(), rounds, rn::borrow(all));
            senders.spawn(send_many, out.share(), rounds, rn::borrow(all));
        }
        auto last = co_await out.reserve();
        auto ended = co_await senders.join();
        CHECK(ended);
        all.over = true;
        (void)co_await changes;
        out.reset();
        CHECK(in.closed());
        CHECK(last->send(1));
        all.sent += 1;
        ended = co_await receivers.join();
        CHECK(ended);
        CHECK(in.stats().reserved == 0);
        CHECK(in.stats().items == 0);
    });
    CHECK(all.sum == all.sent);
}

TEST_CASE(
    "permit: when there are no places any more no receiver takes one who waits for a place for a sender") {
    const int rounds = scaled(20, 1'000);
    counted::reset();
    for (int round = 0; round < rounds; ++round) {
        rn::runtime runtime(rn::options().workers(1).driver(rn::driver_kind::none));
        auto [out, in] = rn::make_channel<counted>(1);
        CHECK(out.try_send(counted(1)));
        std::vector<rn::join_handle<>> reservers;
        for (int i = 0; i < 500; ++i)
            reservers.push_back(runtime.spawn(
                [](rn::sender<counted> to) -> rn::task<> {
                    auto place = co_await to.reserve();
                    CHECK(place.error() == rn::errc::no_places);
                },
                out.share()));
        while (out.stats().waiting_senders != 500) std::this_thread::yield();
        std::thread receives([&from = in] {
            while (from.stats().waiting_senders == 500) {}
            for (int i = 0; i < 1000; ++i) {
                auto got = from.try_recv();
                if (got) CHECK(got->value() == 1);
            }
        });
        out.set_capacity(0);
        receives.join();
        for (auto& each : reservers) CHECK(each.wait());
    }
    CHECK(counted::live() == 0);
    CHECK(counted::errors() == 0);
}

TEST_CASE("permit: threads of the program use permits while the receivers go and the channel is closed") {
    const int rounds = scaled(200, 10'000);
    for (int round = 0; round < rounds; ++round) {
        counted_move_only::reset();
        std::atomic<int> received{0};
        int undelivered = 0;
        int sent = 0;
        {
            auto [out, in] =
                rn::make_channel<counted_move_only>(rn::channel_options<counted_move_only>(4).on_drop(
                    [&](counted_move_only&&, rn::dropped) { ++undelivered; }));
            std::vector<rn::send_permit<counted_move_only>> places;
            for (int i = 0; i < 4; ++i) places.push_back(*out.try_reserve());
            std::thread receives([from = std::move(in), &received]() mutable {
                for (int i = 0; i < 2; ++i)
                    if (from.try_recv()) ++received;
                from.reset();
            });
            std::thread closes([to = std::move(out)] { to.close(); });
            for (auto& place : places) sent += place.emplace(1) ? 1 : 0;
            receives.join();
            closes.join();
        }
        CHECK(sent == received + undelivered);
        CHECK(counted_move_only::live() == 0);
        CHECK(counted_move_only::errors() == 0);
    }
}

}
