// The channel against a slow and obvious model of it, for many seeds.
//
// One task per operation, on one worker. After each random step (start a send, a recv or a select of two,
// try one, close a channel, cancel a wait) all tasks run until they wait; then exactly those must have ended
// that the model says, in the way it says. A failing seed is printed; the same seed does the same again.
#include <doctest/doctest.h>
#include <runnel/channel.hpp>
#include <runnel/select.hpp>

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "support/level.hpp"
#include "tasks.hpp"

using namespace support;

namespace {

/// One case of an operation: send `value`, or receive when there is none.
struct one_case {
    std::size_t channel;
    int value;  // -1: receive
    bool sends() const { return value >= 0; }
};

struct operation {
    int id;
    std::vector<one_case> cases;
    bool over = false;
};

// --- The model ---------------------------------------------------------------------------------------

struct place {
    std::shared_ptr<operation> who;
    std::size_t which;
};

struct model_channel {
    std::size_t capacity;
    bool closed = false;
    std::deque<int> ring;
    std::deque<place> senders, receivers;
};

class model {
public:
    explicit model(const std::vector<std::size_t>& capacities) {
        for (const std::size_t capacity : capacities) channels_.push_back({capacity, false, {}, {}, {}});
    }

    std::map<int, std::string> ended;  // by operation: "1: sent", "0: got 5", "0: closed", "cancelled"

    /// The first case, as written, that can happen does; else the operation waits at all of them, if it may.
    bool start(const std::shared_ptr<operation>& op, bool waits) {
        for (std::size_t i = 0; i < op->cases.size(); ++i)
            if (happens(op, i)) return true;
        if (!waits) return false;
        for (std::size_t i = 0; i < op->cases.size(); ++i) {
            model_channel& c = channels_[op->cases[i].channel];
            (op->cases[i].sends() ? c.senders : c.receivers).push_back({op, i});
        }
        return false;
    }

    bool close(std::size_t channel) {
        model_channel& c = channels_[channel];
        if (std::exchange(c.closed, true)) return false;
        for (auto* queue : {&c.receivers, &c.senders})
            while (auto waiter = pop(*queue)) end(*waiter, "closed");
        return true;
    }

    void cancel(const std::shared_ptr<operation>& op) {
        if (!std::exchange(op->over, true)) ended[op->id] = "cancelled";
    }

    std::size_t len(std::size_t channel) const { return channels_[channel].ring.size(); }

private:
    static std::optional<place> pop(std::deque<place>& queue) {
        while (!queue.empty()) {
            place first = queue.front();
            queue.pop_front();
            if (!first.who->over) return first;
        }
        return std::nullopt;
    }

    void end(const place& at, const std::string& how) {
        at.who->over = true;
        ended[at.who->id] = std::to_string(at.which) + ": " + how;
    }

    bool happens(const std::shared_ptr<operation>& op, std::size_t which) {
        const one_case& it = op->cases[which];
        return it.sends() ? sends({op, which}, it.value) : receives({op, which});
    }

    bool sends(const place& from, int value) {
        model_channel& c = channels_[from.who->cases[from.which].channel];
        if (c.closed) return end(from, "closed"), true;
        if (auto to = pop(c.receivers))
            end(*to, "got " + std::to_string(value));
        else if (c.ring.size() < c.capacity)
            c.ring.push_back(value);
        else
            return false;
        return end(from, "sent"), true;
    }

    bool receives(const place& to) {
        model_channel& c = channels_[to.who->cases[to.which].channel];
        if (!c.ring.empty()) {
            end(to, "got " + std::to_string(c.ring.front()));
            c.ring.pop_front();
            if (auto from = pop(c.senders)) {
                c.ring.push_back(from->who->cases[from->which].value);
                end(*from, "sent");
            }
            return true;
        }
        if (c.closed) return end(to, "closed"), true;
        auto from = pop(c.senders);
        if (!from) return false;
        end(to, "got " + std::to_string(from->who->cases[from->which].value));
        end(*from, "sent");
        return true;
    }

    std::vector<model_channel> channels_;
};

// --- The real thing ------------------------------------------------------------------------------------

std::string say(rn::result<> sent) {
    return sent ? "sent" : sent.error().message() == "closed" ? "closed" : "?";
}
std::string say(rn::result<int> got) {
    return got ? "got " + std::to_string(*got) : got.error() == rn::errc::closed ? "closed" : "?";
}

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
