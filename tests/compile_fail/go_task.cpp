// must fail: give the function and its arguments, not a task
// go() makes the task itself, so that what it was given lives as long as it does.
#include <runnel/go.hpp>

runnel::task<> greet(int) { co_return; }

runnel::task<> use() {
#ifdef CONTROL
    runnel::go(greet, 1);
#else
    runnel::go(greet(1));
#endif
    co_return;
}
