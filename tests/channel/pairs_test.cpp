// Each act on a channel beside each other one: every pair of {send, receive, a select that sends or receives, reserve
// and use or give back, a limit of time, cancel, close, the end of a sender or a receiver, another capacity}.
//
// Two tasks, mostly with one or two others that send or receive, so that there is something to meet. In a simulation
// each operation ends as an obvious model says, whatever the order; on threads it is what must hold in any order: every
// value that was sent is received once or dropped, those of a sender in its order, nobody waits in the end, and no
// place is held.
#include <doctest/doctest.h>
#include <runnel/channel.hpp>
#include <runnel/context.hpp>
#include <runnel/runtime.hpp>
#include <runnel/scope.hpp>
#include <runnel/select.hpp>
#include <runnel/testing.hpp>
#include <runnel/time.hpp>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "place_model.hpp"
#include "support/build_kind.hpp"
#include "support/counted.hpp"
#include "support/level.hpp"
#include "support/watchdog.hpp"
#include "tasks.hpp"

namespace testing = runnel::testing;
using namespace place_model;
using namespace std::chrono_literals;
using support::scaled;

namespace {

enum class part {
    sends,
    receives,
    selects_to_send,
    selects_to_receive,
    reserves_and_uses,
    reserves_for_nothing,
    sends_for_a_while,
    receives_for_a_while,
    cancels,
    closes,
    drops_its_sender,
    drops_its_receiver,
    sets_the_capacity,
};
constexpr std::array<const char*, 13> names = {"sends",
                                               "receives",
                                               "selects to send",
                                               "selects to receive",
                                               "reserves and uses",
                                               "reserves for nothing",
                                               "sends for a while",
                                               "receives for a while",
                                               "cancels the other",
                                               "closes",
                                               "drops its sender",
                                               "drops its receiver",
                                               "sets the capacity"};
struct pair {
    part first, second;
    std::string text() const {
        return std::string("one ") + names[static_cast<std::size_t>(first)] + " and one " +
               names[static_cast<std::size_t>(second)];
    }
};

/// Calls use(pair) for each, in one order: the schedules make the other.
template <class Use>
void for_all_pairs(Use use) {
    for (std::size_t one = 0; one < names.size(); ++one)
        for (std::size_t other = one; other < names.size(); ++other)
            use(pair{static_cast<part>(one), static_cast<part>(other)});
}

bool has_sender(part of) {
    switch (of) {
        case part::receives:
        case part::receives_for_a_while:
        case part::cancels:
        case part::drops_its_receiver:
        case part::sets_the_capacity:
            return false;
        default:
            return true;
    }
}
bool has_receiver(part of) {
    switch (of) {
        case part::receives:
        case part::receives_for_a_while:
        case part::selects_to_send:
        case part::selects_to_receive:
        case part::drops_its_receiver:
            return true;
        default:
            return false;
    }
}

/// What a program is made of, beside its pair.
struct setting {
    std::size_t capacity;
    int rounds;
    std::vector<part> others = {};
};

class program {
public:
    /// `modelled`: in a simulation, where tasks take turns.
    program(pair of, setting how, bool modelled)
        : rounds_(how.rounds), modelled_(modelled), expected_(how.capacity) {
        auto [out, in] = rn::make_channel<counted>(
            rn::channel_options<counted>(how.capacity).on_drop([this](counted&& value, rn::dropped) {
                undelivered_.push_back(value.value());
            }));
        end_ = rn::weak_sender<counted>(out);
        std::vector<part> parts = {of.first, of.second};
        parts.insert(parts.end(), how.others.begin(), how.others.end());
        for (const part each : parts) {
            seats_.push_back(std::make_unique<seat>());
            seats_.back()->plays = each;
            if (has_sender(each)) seats_.back()->out = out.share(), ++senders_;
            if (has_receiver(each)) seats_.back()->in = in.share(), ++receivers_;
        }
        if (senders_ == 0) expected_.close();
        if (receivers_ == 0) expected_.drop_receivers();
    }

