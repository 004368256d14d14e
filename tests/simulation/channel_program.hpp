// channel_program: small programs of tasks and channels, made from a number.
//
// Two to four tasks with a few steps each, one to three channels with room for none to two values. A task has
// its own ends of every channel, and a context that the others may cancel. A step is
//
//     operate         send, recv, or a select of up to three cases; perhaps with a limit of time
//     try_operate     the same without waiting
//     close           closes a channel, from whichever side
//     drop_sender     gives an end up; of a channel whose ends are counted the last of its kind closes it
//     drop_receiver
//     cancel          ends the waits of another task, or of itself, for good
//     yield
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace model {

using milliseconds = std::int64_t;

struct one_case {
    enum kind_type : unsigned char { send, recv, emplace, sleep, done };
    kind_type kind;
    std::size_t of = 0;                      // the channel; of done: the task whose context it is
    int value = 0;                           // to send: different for each case of a program, and positive
    milliseconds time = 0;                   // to sleep
    std::optional<milliseconds> limit = {};  // of the first case of two
    bool is_of_channel() const noexcept { return kind != sleep && kind != done; }
    bool sends() const noexcept { return kind == send || kind == emplace; }
};

struct step {
    enum act_type : unsigned char { operate, try_operate, close, drop_sender, drop_receiver, cancel, yield };
    act_type act;
    std::size_t of = 0;           // the channel, or the task
    std::vector<one_case> cases;  // to operate
    bool in_order = false;        // else any case that can happen is as good
    std::optional<milliseconds> limit;
    bool as_sender = false;  // closes
};

struct channel_kind {
    std::size_t capacity;
    bool counted;  // its ends: sender and receiver; else handles of both
};

struct program {
    std::vector<channel_kind> channels;
    std::vector<std::vector<step>> tasks;
};

program random_program(std::uint64_t seed);
std::string describe(const step& one);
std::string describe(const program& all);
}
