// See channel_worlds.hpp.
#include "channel_worlds.hpp"

#include <algorithm>
#include <numeric>
#include <sstream>

namespace model {

namespace {
template <class T>
T take_first(std::vector<T>& from) {
    T first = from.front();
    from.erase(from.begin());
    return first;
}
}

bool operation::meets_itself() const {
    for (std::size_t i = 0; i < cases.size(); ++i)
        for (std::size_t j = 0; j < i; ++j)
            if (cases[i].of == cases[j].of && cases[i].sends() == cases[j].sends() &&
                cases[i].is_of_channel() == cases[j].is_of_channel())
                return true;
    return false;
}

worlds::worlds(const program& of) : cancelled_(of.tasks.size()) {
    world first;
    first.listening.resize(of.tasks.size());
    for (const channel_kind& kind : of.channels)
        first.channels.push_back(
            {kind.capacity, kind.counted, of.tasks.size(), of.tasks.size(), false, {}, {}, {}});
    all_.push_back(first);
}

// --- What happens in one world -----------------------------------------------------------------------------

/// The operation has ended, and waits nowhere any more.
void worlds::end(world& in, const place at, outcome::how_type how, int value) const {
    in.ended[at.op] = {how, at.which, value};
    const auto its_own = [&](const place& each) { return each.op == at.op; };
    for (channel& each : in.channels) {
        std::erase_if(each.sending, its_own);
        std::erase_if(each.receiving, its_own);
    }
    for (auto& each : in.listening) std::erase_if(each, its_own);
}

bool worlds::can_happen(const world& in, const operation& op, std::size_t which) const {
    const one_case& one = op.cases[which];
    if (one.kind == one_case::sleep) return one.time <= 0;
    if (one.kind == one_case::done) return cancelled_[one.of];
    if (one.of == operation::nil) return false;
    const channel& at = in.channels[one.of];
    if (at.closed) return true;
    if (one.sends()) return !at.receiving.empty() || at.ring.size() < at.capacity;
    return !at.ring.empty() || !at.sending.empty();
}

void worlds::happen_send(world& in, place from) const {
    channel& at = in.channels[case_at(from).of];
    const int value = case_at(from).value;
    if (at.closed) return end(in, from, outcome::closed);
    if (!at.receiving.empty())
        end(in, at.receiving.front(), outcome::got, value);
    else
        at.ring.push_back(value);
    end(in, from, outcome::sent);
}

void worlds::happen_recv(world& in, place to) const {
    channel& at = in.channels[case_at(to).of];
    if (at.ring.empty() && at.sending.empty()) return end(in, to, outcome::closed);
    // With room for none the value of the first who waits to send passes through the ring.
    if (!at.sending.empty()) {
        at.ring.push_back(case_at(at.sending.front()).value);
        end(in, at.sending.front(), outcome::sent);
    }
    end(in, to, outcome::got, take_first(at.ring));
}

void worlds::happen(world& in, std::size_t op, std::size_t which) const {
    const one_case& one = ops_[op].cases[which];
    if (one.kind == one_case::sleep) return end(in, {op, which}, outcome::slept);
    if (one.kind == one_case::done) return end(in, {op, which}, outcome::done);
    if (one.sends()) return happen_send(in, {op, which});
    happen_recv(in, {op, which});
}

/// A fair select has its places in random order, which shows when two of them are in one queue.
void worlds::queue_up(world& in, std::size_t op, const std::vector<std::size_t>& order) const {
    for (const std::size_t i : order) {
        const one_case& one = ops_[op].cases[i];
        if (one.kind == one_case::done) in.listening[one.of].push_back({op, i});
        if (!one.is_of_channel() || one.of == operation::nil) continue;
        channel& at = in.channels[one.of];
        (one.sends() ? at.sending : at.receiving).push_back({op, i});
    }
}

void worlds::close_in(world& in, std::size_t which) const {
    channel& at = in.channels[which];
    at.closed = true;
    while (!at.receiving.empty()) end(in, at.receiving.front(), outcome::closed);
    while (!at.sending.empty()) end(in, at.sending.front(), outcome::closed);
}

// --- What the tasks do -------------------------------------------------------------------------------------

/// What the earliest of an operation's timers does, if it is due. A limit comes after what it limits; of two for
/// the same time the first as written counts, or any when the select is fair.
std::vector<outcome> worlds::due(const operation& op, std::int64_t now) {
    std::int64_t first = now;
    std::vector<outcome> ends;
    const auto look_at = [&](milliseconds after, const outcome& how) {
        const std::int64_t at = op.began + after;
        if (at > first) return;
        if (at < first) ends.clear();
        if (ends.empty() || op.is_fair()) ends.push_back(how);
        first = at;
    };
    for (std::size_t i = 0; i < op.cases.size(); ++i) {
        if (op.cases[i].kind == one_case::sleep) look_at(op.cases[i].time, {outcome::slept, i, 0});
        if (op.cases[i].limit) look_at(*op.cases[i].limit, {outcome::timed_out, i, 0});
    }
    if (op.limit) look_at(*op.limit, {outcome::timed_out, 0, 0});
    return ends;
}

/// Timers have ended what they end before anybody takes a turn.
void worlds::pass_time(std::int64_t now) {
    for (std::size_t i = 0; i < ops_.size(); ++i) {
        if (ops_[i].returned) continue;
        const std::vector<outcome> ends = due(ops_[i], now);
        const std::size_t before = ends.empty() ? 0 : all_.size();
        for (std::size_t w = 0; w < before; ++w) {
            if (all_[w].ended[i].how != outcome::not_yet) continue;
            for (std::size_t e = 1; e < ends.size(); ++e) {
                all_.push_back(all_[w]);
                end(all_.back(), {i, ends[e].which}, ends[e].how);
            }
            end(all_[w], {i, ends[0].which}, ends[0].how);
        }
    }
}

std::size_t worlds::begin(operation op) {
    pass_time(op.began);
    const std::size_t number = ops_.size();
    ops_.push_back(std::move(op));
    std::vector<world> next;
    for (world& each : all_) {
        each.ended.emplace_back();
        begin_in(each, number, next);
    }
    all_ = std::move(next);
    return number;
}

/// Adds what may become of one world.
void worlds::begin_in(const world& from, std::size_t number, std::vector<world>& next) const {
    const operation& op = ops_[number];
    const std::size_t before = next.size();
    if (op.waits && cancelled_[op.task]) {
        next.push_back(from);
        return end(next.back(), {number, 0}, outcome::cancelled);
    }
    for (std::size_t i = 0; i < op.cases.size(); ++i) {
        if (!can_happen(from, op, i) || (!op.is_fair() && next.size() > before)) continue;
        next.push_back(from);
        happen(next.back(), number, i);
    }
    if (next.size() > before) return;
    if (!op.waits) {
        next.push_back(from);
        return end(next.back(), {number, 0}, outcome::nothing);
    }
    std::vector<std::size_t> order(op.cases.size());
    std::iota(order.begin(), order.end(), 0U);
    do {
        next.push_back(from);
        queue_up(next.back(), number, order);
    } while (op.is_fair() && op.meets_itself() && std::next_permutation(order.begin(), order.end()));
}

void worlds::close(std::size_t which, std::int64_t now) {
    pass_time(now);
    for (world& each : all_) close_in(each, which);
}

void worlds::drop(std::size_t which, bool sender, std::int64_t now) {
    pass_time(now);
    for (world& each : all_) {
        channel& at = each.channels[which];
        if (!at.counted || --(sender ? at.senders : at.receivers) > 0) continue;
        close_in(each, which);
        if (!sender) at.ring.clear();
    }
}

void worlds::cancel(std::size_t task, std::int64_t now) {
    pass_time(now);
    cancelled_[task] = true;
    for (world& each : all_) {
        for (std::size_t i = 0; i < ops_.size(); ++i)
            if (ops_[i].task == task && each.ended[i].how == outcome::not_yet)
                end(each, {i, 0}, outcome::cancelled);
        while (!each.listening[task].empty()) end(each, each.listening[task].front(), outcome::done);
    }
}

// --- What is seen --------------------------------------------------------------------------------------------

template <class Keep>
bool worlds::strike_out_unless(Keep keep) {
    std::vector<world> left;
    for (world& each : all_)
        if (keep(each)) left.push_back(std::move(each));
    if (left.empty()) return false;  // all_ is kept, to say what was expected
    all_ = std::move(left);
    return true;
}

bool worlds::saw_end(std::size_t op, const outcome& how, std::int64_t now) {
    pass_time(now);
    ops_[op].returned = true;
    return strike_out_unless([&](const world& each) { return each.ended[op] == how; });
}

bool worlds::saw_length(std::size_t which, std::size_t values, std::int64_t now) {
    pass_time(now);
    return strike_out_unless([&](const world& each) { return each.channels[which].ring.size() == values; });
}

bool worlds::saw_all_wait(std::int64_t now) {
    pass_time(now);
    return strike_out_unless([&](const world& each) {
        for (std::size_t i = 0; i < ops_.size(); ++i)
            if (each.ended[i].how != outcome::not_yet && !ops_[i].returned) return false;
        return true;
    });
}

std::string describe(const outcome& one) {
    static constexpr const char* names[] = {"not yet", "sent",      "got",       "closed", "slept",
                                            "done",    "timed out", "cancelled", "nothing"};
    std::ostringstream text;
    text << names[one.how] << " (case " << one.which;
    if (one.how == outcome::got) text << ", value " << one.value;
    text << ')';
    return text.str();
}

std::string worlds::expectation_of(std::size_t op) const {
    std::string text;
    for (const world& each : all_) text += (text.empty() ? "" : " or ") + describe(each.ended[op]);
    return text;
}
}
