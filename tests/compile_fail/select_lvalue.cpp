// must fail: make it in the select
// An operation refers to its arguments: it is made where it is waited for.
#include <runnel/channel.hpp>
#include <runnel/select.hpp>

runnel::task<> use(runnel::receiver<int> a, runnel::receiver<int> b) {
#ifdef CONTROL
    (void)co_await runnel::select(a.recv(), b.recv());
#else
    auto operation = a.recv();
    (void)co_await runnel::select(operation, b.recv());
#endif
}
