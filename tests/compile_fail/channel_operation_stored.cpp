// must fail: await it in the expression that makes it
// An operation refers to its arguments and to the end that made it.
#include <runnel/channel.hpp>
#include <runnel/task.hpp>

runnel::task<> use(runnel::receiver<int> in) {
#ifdef CONTROL
    (void)co_await in.recv();
#else
    auto operation = in.recv();
    (void)co_await operation;
#endif
}
