// How values travel: order, room, hand-over, and what a T may be.
#include <doctest/doctest.h>
#include <runnel/channel.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "support/counted.hpp"
#include "tasks.hpp"

using namespace support;

namespace {

rn::task<> send_numbers(rn::sender<int> out, int first, int last) {
    for (int i = first; i < last; ++i)
        if (!co_await out.send(i)) co_return;
}

rn::task<> receive_into(rn::receiver<int> in, std::vector<int>* got) {
    while (auto n = co_await in.recv()) got->push_back(*n);
}

rn::task<> receive_one(rn::receiver<int> in, int* into) { *into = (co_await in.recv()).value(); }

rn::task<> send_one(rn::sender<int> out, int value, std::vector<int>* sent) {
    const auto end = co_await out.send(value);
    if (end) sent->push_back(value);
}
}

TEST_CASE("channel: values arrive in the order in which they were sent, whatever the room") {
    for (const std::size_t capacity : {0U, 1U, 2U, 3U, 7U, 100U}) {
        CAPTURE(capacity);
        std::vector<int> got;
        on_workers(
            1,
            [](std::size_t room, std::vector<int>* into) -> rn::task<> {
                auto [out, in] = rn::make_channel<int>(room);
                rn::go(send_numbers, std::move(out), 0, 50);
                while (auto n = co_await in.recv()) into->push_back(*n);
            },
            capacity, &got);
        REQUIRE(got.size() == 50);
        for (int i = 0; i < 50; ++i) CHECK(got[static_cast<std::size_t>(i)] == i);
    }
}

TEST_CASE("channel: with room for n it takes exactly n values that nobody waits for") {
    for (std::size_t capacity = 0; capacity < 6; ++capacity) {
        CAPTURE(capacity);
        auto [out, in] = rn::make_channel<int>(capacity);
        CHECK(in.capacity() == capacity);
        for (int round = 0; round < 4; ++round) {  // more than once: the ring wraps around
            for (std::size_t i = 0; i < capacity; ++i) {
                CHECK(out.try_send(static_cast<int>(i)));
                CHECK(out.len() == i + 1);
            }
            CHECK(out.try_send(99).error() == (capacity == 0 ? rn::errc::no_receiver : rn::errc::full));
            for (std::size_t i = 0; i < capacity; ++i) CHECK(in.try_recv().value() == static_cast<int>(i));
            CHECK(in.try_recv().error() == rn::errc::empty);
            CHECK(in.len() == 0);
        }
    }
}

TEST_CASE("channel: the ring wraps around at any point") {
    auto [out, in] = rn::make_channel<int>(3);
    for (int i = 0; i < 20; ++i) {
        CHECK(out.try_send(2 * i));
        CHECK(out.try_send(2 * i + 1));
        CHECK(in.try_recv().value() == 2 * i);
        CHECK(in.try_recv().value() == 2 * i + 1);
    }
}

TEST_CASE("channel: without room a send ends only when somebody receives") {
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(0);
        std::vector<int> sent;
        rn::go(send_one, out.share(), 7, &sent);
        co_await settle();
        CHECK(sent.empty());
        CHECK(in.len() == 0);
        CHECK((co_await in.recv()).value() == 7);
        co_await settle();
        CHECK(sent == std::vector{7});
    });
}

TEST_CASE("channel: a value goes straight to a receiver that waits") {
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(4);
        int got = 0;
        rn::go(receive_one, in.share(), &got);
        co_await settle();
        CHECK(out.try_send(5));
        CHECK(out.len() == 0);
        co_await settle();
        CHECK(got == 5);
    });
}

TEST_CASE("channel: tasks that wait to receive are served first come first served") {
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(0);
        std::vector<int> got(4);
        for (std::size_t name = 1; name <= 3; ++name) {
            rn::go(receive_one, in.share(), &got[name]);
            co_await settle();
        }
        for (int value = 10; value <= 30; value += 10) CHECK(out.try_send(value));
        co_await settle();
        CHECK(got == std::vector{0, 10, 20, 30});
    });
}

TEST_CASE("channel: tasks that wait to send are served first come first served, and move up into the room") {
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(1);
        std::vector<int> sent;
        for (int value = 1; value <= 4; ++value) {
            rn::go(send_one, out.share(), value, &sent);
            co_await settle();
        }
        CHECK(sent == std::vector{1});
        for (int value = 1; value <= 4; ++value) {
            CHECK(in.try_recv().value() == value);
            CHECK(in.len() == (value < 4 ? 1 : 0));  // whoever waited first has taken the room at once
            co_await settle();
            CHECK(sent.size() == static_cast<std::size_t>(value < 4 ? value + 1 : 4));
        }
        CHECK(sent == std::vector{1, 2, 3, 4});
    });
}

TEST_CASE("channel: nobody can take the room from a sender that waits for it") {
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(1);
        std::vector<int> sent;
        CHECK(out.try_send(1));
        rn::go(send_one, out.share(), 2, &sent);
        co_await settle();
        CHECK(in.try_recv().value() == 1);
        CHECK(out.try_send(3).error() == rn::errc::full);  // 2 has moved up, though its task has not run yet
        CHECK(in.try_recv().value() == 2);
        co_await settle();
    });
}

TEST_CASE("channel: each value goes to exactly one of the receivers") {
    std::vector<int> got[3];
    on_workers(
        1,
        [](std::vector<int>* into) -> rn::task<> {
            auto [out, in] = rn::make_channel<int>(2);
            rn::scope receivers;
            for (int i = 0; i < 3; ++i) receivers.spawn(receive_into, in.share(), into + i);
            in.reset();
            co_await send_numbers(std::move(out), 0, 30);
            CHECK(co_await receivers.join());
        },
        &got[0]);
    std::vector<int> all;
    for (const auto& each : got) all.insert(all.end(), each.begin(), each.end());
    std::sort(all.begin(), all.end());
    REQUIRE(all.size() == 30);
    for (int i = 0; i < 30; ++i) CHECK(all[static_cast<std::size_t>(i)] == i);
}