    static rn::task<> run(std::shared_ptr<program> all) {
        rn::task_set tasks;
        for (std::size_t i = 0; i < all->seats_.size(); ++i)
            tasks.spawn(
                [](std::shared_ptr<program> of, std::size_t me) -> rn::task<> {
                    co_await rn::with_context(of->seats_[me]->life.ctx, of->play(me));
                },
                all, i);
        if (all->modelled_)
            co_await all->settle_modelled();
        else
            co_await all->settle(tasks);
        for (std::size_t i = 0; i < all->seats_.size(); ++i) all->cancel(i);
        const auto ended = co_await tasks.join();
        all->expect(ended.has_value(), "a task has failed");
        all->check_what_is_left();
    }

    const std::vector<std::string>& errors() const { return errors_; }

private:
    struct seat {
        part plays = part::sends;
        rn::sender<counted> out;
        rn::receiver<counted> in;
        rn::cancellable life = rn::with_cancel(rn::background());
        operation_ref waits;
        std::vector<int> sent, got;
        int last = 0;
    };

    // --- Parts ---

    rn::task<> play(std::size_t me) {
        seat& self = *seats_[me];
        for (int round = 0; round < rounds_; ++round) {
            co_await play_once(me, self, round);
            if (modelled_) compare();
        }
        drop_sender(self);
        drop_receiver(self);
    }

    rn::task<> play_once(std::size_t me, seat& self, int round) {
        const int value = static_cast<int>(me) * values_of_one + ++self.last;
        switch (self.plays) {
            case part::sends: {
                const auto op = begin(me, {{act::send, value}});
                ended(self, op, end_of(co_await self.out.emplace(value)));
                co_return;
            }
            case part::receives: {
                const auto op = begin(me, {{act::recv}});
                ended(self, op, end_of(co_await self.in.recv()));
                co_return;
            }
            case part::sends_for_a_while: {
                const auto op = begin(me, {{act::send, value}}, limit());
                ended(self, op, end_of(co_await rn::with_timeout(limit(), self.out.emplace(value))));
                co_return;
            }
            case part::receives_for_a_while: {
                const auto op = begin(me, {{act::recv}}, limit());
                ended(self, op, end_of(co_await rn::with_timeout(limit(), self.in.recv())));
                co_return;
            }
            case part::selects_to_send: {
                const auto op = begin(me, {{act::send, value}, {act::recv}});
                ended(self, op,
                      end_of_select(
                          co_await rn::select(rn::in_order, self.out.emplace(value), self.in.recv())));
                co_return;
            }
            case part::selects_to_receive: {
                const auto op = begin(me, {{act::recv}, {act::send, value}});
                ended(self, op,
                      end_of_select(
                          co_await rn::select(rn::in_order, self.in.recv(), self.out.emplace(value))));
                co_return;
            }
            case part::reserves_and_uses:
            case part::reserves_for_nothing:
                co_return co_await reserve(me, self, value);
            case part::cancels:
                cancel(1 - me);
                break;
            case part::closes:
                if (modelled_) pass_time(), expected_.close();
                self.out.close();
                break;
            case part::drops_its_sender:
                drop_sender(self);
                break;
            case part::drops_its_receiver:
                drop_receiver(self);
                break;
            case part::sets_the_capacity:
                set_capacity(modelled_ ? testing::choose(3) : static_cast<std::uint32_t>(round) % 3);
                break;
        }
        (void)co_await rn::yield();
    }

    rn::task<> reserve(std::size_t me, seat& self, int value) {
        const auto op = begin(me, {{act::reserve}});
        auto place = co_await self.out.reserve();
        ended(self, op, {place ? "reserved" : why(place.error())});
        if (!place) co_return;
        (void)co_await rn::yield();
        if (modelled_) pass_time();
        if (self.plays == part::reserves_for_nothing) {
            if (modelled_) expected_.give_back();
            co_return place->reset();
        }
        const std::string expected = modelled_ ? expected_.use(value) : "";
        const outcome how = end_of(place->emplace(value));
        expect(!modelled_ || how.how == expected, "a send by a permit");
        if (how.how == "sent") self.sent.push_back(value);
    }

