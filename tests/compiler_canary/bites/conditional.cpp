// bites: ?: of class type in an awaiting expression: destroyed twice
#include "../canary.hpp"

using namespace canary;
using support::counted;

namespace {
task<counted> give(int n) { co_return counted(n); }
task<> bite() {
    const bool yes = counted::live() == 0;
    const counted c = yes ? co_await give(1) : counted(2);
    expect(c.value() == 1);
}
}

int main() { return run_cases({{"bite", bite}}); }
