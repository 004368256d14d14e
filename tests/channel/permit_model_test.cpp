// Permits against a slow and obvious model of them, in random programs under random schedules.
//
// Each seed is a program and a schedule: a few tasks that send, receive, reserve, select, use permits and give them
// back, change the capacity, close, give the receiver up, and cancel one another. A task tells the model what it does
// right before it does it, so the model knows how each operation must end, in whatever order the tasks go on.
#include <doctest/doctest.h>
#include <runnel/channel.hpp>
#include <runnel/context.hpp>
#include <runnel/scope.hpp>
#include <runnel/select.hpp>
#include <runnel/testing.hpp>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "place_model.hpp"
#include "support/counted.hpp"
#include "support/level.hpp"

namespace rn = runnel;
namespace testing = runnel::testing;
using namespace place_model;
using testing::choose;

namespace {

using tally = std::map<std::string, std::uint64_t>;

/// A channel of counted ends, or Go's: what all tasks of a program share.
template <class Out, class In>
class running {
public:
    running(tally& seen, std::size_t capacity, Out out, In in)
        : seen_(seen), expected_(capacity), out_(std::move(out)), in_(std::move(in)) {}

    rn::task<> steps(std::size_t me) {
        for (std::uint32_t left = 3 + choose(6); left > 0; --left) {
            const std::uint32_t dice = choose(100);
            if (dice < 55)
                co_await operate(me, !over_);
            else if (dice < 63)
                co_await operate(me, false);
            else if (dice < 80)
                use_place();
            else if (dice < 88)
                give_back_place();
            else if (dice < 92)
                cancel();
            else if (dice < 96)
                set_capacity();
            else if (dice < 97)
                close();
            else
                drop_receivers();
            compare();
        }
    }

    /// When all wait: so that all can end.
    void end_all() {
        over_ = true;
        close();
        while (!places_.empty()) give_back_place();
        compare();
    }
    void drain() {
        while (in_ && !expected_.ring.empty()) {
            auto got = in_.try_recv();
            testing::expect(got && got->value() == expected_.ring.front(), "what is left");
            expected_.ring.pop_front();
        }
        end_all();
        if (in_) testing::expect(in_.try_recv().error() == rn::errc::closed);
    }

private:
    rn::task<> operate(std::size_t me, bool waits) {
        const auto op = std::make_shared<operation>();
        for (std::uint32_t cases = 1 + choose(2); cases > 0; --cases) {
            const std::uint32_t kind = choose(3);
            const act what = kind == 0 ? act::send : kind == 1 && in_ ? act::recv : act::reserve;
            op->of.push_back({what, what == act::send ? ++last_value_ : 0});
        }
        const auto receives = std::count_if(op->of.begin(), op->of.end(),
                                            [](const one_case& each) { return each.what == act::recv; });
        receiving_ += receives;
        if (waits)
            co_await wait(me, op);
        else
            try_it(op);
        receiving_ -= receives;
    }

    rn::task<> wait(std::size_t me, operation_ref op) {
        auto [ctx, cancel] = rn::with_cancel(rn::current_context());
        waiting_.insert_or_assign(me, waiting{op, cancel});
        if (op->of.size() == 1)
            co_await perform(op, rn::with_context(ctx, rn::select(rn::in_order, make(op->of[0]))));
        else
            co_await perform(
                op, rn::with_context(ctx, rn::select(rn::in_order, make(op->of[0]), make(op->of[1]))));
        waiting_.erase(me);
    }
    template <class Op>
    rn::task<> perform(operation_ref begins, Op op) {
        expected_.begin(begins, true);  // and for real, with no point between
        const bool late = begins->end.empty();
        auto won = co_await std::move(op);
        saw_end(*begins, end_of(std::move(won)), late);
    }

    void try_it(const operation_ref& op) {
        expected_.begin(op, false);
        if (op->of.size() == 1)
            saw_end(*op, end_of(rn::try_select(rn::in_order, make(op->of[0]))), false);
        else
            saw_end(*op, end_of(rn::try_select(rn::in_order, make(op->of[0]), make(op->of[1]))), false);
    }

    any_case make(const one_case& one) const {
        if (one.what == act::send) return any_case(out_.emplace(one.value));
        if (one.what == act::recv) return any_case(in_.recv());
        return any_case(out_.reserve());
    }

