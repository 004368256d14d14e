// bites: a coroutine lambda written to the right of another co_await: crash or a wrong value
#include "../canary.hpp"

using namespace canary;
using support::counted;

namespace {
task<int> give(int n) { co_return n; }
task<> bite() {
    const int n = co_await give(1) + co_await [](int v) -> task<int> { co_return v; }(4);
    expect(n == 5);
}
}

int main() { return run_cases({{"bite", bite}}); }
