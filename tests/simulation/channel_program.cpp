// See channel_program.hpp.
#include "channel_program.hpp"

#include <sstream>

namespace model {

namespace {
/// The same numbers everywhere: splitmix64.
class dice {
public:
    explicit dice(std::uint64_t seed) noexcept : state_(seed) {}
    std::size_t below(std::size_t bound) noexcept {
        std::uint64_t z = state_ += 0x9e3779b97f4a7c15U;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
        return static_cast<std::size_t>((z ^ (z >> 31)) >> 32) % bound;
    }
    bool once_in(std::size_t times) noexcept { return below(times) == 0; }

private:
    std::uint64_t state_;
};

class maker {
public:
    explicit maker(std::uint64_t seed) : dice_(seed) {}

    program make() {
        for (std::size_t n = 1 + dice_.below(3); n > 0; --n)
            made_.channels.push_back({dice_.below(3), dice_.once_in(3)});
        made_.tasks.resize(2 + dice_.below(3));
        for (std::size_t task = 0; task < made_.tasks.size(); ++task)
            for (std::size_t n = 1 + dice_.below(5); n > 0; --n) made_.tasks[task].push_back(make_step(task));
        return made_;
    }

private:
    step make_step(std::size_t task) {
        const std::size_t kind = dice_.below(100);
        if (kind < 74) return make_operation(task, kind < 58 ? step::operate : step::try_operate);
        if (kind < 80) return make_close();
        if (kind < 84) return make_plain(step::drop_sender, dice_.below(made_.channels.size()));
        if (kind < 88) return make_plain(step::drop_receiver, dice_.below(made_.channels.size()));
        if (kind < 94) return make_plain(step::cancel, dice_.below(made_.tasks.size()));
        return make_plain(step::yield, 0);
    }

    static step make_plain(step::act_type act, std::size_t of) {
        step made;
        made.act = act;
        made.of = of;
        return made;
    }

    step make_close() {
        step made = make_plain(step::close, dice_.below(made_.channels.size()));
        made.as_sender = dice_.once_in(2);
        return made;
    }

    step make_operation(std::size_t task, step::act_type act) {
        step made = make_plain(act, 0);
        const std::size_t cases = dice_.once_in(2) ? 1 : 2 + dice_.below(2);
        for (std::size_t i = 0; i < cases; ++i) made.cases.push_back(make_case(task, cases > 1));
        if (cases == 2 && act == step::operate && dice_.once_in(4)) made.cases[0].limit = make_time();
        made.in_order = dice_.once_in(2);
        if (act == step::operate && dice_.once_in(4)) made.limit = make_time();
        return made;
    }

    one_case make_case(std::size_t task, bool of_several) {
        const std::size_t kind = dice_.below(of_several ? 100 : 86);
        if (kind >= 93)
            return {one_case::done, (task + 1 + dice_.below(made_.tasks.size() - 1)) % made_.tasks.size()};
        if (kind >= 86) return {one_case::sleep, 0, 0, make_time()};
        const std::size_t channel = dice_.below(made_.channels.size());
        if (kind < 43) return {one_case::recv, channel};
        return {kind < 75 ? one_case::send : one_case::emplace, channel, ++last_value_};
    }

    milliseconds make_time() { return static_cast<milliseconds>(dice_.below(4)); }

    dice dice_;
    program made_;
    int last_value_ = 0;
};

std::string describe(const one_case& one) {
    static constexpr const char* names[] = {"send", "recv", "emplace", "sleep", "done of task"};
    std::ostringstream text;
    text << names[one.kind] << ' ';
    if (one.kind == one_case::sleep)
        text << one.time << " ms";
    else
        text << one.of;
    if (one.sends()) text << " (" << one.value << ')';
    if (one.limit) text << " within " << *one.limit << " ms";
    return text.str();
}
}

program random_program(std::uint64_t seed) { return maker(seed).make(); }

std::string describe(const step& one) {
    static constexpr const char* names[] = {
        "", "try ", "close ", "drop sender ", "drop receiver ", "cancel task ", "yield"};
    std::ostringstream text;
    text << names[one.act];
    if (one.cases.empty() && one.act != step::yield) text << one.of;
    if (one.cases.size() > 1) text << (one.in_order ? "select in order: " : "select: ");
    for (std::size_t i = 0; i < one.cases.size(); ++i) text << (i > 0 ? " | " : "") << describe(one.cases[i]);
    if (one.limit) text << ", within " << *one.limit << " ms";
    return text.str();
}

std::string describe(const program& all) {
    std::ostringstream text;
    for (std::size_t i = 0; i < all.channels.size(); ++i)
        text << "channel " << i << ": room for " << all.channels[i].capacity
             << (all.channels[i].counted ? ", counted ends\n" : "\n");
    for (std::size_t i = 0; i < all.tasks.size(); ++i) {
        text << "task " << i << '\n';
        for (const step& one : all.tasks[i]) text << "    " << describe(one) << '\n';
    }
    return text.str();
}
}
