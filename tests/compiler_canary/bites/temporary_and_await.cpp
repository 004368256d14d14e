// bites: a class temporary left of && and an await right of it: the compiler crashes
#include <string>

#include "../canary.hpp"

using namespace canary;
using support::counted;

namespace {
task<bool> give(bool b) { co_return b; }
task<> bite() {
    const std::string s = "abc";
    int n = 0;
    if (s + "d" == "abcd" && co_await give(true)) n = 1;
    expect(n == 1);
}
}

int main() { return run_cases({{"bite", bite}}); }
