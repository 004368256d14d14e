// The broadcast against a slow and obvious model of it, in random programs under random schedules.
//
// Each seed is a program and a schedule: a few tasks that send, receive, select, join, leave, close and cancel one
// another. A task tells the model what it does right before it does it, so the model knows how each operation must
// end, in whatever order the tasks go on; and after each step all that can be asked of the ends is compared.
#include <doctest/doctest.h>
#include <runnel/broadcast.hpp>
#include <runnel/context.hpp>
#include <runnel/scope.hpp>
#include <runnel/select.hpp>
#include <runnel/testing.hpp>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "support/counted.hpp"
#include "support/level.hpp"

namespace rn = runnel;
namespace testing = runnel::testing;
using rn::slow_receiver;
using support::counted;
using testing::choose;

namespace {

const std::error_code broken = std::make_error_code(std::errc::broken_pipe);

// --- The model ---------------------------------------------------------------------------------------

/// One case of an operation: send `value`, or receive at a receiver when there is none.
struct one_case {
    std::size_t receiver = 0;
    int value = -1;
    bool sends() const { return value >= 0; }
};
using cases = std::vector<one_case>;

struct operation {
    cases of;
    std::string end;  // "1: got 5 after 2 lost"; empty while it waits
};
using operation_ref = std::shared_ptr<operation>;

struct place {
    operation_ref who;
    std::size_t which;
};

struct model_receiver {
    slow_receiver how;
    std::size_t position;
    std::optional<std::size_t> end = {};
    std::string why = {};
    std::uint64_t missed = 0;
    std::deque<place> waiting = {};
    bool gone = false;
};

class model {
public:
    explicit model(std::size_t capacity) : capacity_(capacity) {}

    /// The first case, as written, that can happen does; else the operation waits at all of them, if it may.
    /// One that was cancelled before does nothing.
    void begin(const operation_ref& op, bool waits) {
        if (!op->end.empty()) return;
        for (std::size_t i = 0; i < op->of.size(); ++i)
            if (happens({op, i})) return;
        if (!waits) return end_as(op, "nothing");
        for (std::size_t i = 0; i < op->of.size(); ++i)
            (op->of[i].sends() ? senders_ : receivers[op->of[i].receiver].waiting).push_back({op, i});
    }
    void cancel(const operation_ref& op) {
        if (op->end.empty()) end_as(op, "cancelled");
    }

    void subscribe(slow_receiver how, std::size_t replay) {
        const std::size_t kept = std::min(capacity_, sent_.size());
        receivers.push_back({how, sent_.size() - std::min(replay, kept)});
    }
    void share(std::size_t which) {
        model_receiver twin = receivers[which];
        twin.waiting.clear();
        twin.missed = 0;
        receivers.push_back(twin);
    }
    void drop(std::size_t which) {
        receivers[which].gone = true;
        let_senders_go_on();
    }
    bool close_one(std::size_t which, const std::string& why) {
        model_receiver& one = receivers[which];
        if (!closed_.empty() || one.end) return false;
        one.end = sent_.size();
        one.why = why;
        wake(one.waiting, why);
        return true;
    }
    bool close(const std::string& why) {
        if (!closed_.empty()) return false;
        closed_ = why;
        for (model_receiver& each : receivers) wake(each.waiting, why);
        wake(senders_, why);
        return true;
    }

    // What can be asked.
    std::size_t reached() const {
        std::size_t count = 0;
        for (const model_receiver& each : receivers) count += !each.gone && !each.end ? 1 : 0;
        return count;
    }
    std::string why() const { return closed_; }
    std::string why(const model_receiver& one) const { return one.end ? one.why : closed_; }
    std::size_t limit(const model_receiver& one) const { return one.end.value_or(sent_.size()); }
    std::size_t lag(const model_receiver& one) const { return limit(one) - one.position; }
    std::size_t len(const model_receiver& one) const {
        std::size_t count = 0;
        for (std::size_t k = one.position; k < limit(one); ++k)
            count += k + capacity_ >= sent_.size() ? 1 : 0;
        return one.how == slow_receiver::latest ? std::min<std::size_t>(count, 1) : count;
    }

    std::vector<model_receiver> receivers;

private:
    static void end_as(const operation_ref& op, const std::string& how) { op->end = how; }
    static void end(const place& at, const std::string& how) {
        end_as(at.who, std::to_string(at.which) + ": " + how);
    }
    static std::optional<place> pop(std::deque<place>& queue) {
        while (!queue.empty()) {
            place first = queue.front();
            queue.pop_front();
            if (first.who->end.empty()) return first;
        }
        return std::nullopt;
    }
    static void wake(std::deque<place>& queue, const std::string& why) {
        while (auto waiter = pop(queue)) end(*waiter, why);
    }