TEST_CASE("channel: the same channel on both ends of one task, if it has room") {
    on_workers(1, []() -> rn::task<> {
        rn::channel<std::string> notes(2);
        CHECK(co_await notes.send("a"));
        CHECK(co_await notes.send("b"));
        CHECK((co_await notes.recv()).value() == "a");
        CHECK((co_await notes.recv()).value() == "b");
    });
}

TEST_CASE("channel: try_send and try_recv work on any thread, without a runtime") {
    auto [out, in] = rn::make_channel<std::string>(1);
    std::thread other([end = std::move(out)] { CHECK(end.try_send("hello")); });
    other.join();
    CHECK(in.try_recv().value() == "hello");
    CHECK(in.try_recv().error() == rn::errc::closed);
}

TEST_CASE("channel: a plain thread wakes a task, and is woken for by its values") {
    rn::runtime runtime(rn::options().workers(1).driver(rn::driver_kind::none));
    auto [questions, asked] = rn::make_channel<int>(1);
    auto [answers, got] = rn::make_channel<int>(1);
    auto task = runtime.spawn(
        [](rn::receiver<int> in, rn::sender<int> out) -> rn::task<> {
            while (auto n = co_await in.recv()) (void)co_await out.send(2 * *n);
        },
        std::move(asked), std::move(answers));
    for (int i = 0; i < 100; ++i) {
        while (!questions.try_send(i)) std::this_thread::yield();
        rn::result<int> answer = got.try_recv();
        for (; answer.error() == rn::errc::empty; answer = got.try_recv()) std::this_thread::yield();
        REQUIRE(answer.value() == 2 * i);
    }
    questions.reset();
    CHECK(task.wait());
}

// --- What a T may be -------------------------------------------------------------------------------

namespace {
struct nothing {};
struct alignas(16) wide {
    double x = 0, y = 0;
};
struct linked {
    int value = 0;
    rn::sender<linked> reply;  // a channel of its own type: T may be incomplete where the end is named
};

template <class T>
rn::task<> pass_on(std::size_t capacity, T (*make)()) {
    rn::channel<T> hop(capacity);
    rn::go(
        [](rn::channel<T> to, T (*get)()) -> rn::task<> {
            for (int i = 0; i < 5; ++i) (void)co_await to.emplace(get());
            to.close();
        },
        hop, make);
    int count = 0;
    while (auto got = co_await hop.recv()) ++count;
    CHECK(count == 5);
}
}

TEST_CASE("channel: a T may be move-only, without size, or aligned to 16") {
    for (const std::size_t capacity : {0U, 1U, 3U}) {
        on_workers(1, pass_on<std::unique_ptr<int>>, capacity, [] { return std::make_unique<int>(1); });
        on_workers(1, pass_on<nothing>, capacity, [] { return nothing(); });
        on_workers(1, pass_on<wide>, capacity, [] { return wide(); });
        on_workers(1, pass_on<std::string>, capacity, [] { return std::string(100, 'x'); });
    }
}

TEST_CASE("channel: a channel can carry ends of channels of its own type") {
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_channel<linked>(1);
        auto [reply, replies] = rn::make_channel<linked>(1);
        linked question{41, std::move(reply)};
        CHECK(co_await out.send(rn::from(question)));
        auto asked = co_await in.recv();
        linked answer{asked->value + 1, {}};
        CHECK(co_await asked->reply.send(rn::from(answer)));
        CHECK((co_await replies.recv())->value == 42);
    });
}

TEST_CASE("channel: every value dies exactly once, received or not") {
    counted::reset();
    counted_move_only::reset();
    on_workers(1, []() -> rn::task<> {
        rn::channel<counted> kept(4);
        for (int i = 0; i < 3; ++i) CHECK(co_await kept.emplace(i));
        CHECK((co_await kept.recv())->value() == 0);
        CHECK(counted::live() == 2);

        rn::channel<counted_move_only> through(0);
        rn::go([](rn::channel<counted_move_only> to) -> rn::task<> { (void)co_await to.emplace(7); },
               through);
        CHECK((co_await through.recv())->value() == 7);
    });
    CHECK(counted::live() == 0);
    CHECK(counted::errors() == 0);
    CHECK(counted_move_only::live() == 0);
    CHECK(counted_move_only::errors() == 0);
}

TEST_CASE("channel: a hand-over moves the value once on each side, and never copies") {
    counted::reset();
    on_workers(1, []() -> rn::task<> {
        rn::channel<counted> hop(0);
        rn::go([](rn::channel<counted> from) -> rn::task<> { CHECK((co_await from.recv())->value() == 3); },
               hop);
        co_await settle();
        counted value(3);
        CHECK(co_await hop.send(rn::from(value)));
        co_await settle();
    });
    CHECK(counted::moves() == 2);  // into the receiver's frame, and out of it into its result
    CHECK(counted::copies() == 0);
}

TEST_CASE("channel: Go's handle is copied, compared, and keeps the memory as long as any copy lives") {
    rn::channel<int> a(1);
    rn::channel<int> b = a;
    const rn::channel<int> other(1);
    CHECK(a == b);
    CHECK(!(a == other));
    CHECK(a.try_send(5));
    a = other;
    CHECK(b.try_recv().value() == 5);
    b = rn::channel<int>();
    CHECK(!b);
}

TEST_CASE("channel: room that cannot be had is bad_alloc") {
    CHECK_THROWS_AS((void)rn::make_channel<std::string>(SIZE_MAX / 8), std::bad_alloc);
}
