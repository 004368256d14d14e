// Channels and select against an obvious model, in random programs under random schedules.
//
// Each seed is a program, run by several schedules. Tasks tell the model what they do right before they do it, and
// what came of it right after; channel_worlds.hpp says what is compared. Besides: a value that was not sent is
// still in the hands of who tried, one that was sent is not, and in the end none is left or was destroyed twice.
#include <doctest/doctest.h>
#include <runnel/channel.hpp>
#include <runnel/scope.hpp>
#include <runnel/select.hpp>
#include <runnel/testing.hpp>

#include <array>
#include <chrono>
#include <deque>
#include <string>
#include <variant>
#include <vector>

#include "channel_worlds.hpp"
#include "support/counted.hpp"
#include "support/level.hpp"

namespace rn = runnel;
namespace testing = runnel::testing;
using model::one_case;
using model::outcome;
using model::step;
using std::chrono::milliseconds;

namespace {

using letter = support::counted_move_only;

// --- How operations end ------------------------------------------------------------------------------------

outcome failed(std::error_code why) {
    if (why == rn::errc::closed || why == rn::errc::producer_cancelled) return {outcome::closed, 0, 0};
    if (why == rn::errc::timed_out) return {outcome::timed_out, 0, 0};
    if (why == rn::errc::cancelled) return {outcome::cancelled, 0, 0};
    if (why == rn::errc::full || why == rn::errc::no_receiver || why == rn::errc::empty ||
        why == rn::errc::not_available)
        return {outcome::nothing, 0, 0};
    return {};
}
outcome end_of(const rn::result<>& sent) {
    if (!sent) return failed(sent.error());
    return {outcome::sent, 0, 0};
}
outcome end_of(const rn::result<letter>& got) {
    if (!got) return failed(got.error());
    return {outcome::got, 0, got->value()};
}
template <class... Outcomes>
outcome end_of(const rn::selected<Outcomes...>& won) {
    if (!won) return failed(won.error());
    outcome how = won.index() == 0 ? won.template get<0>() : outcome();
    if constexpr (sizeof...(Outcomes) > 1)
        if (won.index() == 1) how = won.template get<1>();
    if constexpr (sizeof...(Outcomes) > 2)
        if (won.index() == 2) how = won.template get<2>();
    how.which = won.index();
    return how;
}

/// Any operation of one case: so that it can be chosen while the program runs what a select is made of.
class any_case {
public:
    using result_type = outcome;
    static constexpr std::size_t case_count = 1;

    template <class Op>
    explicit any_case(Op op) noexcept : op_(std::move(op)) {}
    any_case(any_case&&) noexcept = default;

    void gather(rn::detail::wait_case** out) noexcept {
        std::visit([out](auto& op) { op.gather(out); }, op_);
    }
    outcome complete(unsigned) noexcept {
        if (std::holds_alternative<rn::detail::sleep_operation>(op_)) return {outcome::slept, 0, 0};
        if (std::holds_alternative<rn::done_operation>(op_)) return {outcome::done, 0, 0};
        return std::visit([](auto& op) { return end_of(op.complete(0)); }, op_);
    }
    outcome fail(std::error_code why) noexcept { return failed(why); }

private:
    std::variant<rn::detail::recv_operation<letter>, rn::detail::lent_send, rn::detail::owned_send<letter>,
                 rn::detail::sleep_operation, rn::done_operation>
        op_;
};

/// What a task has of a channel: a handle of both directions, or two ends that count themselves.
class ends {
public:
    static ends make(const model::channel_kind& kind) {
        ends made;
        made.counted_ = kind.counted;
        if (kind.counted)
            std::tie(made.out_, made.in_) = rn::make_channel<letter>(kind.capacity);
        else
            made.both_ = rn::channel<letter>(kind.capacity);
        return made;
    }
    ends share() const {
        ends more;
        more.counted_ = counted_;
        more.both_ = both_;
        if (out_) more.out_ = out_.share();
        if (in_) more.in_ = in_.share();
        return more;
    }

    bool counted() const noexcept { return counted_; }
    bool can_send() const noexcept { return counted_ ? static_cast<bool>(out_) : static_cast<bool>(both_); }
    bool can_receive() const noexcept { return counted_ ? static_cast<bool>(in_) : static_cast<bool>(both_); }
    std::size_t len() const noexcept { return counted_ ? (out_ ? out_.len() : in_.len()) : both_.len(); }

