// bites: a braced list in an awaiting expression: does not compile
#include "../canary.hpp"

using namespace canary;
using support::counted;

namespace {
int sum(std::initializer_list<int> list) {
    int n = 0;
    for (const int i : list) n += i;
    return n;
}
task<int> give(int n) { co_return n; }
task<> bite() {
    const int n = sum({co_await give(1), 2});
    expect(n == 3);
}
}

int main() { return run_cases({{"bite", bite}}); }
