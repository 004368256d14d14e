// bites: a lambda that captures by value in an awaiting expression: captures destroyed twice
#include "../canary.hpp"

using namespace canary;
using support::counted;

namespace {
template <class F>
task<int> call(F f) {
    co_return f();
}
task<> bite() {
    const counted c(1);
    const int n = co_await call([c] { return c.value(); });
    expect(n == 1);
}
}

int main() { return run_cases({{"bite", bite}}); }