    template <class Use>
    auto sending(Use use) const {
        return counted_ ? use(out_) : use(both_);
    }
    template <class Use>
    auto receiving(Use use) const {
        return counted_ ? use(in_) : use(both_);
    }
    void drop_sender() noexcept {
        out_.reset();
        both_.reset();
    }
    void drop_receiver() noexcept {
        in_.reset();
        both_.reset();
    }

private:
    rn::channel<letter> both_;
    rn::sender<letter> out_;
    rn::receiver<letter> in_;
    bool counted_ = false;
};

// --- A program that runs ----------------------------------------------------------------------------------

using tally = std::array<std::uint64_t, outcome::kinds>;  // of operations, by how they ended

class running {
public:
    running(const model::program& of, tally& seen)
        : program_(of), seen_(seen), worlds_(of), ends_(of.tasks.size()) {
        for (std::size_t i = 0; i < of.tasks.size(); ++i)
            cancels_.push_back(rn::with_cancel(rn::background()));
        for (const model::channel_kind& kind : of.channels) {
            own_.push_back(ends::make(kind));
            for (auto& each : ends_) each.push_back(own_.back().share());
            if (!kind.counted) continue;
            own_.back().drop_sender();  // those are the tasks' alone
            own_.back().drop_receiver();
        }
    }

    rn::task<> run() {
        rn::task_set tasks;
        for (std::size_t i = 0; i < program_.tasks.size(); ++i)
            tasks.spawn([](running& all, std::size_t task) -> rn::task<> { co_await all.run_task(task); },
                        rn::borrow(*this), i);
        for (int ms = 0; ms < 20 && tasks.size() != 0; ++ms) {
            co_await check_all_wait();
            co_await rn::sleep_for(milliseconds(1));
        }
        for (std::size_t i = 0; i < own_.size(); ++i)
            if (!own_[i].counted()) close(own_[i], i, true);
        co_await check_all_wait();
        for (std::size_t i = 0; i < cancels_.size(); ++i) cancel(i);
        co_await check_all_wait();
        testing::expect(tasks.size() == 0, "everything is closed and cancelled, and a task waits");
        co_await tasks.join();
        for (std::size_t i = 0; i < own_.size(); ++i)
            if (!own_[i].counted())
                check(worlds_.saw_length(i, own_[i].len(), now()), "a channel's rest has another length");
    }

private:
    static std::int64_t now() {
        return std::chrono::duration_cast<milliseconds>(rn::clock::now().time_since_epoch()).count();
    }

    // --- Tasks ---

    rn::task<> run_task(std::size_t task) { co_await rn::with_context(cancels_[task].ctx, run_steps(task)); }
    rn::task<> run_steps(std::size_t task) {
        for (const step& each : program_.tasks[task]) {
            check_lengths(ends_[task]);
            co_await run_step(task, each);
        }
        for (std::size_t i = 0; i < own_.size(); ++i) {
            drop_sender(task, i);
            drop_receiver(task, i);
        }
    }
    rn::task<> run_step(std::size_t task, const step& one) {
        switch (one.act) {
            case step::operate:
                co_await operate(task, one);
                co_return;
            case step::try_operate:
                co_return try_operate(task, one);
            case step::close:
                co_return close(ends_[task][one.of], one.of, one.as_sender);
            case step::drop_sender:
                co_return drop_sender(task, one.of);
            case step::drop_receiver:
                co_return drop_receiver(task, one.of);
            case step::cancel:
                co_return cancel(one.of);
            case step::yield:
                co_await rn::yield();
        }
    }

    void close(ends& of, std::size_t channel, bool as_sender) {
        if (!(as_sender ? of.can_send() : of.can_receive())) return;
        note("close channel", channel);
        worlds_.close(channel, now());
        const auto close = [](const auto& end) { return end.close(); };
        (void)(as_sender ? of.sending(close) : of.receiving(close));
    }
    void drop_sender(std::size_t task, std::size_t channel) {
        if (!ends_[task][channel].can_send()) return;
        note("a sender goes, of channel", channel);
        worlds_.drop(channel, true, now());
        ends_[task][channel].drop_sender();
    }
    void drop_receiver(std::size_t task, std::size_t channel) {
        if (!ends_[task][channel].can_receive()) return;
        note("a receiver goes, of channel", channel);
        worlds_.drop(channel, false, now());
        ends_[task][channel].drop_receiver();
    }
    void cancel(std::size_t task) {
        note("cancel task", task);
        worlds_.cancel(task, now());
        cancels_[task].cancel();
    }

    // --- Operations ---

    using letters = std::deque<letter>;  // which stay where they are

