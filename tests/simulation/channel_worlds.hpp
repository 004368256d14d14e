// channel_worlds: what channels and select must do, in the slowest and most obvious way.
//
// A *world* is one state of all channels: what is in each ring, who waits in which order, and how each operation
// ended. Whoever operates tells the model first; all that follows from it happens there at once: since tasks of
// a simulation take turns, the real thing has no choice but to do the same in the same order. With one
// exception: a fair select draws lots, which of its cases happens when several can, and in which order they stand
// where they wait. So there are several possible worlds, one per draw, and what is seen of the real thing strikes
// out those in which it would be otherwise:
//
//   M1  an operation has ended as the world says;
//   M2  a channel has as many values as the world says;
//   M3  when all tasks wait, every operation that has ended in the world has returned;
//   M4  when no world is left, the real thing did what it must not do.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "channel_program.hpp"

namespace model {

/// How an operation ended.
struct outcome {
    enum how_type : unsigned char { not_yet, sent, got, closed, slept, done, timed_out, cancelled, nothing };
    static constexpr std::size_t kinds = nothing + 1;
    how_type how = not_yet;
    std::size_t which = 0;  // of several cases
    int value = 0;          // that it got
    friend bool operator==(const outcome&, const outcome&) = default;
};
std::string describe(const outcome& one);

struct operation {
    std::size_t task;
    std::vector<one_case> cases;  // of a channel whose end the task has given up: `of` is nil
    bool in_order;
    bool waits;
    std::int64_t began;  // in ms
    std::optional<milliseconds> limit;
    bool returned = false;
    bool is_fair() const noexcept { return !in_order && cases.size() > 1; }
    /// Two of its cases in one queue?
    bool meets_itself() const;
    static constexpr std::size_t nil = 99;
};

class worlds {
public:
    explicit worlds(const program& of);

    // What the tasks do. `now` is in ms; returns the number of the operation.
    std::size_t begin(operation op);
    void close(std::size_t which, std::int64_t now);
    void drop(std::size_t which, bool sender, std::int64_t now);
    void cancel(std::size_t task, std::int64_t now);

    // What is seen of the real thing. False: that cannot be (M4).
    bool saw_end(std::size_t op, const outcome& how, std::int64_t now);
    bool saw_length(std::size_t which, std::size_t values, std::int64_t now);
    bool saw_all_wait(std::int64_t now);

    std::size_t count() const noexcept { return all_.size(); }
    /// What the worlds that are left say of an operation.
    std::string expectation_of(std::size_t op) const;

private:
    struct place {
        std::size_t op, which;
    };
    struct channel {
        std::size_t capacity;
        bool counted;
        std::size_t senders, receivers;
        bool closed = false;
        std::vector<int> ring;
        std::vector<place> sending, receiving;
    };
    struct world {
        std::vector<channel> channels;
        std::vector<std::vector<place>> listening;  // to the end of which task's context
        std::vector<outcome> ended;                 // by operation
    };

    static std::vector<outcome> due(const operation& op, std::int64_t now);
    void pass_time(std::int64_t now);
    void begin_in(const world& from, std::size_t number, std::vector<world>& next) const;
    void end(world& in, place at, outcome::how_type how, int value = 0) const;
    bool can_happen(const world& in, const operation& op, std::size_t which) const;
    void happen(world& in, std::size_t op, std::size_t which) const;
    void happen_send(world& in, place from) const;
    void happen_recv(world& in, place to) const;
    void queue_up(world& in, std::size_t op, const std::vector<std::size_t>& order) const;
    void close_in(world& in, std::size_t which) const;
    const one_case& case_at(place at) const { return ops_[at.op].cases[at.which]; }
    template <class Keep>
    bool strike_out_unless(Keep keep);

    std::vector<world> all_;
    std::vector<operation> ops_;
    std::vector<bool> cancelled_;  // by task
};
}