    bool happens(const place& at) {
        const one_case& it = at.who->of[at.which];
        if (!it.sends()) {
            if (!take(receivers[it.receiver], at)) {
                if (why(receivers[it.receiver]).empty()) return false;
                end(at, why(receivers[it.receiver]));
            }
            let_senders_go_on();
            return true;
        }
        if (closed_.empty() && !has_room()) return false;
        if (closed_.empty())
            push(at);
        else
            end(at, closed_);
        return true;
    }

    bool has_room() const {
        for (const model_receiver& each : receivers)
            if (each.how == slow_receiver::wait && !each.gone && each.position < limit(each) &&
                each.position + capacity_ <= sent_.size())
                return false;
        return true;
    }

    void push(const place& from) {
        for (model_receiver& each : receivers) {
            const bool loses = each.position < limit(each) && each.position + capacity_ <= sent_.size();
            if (each.how != slow_receiver::disconnect || each.gone || !loses) continue;
            each.end = each.position;
            each.why = "lagged";
        }
        end(from, "sent to " + std::to_string(reached()));
        sent_.push_back(from.who->of[from.which].value);
        for (model_receiver& each : receivers) {
            auto waiter = pop(each.waiting);
            if (waiter) testing::expect(take(each, *waiter), "the model waits with a message at hand");
        }
    }

    bool take(model_receiver& from, const place& into) {
        std::size_t next = from.position;
        while (next < limit(from) && next + capacity_ < sent_.size()) ++next;
        if (next >= limit(from)) return false;
        if (from.how == slow_receiver::latest) next = limit(from) - 1;
        const std::size_t lost = next - from.position;
        from.missed += lost;
        from.position = next + 1;
        end(into, "got " + std::to_string(sent_[next]) +
                      (lost == 0 ? "" : " after " + std::to_string(lost) + " lost"));
        return true;
    }

    void let_senders_go_on() {
        while (closed_.empty() && has_room()) {
            auto next = pop(senders_);
            if (!next) return;
            push(*next);
        }
    }

    const std::size_t capacity_;
    std::vector<int> sent_;
    std::deque<place> senders_;
    std::string closed_;
};

// --- The real thing ------------------------------------------------------------------------------------

std::string say(std::error_code why) {
    if (!why) return "";
    if (why == rn::errc::closed) return "closed";
    if (why == rn::errc::lagged) return "lagged";
    if (why == rn::errc::cancelled) return "cancelled";
    return why == broken ? "broken" : "?";
}
std::string say(const rn::result<std::size_t>& sent) {
    return sent ? "sent to " + std::to_string(*sent) : say(sent.error());
}
std::string say(const rn::received<counted>& got) {
    if (!got) return say(got.error());
    return "got " + std::to_string(got->value()) +
           (got.missed() == 0 ? "" : " after " + std::to_string(got.missed()) + " lost");
}
template <class... Results>
std::string say(const rn::selected<Results...>& won) {
    if (!won) return won.error() == rn::errc::not_available ? "nothing" : say(won.error());
    if constexpr (sizeof...(Results) > 1) {
        if (won.index() == 1) return "1: " + say(won.template get<1>());
    }
    return "0: " + say(won.template get<0>());
}

using tally = std::map<std::string, std::uint64_t>;  // of what happened, by its first word or two

class running {
public:
    explicit running(tally& seen) : seen_(seen), capacity_(1 + choose(3)), expected_(capacity_) {
        const slow_receiver first = kind();
        std::tie(out_, ends_.emplace_back()) = rn::make_broadcast<counted>(capacity_, first);
        expected_.subscribe(first, 0);
        in_use_.push_back(0);
    }

    rn::task<> steps(std::size_t me) {
        for (std::size_t n = 2 + choose(8); n > 0; --n) {
            co_await step(me);
            compare();
        }
    }
    void close_all() {
        (void)out_.close();
        expected_.close("closed");
        compare();
    }

private:
    /// Half of them are waited for.
    static slow_receiver kind() {
        const std::uint32_t dice = choose(6);
        return dice < 4 ? static_cast<slow_receiver>(dice) : slow_receiver::wait;
    }