    static letters letters_of(const step& one) {
        letters made;
        for (const one_case& each : one.cases)
            made.emplace_back(each.kind == one_case::send ? each.value : 0);
        return made;
    }

    rn::task<> operate(std::size_t task, const step& one) {
        letters all = letters_of(one);
        const auto each = [&](std::size_t i) { return make(task, one.cases[i], all[i]); };
        if (one.cases.size() == 3 && one.in_order)
            co_await perform(task, one, all, rn::select(rn::in_order, each(0), each(1), each(2)));
        else if (one.cases.size() == 3)
            co_await perform(task, one, all, rn::select(each(0), each(1), each(2)));
        else if (one.cases.size() == 2)
            co_await operate_two(task, one, all);
        else if (!one.in_order)
            co_await perform(task, one, all, rn::select(each(0)));
        else
            co_await operate_alone(task, one, all);
    }

    rn::task<> operate_two(std::size_t task, const step& one, letters& all) {
        const auto each = [&](std::size_t i) { return make(task, one.cases[i], all[i]); };
        const milliseconds limit(one.cases[0].limit.value_or(0));
        if (one.cases[0].limit && one.in_order)
            co_await perform(task, one, all,
                             rn::select(rn::in_order, rn::with_timeout(limit, each(0)), each(1)));
        else if (one.cases[0].limit)
            co_await perform(task, one, all, rn::select(rn::with_timeout(limit, each(0)), each(1)));
        else if (one.in_order)
            co_await perform(task, one, all, rn::select(rn::in_order, each(0), each(1)));
        else
            co_await perform(task, one, all, rn::select(each(0), each(1)));
    }

    rn::task<> operate_alone(std::size_t task, const step& one, letters& all) {
        const one_case& only = one.cases[0];
        const ends& of = ends_[task][only.of];
        if (only.kind == one_case::recv)
            co_await perform(task, one, all, of.receiving([](const auto& end) { return end.recv(); }));
        else if (only.kind == one_case::send)
            co_await perform(task, one, all,
                             of.sending([&](const auto& end) { return end.send(rn::from(all[0])); }));
        else
            co_await perform(task, one, all,
                             of.sending([&](const auto& end) { return end.emplace(only.value); }));
    }

    /// Begins it in the model and for real, with no point between.
    template <class Op>
    rn::task<> perform(std::size_t task, const step& one, letters& all, Op op) {
        const std::size_t number = begin(task, one);
        if (one.limit) {
            auto end = co_await rn::with_timeout(milliseconds(*one.limit), std::move(op));
            saw_end(number, one, end_of(end), all);
        } else {
            auto end = co_await std::move(op);
            saw_end(number, one, end_of(end), all);
        }
    }

    void try_operate(std::size_t task, const step& one) {
        letters all = letters_of(one);
        const std::size_t number = begin(task, one);
        saw_end(number, one, try_now(task, one, all), all);
    }
    outcome try_now(std::size_t task, const step& one, letters& all) {
        const auto each = [&](std::size_t i) { return make(task, one.cases[i], all[i]); };
        if (one.cases.size() == 3 && one.in_order)
            return end_of(rn::try_select(rn::in_order, each(0), each(1), each(2)));
        if (one.cases.size() == 3) return end_of(rn::try_select(each(0), each(1), each(2)));
        if (one.cases.size() == 2 && one.in_order)
            return end_of(rn::try_select(rn::in_order, each(0), each(1)));
        if (one.cases.size() == 2) return end_of(rn::try_select(each(0), each(1)));
        const one_case& only = one.cases[0];
        const ends& of = ends_[task][only.of];
        if (!one.in_order || only.kind == one_case::emplace) return end_of(rn::try_select(each(0)));
        if (only.kind == one_case::recv)
            return of.receiving([](const auto& end) { return end_of(end.try_recv()); });
        return of.sending([&](const auto& end) { return end_of(end.try_send(rn::from(all[0]))); });
    }

    any_case make(std::size_t task, const one_case& one, letter& value) const {
        const ends* const of = one.of < own_.size() ? &ends_[task][one.of] : nullptr;
        switch (one.kind) {
            case one_case::send:
                return of->sending([&](const auto& end) { return any_case(end.send(rn::from(value))); });
            case one_case::emplace:
                return of->sending([&](const auto& end) { return any_case(end.emplace(one.value)); });
            case one_case::recv:
                return of->receiving([](const auto& end) { return any_case(end.recv()); });
            case one_case::sleep:
                return any_case(rn::sleep_for(milliseconds(one.time)));
            case one_case::done:
                break;
        }
        return any_case(cancels_[one.of].ctx.done());
    }

