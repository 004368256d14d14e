// bites: an awaiting condition where no enclosing block has a local variable: the frame is misplaced by 8 bytes
#include "../canary.hpp"

using namespace canary;
using support::counted;

namespace {
task<bool> give(bool b) { co_return b; }
task<> bite() {
    if (!co_await give(true)) co_return;
    expect(counted::live() == 0);
}
}

int main() { return run_cases({{"bite", bite}}); }