    rn::task<> step(std::size_t me) {
        const std::uint32_t dice = choose(20);
        if (dice < 12) co_await operate(me, dice < 9);
        if (dice == 12) (void)co_await rn::sleep_for(std::chrono::microseconds(choose(3)));
        if (dice == 13 || dice == 14) join();
        if (dice == 15) leave();
        if (dice == 16 && choose(2) == 1) close_one();
        if (dice == 17 || dice == 18) cancel();
        if (dice == 19 && choose(6) == 5) close();
    }

    // --- Operations ---

    std::optional<one_case> some_case() {
        if (choose(2) == 0) return one_case{0, ++last_value_};
        const std::size_t receiver = choose(static_cast<std::uint32_t>(ends_.size()));
        if (!ends_[receiver]) return std::nullopt;
        return one_case{receiver};
    }

    rn::task<> operate(std::size_t me, bool waits) {
        const auto op = std::make_shared<operation>();
        for (std::uint32_t n = 1 + choose(2); n > 0; --n)
            if (auto one = some_case()) op->of.push_back(*one);
        // Which of two receivers is served first when one task waits at both is left open.
        if (op->of.size() == 2 && !op->of[0].sends() && !op->of[1].sends()) op->of[1] = op->of[0];
        if (op->of.empty()) co_return;
        use(op->of, 1);
        if (!waits) {
            expected_.begin(op, false);
            saw_end(*op, now(op->of));
        } else {
            co_await wait(me, op);
        }
        use(op->of, -1);
    }

    rn::task<> wait(std::size_t me, const operation_ref& op) {
        auto [ctx, cancel] = rn::with_cancel(rn::current_context());
        waiting_.insert_or_assign(me, waiting{op, cancel});
        const one_case first = op->of[0];
        const one_case second = op->of.back();
        // In the model and for real, with no point between.
        if (op->of.size() == 1 && first.sends())
            co_await perform(*op, rn::with_context(ctx, rn::select(rn::in_order, send(first))), op);
        else if (op->of.size() == 1)
            co_await perform(*op, rn::with_context(ctx, rn::select(rn::in_order, recv(first))), op);
        else if (first.sends() && second.sends())
            co_await perform(*op, rn::with_context(ctx, rn::select(rn::in_order, send(first), send(second))),
                             op);
        else if (first.sends())
            co_await perform(*op, rn::with_context(ctx, rn::select(rn::in_order, send(first), recv(second))),
                             op);
        else if (second.sends())
            co_await perform(*op, rn::with_context(ctx, rn::select(rn::in_order, recv(first), send(second))),
                             op);
        else
            co_await perform(*op, rn::with_context(ctx, rn::select(rn::in_order, recv(first), recv(second))),
                             op);
        waiting_.erase(me);
    }

    template <class Op>
    rn::task<> perform(const operation& it, Op op, operation_ref begins) {
        expected_.begin(begins, true);
        const bool late = it.end.empty();
        auto won = co_await std::move(op);
        saw_end(it, say(won), late);
    }

    std::string now(const cases& of) {
        if (of.size() == 1) return of[0].sends() ? say(try_send(of[0])) : say(try_recv(of[0]));
        if (of[0].sends())
            return of[1].sends() ? say(rn::try_select(rn::in_order, send(of[0]), send(of[1])))
                                 : say(rn::try_select(rn::in_order, send(of[0]), recv(of[1])));
        return of[1].sends() ? say(rn::try_select(rn::in_order, recv(of[0]), send(of[1])))
                             : say(rn::try_select(rn::in_order, recv(of[0]), recv(of[1])));
    }
    rn::selected<rn::result<std::size_t>> try_send(const one_case& one) {
        auto sent = out_.try_send(counted(one.value));
        if (sent.error() == rn::errc::full)
            return rn::selected<rn::result<std::size_t>>(rn::errc::not_available);
        return {std::in_place_index<0>, sent};
    }
    rn::selected<rn::received<counted>> try_recv(const one_case& one) {
        auto got = ends_[one.receiver].try_recv();
        if (got.error() == rn::errc::empty)
            return rn::selected<rn::received<counted>>(rn::errc::not_available);
        return {std::in_place_index<0>, std::move(got)};
    }
    rn::detail::broadcast_send send(const one_case& one) { return out_.emplace(one.value); }
    rn::detail::broadcast_recv<counted> recv(const one_case& one) { return ends_[one.receiver].recv(); }

    void use(const cases& of, int change) {
        for (const one_case& each : of)
            if (!each.sends()) in_use_[each.receiver] += change;
    }

