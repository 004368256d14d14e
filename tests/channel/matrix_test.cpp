// The matrix of Go's test/ken/chan.go: each way to send with each way to receive, for several capacities and numbers
// of tasks. Whatever the combination: every value arrives once, those of a sender in its order.
//
// Left out is what cannot be: two that only ever try do not meet in a channel without room.
#include <doctest/doctest.h>
#include <runnel/channel.hpp>
#include <runnel/select.hpp>
#include <runnel/testing.hpp>

#include <string>
#include <vector>

#include "support/level.hpp"
#include "support/watchdog.hpp"
#include "tasks.hpp"

namespace testing = runnel::testing;
using namespace support;

namespace {

enum class way { direct, selecting, trying };
constexpr way ways[] = {way::direct, way::selecting, way::trying};
constexpr const char* name_of(way how) {
    return how == way::direct ? "directly" : how == way::selecting ? "in a select" : "trying";
}

struct combination {
    way sending, receiving;
    std::size_t capacity;
    int senders, receivers, count;

    bool possible() const { return capacity != 0 || sending != way::trying || receiving != way::trying; }
    std::string text() const {
        return std::to_string(senders) + " send " + name_of(sending) + " and " + std::to_string(receivers) +
               " receive " + name_of(receiving) + " with room for " + std::to_string(capacity);
    }
};

/// Sends `count` values, the first of them `first`.
rn::task<> sends(rn::channel<int> to, way how, int first, int count) {
    rn::channel<int> never(0);
    for (int value = first; value < first + count; ++value) {
        bool sent = false;
        while (!sent) {
            if (how == way::direct) {
                sent = (co_await to.send(value)).has_value();
            } else if (how == way::selecting) {
                auto won = co_await rn::select(never.recv(), to.send(value));
                sent = won && won.index() == 1 && won.get<1>();
            } else {
                auto now = rn::try_select(to.send(value), never.recv());
                sent = now && now.index() == 0 && now.get<0>();
                if (!sent) testing::expect((co_await rn::yield()).has_value());
            }
            testing::expect(sent || how == way::trying, "nobody closes while values are sent");
        }
    }
}

/// Receives what comes until the channel is closed.
rn::task<> receives(rn::channel<int> from, way how, std::vector<int>* into) {
    rn::channel<int> never(0);
    rn::result<int> got = 0;
    while (got) {
        if (how == way::direct) {
            got = co_await from.recv();
        } else if (how == way::selecting) {
            auto won = co_await rn::select(from.recv(), never.send(1));
            testing::expect(won && won.index() == 0, "nobody receives that");
            got = won.take<0>();
        } else {
            auto now = rn::try_select(never.recv(), from.recv());
            while (!now) {
                testing::expect((co_await rn::yield()).has_value());
                now = rn::try_select(never.recv(), from.recv());
            }
            got = now.take<1>();
        }
        if (got) into->push_back(*got);
    }
    testing::expect(got.error() == rn::errc::closed);
}

/// Each value once, and what one receiver had of one sender in order.
void check_all(const combination& of, const std::vector<std::vector<int>>& had) {
    std::vector<int> times(static_cast<std::size_t>(of.senders * of.count));
    for (const auto& each : had) {
        std::vector<int> last(static_cast<std::size_t>(of.senders), -1);
        for (const int value : each) {
            ++times.at(static_cast<std::size_t>(value));
            int& before = last[static_cast<std::size_t>(value / of.count)];
            testing::expect(before < value, "a value has overtaken another of its sender");
            before = value;
        }
    }
    for (const int n : times) testing::expect(n == 1, "a value is missing, or came twice");
}

rn::task<> traffic(combination of) {
    rn::channel<int> c(of.capacity);
    std::vector<std::vector<int>> had(static_cast<std::size_t>(of.receivers));
    rn::task_set receivers;
    for (auto& each : had) receivers.spawn(receives, c, of.receiving, &each);
    rn::task_set senders;
    for (int i = 0; i < of.senders; ++i) senders.spawn(sends, c, of.sending, i * of.count, of.count);
    const auto sent = co_await senders.join();
    testing::expect(sent.has_value());
    c.close();
    const auto received = co_await receivers.join();
    testing::expect(received.has_value());
    testing::expect(c.len() == 0);
    check_all(of, had);
}

/// Calls use(combination) for all that are possible.
template <class Use>
void for_all(const std::vector<std::size_t>& capacities, const std::vector<int>& tasks, int values, Use use) {
    for (const way sending : ways)
        for (const way receiving : ways)
            for (const std::size_t capacity : capacities)
                for (const int senders : tasks)
                    for (const int receivers : tasks) {
                        const combination of{sending, receiving, capacity,
                                             senders, receivers, values / senders};
                        if (of.possible()) use(of);
                    }
}
}

TEST_CASE("matrix: on workers every value arrives once and in order whatever the ways and the room") {
    watchdog::instance().allow(10 * watchdog::limit());
    const std::vector<int> tasks = full() ? std::vector<int>{1, 2, 10, 100} : std::vector<int>{1, 3};
    for (const unsigned workers : {1U, 2U, 4U})
        for_all({0, 1, 10, 100}, tasks, scaled(150, 3'000), [&](const combination& of) {
            INFO(of.text() << " on " << workers << " workers");
            on_workers(workers, traffic, of);
        });
}

TEST_CASE("matrix: under any schedule every value arrives once and in order whatever the ways and the room") {
    watchdog::instance().allow(10 * watchdog::limit());
    for_all({0, 1, 10}, {1, 2}, 4, [](const combination& of) {
        // A schedule that always prefers the one that tries would never let the other come.
        const bool tries = of.sending == way::trying || of.receiving == way::trying;
        const auto how =
            testing::options().how(tries ? testing::strategy::uniform : testing::strategy::mixed);
        const auto all = testing::explore(how, scaled(20U, 1'000U), [&] { return traffic(of); });
        REQUIRE_MESSAGE(all.ok(), of.text() << ": " << all.what());
    });
}

TEST_CASE("matrix: two that only ever try do not meet in a channel without room") {
    on_workers(1, []() -> rn::task<> {
        rn::channel<int> c(0);
        for (int i = 0; i < 10; ++i) {
            CHECK(!rn::try_select(c.send(i)));
            CHECK(!rn::try_select(c.recv()));
        }
        co_return;
    });
}
