// must fail: go: of four arguments at most
// There is a function per number of arguments, because the caller's place comes last.
#include <runnel/go.hpp>

runnel::task<> add(int, int, int, int) { co_return; }
runnel::task<> add_all(int, int, int, int, int) { co_return; }

runnel::task<> use() {
#ifdef CONTROL
    runnel::go(add, 1, 2, 3, 4);
#else
    runnel::go(add_all, 1, 2, 3, 4, 5);
#endif
    co_return;
}
