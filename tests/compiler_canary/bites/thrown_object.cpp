// bites: throw E(co_await f()): the exception object is a bitwise copy
#include "../canary.hpp"

using namespace canary;
using support::counted;

namespace {
task<int> give(int n) { co_return n; }
task<> bite() {
    try {
        throw counted(co_await give(1));
    } catch (const counted& c) {
        expect(c.value() == 1);
    }
}
}

int main() { return run_cases({{"bite", bite}}); }
