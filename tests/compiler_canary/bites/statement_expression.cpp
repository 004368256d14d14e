// bites: ({ ... }) around an await with class objects: the compiler crashes
#include "../canary.hpp"

using namespace canary;
using support::counted;

namespace {
task<counted> give(int n) { co_return counted(n); }
task<> bite() {
    const counted c = ({
        auto r = co_await give(1);
        std::move(r);
    });
    expect(c.value() == 1);
}
}

int main() { return run_cases({{"bite", bite}}); }
