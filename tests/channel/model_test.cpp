// The channel against a slow and obvious model of it, for many seeds.
//
// One task per operation, on one worker. After each random step (start a send, a recv or a select of two,
// try one, close a channel, cancel a wait) all tasks run until they wait; then exactly those must have ended
// that the model says, in the way it says. A failing seed is printed; the same seed does the same again.
#include <doctest/doctest.h>
#include <runnel/channel.hpp>
#include <runnel/select.hpp>

#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "model.hpp"
#include "support/level.hpp"
#include "tasks.hpp"

using namespace support;

namespace {

// --- The real thing ------------------------------------------------------------------------------------

template <bool Sends>
auto make_case(const rn::channel<int>& c, [[maybe_unused]] const int& value) {
    if constexpr (Sends)
        return c.send(value);
    else
        return c.recv();
}

template <std::size_t Cases, class Selected>
std::string say_selected(Selected won) {
    if (!won) return won.error() == rn::errc::not_available ? "nothing" : "cancelled";
    if constexpr (Cases == 2) {
        if (won.index() == 1) return "1: " + say(won.template take<1>());
    }
    return "0: " + say(won.template take<0>());
}

using channel_list = std::vector<rn::channel<int>>;
using ended_map = std::map<int, std::string>;

template <bool... Sends>
class runs {
public:
    static rn::task<> wait(channel_list c, operation op, rn::context ctx, ended_map* ended) {
        co_await with_index(c, op, ctx, ended, std::make_index_sequence<sizeof...(Sends)>());
    }
    static std::string now(const channel_list& c, const operation& op) {
        return now_with_index(c, op, std::make_index_sequence<sizeof...(Sends)>());
    }

private:
    template <std::size_t... I>
    static rn::task<> with_index(const channel_list& c, const operation& op, const rn::context& ctx,
                                 ended_map* ended, std::index_sequence<I...>) {
        auto won = co_await rn::with_context(
            ctx, rn::select(rn::in_order, make_case<Sends>(c[op.cases[I].channel], op.cases[I].value)...));
        (*ended)[op.id] = say_selected<sizeof...(Sends)>(std::move(won));
    }
    template <std::size_t... I>
    static std::string now_with_index(const channel_list& c, const operation& op, std::index_sequence<I...>) {
        return say_selected<sizeof...(Sends)>(
            rn::try_select(rn::in_order, make_case<Sends>(c[op.cases[I].channel], op.cases[I].value)...));
    }
};

/// Calls use.operator()<sends…>() for the directions of the cases.
template <class Use>
auto with_directions(const operation& op, Use use) {
    const bool first = op.cases[0].sends();
    if (op.cases.size() == 1) return first ? use(runs<true>()) : use(runs<false>());
    const bool second = op.cases[1].sends();
    if (first) return second ? use(runs<true, true>()) : use(runs<true, false>());
    return second ? use(runs<false, true>()) : use(runs<false, false>());
}

struct waiting {
    std::shared_ptr<operation> op;
    rn::cancel_function cancel;
};

class comparison {
public:
    explicit comparison(unsigned seed)
        : random_(seed), capacities_{below(3), below(4), 0}, expected_(capacities_) {
        for (const std::size_t capacity : capacities_) channels_.emplace_back(capacity);
    }

    rn::task<> run(int steps) {
        for (int step = 0; step < steps && !differs_; ++step) {
            act();
            co_await settle();
            compare();
        }
        for (std::size_t i = 0; i < channels_.size(); ++i) {
            channels_[i].close();
            expected_.close(i);
        }
        co_await settle();
        compare();
    }
    bool differs() const { return differs_; }

private:
    std::size_t below(std::size_t bound) { return random_() % bound; }

    void act() {
        const std::size_t dice = below(100);
        if (dice < 60)
            start();
        else if (dice < 80)
            attempt();
        else if (dice < 97 && !waits_.empty())
            cancel();
        else if (dice >= 97)
            close();
    }

    std::shared_ptr<operation> make() {
        auto op = std::make_shared<operation>(operation{++last_id_, {}, false});
        for (std::size_t n = 1 + below(2); n > 0; --n)
            op->cases.push_back({below(channels_.size()), below(2) == 0 ? ++last_value_ : -1});
        return op;
    }

    void start() {
        const auto op = make();
        auto [ctx, cancel] = rn::with_cancel(rn::background());
        with_directions(
            *op, [&, &context = ctx](auto how) { rn::go(how.wait, channels_, *op, context, &ended_); });
        expected_.start(op, true);
        waits_.push_back({op, cancel});
    }

    void attempt() {
        const auto op = make();
        const std::string now = with_directions(*op, [&](auto how) { return how.now(channels_, *op); });
        if (now != "nothing") ended_[op->id] = now;
        expected_.start(op, false);
    }

    void cancel() {
        const waiting chosen = waits_[below(waits_.size())];
        chosen.cancel();
        expected_.cancel(chosen.op);
    }

    void close() {
        const std::size_t channel = below(channels_.size());
        differs_ |= channels_[channel].close() != expected_.close(channel);
    }

    void compare() {
        differs_ |= ended_ != expected_.ended;
        for (std::size_t i = 0; i < channels_.size(); ++i) differs_ |= channels_[i].len() != expected_.len(i);
        CHECK(ended_ == expected_.ended);
    }

    std::minstd_rand random_;
    std::vector<std::size_t> capacities_;
    model expected_;
    channel_list channels_;
    std::vector<waiting> waits_;
    ended_map ended_;
    int last_id_ = 0;
    int last_value_ = 0;
    bool differs_ = false;
};
}

TEST_CASE("model: channels and selects do what the model does, for every seed") {
    for (unsigned seed = 1; seed <= scaled(150U, 10'000U); ++seed) {
        CAPTURE(seed);
        const bool differs = on_workers(
            1,
            [](unsigned s) -> rn::task<bool> {
                comparison both(s);
                co_await both.run(60);
                co_return both.differs();
            },
            seed);
        REQUIRE(!differs);
    }
}
