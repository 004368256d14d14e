// bites: a braced aggregate in an awaiting expression: its members destroyed twice
#include "../canary.hpp"

using namespace canary;
using support::counted;

namespace {
struct aggregate {
    counted member;
    int number;
};
task<int> take(aggregate a) { co_return a.member.value() + a.number; }
task<> bite() {
    const int n = co_await take(aggregate{counted(1), 2});
    expect(n == 3);
}
}

int main() { return run_cases({{"bite", bite}}); }