    // --- What happens at once ---

    void cancel(std::size_t whom) {
        if (whom >= seats_.size()) return;
        seat& other = *seats_[whom];
        if (modelled_ && other.waits) pass_time(), expected_.cancel(other.waits);
        other.life.cancel();
    }
    void set_capacity(std::size_t capacity) {
        if (modelled_) pass_time(), expected_.set_capacity(capacity);
        end_.set_capacity(capacity);
    }
    void drop_sender(seat& self) {
        if (!self.out) return;
        if (modelled_) pass_time();
        if (modelled_ && --senders_ == 0) expected_.close();
        self.out.reset();
    }
    void drop_receiver(seat& self) {
        if (!self.in) return;
        if (modelled_) pass_time();
        if (modelled_ && --receivers_ == 0) expected_.drop_receivers();
        self.in.reset();
    }

    // --- The model ---

    std::chrono::microseconds limit() const { return modelled_ ? 1ms : 20us; }
    static std::int64_t now() { return rn::clock::now().time_since_epoch().count(); }
    void pass_time() { expected_.pass_time(now()); }

    /// Right before it begins: no point is between.
    operation_ref begin(std::size_t me, std::vector<one_case> of, std::chrono::nanoseconds ends_after = 0ns) {
        auto op = std::make_shared<operation>();
        op->of = std::move(of);
        if (!modelled_) return op;
        if (ends_after != 0ns) op->due = now() + ends_after.count();
        pass_time();
        seat& self = *seats_[me];
        if (self.life.ctx.cancelled()) expected_.cancel(op);
        self.waits = op;
        expected_.begin(op, true);
        return op;
    }
    template <class Won>
    static outcome end_of_select(Won won) {
        if (!won) return {why(won.error())};
        return won.index() == 0 ? end_of(won.template take<0>())
                                : outcome{"1: " + end_of(won.template take<1>()).how};
    }
    void ended(seat& self, const operation_ref& op, outcome how) {
        if (modelled_) pass_time();
        const bool as_one = how.how == "cancelled" || how.how == "timed out" || how.how.starts_with("1: ");
        const std::string said = as_one ? how.how : "0: " + how.how;
        if (modelled_ && said != op->end)
            expect(false, ("is '" + said + "', in the model '" + op->end + "'").c_str());
        self.waits = nullptr;
        expect(how.how != "?", "an error that none should end with");
        const std::string bare = said.starts_with("0: ") || said.starts_with("1: ") ? said.substr(3) : said;
        if (bare.starts_with("got ")) self.got.push_back(std::stoi(bare.substr(4)));
        if (bare == "sent") self.sent.push_back(op->of[said.starts_with("1: ") ? 1 : 0].value);
    }
    void compare() {
        const rn::channel_stats now = end_.stats();
        expect(now.items == expected_.ring.size(), "another number of values");
        expect(now.reserved == expected_.reserved, "another number of places that are held");
    }
    /// Until all have done what they can, or for a moment.
    static rn::task<> settle(rn::task_set& tasks) {
        for (int turn = 0; turn < 20 && tasks.size() != 0; ++turn) (void)co_await rn::yield();
        if (tasks.size() != 0) (void)co_await rn::sleep_for(50us);
    }
    /// Until all have done what they can, and what is limited is over.
    rn::task<> settle_modelled() {
        co_await testing::wait_until_all_tasks_wait();
        compare();
        (void)co_await rn::sleep_for(2 * rounds_ * limit());
        pass_time();
        co_await testing::wait_until_all_tasks_wait();
        compare();
        for (const auto& each : seats_)
            expect(!each->waits || each->waits->end.empty(),
                   "an operation has happened, and its task waits on");
    }

    // --- What must hold in any order ---

