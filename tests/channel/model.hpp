// model: what channels and selects do, slow and obvious, to compare the real ones with.
//
// Deterministic: cases are tried, and queue up, as written; who waits is found in the order in which it came. After
// each act ended[] says of every operation whose wait is over how it ended.
#pragma once

#include <runnel/channel.hpp>

#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace support {

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

/// The same words for what really happened.
inline std::string say(runnel::result<> sent) {
    return sent ? "sent" : sent.error().message() == "closed" ? "closed" : "?";
}
inline std::string say(runnel::result<int> got) {
    return got ? "got " + std::to_string(*got) : got.error() == runnel::errc::closed ? "closed" : "?";
}
}