    void saw_end(const operation& op, const std::string& how, bool late = false) {
        const bool right = how == op.end;
        testing::expect(right, "an operation ended in another way than in the model");
        if (!right) MESSAGE("is '" << how << "', in the model '" << op.end << "'");
        const std::size_t at = how.find(": ") == std::string::npos ? 0 : how.find(": ") + 2;
        const std::string kind_of_end = how.substr(at, how.find(' ', at) - at);
        ++seen_[kind_of_end];
        if (late) ++seen_[kind_of_end + " late"];
        if (how.find(" lost") != std::string::npos) ++seen_["lost"];
    }

    // --- What happens at once ---

    void join() {
        if (ends_.size() >= 5) return;
        const std::size_t with = choose(static_cast<std::uint32_t>(ends_.size()));
        if (choose(2) == 1 && ends_[with]) {
            ends_.push_back(ends_[with].share());
            expected_.share(with);
        } else {
            const slow_receiver how = kind();
            const std::size_t last = choose(4);
            ends_.push_back(out_.subscribe(how, rn::replay(last)));
            expected_.subscribe(how, last);
        }
        in_use_.push_back(0);
    }
    void leave() {
        const std::size_t which = choose(static_cast<std::uint32_t>(ends_.size()));
        if (in_use_[which] != 0 || !ends_[which]) return;
        expected_.drop(which);
        ends_[which].reset();
    }
    void close_one() {
        const std::size_t which = choose(static_cast<std::uint32_t>(ends_.size()));
        if (!ends_[which]) return;
        const bool did = expected_.close_one(which, "broken");
        testing::expect(ends_[which].close(broken) == did);
    }
    void close() {
        const bool did = expected_.close("broken");
        testing::expect(out_.close(broken) == did);
    }
    void cancel() {
        const auto some = waiting_.find(choose(4));
        if (some == waiting_.end()) return;
        expected_.cancel(some->second.op);
        some->second.cancel();
    }

    void compare() {
        testing::expect(out_.receivers() == (out_.closed() ? 0 : expected_.reached()), "receivers()");
        testing::expect(say(out_.why()) == expected_.why(), "why() of the sender");
        for (std::size_t i = 0; i < ends_.size(); ++i) {
            const model_receiver& one = expected_.receivers[i];
            if (!ends_[i]) continue;
            testing::expect(ends_[i].len() == expected_.len(one), "len()");
            testing::expect(ends_[i].lag() == expected_.lag(one), "lag()");
            testing::expect(ends_[i].missed() == one.missed, "missed()");
            testing::expect(say(ends_[i].why()) == expected_.why(one), "why()");
        }
    }

    struct waiting {
        operation_ref op;
        rn::cancel_function cancel;
    };

    tally& seen_;
    const std::size_t capacity_;
    model expected_;
    rn::broadcast_sender<counted> out_;
    std::vector<rn::broadcast_receiver<counted>> ends_;
    std::vector<int> in_use_;  // operations at each receiver
    std::map<std::size_t, waiting> waiting_;
    int last_value_ = 0;
};

rn::task<> program(tally& seen) {
    {
        const auto all = std::make_shared<running>(seen);
        rn::task_set tasks;
        for (std::size_t i = 0; i < 4; ++i)
            tasks.spawn(
                [](std::shared_ptr<running> of, std::size_t me) -> rn::task<> { co_await of->steps(me); },
                all, i);
        co_await testing::wait_until_all_tasks_wait();
        all->close_all();
        auto end = co_await tasks.join();
        testing::expect(end.has_value());
    }
    testing::expect(counted::live() == 0, "values are left over");
    testing::expect(counted::errors() == 0, "a value was destroyed twice, or its bytes were copied");
}

TEST_CASE("broadcast: random programs do what the model does under any schedule") {
    const std::uint64_t runs = support::scaled<std::uint64_t>(6'000, 200'000);
    for (const std::uint32_t slow_turns : {0U, 3U}) {
        tally seen;
        counted::reset();
        const auto all = testing::explore(testing::options().slow_turns(slow_turns), runs,
                                          [&]() -> rn::task<> { return program(seen); });
        REQUIRE_MESSAGE(all.ok(), all.what());
        CHECK(all.runs() == runs);
        CHECK(seen["?"] == 0);
        std::string counts;
        for (const std::string how : {"sent", "sent late", "got", "got late", "lost", "nothing", "closed",
                                      "broken", "lagged", "cancelled"}) {
            CAPTURE(how);
            CHECK(seen[how] > runs / 50);  // else the programs try too little
            counts += " " + std::to_string(seen[how]) + " " + how + ";";
        }
        MESSAGE(all.runs() << " programs:" << counts);
    }
}
}