    std::size_t begin(std::size_t task, const step& one) {
        model::operation op{task, one.cases, one.in_order, one.act == step::operate, now(), one.limit};
        for (one_case& each : op.cases) {
            if (!each.is_of_channel()) continue;
            const ends& of = ends_[task][each.of];
            if (!(each.sends() ? of.can_send() : of.can_receive())) each.of = model::operation::nil;
        }
        const std::size_t number = worlds_.begin(std::move(op));
        note("begins", number, task, &one);
        return number;
    }

    void saw_end(std::size_t number, const step& one, const outcome& how, const letters& all) {
        note("ended", number, 0, nullptr, how);
        ++seen_[how.how];
        if (!worlds_.saw_end(number, how, now()))
            fail("operation " + std::to_string(number) +
                 " should have ended: " + worlds_.expectation_of(number));
        for (std::size_t i = 0; i < one.cases.size(); ++i) {
            if (one.cases[i].kind != one_case::send) continue;
            const bool sent = how.how == outcome::sent && how.which == i;
            check(all[i].value() == (sent ? letter::moved_from : one.cases[i].value),
                  "a value is not where it belongs");
        }
    }

    // --- What is seen ---

    void check_lengths(const std::vector<ends>& of) {
        for (std::size_t i = 0; i < of.size(); ++i)
            if (of[i].can_send() || of[i].can_receive())
                check(worlds_.saw_length(i, of[i].len(), now()), "a channel has another length");
    }
    rn::task<> check_all_wait() {
        co_await testing::wait_until_all_tasks_wait();
        check(worlds_.saw_all_wait(now()), "an operation has happened, and its task waits on");
        check_lengths(own_);
    }

    struct event {
        const char* what;
        std::size_t of, task;
        const step* how;
        outcome ended;
    };
    void note(const char* what, std::size_t of, std::size_t task = 0, const step* how = nullptr,
              outcome end = {}) {
        events_.push_back({what, of, task, how, end});
    }
    void check(bool ok, const char* what) {
        if (!ok) fail(what);
    }
    void fail(std::string text) {
        text += '\n' + describe(program_);
        for (const event& each : events_) {
            text += std::string("  ") + each.what + ' ' + std::to_string(each.of);
            if (each.how != nullptr)
                text += ": task " + std::to_string(each.task) + ", " + describe(*each.how);
            if (each.ended.how != outcome::not_yet) text += ": " + describe(each.ended);
            text += '\n';
        }
        testing::expect(false, text.c_str());
    }

    const model::program& program_;
    tally& seen_;
    model::worlds worlds_;
    std::vector<rn::cancellable> cancels_;
    std::vector<ends> own_;
    std::vector<std::vector<ends>> ends_;  // by task
    std::vector<event> events_;
};

testing::exploration explore_program(std::uint64_t seed, std::uint64_t schedules, tally& seen) {
    const model::program program = model::random_program(seed);
    return testing::explore(testing::options().seed(seed), schedules, [&]() -> rn::task<> {
        letter::reset();
        {
            running all(program, seen);
            co_await all.run();
        }
        testing::expect(letter::live() == 0, "values are left over");
        testing::expect(letter::errors() == 0, "a value was destroyed twice, or its bytes were copied");
    });
}

TEST_CASE("channels: random programs do what the model does, in every schedule") {
    const std::uint64_t programs = support::scaled<std::uint64_t>(1'250, 25'000);
    constexpr std::uint64_t schedules = 4;
    tally seen{};
    for (std::uint64_t seed = 1; seed <= programs; ++seed) {
        const auto all = explore_program(seed, schedules, seen);
        REQUIRE_MESSAGE(all.ok(), all.what());
    }
    CHECK(seen[outcome::not_yet] == 0);  // an error that none should end with
    for (std::size_t how = outcome::sent; how < outcome::kinds; ++how) {
        CAPTURE(how);
        CHECK(seen[how] > programs / 10);  // else the programs try too little
    }
    MESSAGE(programs << " programs in " << schedules << " schedules each: " << seen[outcome::sent]
                     << " sent, " << seen[outcome::got] << " received, " << seen[outcome::closed]
                     << " closed, " << seen[outcome::cancelled] << " cancelled, " << seen[outcome::timed_out]
                     << " timed out, " << seen[outcome::slept] << " slept, " << seen[outcome::done]
                     << " done");
}
}