    void check_what_is_left() {
        const rn::channel_stats now = end_.stats();
        expect(now.items == 0 && now.reserved == 0, "something is left in a channel that nobody has");
        expect(now.waiting_senders == 0 && now.waiting_receivers == 0, "somebody is left in a queue");
        std::vector<int> sent;
        std::vector<int> arrived = undelivered_;
        for (const auto& each : seats_) {
            sent.insert(sent.end(), each->sent.begin(), each->sent.end());
            arrived.insert(arrived.end(), each->got.begin(), each->got.end());
            std::array<int, 4> last{};
            for (const int value : each->got) {
                int& before = last.at(static_cast<std::size_t>(value / values_of_one));
                expect(before < value, "a value has overtaken another of its sender");
                before = value;
            }
        }
        std::sort(sent.begin(), sent.end());
        std::sort(arrived.begin(), arrived.end());
        expect(sent == arrived, "a value is lost, or was received twice");
    }

    void expect(bool ok, const char* what) {
        if (ok) return;
        if (modelled_) testing::expect(false, what);
        errors_.emplace_back(what);
    }

    static constexpr int values_of_one = 1000;
    const int rounds_;
    const bool modelled_;
    model expected_;
    int senders_ = 0;
    int receivers_ = 0;
    std::vector<std::unique_ptr<seat>> seats_;
    std::vector<int> undelivered_;
    rn::weak_sender<counted> end_;
    std::vector<std::string> errors_;
};

rn::task<> run_modelled(pair of, setting how) {
    co_await program::run(std::make_shared<program>(of, how, true));
    testing::expect(counted::live() == 0, "values are left over");
    testing::expect(counted::errors() == 0, "a value was destroyed twice, or its bytes were copied");
}

const std::vector<std::vector<part>> crowds = {{},
                                               {part::sends},
                                               {part::receives},
                                               {part::sends, part::sends},
                                               {part::receives, part::receives},
                                               {part::reserves_and_uses, part::receives}};
}

constexpr bool fast = support::optimized && !support::sanitized;

TEST_CASE("pairs: whatever two tasks do to a channel they do what the model does under any schedule") {
    support::watchdog::instance().allow(40 * support::watchdog::limit());
    const std::uint64_t schedules = scaled<std::uint64_t>(300, fast ? 100'000 : 5'000);
    counted::reset();
    for_all_pairs([&](pair of) {
        const auto all = testing::explore(schedules, [&]() -> rn::task<> {
            const std::size_t capacity = testing::choose(3);
            const auto& others = crowds[testing::choose(static_cast<std::uint32_t>(crowds.size()))];
            const int rounds = 1 + static_cast<int>(testing::choose(3));
            return run_modelled(of, {capacity, rounds, others});
        });
        REQUIRE_MESSAGE(all.ok(), of.text() << ": " << all.what());
    });
}

TEST_CASE("pairs: under every schedule of two tasks without room and with room for one") {
    support::watchdog::instance().allow(10 * support::watchdog::limit());
    counted::reset();
    std::uint64_t runs = 0;
    const unsigned preemptions = scaled(1U, fast ? 2U : 1U);
    for_all_pairs([&](pair of) {
        for (const std::size_t capacity : {0U, 1U}) {
            const auto all = testing::exhaust(
                preemptions, 1'000'000, [&]() -> rn::task<> { return run_modelled(of, {capacity, 2}); });
            REQUIRE_MESSAGE(all.ok(), of.text() << ": " << all.what());
            CHECK(all.complete());
            runs += all.runs();
        }
    });
    MESSAGE(runs << " schedules");
}

TEST_CASE("pairs: on threads nothing is lost and nobody is left whatever two tasks do to a channel") {
    support::watchdog::instance().allow(10 * support::watchdog::limit());
    const int rounds = scaled(36, 3'600);
    counted::reset();
    for_all_pairs([&](pair of) {
        support::on_workers(2, [&]() -> rn::task<> {
            for (int round = 0; round < rounds; ++round) {
                const auto number = static_cast<std::size_t>(round);
                const setting how{number % 3, 3, crowds[number / 3 % crowds.size()]};
                const auto all = std::make_shared<program>(of, how, false);
                co_await program::run(all);
                for (const std::string& error : all->errors()) FAIL_CHECK(of.text() << ": " << error);
            }
        });
        CHECK(counted::live() == 0);
        CHECK(counted::errors() == 0);
    });
}
