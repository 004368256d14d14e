// must fail: waited for by its name
// A select refers to the handle; one that lost would be gone with the expression, and its task detached.
#include <runnel/channel.hpp>
#include <runnel/go.hpp>
#include <runnel/select.hpp>

runnel::task<int> compute() { co_return 1; }

runnel::task<> use(runnel::receiver<int> in) {
#ifdef CONTROL
    auto started = runnel::go(compute);
    (void)co_await runnel::select(in.recv(), started);
#else
    (void)co_await runnel::select(in.recv(), runnel::go(compute));
#endif
}
