// bites: && and || do not keep a right operand from being awaited, except in the simplest statements
#include "../canary.hpp"

using namespace canary;
using support::counted;

namespace {
task<bool> give(int* asked, bool b) {
    ++*asked;
    co_return b;
}
task<> bite() {
    int asked = 0;
    while (co_await give(&asked, false) && co_await give(&asked, true)) break;
    expect(asked == 1);
    expect(co_await give(&asked, true) || co_await give(&asked, true));
    expect(asked == 2);
}
}

int main() { return run_cases({{"bite", bite}}); }
