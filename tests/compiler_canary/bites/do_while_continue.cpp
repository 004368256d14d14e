// bites: continue in a do-while whose condition awaits: the condition is never evaluated
#include "../canary.hpp"

using namespace canary;
using support::counted;

namespace {
task<bool> give(bool b) { co_return b; }
task<> bite() {
    int turns = 0;
    do {
        if (++turns < 5) continue;
        break;
    } while (co_await give(false));
    expect(turns == 1);
}
}

int main() { return run_cases({{"bite", bite}}); }
