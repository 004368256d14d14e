// place_model: what one channel does with values, places that are held, and those who wait, slow and obvious.
//
// Deterministic: cases are tried, and queue up, as written. A task tells the model what it does right before it does
// it, so the model knows how each operation must end, in whatever order the tasks of a simulation go on.
#pragma once

#include <runnel/channel.hpp>
#include <runnel/select.hpp>

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "support/counted.hpp"

namespace place_model {

using support::counted;

enum class act { send, recv, reserve };

struct one_case {
    act what;
    int value = 0;  // to send
};

struct operation {
    std::vector<one_case> of;
    std::string end;  // "1: got 5"; empty while it waits
    std::int64_t due = INT64_MAX;
};
using operation_ref = std::shared_ptr<operation>;

class model {
public:
    explicit model(std::size_t capacity) : capacity_(capacity) {}

    /// The first case, as written, that can happen does; else the operation waits at all of them, if it may.
    /// One that was cancelled before does nothing.
    void begin(const operation_ref& op, bool waits) {
        if (!op->end.empty()) return;
        for (std::size_t i = 0; i < op->of.size(); ++i)
            if (happens({op, i})) return;
        if (!waits) return void(op->end = "nothing");
        for (std::size_t i = 0; i < op->of.size(); ++i)
            (op->of[i].what == act::recv ? receivers_ : senders_).push_back({op, i});
    }
    void cancel(const operation_ref& op) {
        if (op->end.empty()) op->end = "cancelled";
    }
    /// It is so late now: of what waits that ends which was due. Before anything else happens at that time.
    void pass_time(std::int64_t now) {
        for (const auto* waiting : {&senders_, &receivers_})
            for (const place& each : *waiting)
                if (each.who->end.empty() && each.who->due <= now) each.who->end = "timed out";
    }

    /// Of a place that is held.
    std::string use(int value) {
        --reserved;
        std::string how = "sent";
        if (nobody_receives_)
            how = "closed";
        else if (auto to = pop(receivers_))
            end(*to, "got " + std::to_string(value));
        else
            ring.push_back(value);
        passed_on();
        return how;
    }
    void give_back() {
        --reserved;
        passed_on();
    }

    void close() {
        closed_ = true;
        passed_on();
        while (auto each = pop(senders_)) end(*each, "closed");
    }
    void drop_receivers() {
        nobody_receives_ = true;
        close();
        ring.clear();
    }
    void set_capacity(std::size_t capacity) {
        if (closed_) return;
        capacity_ = capacity;
        let_in();
        if (capacity_ != 0) return;
        for (const place& each : senders_)
            if (each.who->end.empty() && each.is() == act::reserve) end(each, "no places");
    }

    std::deque<int> ring;
    std::size_t reserved = 0;

private:
    struct place {
        operation_ref who;
        std::size_t which;
        act is() const { return who->of[which].what; }
        int value() const { return who->of[which].value; }
    };
    using queue = std::deque<place>;

    static void end(const place& of, const std::string& how) {
        of.who->end = std::to_string(of.which) + ": " + how;
    }
    static std::optional<place> pop(queue& from) {
        while (!from.empty()) {
            const place first = from.front();
            from.pop_front();
            if (first.who->end.empty()) return first;
        }
        return std::nullopt;
    }
    /// The first that has a value, behind whoever.
    std::optional<place> pop_sender() {
        for (const place& each : senders_)
            if (each.who->end.empty() && each.is() == act::send) return each;
        return std::nullopt;
    }

    bool room() const { return ring.size() + reserved < capacity_; }
    void take_room(const place& for_it) {
        if (for_it.is() == act::send)
            ring.push_back(for_it.value());
        else
            ++reserved;
        end(for_it, for_it.is() == act::send ? "sent" : "reserved");
    }
    void let_in() {
        while (!closed_ && room()) {
            auto next = pop(senders_);
            if (!next) return;
            take_room(*next);
        }
    }
    void passed_on() {
        let_in();
        if (closed_ && reserved == 0)
            while (auto each = pop(receivers_)) end(*each, "closed");
    }

    bool happens(const place& it) {
        if (it.is() == act::recv) return receives(it);
        if (closed_) return end(it, "closed"), true;
        if (it.is() == act::send) {
            if (auto to = pop(receivers_)) {
                end(*to, "got " + std::to_string(it.value()));
                return end(it, "sent"), true;
            }
        } else if (capacity_ == 0) {
            return end(it, "no places"), true;
        }
        if (!room()) return false;
        take_room(it);
        return true;
    }
    bool receives(const place& to) {
        if (!ring.empty()) {
            end(to, "got " + std::to_string(ring.front()));
            ring.pop_front();
            let_in();
            return true;
        }
        if (closed_ && reserved == 0) return end(to, "closed"), true;
        auto from = pop_sender();
        if (!from) return false;
        end(to, "got " + std::to_string(from->value()));
        end(*from, "sent");
        return true;
    }

    std::size_t capacity_;
    queue senders_, receivers_;
    bool closed_ = false;
    bool nobody_receives_ = false;
};

struct outcome {
    std::string how;
    std::optional<runnel::send_permit<counted>> place = {};
};

inline std::string why(std::error_code error) {
    if (error == runnel::errc::closed || error == runnel::errc::producer_cancelled) return "closed";
    if (error == runnel::errc::no_places) return "no places";
    if (error == runnel::errc::cancelled) return "cancelled";
    if (error == runnel::errc::timed_out) return "timed out";
    if (error == runnel::errc::not_available) return "nothing";
    return "?";
}
inline outcome end_of(runnel::result<> sent) { return {sent ? "sent" : why(sent.error())}; }
inline outcome end_of(runnel::result<counted> got) {
    return {got ? "got " + std::to_string(got->value()) : why(got.error())};
}
inline outcome end_of(runnel::result<runnel::send_permit<counted>> place) {
    if (!place) return {why(place.error())};
    return {"reserved", *std::move(place)};
}

/// Any of the three operations.
class any_case {
public:
    using result_type = outcome;
    static constexpr std::size_t case_count = 1;

    template <class Op>
    explicit any_case(Op op) noexcept : op_(std::move(op)) {}
    any_case(any_case&&) noexcept = default;

    void gather(runnel::detail::wait_case** out) noexcept {
        std::visit([out](auto& op) { op.gather(out); }, op_);
    }
    outcome complete(unsigned) {
        return std::visit([](auto& op) { return end_of(op.complete(0)); }, op_);
    }
    outcome fail(std::error_code error) { return {why(error)}; }

private:
    std::variant<runnel::detail::recv_operation<counted>, runnel::detail::owned_send<counted>,
                 runnel::detail::reserve_operation<counted>>
        op_;
};

template <class... Outcomes>
outcome end_of(runnel::selected<Outcomes...> won) {
    if (!won) return {why(won.error())};
    outcome how;
    if constexpr (sizeof...(Outcomes) > 1) {
        if (won.index() == 1) how = won.template take<1>();
    }
    if (won.index() == 0) how = won.template take<0>();
    how.how = std::to_string(won.index()) + ": " + how.how;
    return how;
}
}