    void saw_end(const operation& op, outcome how, bool late) {
        const bool right = how.how == op.end;
        testing::expect(right, "an operation ended in another way than in the model");
        if (!right) MESSAGE("is '" << how.how << "', in the model '" << op.end << "'");
        if (how.place) places_.push_back(*std::move(how.place));
        const std::size_t at = how.how.find(": ") == std::string::npos ? 0 : 3;
        const std::string kind = how.how.substr(at, how.how.find(' ', at) - at);
        ++seen_[late ? kind + " late" : kind];
    }

    // --- What happens at once ---

    rn::send_permit<counted> any_place() {
        const std::size_t which = choose(static_cast<std::uint32_t>(places_.size()));
        rn::send_permit<counted> taken = std::move(places_[which]);
        places_.erase(places_.begin() + static_cast<std::ptrdiff_t>(which));
        return taken;
    }
    void use_place() {
        if (places_.empty()) return;
        rn::send_permit<counted> place = any_place();
        const std::string expected = expected_.use(++last_value_);
        testing::expect(end_of(place.emplace(last_value_)).how == expected, "a send by a permit");
        ++seen_["used"];
        if (expected == "closed") ++seen_["used for nobody"];
    }
    void give_back_place() {
        if (places_.empty()) return;
        rn::send_permit<counted> place = any_place();
        expected_.give_back();
        if (choose(2) == 0) place.reset();  // else at the end of this block
    }
    void cancel() {
        const auto some = waiting_.find(choose(4));
        if (some == waiting_.end()) return;
        expected_.cancel(some->second.op);
        some->second.cancel();
    }
    void set_capacity() {
        const std::size_t capacity = choose(4);
        expected_.set_capacity(capacity);
        out_.set_capacity(capacity);
    }
    void close() {
        expected_.close();
        out_.close();
    }
    void drop_receivers() {
        if constexpr (!std::is_same_v<Out, In>) {
            if (receiving_ != 0 || !in_) return;
            expected_.drop_receivers();
            in_.reset();
        }
    }

    void compare() {
        const rn::channel_stats now = out_.stats();
        testing::expect(now.items == expected_.ring.size(), "items");
        testing::expect(now.reserved == expected_.reserved, "reserved");
    }

    struct waiting {
        operation_ref op;
        rn::cancel_function cancel;
    };

    tally& seen_;
    model expected_;
    Out out_;
    In in_;
    std::vector<rn::send_permit<counted>> places_;
    std::map<std::size_t, waiting> waiting_;
    std::ptrdiff_t receiving_ = 0;  // cases that use the receiver
    int last_value_ = 0;
    bool over_ = false;
};

template <class Out, class In>
rn::task<> run_all(std::shared_ptr<running<Out, In>> all) {
    rn::task_set tasks;
    for (std::size_t i = 0; i < 4; ++i)
        tasks.spawn([](std::shared_ptr<running<Out, In>> of,
                       std::size_t me) -> rn::task<> { co_await of->steps(me); },
                    all, i);
    co_await testing::wait_until_all_tasks_wait();
    all->end_all();
    auto end = co_await tasks.join();
    testing::expect(end.has_value());
    all->drain();
}

rn::task<> program(tally& seen) {
    const std::size_t capacity = choose(4);
    if (choose(2) == 0) {
        auto [out, in] = rn::make_channel<counted>(capacity);
        co_await run_all(std::make_shared<running<rn::sender<counted>, rn::receiver<counted>>>(
            seen, capacity, std::move(out), std::move(in)));
    } else {
        const rn::channel<counted> both(capacity);
        co_await run_all(std::make_shared<running<rn::channel<counted>, rn::channel<counted>>>(seen, capacity,
                                                                                               both, both));
    }
    testing::expect(counted::live() == 0, "values are left over");
    testing::expect(counted::errors() == 0, "a value was destroyed twice, or its bytes were copied");
}

TEST_CASE("permit: random programs do what the model does under any schedule") {
    const std::uint64_t runs = support::scaled<std::uint64_t>(6'000, 100'000);
    tally seen;
    counted::reset();
    const auto all = testing::explore(runs, [&]() -> rn::task<> { return program(seen); });
    REQUIRE_MESSAGE(all.ok(), all.what());
    CHECK(seen["?"] == 0);
    std::string counts;
    for (const std::string how :
         {"sent", "sent late", "got", "got late", "reserved", "reserved late", "no", "no late", "nothing",
          "closed", "closed late", "cancelled late", "used", "used for nobody"}) {
        CAPTURE(how);
        CHECK(seen[how] > runs / 200);  // else the programs try too little
        counts += " " + std::to_string(seen[how]) + " " + how + ";";
    }
    MESSAGE(all.runs() << " programs:" << counts);
}
}
