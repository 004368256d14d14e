// bites: a local aggregate initialised with an await inside: its members destroyed twice
#include "../canary.hpp"

using namespace canary;
using support::counted;

namespace {
struct aggregate {
    counted member;
    int number;
};
task<counted> give(int n) { co_return counted(n); }
task<> bite() {
    const aggregate a{co_await give(1), 2};
    expect(a.member.value() == 1);
}
}

int main() { return run_cases({{"bite", bite}}); }
