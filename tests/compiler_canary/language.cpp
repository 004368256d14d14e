// language: forms of co_await that both compilers get right, and that runnel and its users rely on.
// The forms that g++ 12 gets wrong are in bites/.
#include <array>
#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "canary.hpp"

using namespace canary;
using support::counted;

namespace {

const std::string text = "long enough not to fit into the string object itself";

int sum(counted a, counted b) { return a.value() + b.value(); }
task<int> give(int n) { co_return co_await later(n); }
task<counted> give_counted(int n) { co_return counted(co_await later(n)); }
task<std::string> give_text() { co_return co_await later(text); }
task<> fail() {
    co_await later(0);
    throw counted(7);
}

task<> temporaries() {
    expect(sum(counted(1), counted(co_await give(2))) == 3);
    expect(sum(co_await give_counted(1), co_await give_counted(2)) == 3);
    expect((std::string(text) + co_await give_text()).size() == 2 * text.size());
    expect(co_await give(co_await give(co_await give(4))) == 4);
    expect((co_await give_counted(5)).value() == 5);
}

struct builder {
    int total = 0;
    builder& add(counted n) {
        total += n.value();
        return *this;
    }
};
task<> chains() {
    builder b;
    expect(b.add(co_await give_counted(1)).add(co_await give_counted(2)).total == 3);
    std::string s;
    s += co_await give_text();
    int n = 1;
    n += co_await give(2);
    expect(n == 3);
    expect(s == text);
}

task<std::vector<counted>> give_many() {
    std::vector<counted> many;
    for (int i = 0; i < 4; ++i) many.emplace_back(co_await give(i));
    co_return many;
}
task<int> leave_from_loop() {
    for (const counted& c : co_await give_many())
        if (c.value() == co_await give(2)) co_return c.value();
    co_return -1;
}
task<> range_for() {
    int total = 0;
    for (const counted& c : co_await give_many()) {
        if (co_await give(c.value()) == 1) continue;
        if (co_await give(c.value()) == 3) break;
        total += c.value();
    }
    expect(total == 2);
    expect(co_await leave_from_loop() == 2);
}

task<> statements() {
    if (auto c = co_await give_counted(3); c.value() == 3) expect(co_await give(1) == 1);
    int turns = 0;
    while (auto n = co_await give(3 - turns)) turns += n > 0;
    expect(turns == 3);
    for (counted i(0); i.value() < co_await give(3); i = counted(i.value() + 1)) ++turns;
    expect(turns == 6);
    switch (auto c = co_await give_counted(1); co_await give(c.value())) {
        case 1:
            ++turns;
            [[fallthrough]];
        case 2: {
            const counted local(2);
            if (co_await give(local.value()) == 2) goto out;
            break;
        }
        default:
            turns = 0;
    }
    turns = 0;
out:
    expect(turns == 7);
}

task<> logic() {
    int calls = 0;
    auto yes = [&](bool answer) -> task<bool> {
        ++calls;
        co_return co_await later(answer);
    };
    // The only forms that g++ 12 gets right; bites/short_circuit.cpp has the others.
    const bool both = co_await yes(false) && co_await yes(true);
    if (co_await yes(true) || co_await yes(true)) expect(!both);
    expect(calls == 2);
}

template <class... Ns>
task<int> folded(Ns... ns) {
    const auto tuple = std::make_tuple(co_await give(ns)...);
    co_return (co_await give(ns) + ...) + static_cast<int>(std::tuple_size_v<decltype(tuple)>);
}
task<> packs() { expect(co_await folded(1, 2, 3) == 9); }

struct plain {
    int a;
    std::string b;
};
task<plain> give_plain() {
    plain p;
    p.a = co_await give(1);
    p.b = text;
    co_return p;
}
task<> bindings() {
    auto [n, s] = co_await give_plain();
    co_await later(0);
    expect(n == 1);
    expect(s == text);
    auto [a, b] = std::make_tuple(co_await give(2), std::make_unique<int>(3));
    co_await later(0);
    expect(a + *b == 5);
    std::array<int, 2> two = {4, 5};
    auto& [x, y] = two;
    co_await later(0);
    x = co_await give(6);
    expect(two[0] + y == 11);
}

task<> lifetimes() {
    const counted& kept = counted(1);
    const std::string& also_kept = co_await give_text();
    std::array<char, 65536> big;
    big.back() = 'x';
    static const std::string forever = text;
    constexpr int constant = 3;
    co_await later(0);
    expect(kept.value() == 1);
    expect(also_kept == text);
    expect(big.back() == 'x');
    {
        const counted kept(co_await give(4));  // hides the outer one on purpose
        co_await later(0);
        expect(kept.value() + constant == 7);
    }
    expect(forever == text);
}

task<int> by_value(counted c, counted, int unused = 0) {
    static_cast<void>(unused);
    co_await later(0);
    co_return c.value();
}
struct refuses_to_be_copied {
    refuses_to_be_copied() = default;
    refuses_to_be_copied(const refuses_to_be_copied&) { throw 1; }
    counted member{1};
};
task<> takes(counted, refuses_to_be_copied) { co_return; }
task<> parameters() {
    const counted c(1);
    auto t = by_value(counted(2), counted(3));
    expect(counted::moves() == 2 && counted::copies() == 0);
    expect(co_await std::move(t) == 2);
    auto u = by_value(c, c);
    expect(counted::moves() == 4 && counted::copies() == 2);
    expect(co_await std::move(u) == 1);
    const refuses_to_be_copied r;
    bool threw = false;
    try {
        takes(counted(1), r).frame();
    } catch (int) {
        threw = true;
    }
    expect(threw);
}

struct base {
    virtual ~base() = default;
    virtual task<int> n() { return give(1); }
    static task<int> still() { co_return co_await give(3); }
};
struct derived : base {
    counted own{2};
    task<int> n() override { co_return own.value() + co_await base::n(); }
};
task<int> constrained(std::integral auto n)
    requires(sizeof(n) >= 4)
{
    co_return co_await give(n);
}
task<> kinds() {
    derived d;
    base& b = d;
    expect(co_await b.n() == 3);
    expect(co_await base::still() == 3);
    expect(co_await constrained(4) == 4);
    const counted captured(5);
    auto lambda = [captured](auto extra) -> task<int> {
        co_await later(0);
        co_return captured.value() + extra;
    };
    expect(co_await lambda(1) == 6);
    auto count_down = [](auto self, int n) -> task<int> {
        if (n == 0) co_return 0;
        co_return 1 + co_await self(self, n - 1);
    };
    expect(co_await count_down(count_down, 3) == 3);
    const std::function<task<int>(int)> erased = lambda;
    expect(co_await erased(2) == 7);
}

struct throws_at {
    int where;
    explicit throws_at(int w) : where(w) {}
    bool await_ready() {
        if (where == 0) throw 0;
        return false;
    }
    bool await_suspend(std::coroutine_handle<>) {
        if (where == 1) throw 1;
        return false;
    }
    void await_resume() {
        if (where == 2) throw 2;
    }
};
task<> exceptions() {
    int caught = 0;
    for (int i = 0; i < 3; ++i) {
        const counted local(i);
        try {
            const counted inner(i);
            co_await throws_at(i);
        } catch (int at) {
            caught += at + 1;
        }
        co_await later(0);
        expect(local.value() == i);
    }
    expect(caught == 6);
    try {
        expect(sum(counted(1), (co_await fail(), counted(2))) == 0);
    } catch (const counted& thrown) {
        expect(thrown.value() == 7);
        co_return;
    }
    expect(false);
}
task<int> try_as_body() try {
    co_await fail();
    co_return 1;
} catch (const counted&) {
    co_return 2;
}
task<> function_try_block() { expect(co_await try_as_body() == 2); }

struct never {
    bool await_ready() noexcept { return false; }
    void await_suspend(std::coroutine_handle<>) noexcept {}
    void await_resume() noexcept {}
};
task<> sleeps_forever(counted held) {
    const counted local(held.value());
    co_await never();
}
task<> sleeps_above(counted held) { co_await sleeps_forever(held); }
task<> destroyed_while_suspended() {
    {
        auto chain = sleeps_above(counted(1));
        chain.frame().resume();
        expect(counted::live() >= 3);
    }
    expect(counted::live() == 0);
    co_return;
}

struct here {
    unsigned line;
    explicit here(std::source_location where = std::source_location::current())
        : line(static_cast<unsigned>(where.line())) {}
    bool await_ready() noexcept { return true; }
    void await_suspend(std::coroutine_handle<>) noexcept {}
    unsigned await_resume() noexcept { return line; }
};
task<> source_lines() {
    const unsigned line = co_await here();
    expect(line == __LINE__ - 1);
}
}

int main() {
    return run_cases({{"temporaries", temporaries},
                      {"chains", chains},
                      {"range_for", range_for},
                      {"statements", statements},
                      {"logic", logic},
                      {"packs", packs},
                      {"bindings", bindings},
                      {"lifetimes", lifetimes},
                      {"parameters", parameters},
                      {"kinds", kinds},
                      {"exceptions", exceptions},
                      {"function_try_block", function_try_block},
                      {"destroyed_while_suspended", destroyed_while_suspended},
                      {"source_lines", source_lines}});
}
